"""How two faces move together: windowed cross-correlation with its lag (Boker, Rotondo, Xu and King, 2002).

A common mood, a film that both watch, even two slow drifts correlate, and the largest of many correlations is never
small. So every figure comes with what the same two faces give when one of them is slid along time (data sliding:
Moulder, Boker, Ramseyer and Tschacher, 2018): only what is above that speaks for synchrony.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vidfer.stats.series import FaceSeries
from vidfer.types import F64, I64, Bool

SIGNALS = ("valence", "arousal", "expressivity")
_SURROGATES = 19  # the observed one and these: p is a multiple of 0.05
_LEAST_POINTS = 15  # in a window; correlations of fewer are mostly chance
_LEAST_SD = 1e-3  # of a signal from -1 to 1 or 0 to 1 in a window: what moves less has no correlation
_LARGEST = 1 - 1e-12  # Fisher's z of 1 is infinite


@dataclass(frozen=True, slots=True, kw_only=True)
class SynchronyOptions:
    """How to look for synchrony.

    Attributes:
        window_s: Length of a window.
        step_s: From the beginning of one window to that of the next.
        max_lag_s: Longest lag, in both directions.
        grid_s: Time between the points at which both faces are compared, and between lags.
    """

    window_s: float = 5.0
    step_s: float = 1.0
    max_lag_s: float = 2.0
    grid_s: float = 0.1

    @property
    def points(self) -> tuple[int, int, int]:
        """Window, step and longest lag in points of the grid."""
        window, lag = (round(length / self.grid_s) for length in (self.window_s, self.max_lag_s))
        return window, max(1, round(self.step_s / self.grid_s)), lag


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Windows in which both faces are seen, at all lags.

    Attributes:
        start_s: f64[W], where each window of the later face begins.
        lag_s: f64[L], increasing; positive: the first face leads.
        correlation: f64[W,L]; NaN where a face does not move or is not seen.
        peak: f64[W], the highest correlation that is higher than those at the lags beside it; NaN where there is none.
        peak_lag_s: f64[W], where it is.
    """

    start_s: F64
    lag_s: F64
    correlation: F64
    peak: F64
    peak_lag_s: F64


@dataclass(frozen=True, slots=True, kw_only=True)
class Synchrony:
    """Synchrony of two faces in one signal.

    Attributes:
        first: `face_id` of the one that leads at positive lags.
        second: `face_id` of the other one.
        signal: One of `SIGNALS`, smoothed.
        shared_s: Time in which both were seen.
        windows: Number of windows with a peak.
        correlation: Mean of the peaks (over Fisher's z).
        lag_s: Median lag of the peaks.
        first_leads: Share of the windows in which the first one leads, those at lag 0 counting half.
        correlation_at_0: Mean correlation without lag, of the windows that have one.
        surrogate: Mean `correlation` with one face slid along; None where there is too little time for that.
        surrogate_p: Share of these, and of the real one, that are as high as the real one.
    """

    first: int
    second: int
    signal: str
    shared_s: float
    windows: int
    correlation: float
    lag_s: float
    first_leads: float
    correlation_at_0: float | None
    surrogate: float | None
    surrogate_p: float | None


