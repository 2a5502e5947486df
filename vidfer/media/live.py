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
from vidfer.media.ledger import FrameCounts, Ledger
from vidfer.media.picture import Layout, VideoPicture, sane_aspect_ratio
from vidfer.media.reading import Ticket, pick_stream, ready
from vidfer.types import Frame

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_log = logging.getLogger(__name__)

# So much of a stream FFmpeg looks at before it gives out packets; its default of 5 s is a late start, and RTSP says in
# words what comes.
_PROBE_US = {"rtsp": 100_000, "http": 500_000}
_UDP_REORDER_US = 200_000
# Their stamps count pictures at a rate that FFmpeg makes up.
_NO_STAMPS = frozenset({"mpjpeg", "mjpeg"})
_PACED = ("hls", "dash")  # they come in bursts of seconds
_END_TOLERANCE_S = 1.0

Happening = Literal["connecting", "live", "lost", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """How a camera is read.

    Attributes:
        transport: "tcp" or "udp", for RTSP.
        open_s: How long a connection may take to be made.
        stall_s: How old the newest frame may become until the connection is given up, whatever else comes over it.
        max_outage_s: How long the camera may stay away; None for ever.
        max_fps: Frames a second to give out at most.
        retry_s: Shortest and longest pause before the next attempt; each is up to twice as long as the one before.
    """

    transport: str = "tcp"
    open_s: float = 10.0
    stall_s: float = 10.0
    max_outage_s: float | None = None
    max_fps: float | None = None
    retry_s: tuple[float, float] = (0.5, 30.0)


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


class _LostError(Exception):
    """The connection is of no use any more; the message says why, without the address."""


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
            except _LostError as lost:
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
            _LostError: It was lost, or could not be made.
            InputError: It cannot be made, and never could.
        """
        with closing(self._open()) as container:
            try:
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
                raise _LostError("the stream ended")
            except InputError as error:
                raise self._hopeless(str(error)) from error

    def _open(self) -> InputContainer:
        address, options = self._address, self._options
        try:
            # A reader that gets nothing at all is stopped by FFmpeg, after twice the second number.
            limits = (options.open_s, options.stall_s / 2)
            # What the camera calls itself is of no interest, and need not be text.
            return av.open(
                address.url, format=address.format, options=self._settings(), timeout=limits, metadata_errors="ignore"
            )
        except (av.FFmpegError, OSError) as error:
            reason = _reason(error, f"no answer within {options.open_s:g} s")
            # A server that is starting up may refuse and stammer; what is no video will not become one.
            unreadable = isinstance(error, (av.InvalidDataError, av.PatchWelcomeError)) and address.kind != "rtsp"
            if address.kind in ("device", "file") or unreadable or isinstance(error, av.ProtocolNotFoundError):
                raise self._hopeless(f"{address.shown} cannot be opened as video: {reason}") from error
            raise _LostError(reason) from error

    def _settings(self) -> dict[str, str]:
        if self._address.kind in ("device", "file"):
            return {}
        # Not "nobuffer": it throws away what was looked at, and the key frame with it.
        settings = {"analyzeduration": str(_PROBE_US[self._address.kind])}
        if self._address.kind == "rtsp":
            settings |= {"rtsp_transport": self._options.transport, "allowed_media_types": "video"}
            settings["max_delay"] = str(_UDP_REORDER_US)
        return settings

    def _hopeless(self, message: str) -> Exception:
        """An error that will not pass by itself; but who has once given pictures may do so again."""
        return _LostError(message) if self._seen else InputError(message)

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
            _LostError: The stream broke off, or brings no frames any more.
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
                    raise _LostError(f"connected, but no picture for {self._options.stall_s:g} s")
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
            raise _LostError(_reason(error, f"nothing came for {self._options.stall_s:g} s")) from error

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


def _reason(error: Any, timeout: str) -> str:
    """What went wrong; never the text of the error itself, which holds the address with the password."""
    if isinstance(error, av.ExitError):
        return timeout
    if isinstance(error, (av.HTTPUnauthorizedError, av.HTTPForbiddenError)):
        return "wrong user or password"
    if isinstance(error, av.HTTPNotFoundError):
        return "nothing is there under this path (404)"
    return str(error.strerror or type(error).__name__)
