"""What reading a stream will give, told from its packets alone: no picture is decoded.

Of an undamaged stream every packet that is shown gives one frame, and the frames come in the order of their stamps. So
clock and sampler can be run over the stamps, and reading can begin at any key frame as if all before it had been read.
A forecast may be wrong where the stream is damaged: whoever reads on from it has to compare (`bookmark.shift`).
"""

from __future__ import annotations

from array import array
from dataclasses import astuple, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidfer.media.clock import Clock
from vidfer.media.ledger import FrameCounts, Ledger, entries
from vidfer.media.reading import Reading
from vidfer.media.timecode import Sampler, Sampling
from vidfer.types import F64, I64, Bool

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream

_NO_STAMP = -(1 << 62)
# Formats whose packets do not say in which order frames are shown.
_ONLY_DTS = frozenset({"avi"})


class _Scan(Ledger):
    """Notes what every packet says, in place of booking it."""

    def __init__(self) -> None:
        super().__init__()
        self.dts, self.pts, self.pos, self.size = array("q"), array("q"), array("q"), array("q")
        self.shown, self.key = array("b"), array("b")
        self.oddity: str | None = None

    def read(self, packet: Packet[VideoStream], *, hidden: bool = False, joined: bool = False) -> int:
        shown = not (hidden or packet.is_discard)
        self.dts.append(_NO_STAMP if packet.dts is None else packet.dts)
        self.pts.append(_NO_STAMP if packet.pts is None else packet.pts)
        self.pos.append(-1 if packet.pos is None else packet.pos)
        self.size.append(packet.size)
        self.shown.append(shown)
        self.key.append(packet.is_keyframe and shown)
        if joined:
            self.oddity = self.oddity or "its frames come in fields, packet by packet"
        elif shown and packet.pts is None:
            self.oddity = self.oddity or "its packets have no time stamps"
        return len(self.pts) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A key frame that reading can begin with.

    Attributes:
        number: Of its packet.
        index: Of its frame.
        time_s: Of its frame.
        bookmark: For `VideoFile`, which then gives the frames after this one.
    """

    number: int
    index: int
    time_s: float
    bookmark: dict[str, Any]


class Forecast:
    """The frames that reading a file with some sampling will give.

    Args:
        path: The file.
        stream: Which of its video streams.
        sampling: Which frames are asked for.
        time_base: Of the stream, as `SourceInfo` has it; `frame_rate` and `container` likewise.
        frame_rate: See `time_base`.
        container: See `time_base`.
        first_pts: Of the first frame that can be decoded: what is shown before it gives none.
        apart_s: Anchors are at least so far apart.

    Attributes:
        oddity: Why the packets do not tell what frames there will be; None where they do. The rest is empty then.
        index: i64[F], of the frames asked for.
        pts: i64[F], their stamps: increasing.
        time_s: f64[F].
        anchors: In order.
    """

    def __init__(
        self,
        path: Path,
        *,
        stream: int,
        sampling: Sampling,
        time_base: Fraction,
        frame_rate: Fraction | None,
        container: str,
        first_pts: int | None,
        apart_s: float,
    ) -> None:
        scan = _scan(path, stream)
        self.index: I64 = np.zeros(0, np.int64)
        self.pts: I64 = np.zeros(0, np.int64)
        self.time_s: F64 = np.zeros(0)
        self.anchors: list[Anchor] = []
        self._stamps, self._shown = np.frombuffer(scan.pts, np.int64), np.frombuffer(scan.shown, bool)
        self.oddity = _oddity(scan, self._stamps, self._shown, container)
        if self.oddity is None:
            self._foretell(scan, first_pts, Clock(time_base, frame_rate), Sampler(sampling, time_base), apart_s)

    def _foretell(self, scan: _Scan, first_pts: int | None, clock: Clock, sampler: Sampler, apart_s: float) -> None:
        numbers = np.flatnonzero(self._shown & (self._stamps >= (_NO_STAMP if first_pts is None else first_pts)))
        numbers = numbers[np.argsort(self._stamps[numbers], kind="stable")]
        reach, hidden = np.maximum.accumulate(numbers), np.cumsum(~self._shown)
        chosen: list[int] = []
        times: list[float] = []
        not_sampled, last_s = 0, -np.inf
        for index, number in enumerate(numbers.tolist()):
            moment = clock.moment(scan.pts[number], None)
            if sampler.is_past(index, moment.ticks):
                break
            if sampler.takes(index, moment.ticks):
                chosen.append(index)
                times.append(moment.time_s)
            else:
                not_sampled += 1
            if scan.key[number] and moment.time_s >= last_s + apart_s:
                last_s = moment.time_s
                read = int(reach[index]) + 1
                counts = FrameCounts(
                    packets=read, decoded=index + 1, discarded=int(hidden[read - 1]), not_sampled=not_sampled
                )
                mark = self._bookmark(scan, number, read, counts, clock.state(), sampler.step)
                self.anchors.append(Anchor(number=number, index=index, time_s=moment.time_s, bookmark=mark))
        self.index, self.time_s = np.array(chosen, np.int64), np.array(times)
        self.pts = self._stamps[numbers[self.index]]

    def _bookmark(
        self, scan: _Scan, number: int, read: int, counts: FrameCounts, clock: tuple[Any, ...], step: int
    ) -> dict[str, Any]:
        """As `bookmark.Place` would make it, but nobody knows the picture. What is read later is left out.

        B-frames that stand behind their key frame and are shown before it count as read: they do not come out.
        """
        first = max(0, read - 64)
        waiting = self._shown[first:read] & (self._stamps[first:read] > scan.pts[number])
        still_open = (first + np.flatnonzero(waiting)).tolist()
        return {
            "packet": number,
            "pts": scan.pts[number],
            "crc32": None,
            "restart": number,
            "seek": [scan.dts[number], scan.pts[number], scan.pos[number], scan.size[number]],
            "ledger": entries((astuple(counts), 0, read, still_open)),
            "clock": [str(value) if isinstance(value, Fraction) else value for value in clock],
            "sampler": step,
        }


def _scan(path: Path, stream: int) -> _Scan:
    scan = _Scan()
    reading = Reading(path, stream)
    try:
        for _ in reading.packets(scan):
            pass
    finally:
        reading.close()
    return scan


def _oddity(scan: _Scan, pts: I64, shown: Bool, container: str) -> str | None:
    if container in _ONLY_DTS:
        return "its packets have no time stamps"
    if scan.oddity:
        return scan.oddity
    stamps = pts[shown]
    if len(np.unique(stamps)) < len(stamps):
        return "several frames have one time stamp"
    latest = np.maximum.accumulate(np.r_[_NO_STAMP, np.where(shown, pts, _NO_STAMP)])[:-1]
    if (pts < latest)[np.frombuffer(scan.key, bool)].any():
        return "its time stamps step back"
    return None