def synchrony(
    first: FaceSeries,
    second: FaceSeries,
    signal: str,
    options: SynchronyOptions = SynchronyOptions(),
) -> Synchrony | None:
    """Synchrony of two faces; None where no window tells anything."""
    grid = _grid(first, second, options)
    a, b = (on_grid(face, signal, grid) for face in (first, second))
    windows = windowed_correlation(a, b, float(grid[0]) if len(grid) else 0.0, options)
    has_peak = np.isfinite(windows.peak)
    if not has_peak.any():
        return None
    lag = windows.peak_lag_s[has_peak]
    at_0 = windows.correlation[:, len(windows.lag_s) // 2]
    mean = _mean_correlation(windows.peak)
    chance = _surrogates(a, b, options)
    return Synchrony(
        first=first.face_id,
        second=second.face_id,
        signal=signal,
        shared_s=float((np.isfinite(a) & np.isfinite(b)).sum() * options.grid_s),
        windows=int(has_peak.sum()),
        correlation=mean,
        lag_s=float(np.median(lag)),
        first_leads=float((np.sign(lag) + 1).mean() / 2),
        correlation_at_0=_mean_correlation(at_0) if np.isfinite(at_0).any() else None,
        surrogate=float(np.tanh(np.arctanh(chance).mean())) if len(chance) else None,
        surrogate_p=float((1 + (chance >= mean).sum()) / (1 + len(chance))) if len(chance) else None,
    )


def windowed_correlation(a: F64, b: F64, start_s: float, options: SynchronyOptions) -> Windows:
    """Correlations of two signals in windows, at all lags.

    The window of one signal stays, that of the one that leads lies earlier: so exchanging the signals exchanges the
    signs of the lags and changes nothing else.

    Args:
        a: f64[N], the first signal on a grid; NaN where it is not known.
        b: f64[N], the second one.
        start_s: Time of the first point.
        options: Windows and lags.
    """
    window, step, most = options.points
    lags = np.arange(-most, most + 1)
    at = np.arange(most, len(a) - window + 1, step)
    correlation = np.full((len(at), len(lags)), np.nan)
    if window >= _LEAST_POINTS and len(at):
        first, second = _Sums(a, window), _Sums(b, window)
        for i, lag in enumerate(lags.tolist()):
            correlation[:, i] = _correlation(first, second, at - max(lag, 0), at + min(lag, 0))
    row, peak = _peaks(correlation)
    peak_lag_s = np.where(np.isfinite(peak), lags[row] * options.grid_s, np.nan)
    return Windows(
        start_s=np.asarray(start_s + at * options.grid_s),
        lag_s=np.asarray(lags * options.grid_s),
        correlation=correlation,
        peak=peak,
        peak_lag_s=peak_lag_s,
    )


def on_grid(face: FaceSeries, signal: str, grid: F64) -> F64:
    """A smoothed signal at other times, by straight lines between rows of one part; NaN where it is not known."""
    if len(face.time_s) < 2:
        return np.full(len(grid), np.nan)
    order = np.argsort(face.time_s, kind="stable")  # stamps of damaged files step back
    time_s, part, values = face.time_s[order], face.part[order], getattr(face.smooth, signal)[order]
    right = np.clip(np.searchsorted(time_s, grid), 1, len(time_s) - 1)
    known = (grid >= time_s[0] - 1e-9) & (grid <= time_s[-1] + 1e-9) & (part[right] == part[right - 1])
    return np.where(known, np.interp(grid, time_s, values), np.nan)


def _grid(first: FaceSeries, second: FaceSeries, options: SynchronyOptions) -> F64:
    """Points at whole multiples of the step in the time that both share."""
    if not len(first.time_s) or not len(second.time_s):
        return np.zeros(0)
    start = max(first.time_s.min(), second.time_s.min()) / options.grid_s
    end = min(first.time_s.max(), second.time_s.max()) / options.grid_s
    return np.arange(math.ceil(start - 1e-6), math.floor(end + 1e-6) + 1) * options.grid_s


class _Sums:
    """Sums of a signal over windows that begin anywhere."""

    def __init__(self, values: F64, window: int) -> None:
        self.known: Bool = np.isfinite(values)
        # From the mean, so that sums of squares keep their digits.
        self.values: F64 = np.where(self.known, values - (values[self.known].mean() if self.known.any() else 0), 0.0)
        self.window = window
        self.is_whole = _window_sum(self.known.astype(np.float64), window) > window - 0.5
        self.sum = _window_sum(self.values, window)
        self.sd = np.sqrt(np.maximum(_window_sum(self.values**2, window) / window - (self.sum / window) ** 2, 0))


def _window_sum(values: F64, window: int) -> F64:
    total = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray(total[window:] - total[:-window])


def _correlation(first: _Sums, second: _Sums, a: I64, b: I64) -> F64:
    """Correlations of windows of the first signal that begin at `a` with windows of the second that begin at `b`."""
    window, shift = first.window, int(a[0] - b[0])
    ahead, behind = max(shift, 0), max(-shift, 0)
    length = len(first.values) - abs(shift)
    product = first.values[ahead : ahead + length] * second.values[behind : behind + length]
    mean = _window_sum(product, window)[np.minimum(a, b)] / window
    covariance = mean - first.sum[a] * second.sum[b] / window**2
    moves = (first.sd[a] > _LEAST_SD) & (second.sd[b] > _LEAST_SD) & first.is_whole[a] & second.is_whole[b]
    spread = np.where(moves, first.sd[a] * second.sd[b], 1.0)
    return np.where(moves, np.clip(covariance / spread, -1, 1), np.nan)


def _peaks(correlation: F64) -> tuple[I64, F64]:
    """Column and height of the highest inner peak of each row; of equals the one nearest to the middle."""
    windows, lags = correlation.shape
    if lags < 3:
        return np.zeros(windows, np.int64), np.full(windows, np.nan)
    inner = correlation[:, 1:-1]
    is_peak = (inner >= correlation[:, :-2]) & (inner >= correlation[:, 2:])  # False beside a NaN
    height = np.where(is_peak, inner, -np.inf)
    order = np.argsort(np.abs(np.arange(lags - 2) - (lags - 3) // 2), kind="stable")
    column = order[height[:, order].argmax(axis=1)] if windows else np.zeros(0, np.int64)
    best = height[np.arange(windows), column]
    return column + 1, np.where(np.isfinite(best), best, np.nan)


def _mean_correlation(correlation: F64) -> float:
    known = correlation[np.isfinite(correlation)]
    return float(np.tanh(np.arctanh(np.clip(known, -_LARGEST, _LARGEST)).mean()))


def _surrogates(a: F64, b: F64, options: SynchronyOptions) -> F64:
    """Mean peaks with `b` slid along, what leaves at one end coming back at the other."""
    window, _, most = options.points
    least = window + 2 * most
    if len(b) < 2 * least + _SURROGATES:
        return np.zeros(0)
    means = []
    for shift in np.linspace(least, len(b) - least, _SURROGATES).round().astype(int).tolist():
        slid = np.roll(b, shift)
        slid[shift] = np.nan  # no window goes over the seam
        peak = windowed_correlation(a, slid, 0.0, options).peak
        if np.isfinite(peak).any():
            means.append(_mean_correlation(peak))
    return np.array(means)
