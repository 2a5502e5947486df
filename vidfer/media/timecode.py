"""Points in a video as people write them, and which of its frames are to be analysed."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from vidfer.errors import UsageError

_FRAME = re.compile(r"([0-9]+)f")
_CLOCK = re.compile(r"(?:(?:([0-9]+):)?([0-9]+):)?([0-9]+(?:\.[0-9]+)?)")
_ALLOWED = "allowed are seconds (90, 90.5), minutes and hours (1:30, 00:01:30.5) and frame numbers (120f)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timecode:
    """A point in a video: exactly one of a time in seconds and a 0-based frame number."""

    seconds: Fraction | None = None
    frame: int | None = None

    def __post_init__(self) -> None:
        given = self.seconds if self.frame is None else self.frame
        if (self.seconds is None) == (self.frame is None) or given is None or given < 0:
            raise ValueError(f"a timecode is one of seconds >= 0 and frame >= 0, got {self.seconds} and {self.frame}")

    def __str__(self) -> str:
        if self.seconds is None:
            return f"{self.frame}f"
        return str(self.seconds.numerator) if self.seconds.denominator == 1 else str(float(self.seconds))

    def is_reached(self, index: int, time: Fraction | None) -> bool:
        """Whether a frame with this index and this time (seconds after the first frame) is at or after this point."""
        if self.seconds is None:
            return index >= (self.frame or 0)
        return time is not None and time >= self.seconds


def parse_timecode(text: str) -> Timecode:
    """Read `90`, `90.5`, `1:30`, `00:01:30.5` (time) or `120f` (frame number).

    Raises:
        UsageError: It is none of these, or minutes or seconds after a colon are 60 or more.
    """
    text = text.strip()
    if match := _FRAME.fullmatch(text):
        return Timecode(frame=int(match[1]))
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise UsageError(f"timecode {text!r} cannot be read: {_ALLOWED}")
    hours, minutes, seconds = match[1], match[2], Fraction(match[3])
    if (minutes is not None and seconds >= 60) or (hours is not None and int(minutes) >= 60):
        raise UsageError(f"timecode {text!r} has minutes or seconds of 60 or more after a colon: {_ALLOWED}")
    return Timecode(seconds=int(hours or 0) * 3600 + int(minutes or 0) * 60 + seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Which frames of a video are analysed; without arguments all of them.

    `fps` and `stride` count from the first frame of the video and not from `start`: a part of a video gives the same
    frames as the whole.

    Attributes:
        start: The first point to analyse.
        end: The point before which analysis ends (the frame there is not analysed).
        fps: The first frame at or after each k/fps seconds; never more frames than there are.
        stride: Every stride-th frame.
    """

    start: Timecode | None = None
    end: Timecode | None = None
    fps: float | None = None
    stride: int | None = None

    def __post_init__(self) -> None:
        if self.fps is not None and self.stride is not None:
            raise UsageError(f"fps {self.fps:g} and stride {self.stride} exclude each other: give one of them")
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise UsageError(f"fps must be a number above 0, got {self.fps}")
        if self.stride is not None and self.stride < 1:
            raise UsageError(f"stride must be 1 or more, got {self.stride}")
        start, end = self.start, self.end
        if start is None or end is None:
            return
        frames = start.frame is not None and end.frame is not None and start.frame >= end.frame
        times = start.seconds is not None and end.seconds is not None and start.seconds >= end.seconds
        if frames or times:
            raise UsageError(f"start {start} must be before end {end}")


class Sampler:
    """Applies a `Sampling` to the frames of one video, in order.

    Attributes:
        step: The last k of the k/fps that gave a frame, -1 before the first: all that it keeps in mind.
    """

    def __init__(self, sampling: Sampling, tick: Fraction) -> None:
        """Args: the sampling, and the tick of the stream's clock in seconds."""
        self._sampling = sampling
        self._tick = tick
        self._rate = None if sampling.fps is None else Fraction(str(sampling.fps))
        self.step = -1

    def is_past(self, index: int, ticks: Fraction | None) -> bool:
        """Whether this frame, and so every later one, comes after the end."""
        end = self._sampling.end
        return end is not None and end.is_reached(index, self._time(ticks))

    def takes(self, index: int, ticks: Fraction | None) -> bool:
        """Whether this frame is analysed; to be asked once for every frame before the end.

        Args:
            index: 0-based index of the frame in the video.
            ticks: Its time after the first frame in ticks; None where unknown (it is taken then).
        """
        time, start, stride = self._time(ticks), self._sampling.start, self._sampling.stride
        taken = stride is None or index % stride == 0
        if self._rate is not None and time is not None:
            step = math.floor(time * self._rate)
            taken = step > self.step
            self.step = max(step, self.step)
        return taken and (start is None or start.is_reached(index, time))

    def _time(self, ticks: Fraction | None) -> Fraction | None:
        # Containers round a frame's time to whole ticks (Matroska: 1 ms), so half a tick is no difference: without it
        # every third frame of a Matroska file at 30 frames/s would be missing from `--fps 30`.
        return None if ticks is None else (ticks + Fraction(1, 2)) * self._tick
