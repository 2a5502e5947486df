"""Training faces: `faces.parquet` in memory, its mesh, and augmented crops with every label moved along.

A batch is a dict of float32 tensors; a label that a row does not have is NaN and its loss is masked (`losses.py`), so
sets with different labels mix freely. Positions are in px of the crop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vidfer.errors import DataError
from vidfer.train.augment import degrade
from vidfer.train.copies import copied, first_of_its_kind
from vidfer.train.mesh import MIRROR68, MeshBasis, to_picture
from vidfer.train.targets import FaceTargets
from vidfer.types import EMOTIONS, F32, I64, U8
from vidfer.vision.geometry import CROP_PX, apply_transform, crop, crop_transform

# Hand-made and semi-automatic points; the automatic ones of affectnet are too loose to learn from.
_POINTS68_SETS = ("lfpw", "ytf")
# A crop enlarged by more than this shows a face of about 50 px (all of FER+): it is blurred enough as it is.
_ENLARGED = 2.0
# Sets whose group is a person.
PERSON_SETS = ["web", "ytf"]
# How often a row of a set is drawn in one epoch: labelled sets are small, FER+ is large and 48 px.
DRAWS = {
    "ferplus": 0.6,
    "affectnet": 2.0,
    "diffusionfer": 2.0,
    "lfpw": 3.0,
    "ytf": 1.5,
    "colour": 0.8,
    "web": 1.2,
    "video": 1.0,
}


@dataclass(slots=True)
class FaceRows:
    """Rows of `faces.parquet` as columns; NaN where a row has no such label.

    Attributes:
        images: Encoded pictures are decoded once: uint8[H,W,3] RGB, or uint8[H,W] where the file is grey.
        box_px: f32[N,4] mesh bounding box, or the usual box of its set where no mesh was found.
    """

    images: list[U8]
    set_name: npt.NDArray[np.str_]
    group: npt.NDArray[np.str_]
    label: I64
    label7: npt.NDArray[np.str_]
    votes: F32
    valence_arousal: F32
    mesh_coef: F32
    mesh_frame: F32
    points68: F32
    soft8: F32
    soft7: F32
    soft_va: F32
    soft_id: F32
    box_px: F32 = field(default_factory=lambda: np.zeros((0, 4), np.float32))

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: npt.NDArray[Any]) -> FaceRows:
        """The rows of an index or mask array."""
        index = np.flatnonzero(rows) if rows.dtype == bool else rows
        columns = {n: getattr(self, n)[index] for n in self.__slots__ if n != "images"}
        return FaceRows(images=[self.images[i] for i in index], **columns)


def _matrix(column: Any, width: int) -> F32:
    out = np.full((len(column), width), np.nan, np.float32)
    for i, value in enumerate(column.to_pylist()):
        if value is not None:
            out[i] = value
    return out


def decode_image(data: bytes) -> U8:
    """A stored picture as uint8[H,W,3] RGB, or uint8[H,W] where its channels are equal.

    Raises:
        DataError: The picture cannot be decoded.
    """
    cv2.setLogLevel(0)  # what is wrong with a picture is told by us
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:  # no bytes at all, or more pixels than OpenCV takes
        image = None
    if image is None:
        raise DataError("the training file holds a picture that cannot be decoded; make the file again")
    grey = (image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all()
    return np.ascontiguousarray(image[..., 0]) if grey else np.asarray(image, np.uint8)


def read_faces(folder: Path, split: str, basis: MeshBasis, sets: Sequence[str] | None = None) -> FaceRows:
    """Read one split ("train" without what is also in val, or "val") of `folder/faces.parquet`, or some sets of it.

    Raises:
        DataError: The file or a column is missing.
    """
    path = folder / "faces.parquet"
    if not path.is_file():
        raise DataError(f"no training faces at {path}; give the folder that holds faces.parquet with --data")
    of_sets = [("set", "in", list(sets))] if sets else []
    table = pq.read_table(path, filters=[("split", "==", split), *of_sets])
    if split == "train":
        table = _without_persons_of_val(table, path)
    missing = {"image", "set", "group", "label", "votes", "mesh_coef", "mesh_frame", "soft8"} - set(table.column_names)
    if missing:
        raise DataError(f"{path} lacks the columns {', '.join(sorted(missing))}; see TRAINING in the model card")
    codes = {name: i for i, name in enumerate(EMOTIONS)}
    files = table["image"].to_pylist()
    rows = FaceRows(
        images=[decode_image(data) for data in files],
        set_name=np.array(table["set"].to_pylist()),
        # Copies of a picture belong together, whatever their names are.
        group=np.array(table["group"].to_pylist())[first_of_its_kind(files)],
        label=np.array([codes.get(name, -1) for name in table["label"].to_pylist()]),
        label7=np.array([name or "" for name in table["label7"].to_pylist()]),
        votes=_matrix(table["votes"], 10),
        valence_arousal=np.stack([_matrix(table[c], 1)[:, 0] for c in ("valence", "arousal")], 1),
        mesh_coef=_matrix(table["mesh_coef"], len(basis.basis)),
        mesh_frame=_matrix(table["mesh_frame"], 4),
        points68=_matrix(table["points68"], 136),
        soft8=_matrix(table["soft8"], 8),
        soft7=_matrix(table["soft7"], 7),
        soft_va=_matrix(table["soft_va"], 2),
        soft_id=_matrix(table["soft_id"], 128),
    )
    _reject_turned_meshes(rows)
    rows.points68[~np.isin(rows.set_name, _POINTS68_SETS) & (split == "train")] = np.nan
    rows.box_px = _boxes(rows, basis)
    if split == "train":
        val = pq.read_table(path, columns=["image"], filters=[("split", "==", "val")])["image"].to_pylist()
        rows = rows.take(~copied(rows.images, [decode_image(data) for data in val]))
    return rows


def _without_persons_of_val(table: pa.Table, path: Path) -> pa.Table:
    """Leave out train pictures of persons on whose val pictures the embedding is measured."""
    persons = pq.read_table(path, columns=["group"], filters=[("split", "==", "val"), ("set", "in", PERSON_SETS)])
    known = pc.is_in(table["group"], persons["group"].combine_chunks().unique())
    return table.filter(pc.invert(pc.and_(known, pc.is_in(table["set"], pa.array(PERSON_SETS)))))


def _reject_turned_meshes(rows: FaceRows) -> None:
    # FER2013 faces are upright: a mesh turned by more than 60 degrees there is a mistake of the labelling tool.
    with np.errstate(invalid="ignore"):
        wrong = (rows.set_name == "ferplus") & (np.abs(rows.mesh_frame[:, 3]) > np.pi / 3)
    rows.mesh_coef[wrong] = np.nan
    rows.mesh_frame[wrong] = np.nan


def _boxes(rows: FaceRows, basis: MeshBasis) -> F32:
    size = np.array([[im.shape[1], im.shape[0]] * 2 for im in rows.images], np.float32)
    box = np.full((len(rows), 4), np.nan, np.float32)
    found = np.flatnonzero(~np.isnan(rows.mesh_frame[:, 0]))
    for part in np.array_split(found, max(1, len(found) // 2000)):
        points = basis.points(rows.mesh_coef[part], rows.mesh_frame[part])[..., :2]
        box[part] = np.concatenate([points.min(1), points.max(1)], 1)
    for name in np.unique(rows.set_name):
        of_set = rows.set_name == name
        usual = np.nanmedian(box[of_set] / size[of_set], axis=0)
        lost = of_set & np.isnan(box[:, 0])
        box[lost] = usual * size[lost]
    return box


def held_out(groups: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    """A fixed tenth of the groups (persons, clips, pictures): for choosing models and fitting temperatures."""
    return np.array([hashlib.sha256(g.encode()).digest()[0] % 10 == 0 for g in groups])


def jittered_boxes(box_px: F32, seed: int, amount: float = 0.08) -> F32:
    """Boxes whose corners are moved by up to ±`amount` of the longer side: the yardstick's protocol."""
    rng = np.random.default_rng(seed)
    side = (box_px[:, 2:] - box_px[:, :2]).max(1, keepdims=True)
    return np.asarray(box_px + rng.uniform(-amount, amount, box_px.shape) * side, np.float32)


