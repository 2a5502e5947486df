"""What is drawn on: the planes of RGB pictures, or of YUV 4:2:0 pictures without converting them.

Blending is the same sum in RGB and in YUV, since one is a matrix times the other: it is enough to convert the colours
that are drawn. Each shape is drawn on every plane at the size of that plane: spreading the parts around faces to full
size and averaging them back took as long as the drawing itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from vidfer.output.sprites import Stamp, blend
from vidfer.types import F32, I64, U8, Colour, ColourSpace

SHIFT = 4  # OpenCV draws at 1/16 px, so that things glide instead of jumping
_ONE = 1 << SHIFT
_DOT_OPACITY = 0.9
_PARTS = 8  # of a pixel in each direction: dots glide in steps of an eighth

# Weights of red and blue in luma, by matrix.
_WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
_BT601 = (0.299, 0.114)
# What is white on a page must not glare as the brightest light in an HDR video (codes of PQ and HLG).
_WHITE_OF_TRANSFER = {16: 0.58, 18: 0.75}


class Canvas:
    """A picture to draw on in place, with places in px as edges between pixels.

    Args:
        planes: Red, green and blue, or Y, U and V, where U and V may have half the (even) size.
    """

    def __init__(self, planes: Sequence[U8]) -> None:
        self._planes: dict[int, list[tuple[int, U8]]] = {}  # by how many px of the picture are one of theirs
        for channel, plane in enumerate(planes):
            self._planes.setdefault(planes[0].shape[0] // plane.shape[0], []).append((channel, plane))

    def lines(
        self, lines: Sequence[npt.NDArray[np.float64]], colour: Colour, width: int, *, closed: bool, fine: bool = False
    ) -> None:
        """Lines f64[P,2] each; `fine` ones only on planes of full size: enough for what is dark, whatever its hue."""
        for step, planes in self._planes.items():
            if fine and step > 1:
                continue
            # OpenCV counts pixel centres.
            fixed = [np.round((line / step - 0.5) * _ONE).astype(np.int32) for line in lines]
            for channel, plane in planes:
                wide = max(1, round(width / step))
                cv2.polylines(plane, fixed, closed, (colour[channel],), wide, cv2.LINE_AA, SHIFT)

    def circle(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A filled circle."""
        for step, planes in self._planes.items():
            centre = (round((x / step - 0.5) * _ONE), round((y / step - 0.5) * _ONE))
            for channel, plane in planes:
                cv2.circle(plane, centre, round(radius / step * _ONE), (colour[channel],), -1, cv2.LINE_AA, SHIFT)

    def dots(self, groups: Sequence[tuple[F32, float, Colour]]) -> None:
        """Soft dots: groups of places f32[N,2] with a radius and a colour, the radii of about one size.

        The middle of the top left pixel is at (0, 0), as for landmarks.

        Numpy and a table for all of them at once, since 478 circles of OpenCV take 1 ms.
        """
        places = np.concatenate([points for points, _, _ in groups])
        group = np.repeat(np.arange(len(groups)), [len(points) for points, _, _ in groups])
        inks = np.array([colour for _, _, colour in groups], np.int16)
        for step, planes in self._planes.items():
            reach = math.ceil(max(radius for _, radius, _ in groups) / step)
            dots = [_dot(round(radius / step * _PARTS) / _PARTS, reach) for _, radius, _ in groups]
            dy, dx = dots[0][0]
            fine = np.rint(((places + 0.5) / step - 0.5) * _PARTS).astype(np.int64) + _PARTS // 2
            x, y = (fine // _PARTS).T
            part = (fine[:, 1] % _PARTS + group * _PARTS) * _PARTS + fine[:, 0] % _PARTS
            height, width = planes[0][1].shape
            inside = (x >= reach) & (y >= reach) & (x < width - reach) & (y < height - reach)
            alpha = np.concatenate([opacity for _, opacity in dots], axis=1).take(part[inside], axis=1)
            for channel, plane in planes:
                stride = plane.strides[0]
                # One number instead of two to find a pixel: half the time.
                flat = np.lib.stride_tricks.as_strided(plane, ((height - 1) * stride + width,), (1,))
                at = (dy * stride + dx)[:, None] + (y * stride + x)[inside]
                below = flat[at].astype(np.int16)
                flat[at] = below + ((inks[group[inside], channel] - below) * alpha >> 7)

    def paste(self, stamp: Stamp, x: int, y: int) -> None:
        """Blend a stamp into the picture with its top left corner at (x, y); what lies outside is cut off."""
        for step, planes in self._planes.items():
            for channel, plane in planes:
                blend(plane, *stamp[channel], x // step, y // step)

    def put(self, image: U8, x: int, y: int) -> None:
        """Replace a part of the picture by uint8[H,W,3]; all sides even."""
        for step, planes in self._planes.items():
            size = (image.shape[1] // step, image.shape[0] // step)
            for channel, plane in planes:
                part = cv2.resize(cv2.extractChannel(image, channel), size, interpolation=cv2.INTER_AREA)
                plane[y // step : y // step + size[1], x // step : x // step + size[0]] = part

    def fill(self, left: int, top: int, right: int, bottom: int, colour: Colour) -> None:
        """Replace a part of the picture by one colour; all sides even."""
        for step, planes in self._planes.items():
            for channel, plane in planes:
                plane[top // step : bottom // step, left // step : right // step] = colour[channel]


@lru_cache(maxsize=128)
def _dot(radius: float, reach: int) -> tuple[I64, npt.NDArray[np.int16]]:
    """The pixels (y, x) within reach, i64[2,P], and what a dot covers of each, of 128, by part of a pixel, [P,64].

    From the rim inwards: where dots touch, the stronger is last.
    """
    around = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    around = around[:, np.argsort(-np.hypot(*around), kind="stable")]
    around = around[:, np.hypot(*np.maximum(np.abs(around) - 0.5, 0)) < reach + 0.5]
    part = (np.arange(_PARTS) - _PARTS // 2) / _PARTS
    dy, dx = around[0][:, None, None] - part[:, None], around[1][:, None, None] - part
    opacity = np.clip(radius + 0.5 - np.hypot(dy, dx), 0, 1).reshape(-1, _PARTS**2) * _DOT_OPACITY
    return around, np.round(opacity * 128).astype(np.int16)


@lru_cache(maxsize=256)
def painted(colour: Colour, colours: ColourSpace | None) -> Colour:
    """An RGB colour in the numbers of a canvas."""
    if colours is None:
        return colour
    white = _WHITE_OF_TRANSFER.get(colours.transfer, 1.0)
    red, green, blue = (value * white for value in colour)
    of_red, of_blue = _WEIGHTS.get(colours.matrix, _BT601)
    luma = of_red * red + (1 - of_red - of_blue) * green + of_blue * blue
    u, v = (blue - luma) / (2 - 2 * of_blue), (red - luma) / (2 - 2 * of_red)
    if colours.full_range:
        return round(luma), min(255, round(128 + u)), min(255, round(128 + v))
    return round(16 + luma * 219 / 255), round(128 + u * 224 / 255), round(128 + v * 224 / 255)
