"""Where reading stands after a frame, in few words: enough to go on with the next one as if nothing had happened."""

from __future__ import annotations

import zlib
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from vidfer.media.ledger import entries

if TYPE_CHECKING:
    import av

_LUMA_FIRST = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "gray"})


class Place:
    """What a bookmark after one frame will say; cheap to make, written out when it is called."""

    __slots__ = ("_clock", "_frame", "_ledger", "_packet", "_restart", "_step")

    def __init__(
        self,
        frame: av.VideoFrame,
        packet: int,
        *,
        restart: int,
        ledger: tuple[Any, ...],
        clock: tuple[Any, ...],
        step: int,
    ) -> None:
        """Args: the frame, its packet, the packet that decoding can begin with, the states of the rest."""
        self._frame, self._packet, self._restart = frame, packet, restart
        self._ledger, self._clock, self._step = ledger, clock, step

    def __call__(self) -> dict[str, Any]:
        """The bookmark, as JSON."""
        frame = self._frame
        return {
            "packet": self._packet,
            "pts": frame.pts,
            "crc32": luma_crc32(frame),
            "restart": self._restart,
            "ledger": entries(self._ledger),
            "clock": [str(value) if isinstance(value, Fraction) else value for value in self._clock],
            "sampler": self._step,
        }


def luma_crc32(frame: av.VideoFrame) -> int:
    """CRC-32 of a frame's luma, as it is stored; of its gray values where luma does not come by itself."""
    if frame.format.name not in _LUMA_FIRST:
        frame = frame.reformat(format="gray")
    plane = frame.planes[0]
    lines = np.frombuffer(cast(Any, plane), np.uint8, plane.line_size * frame.height)
    return zlib.crc32(lines.reshape(frame.height, plane.line_size)[:, : frame.width].tobytes())
