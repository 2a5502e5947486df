"""Small pictures with transparency, made once and pasted often: texts, panels, bars, discs.

OpenCV's own text is poor at the sizes that small videos need: its thinnest line is one pixel. Here its outline font is
drawn eight times as large, with a line as thick as it should be, and averaged down.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from vidfer.types import F32, U8, Colour

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAPITAL_PX = 21  # height of a capital letter of that font at scale 1
_LINE = 0.14  # thickness of a line / height of a capital letter
_FINE = 8  # supersampling

Stamp = list[tuple[U8, U8]]  # of each plane of a picture what `blend` takes


@dataclass(frozen=True, slots=True)
class Sprite:
    """A picture with transparency, ready to paste.

    Attributes:
        colour: uint8[H,W,3], multiplied by its opacity already.
        keep: uint8[H,W,3], how much of the background stays, of 255.
    """

    colour: U8
    keep: U8

    @classmethod
    def of(cls, layers: list[tuple[Colour, F32]]) -> Sprite:
        """From layers of one (painted) colour, the lowest first; their opacities f32[H,W] are in [0, 1]."""
        height, width = layers[0][1].shape
        colour = np.zeros((height, width, 3), np.float32)
        keep = np.ones((height, width, 1), np.float32)
        for rgb, opacity in layers:
            alpha = opacity[:, :, None]
            colour = colour * (1 - alpha) + np.array(rgb, np.float32) * alpha
            keep = keep * (1 - alpha)
        kept = np.repeat(np.round(keep * 255), 3, axis=2)
        return cls(np.round(colour).astype(np.uint8), kept.astype(np.uint8))

    @property
    def width(self) -> int:
        """Width in px."""
        return int(self.colour.shape[1])

    @property
    def height(self) -> int:
        """Height in px."""
        return int(self.colour.shape[0])

    def paste(self, image: U8, x: int, y: int) -> None:
        """Blend it into a picture with its top left corner at (x, y); what lies outside is cut off."""
        blend(image, self.colour, self.keep, x, y)

    def with_another(self, other: Sprite, x: int, y: int) -> Sprite:
        """With another one on top."""
        colour, keep = self.colour.copy(), self.keep.copy()
        other.paste(colour, x, y)
        blend(keep, np.zeros_like(other.keep), other.keep, x, y)
        return Sprite(colour, keep)

    def stamp(self, chroma_step: int) -> Stamp:
        """Its planes, the last two made smaller by a whole number."""
        wide, high = (-(-side // chroma_step) for side in (self.width, self.height))
        right, below = wide * chroma_step - self.width, high * chroma_step - self.height
        stamp: Stamp = []
        for colour, keep in zip(cv2.split(self.colour), cv2.split(self.keep), strict=True):
            if stamp and chroma_step > 1:
                colour = cv2.copyMakeBorder(colour, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(0,))
                keep = cv2.copyMakeBorder(keep, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(255,))
                colour, keep = (cv2.resize(one, (wide, high), interpolation=cv2.INTER_AREA) for one in (colour, keep))
            stamp.append((colour.astype(np.uint8), keep.astype(np.uint8)))
        return stamp


def blend(image: U8, colour: U8, keep: U8, x: int, y: int) -> None:
    """Keep so much of 255 of a picture and add a colour, with the top left corner at (x, y)."""
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + colour.shape[1], image.shape[1]), min(y + colour.shape[0], image.shape[0])
    if right <= left or bottom <= top:
        return
    part = np.s_[top - y : bottom - y, left - x : right - x]
    region = image[top:bottom, left:right]
    cv2.add(cv2.multiply(region, keep[part], scale=1 / 255), colour[part], dst=region)


def _shrunk(mask: U8, width: int, height: int) -> F32:
    small: F32 = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    small /= 255
    return small


@lru_cache(maxsize=512)
def text_mask(text: str, capital_px: int) -> F32:
    """Opacity f32[H,W] of a line of text, cut to its width.

    The base line is `capital_px` below the top row; half of that is left below it for descenders.
    """
    size = capital_px * _FINE
    thickness = max(1, round(_LINE * size))
    scale = (size - thickness) / _CAPITAL_PX
    (wide, _), _ = cv2.getTextSize(text, _FONT, scale, thickness)
    width = -(-(wide + thickness) // _FINE)
    height = capital_px + (capital_px + 1) // 2
    mask = np.zeros((height * _FINE, width * _FINE), np.uint8)
    cv2.putText(mask, text, (thickness // 2, size - thickness // 2), _FONT, scale, (255,), thickness, cv2.LINE_AA)
    return _shrunk(mask, width, height)


@lru_cache(maxsize=256)
def rounded_mask(width: int, height: int, radius: float) -> F32:
    """Opacity f32[height,width] of a filled rectangle with round corners."""
    x = np.abs(np.arange(width) - (width - 1) / 2) - (width / 2 - radius)
    y = np.abs(np.arange(height) - (height - 1) / 2) - (height / 2 - radius)
    outside = np.hypot(np.maximum(x[None, :], 0), np.maximum(y[:, None], 0))
    opacity: F32 = np.clip(radius - outside + 0.5, 0, 1).astype(np.float32)
    return opacity


def ring_mask(size: int, radius: float, thickness: float) -> F32:
    """Opacity f32[size,size] of a circle line in the middle of a square."""
    at = np.arange(size) - (size - 1) / 2
    distance = np.abs(np.hypot(at[None, :], at[:, None]) - radius)
    opacity: F32 = np.clip(thickness / 2 - distance + 0.5, 0, 1).astype(np.float32)
    return opacity


def placed(mask: F32, width: int, height: int, x: int, y: int) -> F32:
    """A mask at a place of a larger empty one."""
    canvas = np.zeros((height, width), np.float32)
    rows, columns = min(mask.shape[0], height - y), min(mask.shape[1], width - x)
    canvas[y : y + rows, x : x + columns] = mask[:rows, :columns]
    return canvas
