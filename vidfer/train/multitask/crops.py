"""Which part of a picture the network sees: the square around the face's box, or the whole of it made square."""

from __future__ import annotations

import numpy as np

from vidfer.train.data import as_rgb
from vidfer.train.multitask.options import DataOptions
from vidfer.types import F32, I64, U8
from vidfer.vision.geometry import CROP_SCALE, apply_transform, crop


def crop_boxes(box_px: F32, size_px: I64, options: DataOptions) -> F32:
    """Boxes f32[N,4] that `crop_transform` cuts as the recipe says.

    Args:
        box_px: f32[N,4] of the faces, px of the stored pictures; NaN where there is none.
        size_px: i64[N,2] of the pictures, width and height.
        options: Of the recipe.
    """
    size = size_px.astype(np.float32)
    boxed = np.asarray(~np.isnan(box_px).any(1) & (options.crop == "box"), np.bool_)
    box = np.where(boxed[:, None], box_px, np.concatenate([np.zeros_like(size), size], 1))
    # The cut is a square of CROP_SCALE times the longer side.
    grown = np.where(boxed, options.margin, 1.0)[:, None] / CROP_SCALE
    middle, half = (box[:, :2] + box[:, 2:]) / 2, (box[:, 2:] - box[:, :2]) / 2 * grown
    return np.concatenate([middle - half, middle + half], 1).astype(np.float32)


def seen(picture: U8, transform: F32, side: int) -> U8:
    """What the network sees of a picture: uint8[S,S,3] RGB."""
    return as_rgb(crop(picture, transform, side))


def moved_boxes(transform: F32, box_px: F32) -> F32:
    """Boxes f32[N,4] after similarity transforms f32[N,2,3], in px that count from the centre of the first one.

    Boxes of tables count from its edge. A face is more like the ellipse in its box than like its corners, which a turn
    would carry outwards: at 15 degrees the box around them is a fifth larger, though the face is not.
    """
    middle, half = (box_px[:, :2] + box_px[:, 2:] - 1) / 2, (box_px[:, 2:] - box_px[:, :2]) / 2
    centre = apply_transform(transform, middle[:, None].astype(np.float32))[:, 0]
    reach = np.sqrt(np.einsum("nij,nj->ni", transform[:, :, :2] ** 2, half**2))
    return np.concatenate([centre - reach, centre + reach], 1).astype(np.float32)
