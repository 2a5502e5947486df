"""From rows to what networks say about them, in px of the stored pictures."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vidfer.errors import DataError
from vidfer.train.datasets.table import TrainingFaces
from vidfer.train.evaluation.network import POINT_HEADS, About, Network
from vidfer.train.multitask.crops import crop_boxes, seen
from vidfer.train.multitask.options import DataOptions
from vidfer.train.points import reduced
from vidfer.types import F32, I64, U8
from vidfer.vision.geometry import CROP_SCALE, apply_transform, crop_transform, invert_transform

_log = logging.getLogger(__name__)
_BATCH = 64
_OFF = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a network says about rows.

    Attributes:
        about: The network.
        transform: From the stored pictures to what it saw, f32[N,2,3].
        heads: Its values, one row each.
        points: Points f32[N,K,2] by their number, px of the stored picture: its own, and fewer that are part of them.
        reduced: Which of `points` are parts of others.
        box_px: f32[N,4], px of the stored picture.
    """

    about: About
    transform: F32
    heads: dict[str, F32]
    points: dict[int, F32]
    reduced: frozenset[int]
    box_px: F32 | None


def transforms(rows: TrainingFaces, about: About) -> F32:
    """From pictures to what a network sees of them, f32[N,2,3].

    Corners of boxes are moved by up to `_OFF` of the longer side: those of detectors are off, too, and a box in the
    middle of its crop would be no question. How far depends on the picture alone, not on the rows beside it.
    """
    options = DataOptions(crop=about.crop, margin=about.margin)
    draws = [np.random.default_rng(zlib.crc32(image)).uniform(-_OFF, _OFF, 4) for image in rows.images]
    side = (rows.box_px[:, 2:] - rows.box_px[:, :2]).max(1, keepdims=True)
    moved = np.asarray(rows.box_px + np.stack(draws) * side, np.float32)
    return crop_transform(crop_boxes(moved, rows.size_px, options), size=about.input_px)


def reference_sides(rows: TrainingFaces) -> F32:
    """Sides f32[N], px, of the squares that errors in px are given for, whatever part a network sees."""
    boxed = ~np.isnan(rows.box_px).any(1)
    side = (rows.box_px[:, 2:] - rows.box_px[:, :2]).max(1) * CROP_SCALE
    return np.asarray(np.where(boxed, side, rows.size_px.max(1)), np.float32)


def predict(
    networks: Sequence[Network], rows: TrainingFaces, progress: Callable[[int, int], None] | None = None
) -> tuple[list[Said], I64]:
    """What networks say about all rows whose pictures can be decoded, and which rows these are.

    Args:
        networks: Which.
        rows: All of them see the same.
        progress: Called with how many rows are done and how many there are.

    Raises:
        DataError: No picture can be decoded, or a network gives something else than numbers.
    """
    to_crop = [transforms(rows, network.about) for network in networks]
    said: list[list[dict[str, F32]]] = [[] for _ in networks]
    readable: list[int] = []
    for index, pictures in _batches(rows):
        readable += index
        for network, transform, parts in zip(networks, to_crop, said, strict=True):
            side = network.about.input_px
            crops = [seen(image, transform[k], side) for k, image in zip(index, pictures, strict=True)]
            parts.append(network.run(np.stack(crops)))
        if progress:
            progress(index[-1] + 1, len(rows))
    if not readable:
        raise DataError(f"none of {len(rows)} pictures can be decoded: make the table again")
    kept = np.array(readable, np.int64)
    return [
        _said(network.about, parts, transform[kept])
        for network, parts, transform in zip(networks, said, to_crop, strict=True)
    ], kept


def _batches(rows: TrainingFaces) -> Iterator[tuple[list[int], list[U8]]]:
    index: list[int] = []
    pictures: list[U8] = []
    for k in range(len(rows)):
        try:
            pictures.append(rows.picture(k))
            index.append(k)
        except DataError:
            _log.info("the picture of row %d cannot be decoded: left out", k)
        if index and (len(index) == _BATCH or k == len(rows) - 1):
            yield index, pictures
            index, pictures = [], []


def _said(about: About, parts: list[dict[str, F32]], transform: F32) -> Said:
    heads = {name: np.concatenate([part[name] for part in parts]) for name in about.heads}
    for name, values in heads.items():
        if not np.isfinite(values).all():
            bad = (~np.isfinite(values.reshape(len(values), -1)).all(1)).sum()
            raise DataError(
                f"{about.label}: {name} is no number for {bad} of {len(values)} faces: train or export it anew"
            )
    back = invert_transform(transform)
    points = {k: apply_transform(back, heads[name][..., :2]) for name, k in POINT_HEADS.items() if name in heads}
    own = frozenset(points)
    for few in (4, 5, 15):
        more = [k for k in sorted(own) if k > few]
        if few not in own and more:
            points[few] = reduced(points[more[0]], few)
    # What networks tell counts from the centre of the first pixel, boxes of tables from its edge.
    box = apply_transform(back, heads["box"].reshape(-1, 2, 2)).reshape(-1, 4) + 0.5 if "box" in heads else None
    return Said(
        about=about, transform=transform, heads=heads, points=points, reduced=frozenset(points) - own, box_px=box
    )