def crops_of(rows: FaceRows, box_px: F32, size: int = CROP_PX) -> Iterator[tuple[U8, F32]]:
    """Plain crops for evaluation: (uint8[size,size,3], transform f32[2,3]) per row."""
    for image, transform in zip(rows.images, crop_transform(box_px, size=size), strict=True):
        yield as_rgb(crop(image, transform, size)), transform


def as_rgb(image: U8) -> U8:
    """Grey pictures as three equal channels."""
    return np.repeat(image[:, :, None], 3, 2) if image.ndim == 2 else image


def random_boxes(box_px: F32, rng: np.random.Generator) -> tuple[F32, F32]:
    """Boxes off by what detectors and trackers are off by, and in-plane turns in degrees, for augmentation."""
    n = len(box_px)
    centre, half = (box_px[:, :2] + box_px[:, 2:]) / 2, (box_px[:, 2:] - box_px[:, :2]) / 2
    side = half.max(1, keepdims=True) * 2
    centre = centre + np.clip(rng.normal(0, 0.04, (n, 2)), -0.12, 0.12) * side
    half = half * np.exp(np.clip(rng.normal(0, 0.08, (n, 1)), -0.2, 0.25)) * np.exp(rng.normal(0, 0.03, (n, 2)))
    roll = np.where(rng.random(n) < 0.12, rng.uniform(-60, 60, n), rng.normal(0, 8, n))
    return np.concatenate([centre - half, centre + half], 1).astype(np.float32), roll.astype(np.float32)


