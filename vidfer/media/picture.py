"""Decoded pictures, upright and with square pixels, converted only as far as somebody asks for it.

Measured on 720p H.264 (one core, ms): full-size RGB 0.29, and from there 640x360 by OpenCV 0.21; the decoder's scaler
takes 0.93 for 640x360 alone. So small pictures come from the full-size one, which the face crops need anyway, until the
scaler wins (4K to 640x360: 3.3 against 2.5).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any, cast

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from vidfer.media.planes import SWSCALE_MATRIX, YuvPicture, colours_of, matrix_of
from vidfer.media.region import REGION_FORMATS, cut_region
from vidfer.types import U8, ColourSpace

_SWSCALE_FROM_RATIO = 4
# Regions are squares whose side is a multiple of this: the tables for a size take longer to make than its pixels.
_REGION_STEP = 64
_BAND_LINES = 128
_SCALER_STEP = 16  # the scaler rounds what is left over at the end of a line otherwise
_GRAY_WORK_PX = 256  # the luma is thinned to about this width before it is averaged: 0.04 ms, not 0.23, at 720p
_LUMA_FIRST = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "gray"})

_WIDEST_PIXEL = 8


@dataclass(frozen=True, slots=True)
class Turn:
    """One of the eight ways to put a stored picture upright: transposed or not, then mirrored in x and y."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @classmethod
    def of_frame(cls, frame: av.VideoFrame) -> Turn:
        """The turn that a frame's display matrix asks for; to the nearest quarter."""
        try:
            matrix = frame.side_data.get("DISPLAYMATRIX")
        except ValueError:
            # PyAV 18 does not know all kinds of side data, and then gives none of them: photos with EXIF. Its own
            # number, degrees counterclockwise, is right for whatever is not mirrored, as cameras write it.
            return _QUARTERS[round(-frame.rotation / 90) % 4]
        if matrix is None:
            return cls()
        a, b, _, c, d = (int(v) for v in np.frombuffer(cast(Any, matrix), "<i4")[:5])
        # The player shows the stored point (x, y) at (a x + c y, b x + d y), y pointing down.
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(transpose=True, mirror_x=c < 0, mirror_y=b < 0)
        return cls(transpose=False, mirror_x=a < 0, mirror_y=d < 0)

    @property
    def rotation(self) -> int:
        """Degrees clockwise by which the stored picture is turned; mirroring left to right comes after."""
        if self.transpose:
            return 270 if self.mirror_y else 90
        return 180 if self.mirror_y else 0

    @property
    def mirrors(self) -> bool:
        """Whether left and right change places, seen from the front: no rotation does that."""
        return self.transpose ^ self.mirror_x ^ self.mirror_y

    def size(self, width: int, height: int) -> tuple[int, int]:
        """A size before or after the turn, from the other one."""
        return (height, width) if self.transpose else (width, height)

    def apply(self, image: U8) -> U8:
        """The picture uint8[H,W] or uint8[H,W,3] turned upright; the same array where there is nothing to turn."""
        if self.transpose:
            image = cast(U8, cv2.transpose(image))
        if self.mirror_x or self.mirror_y:
            code = -1 if self.mirror_x and self.mirror_y else int(self.mirror_x)
            image = cast(U8, cv2.flip(image, code))
        return image


