"""Cameras: frames for ever, over every loss of the connection, on one clock that never goes back."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, cast

import av

from vidfer.errors import InputError
from vidfer.media.address import Address
from vidfer.media.clock import LiveClock
from vidfer.media.connect import LiveOptions, LostError, connect, reason_of
from vidfer.media.ledger import FrameCounts, Ledger
from vidfer.media.picture import Layout, VideoPicture, sane_aspect_ratio
from vidfer.media.reading import Ticket, pick_stream, ready
from vidfer.types import Frame

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_log = logging.getLogger(__name__)

# Their stamps count pictures at a rate that FFmpeg makes up.
_NO_STAMPS = frozenset({"mpjpeg", "mjpeg"})
_PACED = ("hls", "dash")  # they come in bursts of seconds
_END_TOLERANCE_S = 1.0

Happening = Literal["connecting", "live", "lost", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveStart:
    """Where the first frame goes on, such that nothing of an earlier run is given twice."""

    index: int = 0
    epoch: int = 0
    time_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveInfo:
    """What comes from a camera right now; `width` and `height` of the upright picture."""

    container: str
    codec: str
    width: int
    height: int


class LiveSource:
    """A camera: iterate once for its frames. It connects, and connects anew, by itself.

    Args:
        name: Of the camera.
        address: Where it is.
        options: How to read it.
        start: Where to go on.
        wait: Waits so many seconds and gives True at once when the frames are not wanted any more.
        tell: Called with what happens to the connection and the reason.

    Attributes:
        counts: Where the frames went; a reader that loses some adds them to `dropped`.
        info: What comes from the camera; None before the first frame.
    """

    def __init__(
        self,
        name: str,
        address: Address,
        options: LiveOptions,
        *,
        start: LiveStart,
        wait: Callable[[float], bool],
        tell: Callable[[Happening, str | None], None],
    ) -> None:
        self._name, self._address, self._options = name, address, options
        self._wait, self._tell = wait, tell
        self.counts = FrameCounts()
        self.info: LiveInfo | None = None
        self._index = start.index
        self._clock = LiveClock(epoch=start.epoch, time_s=start.time_s)
        self._due_s = start.time_s  # of the next frame that `max_fps` lets through
        self._last_frame = 0.0  # when it came, on the clock of this machine
        self._arrived = datetime.now(UTC)
        self._seen = False

    @property
    def shown(self) -> str:
        """Where the camera is, without credentials."""
        return self._address.shown

    def __iter__(self) -> Iterator[Frame]:
        """Frames, until they are not wanted any more or the source is over.

        Raises:
            InputError: The camera cannot be read at all, or stayed away for too long.
        """
        away_since, attempt = time.monotonic(), 0
        while not self._wait(0):
            self._tell("connecting", None)
            try:
                before = self.counts.decoded
                yield from self._connection()
                if not self._wait(0):
                    self._tell("ended", None)
                return
            except LostError as lost:
                reason = str(lost)
            if self.counts.decoded > before:
                away_since, attempt = self._last_frame, 0
            self._tell("lost", reason)
            limit = self._options.max_outage_s
            if limit is not None and time.monotonic() - away_since >= limit:
                raise InputError(f"{self._address.shown}: no picture for {limit:g} s, given up: {reason}")
            shortest, longest = self._options.retry_s
            # With jitter: many cameras behind one switch must not come back all at once.
            if self._wait(min(longest, shortest * 2**attempt) * random.uniform(0.5, 1.0)):
                return
            attempt = min(attempt + 1, 16)

    def _connection(self) -> Iterator[Frame]:
        """The frames of one connection; returns at the end of what has an end, or when nobody wants more.

        Raises:
            LostError: It was lost, or could not be made.
            InputError: It cannot be made, and never could.
        """
        try:
            with closing(connect(self._address, self._options)) as container:
                video = ready(pick_stream(container, self._address.shown, 0), self._address.shown, 0, live=True)
                finite = container.duration is not None and self._address.kind != "rtsp"
                paced = finite or container.format.name in _PACED
                for frame in self._frames(container, video, unstamped=container.format.name in _NO_STAMPS, paced=paced):
                    if not self._take(frame):
                        continue
                    if paced:
                        if self._wait(self._ahead_s(frame)):
                            return
                        frame = replace(frame, captured_utc=datetime.now(UTC))
                    yield frame
                if finite and self._clock.stamped_s >= (container.duration or 0) / av.time_base - _END_TOLERANCE_S:
                    return
                raise LostError("the stream ended")
        except InputError as error:
            if self._seen:  # who has once given pictures may do so again
                raise LostError(str(error)) from error
            raise

    def _frames(
        self, container: InputContainer, video: VideoStream, *, unstamped: bool, paced: bool
    ) -> Iterator[Frame]:
        """Every frame that can be decoded, on the clock."""
        ledger, size, layout = Ledger(), (0, 0), None
        ledger.counts = self.counts
        tick = Fraction(video.time_base or Fraction(1, av.time_base))
        try:
            for packet, decoded in self._decoded(container, video, ledger):
                corrupt = ledger.came(packet, decoded)
                self._last_frame = time.monotonic()
                if layout is None or (decoded.width, decoded.height) != size:
                    size = decoded.width, decoded.height
                    layout = self._laid_out(decoded, container, video)
                    # Also for another size on the way: boxes of the picture before mean nothing in it.
                    self._clock.connect(arrivals=not paced, frame_rate=video.average_rate)
                pts = None if unstamped else decoded.pts
                epoch, time_s = self._clock.moment(pts, tick, self._last_frame)
                self._index += 1
                yield Frame(
                    source_id=self._name,
                    index=self._index - 1,
                    epoch=epoch,
                    pts=pts,
                    time_s=time_s,
                    captured_utc=self._arrived,
                    corrupt=corrupt,
                    picture=VideoPicture(decoded, layout),
                )
        finally:
            ledger.close()

    def _laid_out(self, decoded: av.VideoFrame, container: InputContainer, video: VideoStream) -> Layout:
        layout = Layout.of_frame(decoded, sane_aspect_ratio(video.sample_aspect_ratio))
        codec = video.codec_context.codec.canonical_name
        self.info = LiveInfo(container=container.format.name, codec=codec, width=layout.width, height=layout.height)
        self._seen = True
        self._tell("live", None)
        return layout

    def _decoded(
        self, container: InputContainer, video: VideoStream, ledger: Ledger
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames, each with the number of the packet it came in.

        Raises:
            LostError: The stream broke off, or brings no frames any more.
        """
        number, waited_s, packets = -1, 0.0, container.demux()
        try:
            while True:
                began = time.monotonic()
                packet = next(packets, None)
                # Only time spent waiting counts: what this machine did in between is not the camera's fault.
                waited_s += time.monotonic() - began
                if packet is None:
                    return
                if waited_s > self._options.stall_s:
                    raise LostError(f"connected, but no picture for {self._options.stall_s:g} s")
                if packet.stream is not video:
                    continue
                self._arrived = datetime.now(UTC)
                if packet.size:
                    number = ledger.read(cast(Any, packet))
                    packet.opaque = Ticket(number)
                try:
                    frames = video.decode(cast(Any, packet))
                except av.FFmpegError as error:
                    ledger.fail(number)
                    _log.debug("%s: packet %d: %s", self._name, number, error.strerror)
                    continue
                for frame in frames:
                    waited_s = 0.0
                    yield (frame.opaque.number if isinstance(frame.opaque, Ticket) else number), frame
        except (av.FFmpegError, OSError) as error:
            raise LostError(reason_of(error, f"nothing came for {self._options.stall_s:g} s")) from error

    def _take(self, frame: Frame) -> bool:
        """Whether `max_fps` lets a frame through: the first one at or after each of its moments."""
        rate, time_s = self._options.max_fps, frame.time_s or 0.0
        if rate is None:
            return True
        if time_s < self._due_s:
            self.counts.not_sampled += 1
            return False
        self._due_s = (int(time_s * rate + 1e-6) + 1) / rate - 1e-6
        return True

    def _ahead_s(self, frame: Frame) -> float:
        """How long until the moment at which a frame is to be shown."""
        return max(0.0, self._clock.due(frame.time_s or 0.0) - time.monotonic())
