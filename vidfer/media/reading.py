"""One reading of one video stream: opened, demuxed and decoded from its first packet on, damage survived."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.codec.context import Flags
from av.stream import Disposition

from vidfer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

    from vidfer.media.ledger import Ledger

_log = logging.getLogger(__name__)

# Decoding runs beside inference: one thread takes the least CPU (ms: 720p H.264 1.41 against 1.63 with two threads,
# HEVC 540p 2.12 against 2.25) and tells which packet failed. Above full HD decoding would be the bottleneck.
_ONE_THREAD_UP_TO_PX = 1920 * 1088
_MOST_THREADS = 4
# How many packets are read after that of the frame where reading stops. Codecs hold back 16 frames at most: so many are
# read in any case, and the counts don't depend on where decoding began.
_AFTER_STOP = 24
# FFmpeg "plays" any text called .txt as text art.
_TEXT_ART = frozenset({"adf", "bin", "idf", "tty", "xbin"})


class _Ticket:
    """What a packet hands on to its frames; a new object for each, since PyAV goes by the address."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class Reading:
    """A file, opened, and its frames in the order of showing.

    Args:
        path: The file.
        stream: Which of its video streams, from 0; cover pictures are not videos.

    Raises:
        InputError: It cannot be read, has no such stream, or nothing here decodes it.
    """

    def __init__(self, path: Path, stream: int) -> None:
        self.first_error: str | None = None
        self._path = path
        self._last_packet: int | None = None
        self.container = open_container(path)
        try:
            self.video = _ready(pick_stream(self.container, path, stream), path, stream)
        except BaseException:
            self.container.close()
            raise

    def close(self) -> None:
        """Close the file; frames given out stay usable."""
        self.container.close()

    def stop_after(self, packet: int) -> None:
        """Read no more than a fixed number of packets after this one."""
        self._last_packet = packet + _AFTER_STOP

    def frames(self, ledger: Ledger, decode_from: int = 0) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode: frames, each with the number of the packet it came in.

        Every packet is booked, those before number `decode_from` are only read.
        """
        for number, packet in self._packets(ledger):
            if number < decode_from:
                continue
            try:
                frames = self.video.decode(packet)
            except av.FFmpegError as error:
                ledger.fail(number)
                if self.first_error is None:
                    self.first_error = str(error.strerror)
                    _log.warning("%s: packet %d: %s", self._path, number, error.strerror)
                continue
            for frame in frames:
                yield (frame.opaque.number if isinstance(frame.opaque, _Ticket) else number), frame

    def _packets(self, ledger: Ledger) -> Iterator[tuple[int, Packet[VideoStream] | None]]:
        """The packets of the stream, then None, which makes the decoder give out what it still holds."""
        packets = self.container.demux(self.video)
        number = -1
        while self._last_packet is None or number < self._last_packet:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                _log.warning("%s: reading ends after %d packets: %s", self._path, number + 1, error.strerror)
                break
            if packet is None:
                break
            if packet.size == 0 and packet.dts is None:  # PyAV's own sign for the end of the stream
                continue
            number = ledger.read(packet)
            packet.opaque = _Ticket(number)
            yield number, packet
        yield number + 1, None


def open_container(path: Path) -> InputContainer:
    """Open a container, or say in one line why that is not possible."""
    if not path.exists():
        raise InputError(f"{path} does not exist: check the spelling and the folder")
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a video file: name a file in it")
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty (0 bytes): get it again from its source")
        # An absolute path, since "a:b.mp4" would be taken for a protocol.
        container = av.open(str(path.absolute()), metadata_errors="ignore")
        if container.format.name in _TEXT_ART:
            container.close()
            raise InputError(f"{path} is text: give a video file")
        return container
    except av.InvalidDataError as error:
        raise InputError(f"{path} cannot be read: it is no video or cut off; check it with `ffprobe`") from error
    except (OSError, av.FFmpegError) as error:
        raise InputError(f"{path} cannot be opened: {error.strerror or error}") from error


def pick_stream(container: InputContainer, path: Path, stream: int) -> VideoStream:
    """The N-th video stream; attached pictures (album covers) are not videos."""
    videos = [video for video in container.streams.video if not video.disposition & Disposition.attached_pic]
    if not videos:
        kinds = ", ".join(sorted({other.type for other in container.streams if other.type != "video"})) or "nothing"
        raise InputError(f"{path} has no video stream, only {kinds}: give a file with a picture")
    if not 0 <= stream < len(videos):
        allowed = "0" if len(videos) == 1 else f"0 to {len(videos) - 1}"
        raise InputError(f"{path} has {len(videos)} video stream(s), got stream {stream}: allowed is {allowed}")
    return videos[stream]


def _ready(video: VideoStream, path: Path, stream: int) -> VideoStream:
    """The stream, its decoder set up."""
    context = video.codec_context
    if context is None:
        raise InputError(f"{path}: no decoder for video stream {stream}: convert the file to H.264 first")
    threads = 1 if video.width * video.height <= _ONE_THREAD_UP_TO_PX else min(_MOST_THREADS, os.cpu_count() or 1)
    context.thread_count = threads
    context.thread_type = "NONE" if threads == 1 else "FRAME"
    context.flags |= Flags.copy_opaque
    return video
