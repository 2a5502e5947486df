"""The curves of one face, as points or, where there are more rows than a chart can show, as bins of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidfer.types import F64, I64

MOST_POINTS = 800  # a chart is about so many pixels wide
_GAP_S, _GAP_STEPS = 0.5, 3.0  # curves close at longer gaps, as smoothing does


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """Curves of N points.

    Attributes:
        time_s: f64[N], rising.
        rows: i64[N], how many rows each stands for.
        mean: f64[N,10], smoothed: eight probabilities, valence, arousal.
        low: f64[N,2], least valence and arousal before smoothing.
        high: f64[N,2], largest ones.
        starts: Where a new piece begins, since the face was away; the first is 0.
        bin_s: How much time a point stands for; None where every point is one row.
        step_s: Usual time between two points.
    """

    time_s: F64
    rows: I64
    mean: F64
    low: F64
    high: F64
    starts: list[int]
    bin_s: float | None
    step_s: float


class SeriesMaker:
    """Sums rows up into points.

    Args:
        span: First and last moment of the face.
        rows: How many rows there will be.
        points: How many points there may be.
    """

    def __init__(self, span: tuple[float, float], rows: int, points: int) -> None:
        self._first, self._length = span[0], max(span[1] - span[0], 1e-9)
        self._binned = rows > points
        size = points if self._binned else rows
        self._seen = 0
        self._count = np.zeros(size, np.int64)
        self._time, self._sum = np.zeros(size), np.zeros((size, 10))
        self._low, self._high = np.full((size, 2), np.inf), np.full((size, 2), -np.inf)

    def add(self, time_s: F64, values: F64) -> None:
        """Take in rows, f64[R] and f64[R,12]: ten smoothed values, then valence and arousal as measured."""
        known = ~np.isnan(time_s)
        time_s, values = time_s[known], values[known]
        at = self._place(time_s)
        np.add.at(self._count, at, 1)
        np.add.at(self._time, at, time_s)
        np.add.at(self._sum, at, values[:, :10])
        np.minimum.at(self._low, at, values[:, 10:])
        np.maximum.at(self._high, at, values[:, 10:])

    def _place(self, time_s: F64) -> I64:
        if self._binned:
            part = (time_s - self._first) / self._length * len(self._count)
            return np.clip(part, 0, len(self._count) - 1).astype(np.int64)
        at = np.arange(self._seen, self._seen + len(time_s))
        self._seen += len(time_s)
        return at

    def series(self, step_s: float) -> Series | None:
        """The curves; None where no row has a time. `step_s` is the usual time between two rows."""
        filled = np.flatnonzero(self._count)
        if not len(filled):
            return None
        count = self._count[filled]
        time_s = self._time[filled] / count
        order = np.argsort(time_s, kind="stable")
        filled, count, time_s = filled[order], count[order], time_s[order]
        bin_s = self._length / len(self._count) if self._binned else None
        usual = max(step_s, bin_s or 0.0)
        gaps = np.flatnonzero(np.diff(time_s) > max(_GAP_S, _GAP_STEPS * step_s, 2.0 * usual)) + 1
        return Series(
            time_s=time_s,
            rows=count,
            mean=self._sum[filled] / count[:, None],
            low=self._low[filled],
            high=self._high[filled],
            starts=[0, *gaps.tolist()],
            bin_s=bin_s,
            step_s=usual,
        )
