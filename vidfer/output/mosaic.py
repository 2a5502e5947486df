"""Makes faces unrecognisable, for good: an ellipse around each becomes a few squares of one rough shade each.

Nothing but those shades is left of the face in the file. A blur would not do: it can be undone, sums of many pixels
with known weights over many frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np

from vidfer.types import U8

_CELLS = 6  # across the ellipse, so about four across a face: from eight or so on people are recognised
_STEP = 8  # shades are this far apart: less to be put together from many frames
# Half axes against the sides of the box: its corners lie within (that takes 0.71), and so do hair and chin.
_WIDE, _HIGH = 0.76, 0.80
_LEAST_PX = 12
_SHIFT = 4
_ONE = 1 << _SHIFT

Planes = tuple[U8, U8, U8]
Boxes = Sequence[tuple[float, float, float, float]]


def hide_faces(planes: Planes, boxes: Boxes) -> None:
    """Hide what is in and around boxes (x0, y0, x1, y1), in place: in red, green and blue, or in Y, U and V."""
    scales = [plane.shape[0] / planes[0].shape[0] for plane in planes]
    for x0, y0, x1, y1 in boxes:
        centre = ((x0 + x1) / 2, (y0 + y1) / 2)
        axes = (max((x1 - x0) * _WIDE, _LEAST_PX / 2), max((y1 - y0) * _HIGH, _LEAST_PX / 2))
        for plane, scale in zip(planes, scales, strict=True):
            _hide(plane, (centre[0] * scale, centre[1] * scale), (axes[0] * scale, axes[1] * scale))


def without_faces(image: U8, boxes: Boxes) -> U8:
    """A read-only copy of an RGB picture with the same hidden."""
    planes = cast(Planes, cv2.split(image))
    hide_faces(planes, boxes)
    hidden = cast(U8, cv2.merge(planes))
    hidden.flags.writeable = False
    return hidden


def hide_all(planes: Planes) -> None:
    """Hide the whole picture, as rough as a face that fills it."""
    for plane in planes:
        _squares(plane, max(1.0, min(plane.shape) / _CELLS))


def _hide(plane: U8, centre: tuple[float, float], axes: tuple[float, float]) -> None:
    left, top = (max(0, int(np.floor(c - a))) for c, a in zip(centre, axes, strict=True))
    right, bottom = (
        min(limit, int(np.ceil(c + a))) for limit, c, a in zip(plane.shape[::-1], centre, axes, strict=True)
    )
    if right <= left or bottom <= top:
        return
    region = plane[top:bottom, left:right]
    squares = region.copy()
    _squares(squares, max(2 * min(axes) / _CELLS, 1.0))
    # Boxes count edges between pixels, OpenCV counts pixel centres.
    middle = [round((c - 0.5 - corner) * _ONE) for c, corner in zip(centre, (left, top), strict=True)]
    reach = [round(a * _ONE) for a in axes]
    inside = cv2.ellipse(np.zeros_like(region), middle, reach, 0, 0, 360, (255,), -1, cv2.LINE_8, _SHIFT)
    region[:] = np.where(inside, squares, region)


def _squares(image: U8, side: float) -> None:
    """Squares of at least this side in px, each of one shade, in place."""
    height, width = image.shape
    cells = (max(1, int(width / side)), max(1, int(height / side)))
    small = cv2.resize(image, cells, interpolation=cv2.INTER_AREA).astype(int)
    rough = np.minimum((small + _STEP // 2) // _STEP * _STEP, 255).astype(np.uint8)
    image[:] = cv2.resize(rough, (width, height), interpolation=cv2.INTER_NEAREST)
