"""One reading of one video stream: opened, demuxed and decoded from its first packet on, damage survived."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.codec.context import Flags
from av.stream import Disposition

from vidfer.alive import sign
from vidfer.errors import InputError
from vidfer.media.cores import available_cores
from vidfer.media.fields import SecondFields
from vidfer.media.inputs import check_is_no_pipe, is_utf8
from vidfer.media.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

_log = logging.getLogger(__name__)

# Decoding runs beside inference: one thread takes the least CPU (ms: 720p H.264 1.41 against 1.63 with two threads,
# HEVC 540p 2.12 against 2.25) and tells which packet failed. Above full HD decoding would be the bottleneck.
_ONE_THREAD_UP_TO_PX = 1920 * 1088
_MOST_THREADS = 4
# How many packets are read after that of the frame where reading stops. Codecs hold back 16 frames at most: so many are
# read in any case, and the counts don't depend on where decoding began.
_AFTER_STOP = 24
# Errors in a row after which a file is given up: each takes some time, and some containers never come to an end.
_MOST_FAILURES = 50
# Seeking may land on a key frame before the one that was meant, or on the packets before a key frame.
_MOST_BEFORE_FIRST = 2000
# FFmpeg "plays" any text called .txt as text art.
_TEXT_ART = frozenset({"adf", "bin", "idf", "tty", "xbin"})


class Ticket:
    """What a packet hands on to its frames; a new object for each, since PyAV goes by the address."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class Reading:
    """A file, opened, and its frames in the order of showing.

    Args:
        path: The file.
        stream: Which of its video streams, from 0; cover pictures are not videos.
        threads: For the decoder; by the size of the picture unless given.

    Raises:
        InputError: It cannot be read, has no such stream, or nothing here decodes it.
    """

    def __init__(self, path: Path, stream: int, *, threads: int | None = None) -> None:
        self.first_error: str | None = None
        self.end_error: str | None = None
        self._path, self._stream = path, stream
        self._last_packet: int | None = None
        self._first: list[int] | None = None
        self.container = open_container(path)
        try:
            self.video = ready(pick_stream(self.container, path, stream), path, stream, threads)
            self._codec = self.video.codec_context.codec.canonical_name
        except BaseException:
            self.container.close()
            raise

    def close(self) -> None:
        """Close the file; frames given out stay usable."""
        self.container.close()

    def stop_after(self, packet: int) -> None:
        """Read no more than a fixed number of packets after this one."""
        self._last_packet = packet + _AFTER_STOP

    def go_to(self, first: list[int]) -> bool:
        """Begin with the packet of these stamps (dts, pts), place in the file and size; False where that cannot be."""
        try:
            self.container.seek(first[0], stream=self.video)
        except (av.FFmpegError, OSError, OverflowError):
            return False
        self._first = first
        return True

    def frames(self, ledger: Ledger, decode_from: int = 0) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode: frames, each with the number of the packet it came in.

        Every packet is booked, those before number `decode_from` are only read.
        """
        for number, packet in self.packets(ledger):
            if number < decode_from:
                continue
            try:
                frames = self.video.decode(packet)
            except av.FFmpegError as error:
                ledger.fail(number)
                if self.first_error is None:
                    self.first_error = str(error.strerror)
                    _log.debug("%s: packet %d: %s", self._path, number, error.strerror)
                if packet is None and self.video.codec_context.thread_count > 1:
                    yield from self._rest(ledger, number)
                continue
            for frame in frames:
                yield (frame.opaque.number if isinstance(frame.opaque, Ticket) else number), frame

    def _demuxed(self) -> Iterator[Packet[VideoStream]]:
        """The packets of the stream from the first one wanted on; none where that is not near to where we went."""
        packets = self.container.demux(self.video)
        if self._first is None:
            return packets
        try:
            for packet in itertools.islice(packets, _MOST_BEFORE_FIRST):
                if [packet.pts, packet.pos, packet.size] == self._first[1:]:
                    return itertools.chain([packet], packets)
        except (av.FFmpegError, IndexError):
            pass
        return iter(())

    def _rest(self, ledger: Ledger, end: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """The frames that a decoder of several threads withholds when one of the last packets fails, decoded again."""
        again = Reading(self._path, self._stream, threads=1)
        try:
            for number, frame in again.frames(Ledger(), ledger.restart(end)):
                if ledger.owes(number):
                    yield number, frame
        finally:
            again.close()

    def packets(self, ledger: Ledger) -> Iterator[tuple[int, Packet[VideoStream] | None]]:
        """The packets of the stream, then None, which makes the decoder give out what it still holds."""
        packets = self._demuxed()
        fields = SecondFields(self.video.codec_context)
        number, failures = -1, 0
        while self._last_packet is None or number < self._last_packet:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                failures += 1
                if failures > _MOST_FAILURES:
                    self.end_error = f"after {number + 1} packets: {error.strerror}"
                    break
                packets = self.container.demux(self.video)  # many go on behind the damage
                continue
            except IndexError:  # PyAV 18 at the end of a file in which streams appeared on the way (MPEG-TS, damaged)
                break
            if packet is None:
                break
            sign()
            if packet.size == 0 and packet.dts is None:  # PyAV's own sign for the end of the stream
                continue
            failures = 0
            # An empty packet would tell the decoder that the stream is over.
            hidden = packet.size == 0 or is_hidden(packet, self._codec)
            number = ledger.read(packet, hidden=hidden, joined=not hidden and fields.is_second(packet))
            packet.opaque = Ticket(number)
            if packet.size:
                yield number, packet
        yield number + 1, None


def open_container(path: Path) -> InputContainer:
    """Open a container, or say in one line why that is not possible."""
    try:
        if not path.exists():
            raise InputError(f"{path} does not exist: check the spelling and the folder")
        if path.is_dir():
            raise InputError(f"{path} is a folder, not a video file: name a file in it")
        check_is_no_pipe(path)
        if not is_utf8(path):
            raise InputError(f"{path}: the name is not in UTF-8, as tables and videos need it: rename the file")
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes): get it again from its source")
        # An absolute path, since "a:b.mp4" would be taken for a protocol.
        container = av.open(str(path.absolute()), metadata_errors="ignore")
        if container.format.name in _TEXT_ART:
            container.close()
            raise InputError(f"{path} is text: give a video file")
        return container
    except (av.InvalidDataError, av.PatchWelcomeError, av.EOFError) as error:
        raise InputError(f"{path} cannot be read: it is no video or cut off; check it with `ffprobe`") from error
    except (OSError, av.FFmpegError) as error:
        raise InputError(f"{path} cannot be opened: {error.strerror or error}") from error


def pick_stream(container: InputContainer, path: Path | str, stream: int) -> VideoStream:
    """The N-th video stream; attached pictures (album covers) are not videos."""
    videos = [video for video in container.streams.video if not video.disposition & Disposition.attached_pic]
    if not videos:
        kinds = ", ".join(sorted({other.type for other in container.streams if other.type != "video"}))
        only = f", only {kinds}" if kinds else " and no sound"
        raise InputError(f"{path} has no video stream{only}: give a file with a picture")
    if not 0 <= stream < len(videos):
        allowed = "0" if len(videos) == 1 else f"0 to {len(videos) - 1}"
        raise InputError(f"{path} has {len(videos)} video stream(s), got stream {stream}: allowed is {allowed}")
    return videos[stream]


def is_hidden(packet: Packet[VideoStream], codec: str) -> bool:
    """Whether a packet only holds a picture that others build upon (the alternate references of VP8 and VP9)."""
    if codec == "vp8":
        return not memoryview(packet)[0] & 0x10  # RFC 6386, 9.1: show_frame
    if codec == "vp9":
        data = memoryview(packet)
        profile_3 = data[0] & 0x30 == 0x30
        several = data[-1] & 0xE0 == 0xC0  # a superframe holds what is hidden beside what is shown
        return not (several or profile_3 or data[0] & 0x0A)  # 6.2: show_existing_frame, show_frame
    return False


def ready(
    video: VideoStream, path: Path | str, stream: int, threads: int | None = None, *, live: bool = False
) -> VideoStream:
    """The stream, its decoder set up; one that is `live` holds no frames back to keep its threads busy."""
    context = video.codec_context
    if context is None:
        raise InputError(f"{path}: no decoder for video stream {stream}: convert the file to H.264 first")
    if threads is None:
        small = video.width * video.height <= _ONE_THREAD_UP_TO_PX
        threads = 1 if small else min(_MOST_THREADS, available_cores())
    context.thread_count = threads
    context.thread_type = "NONE" if threads == 1 else "SLICE" if live else "FRAME"
    context.flags |= Flags.copy_opaque
    return video
