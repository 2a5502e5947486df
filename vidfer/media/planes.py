"""Decoded pictures as they go back into an encoder: upright, 8-bit YUV 4:2:0, in the colours of their source.

Most videos are stored that way. Their frames are handed on as the decoder gave them, without a conversion and, as long
as nobody draws on them, without a copy.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from vidfer.types import U8, ColourSpace

if TYPE_CHECKING:
    from vidfer.media.picture import Layout

# AVCOL_SPC_* that say which matrix was used, to the number that swscale wants.
SWSCALE_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_BT709, _BT601 = 1, 6
_UNSPECIFIED = 2
_HD_ABOVE_PX = (1024, 576)
# Taken out while they are used, since no two threads may use one at once (deque does that atomically).
_idle: deque[VideoReformatter] = deque()


def matrix_of(frame: av.VideoFrame) -> int:
    """The colour matrix of a frame (ITU-T H.273); where it does not say, by size, as players guess."""
    matrix = int(frame.colorspace)
    if matrix in SWSCALE_MATRIX and not frame.format.is_rgb:
        return matrix
    return _BT709 if frame.width > _HD_ABOVE_PX[0] or frame.height > _HD_ABOVE_PX[1] else _BT601


def colours_of(frame: av.VideoFrame) -> ColourSpace:
    """The colours that the pictures of a source are to be written in, from its first frame."""
    matrix = matrix_of(frame)
    known = not frame.format.is_rgb
    primaries, transfer = int(frame.color_primaries), int(frame.color_trc)
    return ColourSpace(
        matrix=matrix,
        full_range=known and _is_full(frame),
        primaries=primaries if known and primaries != _UNSPECIFIED else matrix,
        transfer=transfer if known and transfer != _UNSPECIFIED else matrix,
    )


def _is_full(frame: av.VideoFrame) -> bool:
    return frame.format.name.startswith("yuvj") or int(frame.color_range) == ColorRange.JPEG


def pixels_of(colours: ColourSpace) -> str:
    """FFmpeg's name for 8-bit 4:2:0 in these colours."""
    return "yuvj420p" if colours.full_range else "yuv420p"


class YuvPicture:
    """An upright picture with an even size, as 8-bit YUV 4:2:0.

    Attributes:
        frame: For the encoder. It may still be the decoder's: draw on `writable()` only.
        colours: What its numbers mean.
    """

    __slots__ = ("colours", "frame")

    def __init__(self, frame: av.VideoFrame, colours: ColourSpace) -> None:
        """Args: a frame in `pixels_of(colours)`, of an even size."""
        self.frame = frame
        self.colours = colours

    @classmethod
    def blank(cls, width: int, height: int, colours: ColourSpace) -> YuvPicture:
        """A picture whose contents are yet to be written."""
        return cls(av.VideoFrame(width, height, pixels_of(colours)), colours)

    @classmethod
    def of_frame(cls, frame: av.VideoFrame, layout: Layout) -> YuvPicture:
        """A decoded frame put upright; the frame itself where that changes nothing."""
        colours = layout.colours
        size = (frame.width, frame.height)
        same = colours_of(frame) == colours and frame.format.name == pixels_of(colours)
        if same and not layout.turns and size == (layout.width, layout.height):
            return cls(frame, colours)
        if not same or size != (layout.scaled_width, layout.scaled_height):
            frame = _converted(frame, layout.scaled_width, layout.scaled_height, colours)
        upright = cls.blank(layout.width, layout.height, colours)
        for target, plane in zip(upright.planes(), _planes(frame), strict=True):
            target[:] = layout.turn.apply(plane)[: target.shape[0], : target.shape[1]]
        return upright

    def planes(self) -> tuple[U8, U8, U8]:
        """Y uint8[H,W], U and V uint8[H/2,W/2]: views, not to be written to unless they came from `writable()`."""
        return _planes(self.frame)

    def writable(self) -> tuple[U8, U8, U8]:
        """The planes to draw on; copied first where the decoder still needs them for other frames."""
        self.frame.make_writable()
        return _planes(self.frame)

    def copy_to(self, other: YuvPicture) -> YuvPicture:
        """The other one, now with these contents: memory that is used again is not to be had from the system first."""
        for target, plane in zip(other.writable(), self.planes(), strict=True):
            np.copyto(target, plane)
        return other


def _planes(frame: av.VideoFrame) -> tuple[U8, U8, U8]:
    views = []
    for plane in frame.planes:
        lines = np.frombuffer(cast(Any, plane), np.uint8, plane.line_size * plane.height)
        views.append(lines.reshape(plane.height, plane.line_size)[:, : plane.width])
    return views[0], views[1], views[2]


def _converted(frame: av.VideoFrame, width: int, height: int, colours: ColourSpace) -> av.VideoFrame:
    yuv = not frame.format.is_rgb
    try:
        reformatter = _idle.pop()
    except IndexError:
        reformatter = VideoReformatter()
    converted = reformatter.reformat(
        frame, width, height, pixels_of(colours),
        src_colorspace=SWSCALE_MATRIX[matrix_of(frame)] if yuv else None,
        dst_colorspace=SWSCALE_MATRIX[colours.matrix],
        src_color_range=ColorRange.JPEG if not yuv or _is_full(frame) else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG if colours.full_range else ColorRange.MPEG,
        interpolation=Interpolation.AREA,
        threads=1,
    )  # fmt: skip
    _idle.append(reformatter)
    return converted
