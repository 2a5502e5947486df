"""Training crops changed at random, and every label moved along.

What happens is drawn from one generator, so that a batch is a function of its seed. Positions are px of the crop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vidfer.train import augment
from vidfer.train.multitask.crops import crop_boxes, moved_boxes, seen
from vidfer.train.multitask.options import Augment, DataOptions
from vidfer.train.multitask.pictures import Pictures
from vidfer.train.multitask.rows import Rows
from vidfer.train.points import flipped
from vidfer.types import F32, F64, I64, U8, Bool
from vidfer.vision.geometry import CROP_SCALE, apply_transform, crop_transform

Arrays = dict[str, npt.NDArray[Any]]

# A crop enlarged by more than this is blurred enough as it is.
_ENLARGED = 2.0
_MOST_DEVIATIONS = 2.5
_AFFECT = ("emotion", "valence_arousal", "teacher", "teacher_va")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What crops are made from.

    Attributes:
        rows: Targets.
        pictures: Pictures.
        data: How crops are cut.
        side: Of the crops, px.
    """

    rows: Rows
    pictures: Pictures
    data: DataOptions
    side: int

    def crops(self, index: I64, transform: F32) -> Arrays:
        """Crops uint8[B,S,S,3] of some rows, and their labels by the names of `Rows.known`."""
        rows = self.rows.take(index)
        pictures = [self.pictures[int(k)] for k in rows.picture]
        points = apply_transform(transform, rows.points[..., :2])
        if rows.points.shape[2] == 3:
            scale = np.hypot(transform[:, 0, 0], transform[:, 1, 0])[:, None, None]
            points = np.concatenate([points, rows.points[..., 2:] * scale], 2)
        return {
            "image": np.stack([seen(p, t, self.side) for p, t in zip(pictures, transform, strict=True)]),
            "emotion": rows.emotion,
            "valence_arousal": rows.valence_arousal,
            "landmarks": points,
            "box": moved_boxes(transform, rows.box_px),
            "teacher": rows.teacher,
            "teacher_va": rows.teacher_va,
        }

    def boxes(self, index: I64) -> F32:
        """What `crop_transform` cuts of some rows."""
        return crop_boxes(self.rows.box_px[index], self.rows.size_px[index], self.data)


def augmented(source: Source, index: I64, options: Augment, rng: np.random.Generator) -> Arrays:
    """Crops of some rows, changed as the recipe says."""
    box, roll = random_boxes(source.boxes(index), options, rng)
    transform = sheared(
        crop_transform(box, roll, source.side), rng.uniform(-1, 1, len(index)) * options.shear, source.side
    )
    batch = source.crops(index, transform)
    flip(batch, rng.random(len(index)) < options.flip)
    enlarged = np.hypot(transform[:, 0, 0], transform[:, 1, 0]) > _ENLARGED
    for k, small in enumerate(enlarged.tolist()):
        batch["image"][k] = _repainted(batch["image"][k], options, rng, small=small)
    mix(batch, options, rng)
    return batch


def random_boxes(box_px: F32, options: Augment, rng: np.random.Generator) -> tuple[F32, F32]:
    """Boxes f32[N,4] moved and resized, and turns f32[N] in degrees."""
    n = len(box_px)
    side = (box_px[:, 2:] - box_px[:, :2]).max(1, keepdims=True) * CROP_SCALE
    limit = _MOST_DEVIATIONS
    offset = rng.normal(size=(n, 2)).clip(-limit, limit) * options.offset * side
    scale = np.exp(rng.normal(size=(n, 1)).clip(-limit, limit) * options.scale)
    corners = rng.uniform(-1, 1, (n, 4)) * options.jitter * side
    middle, half = (box_px[:, :2] + box_px[:, 2:]) / 2 + offset, (box_px[:, 2:] - box_px[:, :2]) / 2 * scale
    moved = np.concatenate([middle - half, middle + half], 1) + corners
    roll = rng.uniform(-1, 1, n) * options.rotation
    return moved.astype(np.float32), roll.astype(np.float32)