def augmented(
    rows: FaceRows, targets: FaceTargets, basis: MeshBasis, index: I64, rng: np.random.Generator, plain: float = 0.3
) -> dict[str, npt.NDArray[Any]]:
    """One training batch: crops uint8[B,S,S,3] and targets in px of the crop, half of them mirrored.

    Args:
        rows: Training faces.
        targets: What they say.
        basis: Of their meshes.
        index: Rows of the batch.
        rng: Decides boxes, turns, mirroring and degradation.
        plain: Share of crops that are not degraded.
    """
    size = CROP_PX
    box, roll = random_boxes(rows.box_px[index], rng)
    transform = crop_transform(box, roll, size)
    frame = rows.mesh_frame[index]
    mesh = basis.points(rows.mesh_coef[index], frame)
    points68 = apply_transform(transform, to_picture(targets.points68[index], frame))
    scale = np.hypot(transform[:, 0, 0], transform[:, 1, 0])
    mesh = np.concatenate([apply_transform(transform, mesh[..., :2]), mesh[..., 2:] * scale[:, None, None]], 2)
    images = np.stack([as_rgb(crop(rows.images[i], t, size)) for i, t in zip(index, transform, strict=True)])
    small = scale > _ENLARGED
    flip = rng.random(len(index)) < 0.5
    images[flip] = images[flip, :, ::-1]
    mesh[flip] = mesh[flip][:, basis.mirror] * (-1, 1, 1) + (size - 1, 0, 0)
    points68[flip] = points68[flip][:, MIRROR68] * (-1, 1) + (size - 1, 0)
    return {
        "image": np.stack(
            [degrade(image, rng, small=s, plain=plain) for image, s in zip(images, small.tolist(), strict=True)]
        ),
        "emotion": targets.emotion[index],
        "emotion_weight": targets.emotion_weight[index],
        "teacher": targets.teacher[index],
        "teacher_weight": targets.teacher_weight[index],
        "fer2013": targets.fer2013[index],
        "fer2013_weight": targets.fer2013_weight[index],
        "va": targets.va[index],
        "va_weight": targets.va_weight[index],
        "mesh": mesh.astype(np.float32),
        "points68": points68.astype(np.float32),
        "points68_weight": targets.points68_weight[index],
        "box": np.concatenate([mesh[..., :2].min(1), mesh[..., :2].max(1)], 1).astype(np.float32),
        "presence": np.ones(len(index), np.float32),
        # A mirrored face is the same person to the teacher, too: its embedding is close enough to keep.
        "embedding": rows.soft_id[index],
    }
