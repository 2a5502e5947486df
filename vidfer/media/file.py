"""Video files: every frame with its true time, upright, damage survived and counted."""

from __future__ import annotations

import itertools
import logging
import os
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.stream import Disposition

from vidfer.errors import InputError
from vidfer.media.clock import Clock
from vidfer.media.picture import Layout, VideoPicture, sane_aspect_ratio
from vidfer.media.timecode import Sampler, Sampling
from vidfer.types import ColourSpace, Frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

_log = logging.getLogger(__name__)

# Decoding runs beside inference: one thread takes the least CPU (ms: 720p H.264 1.41 against 1.63 with two threads,
# HEVC 540p 2.12 against 2.25) and tells which packet failed. Above full HD decoding would be the bottleneck.
_ONE_THREAD_UP_TO_PX = 1920 * 1088
_MOST_THREADS = 4
_END_TOLERANCE_S = 0.5
# FFmpeg "plays" any text called .txt as text art.
_TEXT_ART = frozenset({"adf", "bin", "idf", "tty", "xbin"})
# AVI has no presentation stamps: what comes as pts is out of order (FFmpeg 8: 1 4 3 5 2), dts is the order of showing.
_DTS_CONTAINERS = frozenset({"avi"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """What a video file says about itself.

    Attributes:
        width, height: Of the upright picture with square pixels, even; the coded ones beside them are as stored.
        rotation: Degrees clockwise by which the stored picture is turned to stand upright.
        sample_aspect_ratio: Width / height of a stored pixel.
        average_frame_rate: As declared; None where the file doesn't say.
        variable_frame_rate: Whether the frames decoded so far come at uneven intervals; final after the last frame.
        frames_declared: 0 where the container doesn't say (many .mkv); only ever compared.
        stream: Which of the video streams.
    """

    path: Path
    name: str
    size_bytes: int
    container: str
    codec: str
    width: int
    height: int
    coded_width: int
    coded_height: int
    rotation: int
    sample_aspect_ratio: Fraction
    time_base: Fraction
    average_frame_rate: Fraction | None
    variable_frame_rate: bool
    duration_s: float | None
    frames_declared: int
    stream: int
    has_audio: bool


@dataclass(slots=True, kw_only=True)
class FrameCounts:
    """Where the frames went.

    After the last one packets = decoded + undecodable + discarded, and decoded = analysed + not_sampled + dropped.

    Attributes:
        packets: Read from the file.
        decoded: Frames that came out, corrupt ones included.
        corrupt: Decoded with damage.
        undecodable: Packets that gave no frame; known after the last frame.
        discarded: Packets that the file itself says not to show (edit lists).
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


class VideoFile:
    """A video file, opened: iterate once for its frames, in order. A context manager; pictures outlive it.

    Args:
        path: The file.
        stream: Which of its video streams, from 0; cover pictures are not videos.
        sampling: Which of its frames to give out. `Frame.index` counts all of them.

    Raises:
        InputError: It cannot be read or has no video that can be decoded.
    """

    def __init__(self, path: Path | str, *, stream: int = 0, sampling: Sampling | None = None) -> None:
        self.counts = FrameCounts()
        self._path = Path(path)
        self._sampling = sampling or Sampling()
        self._stopping = False
        self._finished = False
        self._last_s = 0.0
        self._first_error: str | None = None
        self._container = _open(self._path)
        try:
            self._stream = _pick_stream(self._container, self._path, stream)
            decoded = self._decode()
            first = next(decoded, None)
            if first is None:
                raise InputError(
                    f"{path} has no frame that can be decoded: all of its {self.counts.packets} video packets failed "
                    f"({self._first_error or 'no reason given'}); damaged or cut off: get it again from its source"
                )
            self._decoded = itertools.chain([first], decoded)
            ratio = sane_aspect_ratio(self._stream.sample_aspect_ratio)
            self._layout = Layout.of_frame(first, ratio)
            self._info = self._describe(first, ratio, stream)
            self._clock = Clock(self._info.time_base, self._info.average_frame_rate)
        except BaseException:
            self._container.close()
            raise

    @property
    def info(self) -> SourceInfo:
        """What the file says about itself; `variable_frame_rate` from the frames given out so far."""
        return replace(self._info, variable_frame_rate=self._clock.is_variable)

    @property
    def colours(self) -> ColourSpace:
        """What the numbers of `VideoPicture.yuv()` mean."""
        return self._layout.colours

    @property
    def truncated(self) -> bool:
        """Whether the file, read to its end, holds fewer frames than it declares and ends before it should."""
        missing = self.counts.packets < self._info.frames_declared
        # AVI declares empty places for repeated frames too, but those don't shorten it.
        duration_s = self._info.duration_s
        early = duration_s is None or self._last_s < duration_s - _END_TOLERANCE_S
        return self._finished and not self._stopping and missing and early

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; pictures given out stay usable."""
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """The frames that were asked for, in the order of showing."""
        sampler = Sampler(self._sampling, self._info.time_base)
        use_dts = self._info.container in _DTS_CONTAINERS
        for decoded in self._decoded:
            index = self.counts.decoded
            self.counts.decoded += 1
            self.counts.corrupt += decoded.is_corrupt
            moment = self._clock.moment(decoded.dts if use_dts else decoded.pts, decoded.duration)
            self._last_s = moment.time_s or self._last_s
            # What the decoder still holds after the end is taken out and counted, so that the accounting adds up.
            self._stopping = self._stopping or sampler.is_past(index, moment.ticks)
            if self._stopping or not sampler.takes(index, moment.ticks):
                self.counts.not_sampled += 1
                continue
            yield Frame(
                source_id=self._info.name,
                index=index,
                epoch=moment.epoch,
                pts=moment.pts,
                time_s=moment.time_s,
                corrupt=decoded.is_corrupt,
                picture=VideoPicture(decoded, self._layout),
            )
        self._finish()

    def _decode(self) -> Iterator[av.VideoFrame]:
        for packet in self._packets():
            try:
                frames = self._stream.decode(packet)
            except av.FFmpegError as error:
                if self._first_error is None:
                    self._first_error = str(error.strerror)
                    _log.warning("%s: packet %d: %s", self._path, self.counts.packets - 1, error.strerror)
                continue
            yield from frames

    def _packets(self) -> Iterator[Packet[VideoStream] | None]:
        """The packets of the stream, then None, which makes the decoder give out what it still holds."""
        packets = self._container.demux(self._stream)
        while not self._stopping:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                _log.warning("%s: reading ends after %d packets: %s", self._path, self.counts.packets, error.strerror)
                break
            if packet is None:
                break
            if packet.size == 0 and packet.dts is None:  # PyAV's own sign for the end of the stream
                continue
            self.counts.packets += 1
            self.counts.discarded += packet.is_discard
            yield packet
        yield None

    def _finish(self) -> None:
        counts = self.counts
        counts.undecodable = max(0, counts.packets - counts.decoded - counts.discarded)
        self._finished = True
        if counts.undecodable or counts.corrupt:
            damage = (counts.undecodable, counts.corrupt)
            _log.warning("%s is damaged: %d packets gave no frame, %d frames came out corrupt", self._path, *damage)
        if self.truncated:
            there = (counts.packets, self._info.frames_declared)
            _log.warning("%s is cut off: %d of the %d frames it declares are there", self._path, *there)

    def _describe(self, first: av.VideoFrame, ratio: Fraction, stream: int) -> SourceInfo:
        video, container, layout = self._stream, self._container, self._layout
        time_base = Fraction(video.time_base or Fraction(1, av.time_base))
        duration_s = float(video.duration * time_base) if video.duration else (container.duration or 0) / av.time_base
        return SourceInfo(
            path=self._path,
            name=self._path.name,
            size_bytes=self._path.stat().st_size,
            container=container.format.name,
            codec=video.codec_context.codec.canonical_name,
            width=layout.width,
            height=layout.height,
            coded_width=first.width,
            coded_height=first.height,
            rotation=layout.turn.rotation,
            sample_aspect_ratio=ratio,
            time_base=time_base,
            average_frame_rate=Fraction(video.average_rate) if video.average_rate else None,
            variable_frame_rate=False,
            duration_s=duration_s or None,
            frames_declared=video.frames,
            stream=stream,
            has_audio=bool(container.streams.audio),
        )


def _open(path: Path) -> InputContainer:
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


def _pick_stream(container: InputContainer, path: Path, stream: int) -> VideoStream:
    """The N-th video stream, ready to decode; attached pictures (album covers) are not videos."""
    videos = [video for video in container.streams.video if not video.disposition & Disposition.attached_pic]
    if not videos:
        kinds = ", ".join(sorted({other.type for other in container.streams if other.type != "video"})) or "nothing"
        raise InputError(f"{path} has no video stream, only {kinds}: give a file with a picture")
    if not 0 <= stream < len(videos):
        allowed = "0" if len(videos) == 1 else f"0 to {len(videos) - 1}"
        raise InputError(f"{path} has {len(videos)} video stream(s), got stream {stream}: allowed is {allowed}")
    video, context = videos[stream], videos[stream].codec_context
    if context is None:
        raise InputError(f"{path}: no decoder for video stream {stream}: convert the file to H.264 first")
    threads = 1 if video.width * video.height <= _ONE_THREAD_UP_TO_PX else min(_MOST_THREADS, os.cpu_count() or 1)
    context.thread_count = threads
    context.thread_type = "NONE" if threads == 1 else "FRAME"
    return video