def sheared(transform: F32, share: F64, side: int) -> F32:
    """Transforms f32[N,2,3] to crops whose lines are shifted sideways, the middle one not at all."""
    moved = transform.astype(np.float64)
    moved[:, 0] += share[:, None] * transform[:, 1]
    moved[:, 0, 2] -= share * (side - 1) / 2
    return moved.astype(np.float32)


def flip(batch: Arrays, rows: Bool) -> None:
    """Mirror some crops of a batch in place: what was a left point is a right one then."""
    side = batch["image"].shape[1]
    batch["image"][rows] = batch["image"][rows, :, ::-1]
    if batch["landmarks"].shape[1]:
        batch["landmarks"][rows] = flipped(batch["landmarks"][rows], side)
    x0, y0, x1, y1 = batch["box"][rows].T
    batch["box"][rows] = np.stack([side - 1 - x1, y0, side - 1 - x0, y1], 1)


def _repainted(image: U8, options: Augment, rng: np.random.Generator, *, small: bool) -> U8:
    """Changes of a crop that leave everything in its place."""
    clahe, colour, grey, low, blur, jpeg, erase = rng.random(7).tolist()
    if clahe < options.clahe:
        image = augment.equalise(image, rng)
    if colour < options.colour:
        image = augment.recolour(image, rng)
    if grey < options.grey:
        image = augment.grey(image)
    if low < options.low_resolution and not small:
        image = augment.low_resolution(image, rng)
    if blur < options.blur and not small:
        image = augment.blur(image, rng)
    if jpeg < options.jpeg and not small:
        image = augment.compress(image, rng)
    return augment.erase(image, rng) if erase < options.erase else image


def mix(batch: Arrays, options: Augment, rng: np.random.Generator) -> None:
    """Mix some crops of a batch with others of it, in place.

    Distributions and values of both are mixed as the pictures are. Positions are dropped: there are two faces then, and
    what lies between their points is no point of either. A row is mixed only with rows that have labels of the same
    kinds, since a mixture with an unknown label is unknown.
    """
    n = len(batch["image"])
    chance = rng.random(n)
    partner = _partners(batch, rng)
    mixed = np.flatnonzero((chance < options.mixup + options.cutmix) & (partner >= 0))
    if not len(mixed):
        return
    before = {name: batch[name].copy() for name in ("image", *_AFFECT)}
    for k in mixed.tolist():
        own, other = before["image"][k], before["image"][partner[k]]
        if chance[k] < options.mixup:
            share = float(rng.beta(options.mixup_alpha, options.mixup_alpha))
            batch["image"][k] = np.rint(share * own.astype(np.float32) + (1 - share) * other)
        else:
            share = _paste_part(
                batch["image"][k], other, float(rng.beta(options.cutmix_alpha, options.cutmix_alpha)), rng
            )
        for name in _AFFECT:
            batch[name][k] = share * before[name][k] + (1 - share) * before[name][partner[k]]
    batch["landmarks"][mixed] = np.nan
    batch["box"][mixed] = np.nan


def _partners(batch: Arrays, rng: np.random.Generator) -> I64:
    """Another row with labels of the same kinds for each, -1 where there is none."""
    known = np.stack([~np.isnan(batch[name]).all(1) for name in _AFFECT], 1)
    kind = known @ (1 << np.arange(len(_AFFECT)))
    partner = np.full(len(kind), -1)
    for value in np.unique(kind[kind > 0]):
        rows = rng.permutation(np.flatnonzero(kind == value))
        if len(rows) > 1:
            partner[rows] = np.roll(rows, 1)
    return partner


def _paste_part(image: U8, other: U8, share: float, rng: np.random.Generator) -> float:
    """Put a rectangle of another crop in its place; gives the share of the own picture that is left."""
    size = len(image)
    side = size * math.sqrt(1 - share)
    x, y = rng.uniform(0, size, 2).tolist()
    x0, y0 = (max(0, round(v - side / 2)) for v in (x, y))
    x1, y1 = (min(size, round(v + side / 2)) for v in (x, y))
    image[y0:y1, x0:x1] = other[y0:y1, x0:x1]
    return 1 - float((x1 - x0) * (y1 - y0)) / size**2
