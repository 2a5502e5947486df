"""What a run of `process` can be told, checked before anything is read."""

from __future__ import annotations

import hashlib
import json
import numbers
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from vidfer.errors import UsageError
from vidfer.media.file import SourceInfo
from vidfer.media.timecode import Sampling, Timecode, parse_timecode
from vidfer.pipeline.timeline import usual_interval_s
from vidfer.smooth import PRESETS
from vidfer.vision.session import DEVICES, PRECISIONS

LANDMARKS = (68, 478, None)
_LEAST_FPS, _MOST_FPS = 0.001, 10_000.0
# They decide where results go and how fast they come, not what is in the tables.
# The rate of a sequence is in the stamps of the video that is made of it.
_NOT_IN_THE_TABLE = ("output_dir", "overwrite", "render", "device", "precision", "sequence_fps")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessOptions:
    """Options of a run.

    Values may also be written as on the command line ("auto", "none", "68"); equal meanings become equal values.

    Attributes:
        output_dir: Where results go; made if missing.
        overwrite: Replace existing results that were made with other options.
        render: Make the annotated video.
        landmarks: Points per face in the table: 68 (iBUG), 478 (mesh, with depth) or None.
        start: First moment to analyse, seconds or a timecode (`90`, `1:30`, `00:01:30.5`, `120f`).
        end: Moment to stop before, likewise.
        fps: Analyse so many frames per second of video.
        stride: Analyse every so-manieth frame; not together with `fps`.
        sequence_fps: Numbered pictures are a video with so many a second; None for photos.
        stream: Which video stream of the file.
        detect_every: Frames between two runs of the detector; None lets it rest for up to 0.2 s.
        smooth: "off", "light", "medium" or "strong".
        identity: Say which tracks are the same person.
        embeddings: Keep the mean embedding of each track in the table of tracks: biometric data.
        device: "auto", "cpu" or "cuda".
        precision: "auto" (int8 on CPUs with VNNI, as long as it loses less than half a point), "float32" or "int8".

    Raises:
        UsageError: A value is not allowed.
    """

    output_dir: Path = Path()
    overwrite: bool = False
    render: bool = True
    landmarks: int | None = 68
    start: str | None = None
    end: str | None = None
    fps: float | None = None
    stride: int | None = None
    sequence_fps: float | None = None
    stream: int = 0
    detect_every: int | None = None
    smooth: str = "medium"
    identity: bool = False
    embeddings: bool = False
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name, read in _READ.items():
            object.__setattr__(self, name, read(name, getattr(self, name)))
        _one_of("landmarks", self.landmarks, LANDMARKS)
        _one_of("smooth", self.smooth, PRESETS)
        _one_of("device", self.device, DEVICES)
        _one_of("precision", self.precision, PRECISIONS)
        if self.detect_every is not None and self.detect_every < 1:
            raise UsageError(f"detect_every is {self.detect_every}: give a number of frames from 1, or auto")
        if self.stream < 0:
            raise UsageError(f"stream is {self.stream}: give 0 for the first video stream, 1 for the second, ...")
        if self.sequence_fps is not None and not _LEAST_FPS <= self.sequence_fps <= _MOST_FPS:
            raise UsageError(
                f"sequence_fps is {self.sequence_fps:g}: give {_LEAST_FPS:g} to {_MOST_FPS:g} pictures a second"
            )
        self.sampling()

    def sampling(self) -> Sampling:
        """Which frames to analyse."""
        start, end = (None if text is None else parse_timecode(text) for text in (self.start, self.end))
        return Sampling(start=start, end=end, fps=self.fps, stride=self.stride)

    def nothing_of(self, info: SourceInfo) -> str:
        """Say that these options leave nothing of a video."""
        limits = [f"{word} {at}" for word, at in (("from", self.start), ("up to", self.end)) if at is not None]
        span = " ".join(limits) or "to analyse"
        return f"{info.name} has no frame {span}" + (f": it lasts {info.duration_s:.2f} s" if info.duration_s else "")

    def deciding(self) -> dict[str, Any]:
        """The options that decide what is in the tables."""
        return {name: value for name, value in asdict(self).items() if name not in _NOT_IN_THE_TABLE}


def _one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        names = ", ".join("none" if choice is None else str(choice) for choice in allowed)
        raise UsageError(f"{name} is {value!r}: choose one of {names}")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{name} is {value!r}: give a word in quotes")
    return value


def _yes_or_no(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{name} is {value!r}: give True or False")
    return value


def _folder(name: str, value: Any) -> Path:
    if not isinstance(value, (str, os.PathLike)):
        raise UsageError(f"{name} is {value!r}: give a folder")
    return Path(value)


def _number(name: str, value: Any, what: str = "a number") -> Fraction:
    """A number, or the text of one, exactly as it is written."""
    is_number = isinstance(value, (str, numbers.Real)) and value is not True and value is not False
    try:
        return Fraction(str(value).strip() if is_number else "")
    except (ValueError, ZeroDivisionError):  # the text of no number; infinite; NaN
        raise UsageError(f"{name} is {value!r}: give {what}") from None


def _whole(name: str, value: Any, absent: str | None = "None") -> int | None:
    """A whole number; or None, or the word that stands for it, where the option can be left out."""
    if absent is not None and (value is None or value == absent):
        return None
    what = "a whole number" + (f" or {absent}" if absent else "")
    number = _number(name, value, what)
    if number.denominator != 1:
        raise UsageError(f"{name} is {value!r}: give {what}")
    return int(number)


def _rate(name: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        return float(_number(name, value))  # 5 and 5.0 must not be different options
    except OverflowError:
        raise UsageError(f"{name} is {value!r}: give a number of frames per second") from None


def _moment(name: str, value: Any) -> str | None:
    """A timecode in its one canonical form, so that 90, "90.0" and "1:30" are the same option."""
    if value is None:
        return None
    if isinstance(value, str):
        time = parse_timecode(value)
    else:
        seconds = _number(name, value, "seconds, or a timecode such as 1:30")
        if seconds < 0:
            raise UsageError(f"{name} is {value!r}: give seconds from 0 on, or a timecode such as 1:30")
        time = Timecode(seconds=seconds)
    if time.seconds is None:
        return str(time)
    whole, nano = divmod(round(time.seconds * 10**9), 10**9)
    return f"{whole}.{nano:09d}".rstrip("0").rstrip(".")


_READ: dict[str, Callable[[str, Any], Any]] = {
    "output_dir": _folder,
    "overwrite": _yes_or_no,
    "render": _yes_or_no,
    "landmarks": partial(_whole, absent="none"),
    "start": _moment,
    "end": _moment,
    "fps": _rate,
    "sequence_fps": _rate,
    "stride": _whole,
    "stream": partial(_whole, absent=None),
    "detect_every": partial(_whole, absent="auto"),
    "smooth": _text,
    "identity": _yes_or_no,
    "embeddings": _yes_or_no,
    "device": _text,
}


def config_hash(deciding: dict[str, Any], models: dict[str, str]) -> str:
    """SHA-256 of everything that decides a table besides the source: options and the networks' hashes."""
    text = json.dumps({"options": deciding, "models": models}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def frame_interval_s(info: SourceInfo, options: ProcessOptions) -> float:
    """Usual time between two analysed frames."""
    return usual_interval_s(info.average_frame_rate, fps=options.fps, stride=options.stride)
