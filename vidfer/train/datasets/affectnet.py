"""AffectNet: pictures with expression, valence and arousal, in both forms it is given out in.

* A folder: `train_set/` and `val_set/` (or one of them), each with `images/ID.jpg` and `annotations/ID_exp.npy`,
  `ID_val.npy`, `ID_aro.npy` and, where there are points, `ID_lnd.npy` (68 points in px of the picture).
* CSV files, `training.csv` and `validation.csv`, with `subDirectory_filePath`, `face_x`, `face_y`, `face_width`,
  `face_height`, `facial_landmarks` (x;y;x;y...), `expression`, `valence`, `arousal`; pictures below `--images`.

Expressions are 0 to 7 in the order of `EMOTIONS`, 8 none, 9 uncertain, 10 no face; -2 is a missing valence or arousal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vidfer.errors import DataError
from vidfer.train.datasets.lists import numbers, read_lines
from vidfer.train.datasets.rows import Labels
from vidfer.train.datasets.samples import PICTURES, SPLIT_NAMES, Sample, Source
from vidfer.types import EMOTIONS, F32

_COLUMNS = ("subDirectory_filePath", "expression", "valence", "arousal")
_MORE = ("face_x", "face_y", "face_width", "face_height", "facial_landmarks")
_NO_FACE, _LAST = 10, 10
_MISSING = -2


def read_affectnet(paths: Sequence[Path], source: Source) -> Iterator[Sample]:
    """Faces of AffectNet, from folders or CSV files."""
    for path in paths:
        if path.suffix.casefold() == ".csv":
            yield from _read_list(path, source)
        else:
            for folder, split in _folders(path):
                yield from _read_folder(folder, split, source)


def _folders(path: Path) -> list[tuple[Path, str | None]]:
    inner = sorted(p for p in path.iterdir() if p.name in SPLIT_NAMES and p.is_dir()) if path.is_dir() else []
    found: list[tuple[Path, str | None]] = [(p, SPLIT_NAMES[p.name]) for p in inner] or [
        (path, SPLIT_NAMES.get(path.absolute().name))
    ]
    for folder, _ in found:
        missing = [name for name in ("images", "annotations") if not (folder / name).is_dir()]
        if missing:
            lack = f"lacks the folder {' and '.join(missing)}" if folder.is_dir() else "is not there"
            raise DataError(
                f"{folder} {lack}: AffectNet is a folder with images/ and annotations/, on its own or in train_set/ "
                "and val_set/, or a CSV file"
            )
    return found


def _read_folder(folder: Path, split: str | None, source: Source) -> Iterator[Sample]:
    for picture in sorted((folder / "images").iterdir()):
        if picture.suffix.casefold() not in PICTURES:
            continue
        where = f"{folder.name}/images/{picture.name}"
        stem = str(folder / "annotations" / picture.stem)
        told = [_load(f"{stem}_{name}.npy") for name in ("exp", "val", "aro")]
        if any(value is None for value in told):
            source.tally.leave_out("annotation is missing or damaged", where)
            continue
        points = _load(f"{stem}_lnd.npy")
        labels = _labels([float(v[0]) for v in told if v is not None], None, points, where, source)
        if labels is not None:
            yield Sample(where=where, picture=str(picture), group=source.group_of(where), split=split, labels=labels)


def _load(path: str) -> F32 | None:
    """Numbers of a file, which may be stored as texts; None where there are none."""
    try:
        values = np.load(path, allow_pickle=False).astype(np.float64).ravel()
    except (OSError, ValueError, EOFError):
        return None
    return values.astype(np.float32) if len(values) else None


def _read_list(path: Path, source: Source) -> Iterator[Sample]:
    split = {"training": "train", "validation": "val"}.get(path.stem.casefold())
    for where, (name, *told, x, y, w, h, landmarks) in read_lines(path, _COLUMNS, source.tally, _MORE):
        affect = numbers(told)
        if affect is None:
            source.tally.leave_out("a value is no number", where)
            continue
        box, points = _given([x, y, w, h]), _given(landmarks.split(";"))
        labels = _labels(affect.tolist(), box, points, where, source)
        if labels is not None and (picture := source.picture(name, path.parent, where)) is not None:
            yield Sample(where=where, picture=picture, group=source.group_of(name), split=split, labels=labels)


def _given(texts: list[str]) -> F32 | None:
    """Numbers, as none at all where one of them is something else; None where there is no text."""
    if not any(texts):
        return None
    values = numbers(texts)
    return np.zeros(0, np.float32) if values is None else values


def _labels(affect: list[float], box: F32 | None, points: F32 | None, where: str, source: Source) -> Labels | None:
    expression, valence, arousal = affect
    if expression not in range(_LAST + 1):  # NaN is not
        source.tally.leave_out(f"expression is not one of 0 to {_LAST}", where)
        return None
    known = _MISSING not in (valence, arousal)
    emotion = EMOTIONS[int(expression)] if expression < len(EMOTIONS) else None
    if expression == _NO_FACE or (emotion is None and not known):
        source.tally.leave_out("no face" if expression == _NO_FACE else "neither expression nor valence", where)
        return None
    if points is not None and len(points) != 2 * 68:
        source.tally.drop_label("not 68 points", where)
        points = None
    if box is not None and not (len(box) == 4 and np.isfinite(box).all() and min(box[2:]) > 0):
        source.tally.drop_label("box has no size or is no number", where)
        box = None
    return Labels(
        emotion=emotion,
        valence_arousal=(valence, arousal) if known else None,
        box=None if box is None else (*map(float, box),),  # type: ignore[arg-type]
        points={} if points is None else {68: points.reshape(68, 2)},
    )
