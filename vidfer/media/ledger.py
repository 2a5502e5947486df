"""What became of every packet of a stream: a frame, nothing on purpose, or nothing by damage."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import av
    from av.packet import Packet
    from av.video.stream import VideoStream

# A packet this far behind the one whose frame came out gives no frame any more: codecs hold back 16 frames at most,
# frame threads a few more.
_WINDOW = 64


@dataclass(slots=True, kw_only=True)
class FrameCounts:
    """Where the frames went.

    After the last one packets = decoded + undecodable + discarded, and decoded = analysed + not_sampled + dropped.

    Attributes:
        packets: Read from the file. The parts of one frame (fields) count as one, several frames in one as several.
        decoded: Frames that came out, corrupt ones included.
        corrupt: Decoded with damage: the decoder says so, or the packet or one that it builds upon was damaged.
        undecodable: Packets that should have given a frame and gave none; final after the last frame.
        discarded: Packets that give no frame on purpose: cut away by an edit list, hidden (VP8, VP9), empty (AVI).
        dropped: Decoded but lost on the way (live sources only).
        not_sampled: Decoded but not asked for (sampling, start, end).
    """

    packets: int = 0
    decoded: int = 0
    corrupt: int = 0
    undecodable: int = 0
    discarded: int = 0
    dropped: int = 0
    not_sampled: int = 0

    @property
    def analysed(self) -> int:
        """Frames given out."""
        return self.decoded - self.not_sampled - self.dropped


def damage_warnings(counts: FrameCounts) -> list[str]:
    """The warning of a damaged file, if it is one."""
    if not (counts.undecodable or counts.corrupt):
        return []
    return [f"the file is damaged: {counts.undecodable} packets gave no frame, {counts.corrupt} frames are corrupt"]


COUNTS = tuple(FrameCounts.__dataclass_fields__)
_count_values = attrgetter(*COUNTS)


class Ledger:
    """Books packets as they are read and frames as they come out, by the number of the packet they came in.

    A ledger made from the entries of another one knows what became of the packets so far, and takes no notice of them
    when they are read again.
    """

    def __init__(self, entries: dict[str, Any] | None = None) -> None:
        self.counts = FrameCounts(**entries["counts"]) if entries else FrameCounts()
        self.failed: int = entries["failed"] if entries else 0
        self._known: int = entries["read"] if entries else 0  # packets that an earlier reading has booked
        self._read = 0
        self._open: dict[int, None] = dict.fromkeys(entries["open"]) if entries else {}
        self._keys: deque[int] = deque(maxlen=_WINDOW)
        self._damaged: deque[int] = deque(maxlen=_WINDOW)

    def begin_at(self, number: int) -> None:
        """The next packet is this one, a key frame: those before it are not read."""
        self._read = number
        self._keys.append(number)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was damaged so far."""
        return not (self.failed or self.counts.undecodable or self.counts.corrupt)

    def read(self, packet: Packet[VideoStream], *, hidden: bool = False, joined: bool = False) -> int:
        """Book a packet; gives its number, from 0.

        Args:
            packet: The next one of the stream.
            hidden: It gives no frame on purpose.
            joined: It completes the frame of the one before.
        """
        number = self._read
        self._read += 1
        if packet.is_keyframe:
            self._keys.append(number)
        if packet.is_corrupt:
            self._damaged.append(number)
        if number >= self._known and not joined:
            self.counts.packets += 1
            if hidden or packet.is_discard:
                self.counts.discarded += 1
            else:
                self._open[number] = None
        return number

    def fail(self, number: int) -> None:
        """Book an error of the decoder; the packet may give a frame all the same."""
        self._damaged.append(number)
        self.failed += number >= self._known

    def owes(self, number: int) -> bool:
        """Whether a packet may still give a frame."""
        return number in self._open

    def came(self, number: int, frame: av.VideoFrame) -> bool:
        """Book a frame that came out, by the number of its packet; gives whether it is corrupt."""
        corrupt = frame.is_corrupt or (bool(self._damaged) and self._builds_on_damage(number))
        self.counts.decoded += 1
        self.counts.corrupt += corrupt
        if number not in self._open and self._open:  # one frame more than packets: it stands for one that gives none
            number = next(iter(self._open))
        if number in self._open:
            del self._open[number]
        else:
            self.counts.packets += 1
        while self._open and (oldest := next(iter(self._open))) < number - _WINDOW:
            del self._open[oldest]
            self.counts.undecodable += 1
        return corrupt

    def _builds_on_damage(self, number: int) -> bool:
        """Whether a packet, or one between it and the key frame before it, was damaged. Most decoders don't tell."""
        key = max((key for key in self._keys if key <= number), default=0)
        return any(key <= damaged <= number for damaged in self._damaged)

    def close(self) -> None:
        """Book the end of the stream: what gave no frame by now will give none."""
        self.counts.undecodable += len(self._open)
        self._open.clear()

    def restart(self, number: int) -> int:
        """From which packet on decoding gives the frame of packet `number` and all later ones as they are.

        The last key frame but one: a frame soon after a false key frame (intra refresh) would only look right.
        """
        before = [key for key in self._keys if key <= number]
        return before[-2] if len(before) > 1 else 0

    def snapshot(self) -> tuple[Any, ...]:
        """All of it as it is now, cheaply: for `entries`."""
        return _count_values(self.counts), self.failed, max(self._read, self._known), tuple(self._open)


def entries(snapshot: tuple[Any, ...]) -> dict[str, Any]:
    """A snapshot as JSON, to make a ledger from."""
    counts, failed, read, still_open = snapshot
    return {"counts": dict(zip(COUNTS, counts, strict=True)), "failed": failed, "read": read, "open": list(still_open)}
