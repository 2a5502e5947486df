"""What is drawn on: RGB pictures, or the planes of YUV 4:2:0 pictures without converting them.

Blending is the same sum in RGB and in YUV, since one is a matrix times the other: it is enough to convert the colours
that are drawn. A part of a YUV picture is spread to full size, drawn on and averaged back, which leaves what was not
drawn on as it was, to the bit. Going to RGB and back took more than twice as long as drawing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol, cast

import cv2
import numpy as np

from vidfer.types import U8, ColourSpace

Colour = tuple[int, int, int]  # RGB, or YUV once it is painted

# Weights of red and blue in luma, by matrix.
_WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
_BT601 = (0.299, 0.114)
# What is white on a page must not glare as the brightest light in an HDR video (codes of PQ and HLG).
_WHITE_OF_TRANSFER = {16: 0.58, 18: 0.75}


class Canvas(Protocol):
    """A picture to draw on, part by part."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in px."""
        ...

    def part(self, left: float, top: float, right: float, bottom: float) -> Iterator[tuple[U8, int, int]]:
        """Loop over it once: a part uint8[h,w,3] to draw on, and where its top left corner is; nothing if outside."""
        ...


def _inside(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A box rounded out to even numbers and cut at the border."""
    left, top = (max(0, int(np.floor(value / 2)) * 2) for value in box[:2])
    right, bottom = (min(limit, int(np.ceil(value / 2)) * 2) for value, limit in zip(box[2:], size, strict=True))
    return left, top, right, bottom


class RgbCanvas:
    """An RGB picture uint8[H,W,3], drawn on in place."""

    def __init__(self, image: U8) -> None:
        self._image = image

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in px."""
        return self._image.shape[1], self._image.shape[0]

    def part(self, left: float, top: float, right: float, bottom: float) -> Iterator[tuple[U8, int, int]]:
        """A part of the picture, in RGB."""
        x0, y0, x1, y1 = _inside((left, top, right, bottom), self.size)
        if x1 > x0 and y1 > y0:
            yield self._image[y0:y1, x0:x1], x0, y0


class YuvCanvas:
    """The planes of a YUV 4:2:0 picture of an even size, drawn on in place."""

    def __init__(self, planes: tuple[U8, U8, U8]) -> None:
        self._y, self._u, self._v = planes

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in px."""
        return self._y.shape[1], self._y.shape[0]

    def part(self, left: float, top: float, right: float, bottom: float) -> Iterator[tuple[U8, int, int]]:
        """A part of the picture, in YUV at full size; written back when the loop goes on."""
        x0, y0, x1, y1 = _inside((left, top, right, bottom), self.size)
        if x1 <= x0 or y1 <= y0:
            return
        luma = np.s_[y0:y1, x0:x1]
        chroma = np.s_[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2]
        size, half = (x1 - x0, y1 - y0), ((x1 - x0) // 2, (y1 - y0) // 2)
        # Half as long as spreading, joining and averaging plane by plane.
        u, v = self._u[chroma], self._v[chroma]
        image = cast(U8, cv2.resize(cv2.merge([u, u, v]), size, interpolation=cv2.INTER_NEAREST))
        cv2.insertChannel(self._y[luma], image, 0)
        yield image, x0, y0
        self._y[luma], *drawn = cv2.split(image)
        for plane, full in zip((u, v), drawn, strict=True):
            cv2.resize(full, half, dst=plane, interpolation=cv2.INTER_AREA)


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
