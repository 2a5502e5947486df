"""What a video file holds, without decoding more than its first frames."""

from __future__ import annotations

import itertools
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from av.audio.codeccontext import AudioCodecContext
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext

from vidfer.media.clock import Clock
from vidfer.media.extent import missing_bytes
from vidfer.media.file import SourceInfo, VideoFile
from vidfer.media.ledger import FrameCounts, Ledger
from vidfer.media.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from av.container import InputContainer

# Half a minute of most videos: enough for an uneven frame rate to show, some tens of ms to read.
_PACKETS = 1000
_FRAMES = 10
_REORDERED = 16  # the last packets of a part of a stream may lack earlier ones that come later
_MOST_RATE = 240.0  # containers without a rate declare their clock, 1000 or 90000


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """One stream of a file.

    Attributes:
        kind: "video", "cover", "audio", "subtitle", "data", ...
        number: Which one of its kind, as `--stream` counts.
        codec: Its name; None where nothing here decodes it.
        width, height: As stored; videos only.
        sample_rate, channels: Sound only.
        language: As the file says it.
    """

    kind: str
    number: int
    codec: str | None
    width: int | None = None
    height: int | None = None
    sample_rate: int | None = None
    channels: int | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a file says and shows of itself.

    Attributes:
        info: As `VideoFile.info`; `variable_frame_rate` from the stamps that were read.
        pixel_format: FFmpeg's name of how pixels are stored.
        interlaced: Whether the first frame is.
        streams: All streams of the file.
        frames_expected: How many frames there are to decode, counted or from rate and duration; None: nothing tells.
        stamps: How many stamps were read.
        complete: Whether these were all.
        counts: Of the whole file, when it was decoded.
        warnings: What is wrong, one line each.
    """

    info: SourceInfo
    pixel_format: str
    interlaced: bool
    streams: tuple[StreamInfo, ...]
    frames_expected: int | None
    stamps: int
    complete: bool
    counts: FrameCounts | None
    warnings: tuple[str, ...]


def probe(path: Path | str, *, stream: int = 0, full: bool = False) -> Probe:
    """Look at a video file.

    Args:
        path: The file.
        stream: Which of its video streams.
        full: Decode all of it, to find all damage; takes as long as decoding takes.

    Raises:
        InputError: It cannot be read or has no video that can be decoded.
    """
    path = Path(path)
    with VideoFile(path, stream=stream) as video:
        if full:
            for _ in video:
                pass
        info, counts, warnings = video.info, video.counts, video.warnings
    with closing(Reading(path, stream)) as reading:
        streams = tuple(_streams(reading.container))
        pixel_format, interlaced, damaged = _first_frames(reading)
    if full:
        found = _Stamps(stamps=counts.packets, complete=True, frames=counts.decoded, variable=info.variable_frame_rate)
    else:
        with closing(Reading(path, stream)) as reading:
            found = _read_index(reading, info) or _read_packets(reading, info)
        warnings = list(_signs_of_damage(path, info, found, damaged))
    return Probe(
        info=replace(info, variable_frame_rate=found.variable),
        pixel_format=pixel_format,
        interlaced=interlaced,
        streams=streams,
        frames_expected=found.frames,
        stamps=found.stamps,
        complete=found.complete,
        counts=counts if full else None,
        warnings=tuple(warnings),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stamps:
    """What the stamps of packets tell: how many there are, whether these are all, frames to expect, frames cut off."""

    stamps: int
    complete: bool
    frames: int | None
    variable: bool
    beyond_the_end: int = 0


def _first_frames(reading: Reading) -> tuple[str, bool, bool]:
    """Pixel format, whether lines are interlaced, and whether there is damage, from the first few frames."""
    ledger = Ledger()
    frames = []
    for number, frame in itertools.islice(reading.frames(ledger), _FRAMES):
        ledger.came(number, frame)
        frames.append(frame)
    return frames[0].format.name, frames[0].interlaced_frame, not ledger.is_clean


def _read_index(reading: Reading, info: SourceInfo) -> _Stamps | None:
    """From a table of all packets in the header (MP4, MOV, AVI); None where there is no such table."""
    entries = reading.video.index_entries
    if not info.frames_declared or len(entries) != info.frames_declared:
        return None
    shown = [entry for entry in entries if not entry.is_discard]
    beyond = sum(entry.pos + entry.size > info.size_bytes for entry in shown)
    # Of all packets: in the order of decoding those cut away lie between the others.
    variable = _is_variable((entry.timestamp for entry in entries), info)
    return _Stamps(
        stamps=len(shown), complete=True, frames=len(shown) - beyond, variable=variable, beyond_the_end=beyond
    )


def _read_packets(reading: Reading, info: SourceInfo) -> _Stamps:
    """From the first packets of the file."""
    ledger = Ledger()
    seen, stamps = 0, []
    for number, packet in itertools.islice(reading.packets(ledger), _PACKETS):
        if packet is not None:
            seen += 1
            if packet.pts is not None and ledger.owes(number):
                stamps.append(packet.pts)
    complete = seen < _PACKETS
    stamps.sort()
    counts = ledger.counts
    frames: int | None = info.frames_declared or None
    if complete:
        frames = counts.packets - counts.discarded
    elif frames is None and info.duration_s and 0 < (info.average_frame_rate or 0) <= _MOST_RATE:
        frames = round(info.duration_s * float(info.average_frame_rate or 0))
    stamps = stamps if complete else stamps[:-_REORDERED]
    return _Stamps(stamps=seen, complete=complete, frames=frames, variable=_is_variable(stamps, info))


def _is_variable(stamps: Iterable[int], info: SourceInfo) -> bool:
    clock = Clock(info.time_base, info.average_frame_rate)
    for stamp in stamps:
        clock.moment(stamp, None)
    return clock.is_variable


def _signs_of_damage(path: Path, info: SourceInfo, found: _Stamps, damaged: bool) -> Iterator[str]:
    cut = missing_bytes(path, info.container)
    if cut or found.beyond_the_end:
        reasons = [f"{cut} bytes are missing"] if cut else []
        if found.beyond_the_end:
            reasons.append(f"{found.beyond_the_end} of {info.frames_declared} declared frames are missing")
        yield f"the file is cut off: {', '.join(reasons)}"
    if damaged:
        yield f"the file is damaged: there is damage in its first {_FRAMES} frames"


def _streams(container: InputContainer) -> Iterator[StreamInfo]:
    numbers: dict[str, int] = {}
    for stream in container.streams:
        kind = "cover" if stream.disposition & Disposition.attached_pic else stream.type
        number = numbers.get(kind, 0)
        numbers[kind] = number + 1
        context = stream.codec_context
        yield StreamInfo(
            kind=kind,
            number=number,
            codec=context.codec.canonical_name if context is not None else None,
            width=context.width if isinstance(context, VideoCodecContext) else None,
            height=context.height if isinstance(context, VideoCodecContext) else None,
            sample_rate=context.rate if isinstance(context, AudioCodecContext) else None,
            channels=context.channels if isinstance(context, AudioCodecContext) else None,
            language=stream.language,
        )