# By quarters clockwise.
_QUARTERS = (
    Turn(),
    Turn(transpose=True, mirror_x=True),
    Turn(mirror_x=True, mirror_y=True),
    Turn(transpose=True, mirror_y=True),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the stored pictures of a source become upright ones with square pixels; shared by all of its pictures.

    Attributes:
        scaled_width, scaled_height: Size before the turn, with square pixels; may be odd.
        turn: What puts it upright.
        width, height: Size of the upright picture; even.
        colours: Of its first frame, for writing the pictures again.
    """

    scaled_width: int
    scaled_height: int
    turn: Turn
    width: int
    height: int
    colours: ColourSpace
    # Reformatters keep their tables, which take longer to make than a small picture, but must not be used by two
    # threads at once: each conversion takes one out and puts it back (deque does that atomically).
    _idle: dict[tuple[int, int, str], deque[VideoReformatter]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of_frame(cls, frame: av.VideoFrame, sample_aspect_ratio: Fraction) -> Layout:
        """The layout that the first frame of a source asks for."""
        width, height = frame.width, frame.height
        # The lines that there are stay; pixels are only ever stretched.
        if sample_aspect_ratio > 1:
            width = max(2, 2 * round(width * sample_aspect_ratio / 2))
        elif sample_aspect_ratio < 1:
            height = max(2, 2 * round(height / sample_aspect_ratio / 2))
        width, height = max(2, width), max(2, height)
        turn = Turn.of_frame(frame)
        upright_width, upright_height = turn.size(width, height)
        return cls(width, height, turn, upright_width // 2 * 2, upright_height // 2 * 2, colours_of(frame))

    @property
    def turns(self) -> bool:
        """Whether the stored pictures are turned at all."""
        return self.turn != Turn()

    def convert(self, frame: av.VideoFrame, width: int, height: int, pixels: str, matrix: int | None = None) -> U8:
        """A stored frame as an array of this size in this pixel format (`rgb24`, `gray`), not yet turned.

        `matrix` is that of the colours, where `frame` is a part that cannot say.
        """
        idle = self._idle.setdefault((width, height, pixels), deque())
        try:
            reformatter = idle.pop()
        except IndexError:
            reformatter = VideoReformatter()
        yuv = not frame.format.is_rgb
        converted = reformatter.reformat(
            frame, width, height, pixels,
            src_colorspace=SWSCALE_MATRIX[matrix or matrix_of(frame)] if yuv else None,
            interpolation=Interpolation.AREA,
            threads=1,
        )  # fmt: skip
        idle.append(reformatter)
        return cast(U8, converted.to_ndarray())


def sane_aspect_ratio(ratio: Fraction | None) -> Fraction:
    """The shape of a stored pixel (width / height); 1 where it is unknown or absurd."""
    if not ratio or not Fraction(1, _WIDEST_PIXEL) <= ratio <= _WIDEST_PIXEL:
        return Fraction(1)
    return Fraction(ratio)


def _shrink(image: U8, width: int, height: int) -> U8:
    """Scale a picture: halved by averaging as often as possible, the rest bilinear. No pixel is left out."""
    while image.shape[1] >= 2 * width and image.shape[0] >= 2 * height:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = cast(U8, cv2.resize(image, half, interpolation=cv2.INTER_AREA))
    if image.shape[:2] == (height, width):
        return image
    return cast(U8, cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR))


def _read_only(image: U8) -> U8:
    image = np.ascontiguousarray(image)
    image.flags.writeable = False
    return image


class ArrayPicture:
    """A picture that is there as an RGB array uint8[H,W,3] already: photos, drawings, tests."""

    __slots__ = ("_image",)

    def __init__(self, image: U8) -> None:
        """Args: the picture, RGB uint8[H,W,3]; an odd last row or column is left out."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or min(image.shape[:2]) < 2:
            raise ValueError(f"a picture must be uint8[H,W,3] of at least 2x2, got {image.dtype}{list(image.shape)}")
        self._image = _read_only(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2].view())

    @property
    def width(self) -> int:
        """Width in px, even."""
        return int(self._image.shape[1])

    @property
    def height(self) -> int:
        """Height in px, even."""
        return int(self._image.shape[0])

    def rgb(self, width: int | None = None, height: int | None = None) -> U8:
        """The picture as read-only RGB uint8[H,W,3]; scaled to (width, height) where given."""
        size = (width or self.width, height or self.height)
        return self._image if size == (self.width, self.height) else _read_only(_shrink(self._image, *size))

    def part(self, left: int, top: int, right: int, bottom: int) -> U8:
        """`rgb()[top:bottom, left:right]`."""
        return self._image[top:bottom, left:right]

    def gray(self, width: int, height: int) -> U8:
        """Luma as uint8[height,width]."""
        small = cv2.resize(self._image, (width, height), interpolation=cv2.INTER_AREA)
        return _read_only(cast(U8, cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)))


