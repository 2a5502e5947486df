"""Annotated pictures for those who look, made when they ask and at the size they ask for.

A camera is looked at from the first request on until two seconds after the last one. Without anybody, its frames come
without pictures, nothing is drawn or encoded, and nothing is kept.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import cast

import cv2
from starlette.concurrency import run_in_threadpool

from vidfer.output.canvas import Canvas
from vidfer.output.overlay import Overlay
from vidfer.pipeline.board import Board, LiveFrame
from vidfer.serve.faces import to_draw
from vidfer.types import U8

LEASE_S = 2.0
# Few sizes, so that several pages share what is encoded.
WIDTHS = (320, 480, 640, 960, 1280, 1920)
_QUALITY = 82


@dataclass(slots=True)
class _Encoded:
    """The last picture of a camera in one size, and what draws the next one: labels stay where they were."""

    overlay: Overlay
    size: tuple[int, int]
    index: int = -1
    jpeg: bytes = b""


@dataclass(slots=True)
class _Look:
    """Somebody looks at a camera."""

    until: float
    stack: ExitStack
    sizes: dict[int | None, _Encoded] = field(default_factory=dict)


class Pictures:
    """JPEGs of the newest frames; used inside one event loop.

    Args:
        board: Where the frames come from.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._looks: dict[str, _Look] = {}
        # One at a time, whatever the number of pages: looking must not take the cores from the analysis.
        self._drawing = asyncio.Lock()

    @property
    def looked_at(self) -> list[str]:
        """Cameras that somebody looks at."""
        return list(self._looks)

    def look(self, name: str) -> None:
        """Look at a camera for a while from now on."""
        until = time.monotonic() + LEASE_S
        if name in self._looks:
            self._looks[name].until = until
            return
        stack = ExitStack()
        stack.enter_context(self._board.look(name))
        self._looks[name] = _Look(until, stack)
        asyncio.get_running_loop().call_later(LEASE_S, self._end_if_over, name)

    def close(self) -> None:
        """Look at nothing any more."""
        while self._looks:
            self._looks.popitem()[1].stack.close()

    def _end_if_over(self, name: str) -> None:
        look = self._looks.get(name)
        if look is None:
            return
        left = look.until - time.monotonic()
        if left > 0:
            asyncio.get_running_loop().call_later(left, self._end_if_over, name)
        else:
            self._looks.pop(name).stack.close()

    async def jpeg(self, frame: LiveFrame, width: int | None = None) -> bytes:
        """The annotated picture of a frame that has one.

        Args:
            frame: Newest frame of a camera.
            width: At least so many px wide, where the picture has them; None for its own size.
        """
        image = frame.image
        if image is None:
            raise ValueError(f"frame {frame.index} of {frame.camera} has no picture: look at the camera before")
        self.look(frame.camera)
        wide = None if width is None else next((w for w in WIDTHS if w >= width), None)
        wide = None if wide is not None and wide >= image.shape[1] else wide
        async with self._drawing:
            sizes = self._looks[frame.camera].sizes if frame.camera in self._looks else {}
            encoded = sizes.get(wide)
            if encoded is None or encoded.size != image.shape[1::-1]:
                encoded = sizes[wide] = _Encoded(_overlay(image, wide), image.shape[1::-1])
            if encoded.index != frame.index:
                encoded.jpeg = await run_in_threadpool(_annotated, frame, image, wide, encoded.overlay)
                encoded.index = frame.index
            return encoded.jpeg


def _size(image: U8, width: int | None) -> tuple[int, int]:
    height, full = image.shape[:2]
    return (full, height) if width is None else (width, max(1, round(height * width / full)))


def _overlay(image: U8, width: int | None) -> Overlay:
    return Overlay(*_size(image, width))


def _annotated(frame: LiveFrame, image: U8, width: int | None, overlay: Overlay) -> bytes:
    size = _size(image, width)
    scale = size[0] / image.shape[1]
    # INTER_AREA is good and fast for halves and less; from 1280 to 960 px it takes 4 ms more than INTER_LINEAR.
    how = cv2.INTER_AREA if image.shape[1] >= 2 * size[0] else cv2.INTER_LINEAR
    small = image if width is None else cast(U8, cv2.resize(image, size, interpolation=how))
    planes = cast("list[U8]", list(cv2.split(small)))
    overlay.draw(Canvas(planes), to_draw(frame, scale))
    blue_first = cv2.merge(planes[::-1])
    done, jpeg = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise ValueError(f"a picture of {size[0]}x{size[1]} px cannot be a JPEG")
    return jpeg.tobytes()
