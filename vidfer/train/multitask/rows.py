"""What a recipe's heads learn from a training table: targets row by row, and what is left out.

Everything that training could stumble over is found here, before it starts.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from vidfer.errors import DataError
from vidfer.train.datasets.encoded import Encoded, keep_encoded
from vidfer.train.datasets.rows import POINTS
from vidfer.train.datasets.table import TrainingFaces
from vidfer.train.multitask.pictures import Pictures
from vidfer.train.multitask.recipe import Recipe
from vidfer.train.points import filled
from vidfer.types import EMOTIONS, F32, I64, Bool

_DEEP_POINTS = 478
# A distribution that has less than this on the classes of the head says something else than they can.
_LEAST_SHARE = 0.5
_FARTHEST = 1.5  # from the middle of a picture, in its sides: of a face that is in it, no point is


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Targets of a recipe's heads; NaN where a row has none, positions in px of the stored picture.

    Attributes:
        picture: i64[N], number in `Pictures`.
        size_px: i64[N,2], width and height.
        set_name: str[N].
        group: str[N].
        emotion: f32[N,C], distribution over the classes of the head.
        valence_arousal: f32[N,2].
        points: f32[N,K,2 or 3]; K is 0 without that head.
        box_px: f32[N,4], xyxy; crops are cut by it, too.
        teacher: f32[N,C].
        teacher_va: f32[N,2].
    """

    picture: I64
    size_px: I64
    set_name: npt.NDArray[np.str_]
    group: npt.NDArray[np.str_]
    emotion: F32
    valence_arousal: F32
    points: F32
    box_px: F32
    teacher: F32
    teacher_va: F32

    def __len__(self) -> int:
        return len(self.picture)

    def take(self, rows: npt.NDArray[Any]) -> Rows:
        """The rows of an index or mask array."""
        return Rows(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def known(self) -> dict[str, Bool]:
        """Which rows have a label of which kind."""
        return {name: labelled(values) for name, values in self.labels().items()}

    def labels(self) -> dict[str, F32]:
        """All of them by the kind."""
        return {
            "emotion": self.emotion,
            "valence_arousal": self.valence_arousal,
            "landmarks": self.points,
            "box": self.box_px,
            "teacher": self.teacher,
            "teacher_va": self.teacher_va,
        }


def labelled(values: F32) -> Bool:
    """Which rows have a label: single points may be missing, nothing else is there in part."""
    return np.asarray(~np.isnan(values).all(tuple(range(1, values.ndim))), np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Rows that can be trained on.

    Attributes:
        rows: Their targets.
        pictures: Their pictures.
        left_out: How many rows are not among them, by why.
        unlearned: How many of them lost one label of several, by which and why.
        sha256: Of pictures and targets.
    """

    rows: Rows
    pictures: Pictures
    left_out: Mapping[str, int]
    unlearned: Mapping[str, int]
    sha256: str


def prepare(
    faces: Iterable[TrainingFaces], recipe: Recipe, progress: Callable[[int, int], None] | None = None
) -> Prepared:
    """Turn a training table into what a recipe learns.

    Args:
        faces: Its rows piece by piece (`read_pieces`): of labels that the recipe does not ask for nothing is kept.
        recipe: Says which of their labels are learned.
        progress: Told how many of how many pictures were looked at.

    Raises:
        DataError: A head has no row with its label, or no picture can be read.
        OutputError: There is no room for the pictures.
    """
    parts: list[Rows] = []
    counts, left_out, unlearned = Counter[str](), Counter[str](), Counter[str]()

    def learned() -> Iterator[bytes]:
        for piece in faces:
            rows, lost = _targets(piece, recipe)
            known = rows.known()
            some = np.any([known[kind] for kind in used_labels(recipe)], axis=0)
            parts.append(rows.take(some))
            counts.update(_counts(piece))
            left_out.update(_left_out(piece, recipe, some))
            unlearned.update(lost | _unlearned_classes(piece, recipe, some))
            yield from piece.images.take(np.flatnonzero(some))

    images = keep_encoded(learned())
    rows = _joined(parts)
    parts.clear()  # as large as all rows
    _refuse_heads_without_rows(rows, counts, recipe)
    sha256 = _fingerprint(rows, images)
    pictures = Pictures(images, recipe.data.memory_mb, progress)
    left_out["whose picture cannot be decoded"] = len(pictures.unreadable)
    if pictures.unreadable:
        rows = rows.take(np.setdiff1d(rows.picture, pictures.unreadable))
        if not len(rows):
            raise DataError(f"none of {len(pictures)} pictures can be decoded: make the table again")
        # What was lost with the pictures may be all of a kind.
        _refuse_heads_without_rows(rows, counts, recipe)
    return Prepared(
        rows=rows,
        pictures=pictures,
        left_out={why: n for why, n in left_out.items() if n},
        unlearned={why: n for why, n in unlearned.items() if n},
        sha256=sha256,
    )


def _joined(parts: Sequence[Rows]) -> Rows:
    joined = {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Rows)}
    return Rows(**joined | {"picture": np.arange(len(joined["picture"]))})


def _left_out(faces: TrainingFaces, recipe: Recipe, some: Bool) -> dict[str, int]:
    other = {name: int((of & ~some).sum()) for name, of in _other_classes(faces, recipe).items()}
    return {
        **{f"of {name}, which is no class of heads.emotion": number for name, number in other.items()},
        "without a label that heads asks for": int((~some).sum()) - sum(other.values()),
    }


def _unlearned_classes(faces: TrainingFaces, recipe: Recipe, some: Bool) -> dict[str, int]:
    other = _other_classes(faces, recipe)
    return {f"emotion: {name} is no class of heads.emotion": int((of & some).sum()) for name, of in other.items()}


def _other_classes(faces: TrainingFaces, recipe: Recipe) -> dict[str, Bool]:
    """Classes that the head has not, and their rows."""
    others = [name for name in EMOTIONS if recipe.heads.emotion and name not in recipe.heads.emotion]
    return {name: faces.emotion == EMOTIONS.index(name) for name in others}


def _fingerprint(rows: Rows, images: Encoded) -> str:
    digest = hashlib.sha256()
    for f in fields(rows):
        values = getattr(rows, f.name)
        if values.dtype.kind == "U":
            digest.update(repr(values.tolist()).encode())
        else:
            digest.update(np.ascontiguousarray(values).ravel().view(np.uint8).data)
    for image in images:
        digest.update(image)
    return digest.hexdigest()


def _targets(faces: TrainingFaces, recipe: Recipe) -> tuple[Rows, dict[str, int]]:
    """Targets, and how many labels nothing can be learned from."""
    points, box, size = _points(faces, recipe), faces.box_px.copy(), faces.size_px
    # NaN is nowhere, so it is not far outside either.
    with np.errstate(invalid="ignore"):
        astray = (np.abs(points[..., :2] - size[:, None] / 2) > _FARTHEST * size[:, None]).any((1, 2))
        beside = (np.abs(box[:, :2] + box[:, 2:] - size) > size).any(1)
    points[astray], box[beside] = np.nan, np.nan
    rows = Rows(
        picture=np.arange(len(faces)),
        size_px=size,
        set_name=faces.set_name,
        group=faces.group,
        emotion=_emotions(faces, recipe),
        valence_arousal=faces.valence_arousal,
        points=points,
        box_px=box,
        teacher=_of_classes(faces.teacher, recipe.heads.emotion, least=0.0),
        teacher_va=faces.teacher_va,
    )
    lost = {"landmarks: far outside of their picture": astray, "box: its middle is outside of the picture": beside}
    return rows, {why: int(of.sum()) for why, of in lost.items()}


def _points(faces: TrainingFaces, recipe: Recipe) -> F32:
    """Points of the head, out of sets of more points where a row has no other."""
    count = recipe.heads.landmarks or 0
    found = filled(faces.points, count) if count else None
    depth = 3 if count == _DEEP_POINTS else 2
    return np.full((len(faces), count, depth), np.nan, np.float32) if found is None else found


def _emotions(faces: TrainingFaces, recipe: Recipe) -> F32:
    """Votes where they are wanted and there, else the one class."""
    classes = recipe.heads.emotion
    one = np.eye(len(EMOTIONS), dtype=np.float32)[faces.emotion]
    one[faces.emotion < 0] = np.nan
    if recipe.loss.emotion.votes:
        voted = ~np.isnan(faces.votes).any(1)
        one[voted] = faces.votes[voted]
    return _of_classes(one, classes, least=_LEAST_SHARE)


def _of_classes(distribution: F32, classes: tuple[str, ...], least: float) -> F32:
    """Distributions f32[N,8] over some of the classes; NaN where these have no more than a share of it."""
    part = distribution[:, [EMOTIONS.index(name) for name in classes]]
    # Not `sum`: of one row alone it adds the shares in another order than of several.
    total = part.cumsum(1)[:, -1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(total > least, part / total, np.nan).astype(np.float32)


def used_labels(recipe: Recipe) -> tuple[str, ...]:
    """Kinds of labels (`Rows.labels`) that a recipe learns from."""
    teacher = recipe.loss.distillation
    used = {
        **{kind: getattr(recipe.heads, kind) for kind in ("emotion", "valence_arousal", "landmarks", "box")},
        "teacher": teacher.weight,
        "teacher_va": teacher.valence_arousal_weight,
    }
    return tuple(kind for kind, wanted in used.items() if wanted)


def _refuse_heads_without_rows(rows: Rows, counts: Mapping[str, int], recipe: Recipe) -> None:
    known = rows.known()
    used, teachers = used_labels(recipe), {"emotion": "teacher", "valence_arousal": "teacher_va"}
    for kind in used:
        if known[kind].any():
            continue
        if kind in teachers.values():
            raise DataError(f"loss.distillation wants {kind}, but no row has it: add it with vidfer train label")
        if teachers.get(kind) not in used:
            there = [name for name in EMOTIONS if counts[name]]
            if kind == "emotion" and there:
                wanted = ", ".join(recipe.heads.emotion)
                raise DataError(f"no row is of a class of heads.emotion ({wanted}): there are {', '.join(there)}")
            raise DataError(f"heads asks for {kind}, but no row has such a label: {_what_there_is(counts)}")
    if recipe.data.sampling == "balanced" and not known["emotion"].any():
        raise DataError('data.sampling = "balanced" is of emotions, but no row has one that is learned: leave it out')


def _what_there_is(counts: Mapping[str, int]) -> str:
    labels = {what: n for what, n in counts.items() if what not in ("rows", *EMOTIONS)}
    emotions = sum(counts[name] for name in EMOTIONS)
    there = [f"{n} with {what}" for what, n in {"an emotion": emotions, **labels}.items() if n]
    return f"of {counts['rows']} rows there are {', '.join(there) or 'none with a label'}"


def _counts(faces: TrainingFaces) -> dict[str, int]:
    """How many rows there are, and how many have which label."""
    points = {k: ~np.isnan(values).all((1, 2)) for k, values in faces.points.items()}
    return {
        "rows": len(faces),
        **{name: int((faces.emotion == k).sum()) for k, name in enumerate(EMOTIONS)},
        "votes": int((~np.isnan(faces.votes).any(1)).sum()),
        "valence and arousal": int((~np.isnan(faces.valence_arousal).all(1)).sum()),
        "a box": int((~np.isnan(faces.box_px).any(1)).sum()),
        **{f"{k} points": int(points[k].sum()) if k in points else 0 for k in POINTS},
    }
