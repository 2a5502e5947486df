"""The analysed frames of a source: index, time and the segments between cuts, from rows that come in pieces."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from vidfer.smooth import Smoothed, Smoothing, smooth_track
from vidfer.types import F32, F64, I64, Bool

I32 = npt.NDArray[np.int32]

_USUAL_FRAME_RATE = 25.0
_MOST_FRAME_RATE = 240.0  # containers without a rate declare their clock, 1000 or 90000
_SMOOTH_GAP_S, _SMOOTH_GAP_STEPS = 0.5, 3


class Timeline:
    """Takes the rows of a source (several of one frame follow each other), then knows its frames.

    These columns are all that is kept of every frame, 21 bytes, for sources of many hours.

    Args:
        frame_interval_s: Usual time between two analysed frames.

    Attributes:
        interval_s: As given.
        frame: i64[F], indices, sorted.
        time_s: f64[F]; a frame without a time stands one interval after the one before it.
        is_timed: bool[F], whether the time is more than such a guess.
        segment: i32[F], +1 at every cut and every new epoch, and where time steps back: stamps of damaged files do.
    """

    def __init__(self, frame_interval_s: float) -> None:
        self.interval_s = frame_interval_s
        self._waiting: list[tuple[I64, F64, Bool]] = []
        self._last = (-1, 0, 0)
        self.frame: I64 = np.zeros(0, np.int64)
        self.time_s: F64 = np.zeros(0)
        self.is_timed: Bool = np.zeros(0, bool)
        self.segment = np.zeros(0, np.int32)

    def add(self, frame: I64, time_s: F64, shot: I64, epoch: I64) -> None:
        """Take the next rows; NaN where a frame has no time."""
        first = np.flatnonzero(np.diff(frame, prepend=self._last[0]))
        if len(first) == 0:
            return
        frame, shot, epoch = frame[first], shot[first], epoch[first]
        starts = np.diff(shot, prepend=self._last[1]) != 0
        starts |= np.diff(epoch, prepend=self._last[2]) != 0
        starts[0] &= self._last[0] >= 0
        self._waiting.append((frame, time_s[first], starts))
        self._last = (int(frame[-1]), int(shot[-1]), int(epoch[-1]))

    def close(self) -> None:
        """All rows were there."""
        if self._waiting:
            self.frame, time_s, starts = (np.concatenate(column) for column in zip(*self._waiting, strict=True))
            self._waiting.clear()
            self.is_timed = ~np.isnan(time_s)
            self.time_s = time_s if self.is_timed.all() else self._guessed(time_s)
            starts[1:] |= np.diff(self.time_s) < 0
            self.segment = np.cumsum(starts, dtype=np.int32)

    def _guessed(self, time_s: F64) -> F64:
        place = np.arange(len(time_s))
        known = np.maximum.accumulate(np.where(self.is_timed, place, -1))
        start = np.where(known >= 0, time_s[known], -self.interval_s)
        return np.asarray(start + (place - known) * self.interval_s * ~self.is_timed)

    def position(self, frame: I64) -> I64:
        """Where frames stand among the analysed ones."""
        return np.searchsorted(self.frame, frame)

    @property
    def longest_gap_s(self) -> float:
        """Farther apart, two rows of a track do not belong together."""
        return max(_SMOOTH_GAP_S, _SMOOTH_GAP_STEPS * self.interval_s)

    def parts(self, at: I32) -> I32:
        """Number of the part of each row of a track, i32[T]: a new one at every cut and longer gap."""
        breaks = (np.diff(self.segment[at]) != 0) | (np.diff(self.time_s[at]) > self.longest_gap_s + 1e-9)
        return np.cumsum(np.r_[False, breaks], dtype=np.int32)

    def smooth(self, at: I32, affect: F32, quality: F32, smoothing: Smoothing) -> Smoothed:
        """Smooth one track.

        Args:
            at: i32[T], positions of its faces, increasing.
            affect: f32[T,10], probabilities of the emotions, valence, arousal.
            quality: f32[T].
            smoothing: How strongly.
        """
        return smooth_track(self.time_s[at], self.parts(at), affect[:, :-2], affect[:, -2:], quality, smoothing)


def usual_interval_s(frame_rate: Fraction | None, *, fps: float | None, stride: int | None) -> float:
    """Usual time between two analysed frames, for the average frame rate of the source and how it was sampled."""
    rate = float(frame_rate or 0)
    rate = rate if 0 < rate <= _MOST_FRAME_RATE else _USUAL_FRAME_RATE
    if fps is not None:
        return max(1 / rate, 1 / fps)
    return (stride or 1) / rate
