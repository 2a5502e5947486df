"""Made-up pictures as videos store them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av

from vidfer.media.picture import Layout
from vidfer.media.planes import YuvPicture
from vidfer.types import U8, ColourSpace


def yuv_of(image: U8, colours: ColourSpace) -> YuvPicture:
    """From RGB uint8[H,W,3] of an even size."""
    frame = av.VideoFrame.from_ndarray(image, "rgb24")
    return YuvPicture.of_frame(frame, replace(Layout.of_frame(frame, Fraction(1)), colours=colours))
