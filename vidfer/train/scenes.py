"""Whole pictures with labelled faces, and what becomes of their boxes when a picture is turned, cut or covered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from vidfer.errors import DataError
from vidfer.train.copies import shared
from vidfer.types import F32, U8, Bool

HELD_OUT_ONE_IN = 10
MIN_FACE_PX = 9.0  # shorter side; smaller faces are neither face nor background
MAX_COVERED = 0.55  # share of a face behind something else up to which it still counts as one
MIN_VISIBLE = 0.55  # visible share of the area of a face; less is neither face nor background


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A labelled picture: image uint8[H,W,3] RGB, box_px f32[N,4] (xyxy), valid bool[N] (else an ignore region)."""

    name: str
    image: U8
    box_px: F32
    valid: Bool
    masked: Bool
    negative: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A training picture: image uint8[S,S,3] RGB, box_px f32[N,4], valid bool[N]."""

    image: U8
    box_px: F32
    valid: Bool


def held_out(name: str) -> bool:
    """Whether a train scene belongs to the tenth that chooses models."""
    return crc32(name.encode()) % HELD_OUT_ONE_IN == 0


def decode(data: bytes) -> U8:
    """A stored picture as RGB uint8[H,W,3]."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise DataError(f"a picture of {len(data)} bytes cannot be decoded: is the data set complete?")
    return np.asarray(image, np.uint8)


def load_scenes(path: Path, split: str) -> list[Scene]:
    """Read the scenes of a split: `val`, or `train` without those that show what one of val shows."""
    if not path.exists():
        raise DataError(f"{path} is missing: give the folder that holds scenes.parquet and faces.parquet")
    scenes = []
    for row in pq.read_table(path, filters=[("split", "=", split)]).to_pylist():
        box = np.asarray(row["boxes"], np.float32).reshape(-1, 4).copy()
        box[:, 2:] += box[:, :2]
        scenes.append(
            Scene(
                name=row["name"],
                image=decode(row["image"]),
                box_px=box,
                valid=np.asarray(row["valid"], bool).reshape(-1),
                masked=np.asarray(row["masked"], bool).reshape(-1),
                negative=bool(row["negative"]),
            )
        )
    return without_copies(scenes, load_scenes(path, "val")) if split == "train" else scenes


def without_copies(scenes: list[Scene], others: Sequence[Scene]) -> list[Scene]:
    """The scenes that are not among others, also not cut in another way."""
    again = shared([s.image for s in scenes], [s.image for s in others])
    return [s for s, there in zip(scenes, again, strict=True) if not there]


def as_f32(values: npt.ArrayLike) -> F32:
    """Numbers as a float32 array."""
    return np.asarray(values, np.float32)


def move_boxes(box_px: F32, matrix: F32) -> F32:
    """Boxes f32[N,4] after a similarity f32[2,3]: a face is the ellipse in its box, so that turns don't inflate it."""
    centre = (box_px[:, :2] + box_px[:, 2:]) / 2 @ matrix[:, :2].T + matrix[:, 2]
    half = (box_px[:, 2:] - box_px[:, :2]) / 2
    moved = np.sqrt(half**2 @ (matrix[:, :2] ** 2).T)
    return np.concatenate([centre - moved, centre + moved], 1).astype(np.float32)


def clip_boxes(box_px: F32, valid: Bool, size: int) -> tuple[F32, Bool]:
    """Boxes cut at the border of a square picture; those hardly visible or too small become ignore regions."""
    clipped = np.clip(box_px, 0, size).astype(np.float32)
    side = clipped[:, 2:] - clipped[:, :2]
    visible = side.prod(1) / np.maximum((box_px[:, 2:] - box_px[:, :2]).prod(1), 1e-3)
    keep = side.min(1) > 1
    valid = valid & (visible >= MIN_VISIBLE) & (side.min(1) >= MIN_FACE_PX)
    return clipped[keep], valid[keep]


def covered_share(box: F32, cover: F32) -> F32:
    """How much of each box is covered by another one."""
    low, high = np.maximum(box[:, :2], cover[:2]), np.minimum(box[:, 2:], cover[2:])
    area = np.maximum((box[:, 2:] - box[:, :2]).prod(1), 1e-3)
    return np.asarray(np.clip(high - low, 0, None).prod(1) / area, np.float32)


def cover_boxes(box: F32, valid: Bool, cover: F32) -> tuple[F32, Bool]:
    """Faces that something was pasted over: mostly hidden ones are gone, half hidden ones become ignore regions."""
    if not len(box):
        return box, valid
    share = covered_share(box, cover)
    keep = share < 0.8
    return box[keep], (valid & (share < MAX_COVERED))[keep]
