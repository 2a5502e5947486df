"""Where reading stands after a frame, in few words: enough to go on with the next one as if nothing had happened."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from vidfer.media.clock import CLOCK_STATE
from vidfer.media.ledger import COUNTS, entries

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


# What a clock counts; all else that it keeps in mind is about the last frames.
_COUNTED = ("steps", "regular", "jumps", "missing", "repeated")
_EXTREMES = {"shortest": min, "longest": max}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """What one of two readings that have met has counted more: the other one began in the middle, by a forecast.

    Attributes:
        counts: By name, as in `FrameCounts`.
        failed: Packets that the decoder could not take.
        clock: By name: what is counted, and the shortest and the longest step of the first reading.
    """

    counts: dict[str, int]
    failed: int
    clock: dict[str, int | None]

    @classmethod
    def none(cls) -> Shift:
        """Of a reading that began at the beginning."""
        clock: dict[str, int | None] = {**dict.fromkeys(_COUNTED, 0), **dict.fromkeys(_EXTREMES)}
        return cls(counts=dict.fromkeys(COUNTS, 0), failed=0, clock=clock)

    @property
    def is_none(self) -> bool:
        """Whether the forecast was right in everything."""
        return not (any(self.counts.values()) or self.failed or any(self.clock[name] for name in _COUNTED))

    @property
    def frames(self) -> int:
        """How far the indices of the second reading have to be moved."""
        return self.counts["decoded"]

    def applied(self, mark: dict[str, Any]) -> dict[str, Any]:
        """A bookmark of the second reading as the first one would have made it."""
        clock = dict(zip(CLOCK_STATE, mark["clock"], strict=True))
        for name in _COUNTED:
            clock[name] += self.clock[name]
        for name, choose in _EXTREMES.items():
            known = [value for value in (clock[name], self.clock[name]) if value is not None]
            clock[name] = choose(known) if known else None
        ledger = mark["ledger"]
        counts = {name: value + self.counts[name] for name, value in ledger["counts"].items()}
        ledger = {**ledger, "counts": counts, "failed": ledger["failed"] + self.failed}
        return {**mark, "ledger": ledger, "clock": list(clock.values())}


def shift(first: dict[str, Any], second: dict[str, Any], begun: int) -> Shift | None:
    """How two readings differ that have both given the same frame; None where they would go on differently.

    Args:
        first: Bookmark of the frame, by a reading that knows all before it.
        second: By one that began at a forecast.
        begun: The packet that it began with.
    """
    clocks = [dict(zip(CLOCK_STATE, mark["clock"], strict=True)) for mark in (first, second)]
    lasting = [{k: v for k, v in clock.items() if k not in (*_COUNTED, *_EXTREMES)} for clock in clocks]
    known = [[mark[k] for k in ("packet", "pts", "crc32", "sampler")] for mark in (first, second)]
    ledgers = [mark["ledger"] for mark in (first, second)]
    # What one decoder still waits for, the other does, but for packets before its time: they give no frame any more.
    lost = [number for number in ledgers[0]["open"] if number < begun]
    pending = ledgers[0]["open"][len(lost) :] == ledgers[1]["open"] and ledgers[0]["read"] == ledgers[1]["read"]
    if lasting[0] != lasting[1] or known[0] != known[1] or not pending:
        return None
    counts = {name: value - ledgers[1]["counts"][name] for name, value in ledgers[0]["counts"].items()}
    counts["undecodable"] += len(lost)
    clock = {name: clocks[0][name] - clocks[1][name] for name in _COUNTED}
    clock |= {name: clocks[0][name] for name in _EXTREMES}
    return Shift(counts=counts, failed=ledgers[0]["failed"] - ledgers[1]["failed"], clock=clock)


def luma_crc32(frame: av.VideoFrame) -> int:
    """CRC-32 of a frame's luma, as it is stored; of its gray values where luma does not come by itself."""
    if frame.format.name not in _LUMA_FIRST:
        frame = frame.reformat(format="gray")
    plane = frame.planes[0]
    lines = np.frombuffer(cast(Any, plane), np.uint8, plane.line_size * frame.height)
    return zlib.crc32(lines.reshape(frame.height, plane.line_size)[:, : frame.width].tobytes())
