"""Boxes, letterbox, and the one crop of a face that training and run time share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import cv2
import numpy as np

from vidfer.types import F32, U8

CROP_PX = 112
CROP_SCALE = 1.2  # side of the square crop / longer side of the face box: leaves room for a box that is off by 8 %
_ROI_PAD_PX = 2


def iou(a: F32, b: F32) -> F32:
    """Intersection over union of boxes f32[N,4] and f32[M,4] (xyxy) as f32[N,M]; 0 where a box is empty."""
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap = np.prod(np.clip(bottom_right - top_left, 0, None), axis=2)
    area_a = np.prod(np.clip(a[:, 2:] - a[:, :2], 0, None), axis=1)
    area_b = np.prod(np.clip(b[:, 2:] - b[:, :2], 0, None), axis=1)
    union = area_a[:, None] + area_b[None, :] - overlap
    return np.asarray(np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0), np.float32)


def letterbox_size(width: int, height: int, long_side: int, multiple: int) -> tuple[int, int, int, int]:
    """How a picture is fitted into a detector input: never enlarged, aspect kept, padded right and below.

    Returns:
        (scaled width, scaled height, padded width, padded height) in px; the padded sides are multiples of `multiple`.
    """
    scale = min(1.0, long_side / max(width, height))
    scaled_w, scaled_h = max(1, round(width * scale)), max(1, round(height * scale))
    return scaled_w, scaled_h, -(-scaled_w // multiple) * multiple, -(-scaled_h // multiple) * multiple


def crop_transform(box_px: F32, roll_deg: F32 | float = 0.0, size: int = CROP_PX) -> F32:
    """Similarity transforms f32[N,2,3] from the picture to a square crop of `size` px around each box.

    Args:
        box_px: f32[N,4], xyxy.
        roll_deg: In-plane turn of the face, degrees, f32[N] or one for all: how far its eye line is turned in the
            picture (clockwise positive, since y points down); the crop turns it level.
        size: Side of the crop in px.
    """
    box = np.asarray(box_px, np.float64).reshape(-1, 4)
    centre = (box[:, :2] + box[:, 2:]) / 2
    side = np.maximum(box[:, 2:] - box[:, :2], 1e-3).max(axis=1) * CROP_SCALE
    angle = np.deg2rad(np.broadcast_to(np.asarray(roll_deg, np.float64), side.shape))
    scale = size / side
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    turn = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    # Pixel centres are whole numbers (OpenCV), so the middle of the crop is at (size - 1) / 2.
    shift = (size - 1) / 2 - np.einsum("nij,nj->ni", turn, centre - 0.5)
    return np.concatenate([turn, shift[:, :, None]], axis=2).astype(np.float32)


def invert_transform(transform: F32) -> F32:
    """Inverse of similarity transforms f32[N,2,3]."""
    turn = np.linalg.inv(transform[:, :, :2].astype(np.float64))
    shift = -np.einsum("nij,nj->ni", turn, transform[:, :, 2])
    return np.concatenate([turn, shift[:, :, None]], axis=2).astype(np.float32)


def apply_transform(transform: F32, points: F32) -> F32:
    """Map points f32[N,K,2] by transforms f32[N,2,3]."""
    return np.asarray(np.einsum("nij,nkj->nki", transform[:, :, :2], points) + transform[:, None, :, 2], np.float32)


def crop(image: U8, transform: F32, size: int = CROP_PX) -> U8:
    """Cut one crop uint8[size,size,C] out of a picture uint8[H,W,C].

    Shrinking by more than two averages the covered area first (bilinear sampling alone would alias); outside the
    picture its border is repeated.

    Args:
        image: The picture.
        transform: f32[2,3] from the picture to the crop.
        size: Side of the crop in px.
    """
    height, width = image.shape[:2]
    back = invert_transform(transform[None])[0]
    return crop_part(lambda x0, y0, x1, y1: image[y0:y1, x0:x1], width, height, transform, back, size)


def crop_part(
    part: Callable[[int, int, int, int], U8], width: int, height: int, transform: F32, back: F32, size: int = CROP_PX
) -> U8:
    """`crop` of a picture that is not there as a whole.

    Args:
        part: Gives the pixels uint8[y1-y0,x1-x0,C] between x0, y0, x1 and y1.
        width: Of the picture.
        height: Of the picture.
        transform: f32[2,3] from the picture to the crop.
        back: f32[2,3], its inverse.
        size: Side of the crop in px.
    """
    matrix = np.array(transform, np.float64)
    in_x, in_y = back.tolist()
    (x0, x1), (y0, y1) = _span(in_x, size, width), _span(in_y, size, height)
    region = part(x0, y0, x1, y1)
    shrink = int(1 / np.hypot(matrix[0, 0], matrix[1, 0]))
    matrix[:, 2] += matrix[:, :2] @ (x0, y0)
    if shrink >= 2 and min(region.shape[:2]) >= shrink:
        h, w = region.shape[0] // shrink, region.shape[1] // shrink
        shrunken = cv2.resize(region[: h * shrink, : w * shrink], (w, h), interpolation=cv2.INTER_AREA)
        region = cast("U8", shrunken)
        # Pixel k of the shrunken region covers k * shrink ... k * shrink + shrink - 1.
        matrix[:, 2] += matrix[:, :2] @ np.full(2, (shrink - 1) / 2)
        matrix[:, :2] *= shrink
    cut = cv2.warpAffine(region, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cast("U8", cut)


def _span(back: list[float], size: int, limit: int) -> tuple[int, int]:
    """From where to where a crop reaches in one direction of the picture. With arrays it takes ten times as long."""
    along_x, along_y, shift = back
    ends = (0.0, along_x * size, along_y * size, along_x * size + along_y * size)
    low = min(max(math.floor(min(ends) + shift) - _ROI_PAD_PX, 0), limit - 1)
    return low, min(max(math.ceil(max(ends) + shift) + _ROI_PAD_PX, low + 1), limit)
