"""Peaks of a signal and how far they stand out of what is around them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vidfer.stats.series import I32, stretches
from vidfer.types import F64, I64


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """Peaks of one signal.

    Attributes:
        row: i64[N], the middle row of each, increasing.
        prominence: f64[N]: how far the signal falls on both sides before it rises above the peak, or ends; the smaller
            of the two falls.
    """

    row: I64
    prominence: F64


def find_peaks(values: npt.NDArray[np.floating], part: I32, least: float) -> Peaks:
    """The peaks of a signal with at least this prominence; give -values for its troughs.

    The ends of a part (file, cut, gap) are no peaks: nobody knows how it goes on there.

    Args:
        values: [T].
        part: i32[T], see `FaceSeries`.
        least: Least prominence, in the unit of the signal.
    """
    edges = stretches(part).tolist()
    found = [_in_part(values[a:b].astype(np.float64), a) for a, b in pairwise(edges)]
    row = np.concatenate([np.zeros(0, np.int64), *(one[0] for one in found)])
    prominence = np.concatenate([np.zeros(0), *(one[1] for one in found)])
    keep = prominence >= least
    return Peaks(row=row[keep], prominence=prominence[keep])


def _in_part(values: F64, first_row: int) -> tuple[I64, F64]:
    begin = np.flatnonzero(np.diff(values, prepend=np.nan))  # of each plateau; most are of one row
    end = np.append(begin[1:], len(values)) - 1
    level = values[begin]
    # The ends may be higher than any peak, so they limit prominence, too.
    top = np.flatnonzero((np.diff(level, prepend=-np.inf) > 0) & (np.diff(level, append=-np.inf) < 0))
    height = level[top]
    low = np.minimum.reduceat(level, np.append(0, top))  # before the first top, and behind each
    left = _lowest_up_to_higher(height, low[:-1])
    right = _lowest_up_to_higher(height[::-1], low[:0:-1])[::-1]
    is_inner = (top > 0) & (top < len(level) - 1)
    row = (begin[top] + end[top]) // 2 + first_row
    return row[is_inner], (height - np.maximum(left, right))[is_inner]


def _lowest_up_to_higher(height: F64, low: F64) -> F64:
    """The lowest level between each top and the next higher one before it.

    Args:
        height: f64[N], of the tops.
        low: f64[N], the lowest level between each top and the one before it.
    """
    lowest = low.copy()
    open_tops: list[int] = []  # falling heights
    for i, h in enumerate(height.tolist()):
        while open_tops and height[open_tops[-1]] <= h:
            lowest[i] = min(lowest[i], lowest[open_tops.pop()])
        open_tops.append(i)
    return lowest
