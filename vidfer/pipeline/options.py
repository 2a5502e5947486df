"""What a run of `process` can be told, checked before anything is read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vidfer.errors import UsageError
from vidfer.media.timecode import Sampling, parse_timecode
from vidfer.smooth import PRESETS
from vidfer.vision.session import DEVICES

LANDMARKS = (68, 478, None)
# They decide where results go and how fast they come, not what is in the tables.
_NOT_IN_THE_TABLE = ("output_dir", "overwrite", "render", "device")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessOptions:
    """Options of a run.

    Attributes:
        output_dir: Where results go; made if missing.
        overwrite: Replace existing results that were made with other options.
        render: Make the annotated video.
        landmarks: Points per face in the table: 68 (iBUG), 478 (mesh, with depth) or None.
        start: First moment to analyse, a timecode (`90`, `1:30`, `00:01:30.5`, `120f`).
        end: Moment to stop before, a timecode.
        fps: Analyse so many frames per second of video.
        stride: Analyse every so-manieth frame; not together with `fps`.
        stream: Which video stream of the file.
        detect_every: Frames between two runs of the detector; None lets it rest for up to 0.2 s.
        smooth: "off", "light", "medium" or "strong".
        device: "auto", "cpu" or "cuda".

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
    stream: int = 0
    detect_every: int | None = None
    smooth: str = "medium"
    device: str = "auto"

    def __post_init__(self) -> None:
        _one_of("landmarks", self.landmarks, LANDMARKS)
        _one_of("smooth", self.smooth, PRESETS)
        _one_of("device", self.device, DEVICES)
        if self.detect_every is not None and self.detect_every < 1:
            raise UsageError(f"detect_every is {self.detect_every}: give a number of frames from 1, or auto")
        if self.stream < 0:
            raise UsageError(f"stream is {self.stream}: give 0 for the first video stream, 1 for the second, ...")
        if self.fps is not None:
            object.__setattr__(self, "fps", float(self.fps))  # 5 and 5.0 must not be different options
        self.sampling()

    def sampling(self) -> Sampling:
        """Which frames to analyse."""
        start, end = (None if text is None else parse_timecode(text) for text in (self.start, self.end))
        return Sampling(start=start, end=end, fps=self.fps, stride=self.stride)

    def deciding(self) -> dict[str, Any]:
        """The options that decide what is in the tables."""
        return {name: value for name, value in asdict(self).items() if name not in _NOT_IN_THE_TABLE}


def _one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        names = ", ".join("none" if choice is None else str(choice) for choice in allowed)
        raise UsageError(f"{name} is {value!r}: choose one of {names}")


def config_hash(deciding: dict[str, Any], models: dict[str, str]) -> str:
    """SHA-256 of everything that decides a table besides the source: options and the networks' hashes."""
    text = json.dumps({"options": deciding, "models": models}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