class VideoPicture:
    """A decoded frame of a video. It keeps the decoder's memory alive, so hold few of them."""

    __slots__ = ("_frame", "_layout")

    def __init__(self, frame: av.VideoFrame, layout: Layout) -> None:
        """Args: the decoded frame, and how the source it comes from is put upright."""
        self._frame = frame
        self._layout = layout

    @property
    def width(self) -> int:
        """Width in px of the upright picture with square pixels; even."""
        return self._layout.width

    @property
    def height(self) -> int:
        """Height in px of the upright picture with square pixels; even."""
        return self._layout.height

    @property
    def colours(self) -> ColourSpace:
        """Those that `yuv` gives it in."""
        return self._layout.colours

    def rgb(self, width: int | None = None, height: int | None = None) -> U8:
        """The picture as read-only RGB uint8[H,W,3]; scaled to (width, height) where given.

        Nothing is kept: a full-size picture is 6 MB in full HD, and many frames wait at the same time.
        """
        width, height = width or self.width, height or self.height
        if min(self.width / width, self.height / height) >= _SWSCALE_FROM_RATIO:
            return _read_only(self._converted(width, height, "rgb24"))
        if self.width >= 2 * width and self.height >= max(2 * height, _BAND_LINES) and self._is_plain():
            return _read_only(_shrink(self._halved(), width, height))
        layout = self._layout
        full = layout.turn.apply(layout.convert(self._frame, layout.scaled_width, layout.scaled_height, "rgb24"))
        return _read_only(_shrink(full[: self.height, : self.width], width, height))

    def part(self, left: int, top: int, right: int, bottom: int) -> U8:
        """`rgb()[top:bottom, left:right]`, but only as much as that is converted."""
        x, y = left // 2 * 2, top // 2 * 2
        side = -(-max(right - x, bottom - y) // _REGION_STEP) * _REGION_STEP
        if not self._is_plain() or side > min(self.width, self.height) or 2 * side**2 > self.width * self.height:
            return self.rgb()[top:bottom, left:right]
        x, y = min(x, self.width - side), min(y, self.height - side)
        square = self._region(x, y, side, side)
        square.flags.writeable = False
        return square[top - y : bottom - y, left - x : right - x]

    def _is_plain(self) -> bool:
        """Whether the stored pixels are those of the upright picture, and its regions come out as in the whole one."""
        frame, layout = self._frame, self._layout
        same = (frame.width, frame.height) == (layout.scaled_width, layout.scaled_height) == (self.width, self.height)
        even_steps = self.width % _SCALER_STEP == 0 and self.height % 4 == 0 and self.height >= _REGION_STEP
        return same and even_steps and not layout.turns and frame.format.name in REGION_FORMATS

    def _region(self, left: int, top: int, width: int, height: int) -> U8:
        region = cut_region(self._frame, left, top, width, height)
        return self._layout.convert(region, width, height, "rgb24", matrix_of(self._frame))

    def _halved(self) -> U8:
        """Half the size: the first step of `_shrink`, in bands, so that the full-size picture is never there."""
        half: U8 = np.empty((self.height // 2, self.width // 2, 3), np.uint8)
        bands = self.height // _BAND_LINES
        edges = [self.height * band // bands // 4 * 4 for band in range(bands + 1)]
        for top, bottom in pairwise(edges):
            into, band = half[top // 2 : bottom // 2], self._region(0, top, self.width, bottom - top)
            cv2.resize(band, into.shape[1::-1], into, interpolation=cv2.INTER_AREA)
        return half

    def yuv(self) -> YuvPicture:
        """The picture as 8-bit YUV 4:2:0 in the colours of its source, for an encoder."""
        return YuvPicture.of_frame(self._frame, self._layout)

    def gray(self, width: int, height: int) -> U8:
        """Luma (in the range the video has) as uint8[height,width]; cheap, for cut detection."""
        frame = self._frame
        if frame.format.name not in _LUMA_FIRST:
            return _read_only(self._converted(width, height, "gray"))
        plane = frame.planes[0]
        lines = np.frombuffer(cast(Any, plane), np.uint8, plane.line_size * frame.height)
        luma = lines.reshape(frame.height, plane.line_size)
        step = max(1, frame.width // _GRAY_WORK_PX)
        thin = np.ascontiguousarray(luma[::step, : frame.width : step])
        small = cv2.resize(thin, self._layout.turn.size(width, height), interpolation=cv2.INTER_AREA)
        return _read_only(self._layout.turn.apply(cast(U8, small)))

    def _converted(self, width: int, height: int, pixels: str) -> U8:
        turn = self._layout.turn
        return turn.apply(self._layout.convert(self._frame, *turn.size(width, height), pixels))
