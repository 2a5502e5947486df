"""Parts of a decoded frame, so that only the pixels that somebody looks at are converted.

Measured on 1920x1080 in a run of two threads (ms of CPU): full-size RGB 2.7, of which 0.6 are arithmetic and the rest
fresh memory; a square of 320 px 0.06.
"""

from __future__ import annotations

from typing import Any, cast

import av
import numpy as np

from vidfer.types import U8

REGION_FORMATS = frozenset({"yuv420p", "yuvj420p"})


def cut_region(frame: av.VideoFrame, left: int, top: int, width: int, height: int) -> av.VideoFrame:
    """A copy of a rectangle of a frame in one of `REGION_FORMATS`.

    All four numbers are even, and the height is a multiple of 4: PyAV cuts others off.
    """
    planes: U8 = np.empty(width * height * 3 // 2, np.uint8)
    begin = 0
    for plane, step in zip(frame.planes, (1, 2, 2), strict=True):
        lines: U8 = np.ndarray((-(-frame.height // step), plane.line_size), np.uint8, cast(Any, plane))
        w, h = width // step, height // step
        target = planes[begin : begin + w * h].reshape(h, w)
        target[:] = lines[top // step : top // step + h, left // step : left // step + w]
        begin += w * h
    region = av.VideoFrame.from_numpy_buffer(planes.reshape(-1, width), format=frame.format.name)
    region.color_range = frame.color_range
    return region
