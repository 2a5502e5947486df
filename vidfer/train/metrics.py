"""Figures of merit, and bootstrap intervals for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A metric on n rows with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float]:
        """For JSON, rounded to what the interval allows."""
        return {"value": round(self.value, 4), "low": round(self.low, 4), "high": round(self.high, 4), "n": self.n}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A metric with its columns, and which rows of the yardstick (increasing) they belong to."""

    name: str
    metric: Callable[..., float]
    rows: npt.NDArray[np.int64]
    columns: tuple[Array, ...]

    def figure(self) -> Figure:
        """On all of its rows."""
        return figure(self.metric, *self.columns)

    def within(self, group: npt.NDArray[np.bool_]) -> Measure:
        """Only rows of a group, given as a mask of all rows of the yardstick."""
        inside = group[self.rows]
        columns = tuple(column[inside] for column in self.columns)
        return Measure(name=self.name, metric=self.metric, rows=self.rows[inside], columns=columns)


def figure(metric: Callable[..., float], *columns: Array, rounds: int = 1000, seed: int = 0) -> Figure:
    """The metric of aligned columns with a percentile bootstrap over rows (Efron, 1979)."""
    rng = np.random.default_rng(seed)
    n = len(columns[0])
    draws = [metric(*(c[rows] for c in columns)) for rows in rng.integers(0, n, (rounds, n))]
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return Figure(value=metric(*columns), low=float(low), high=float(high), n=n)


def share(count: int, n: int) -> Figure:
    """`count` of `n` with the score interval (Wilson, 1927); a bootstrap of 0 would say that there is never any."""
    z = 1.959964
    middle, spread = count + z * z / 2, z * np.sqrt(count * (n - count) / n + z * z / 4)
    low, high = (float(middle + sign * spread) / (n + z * z) for sign in (-1, 1))
    return Figure(value=count / n, low=low, high=high, n=n)


def mean(values: Array) -> float:
    """Mean of a figure that is known per row."""
    return float(values.mean())


def root_mean(squares: Array) -> float:
    """Root of the mean of squares that are known per row."""
    return float(np.sqrt(squares.mean()))


def mean_square(prediction: Array, target: Array) -> float:
    """Mean squared error."""
    return float(((prediction - target) ** 2).mean())


def ratio(counts: Array, of: Array) -> float:
    """Sum over the rows of what was counted / of what there was to count."""
    return float(counts.sum() / max(of.sum(), 1))


def accuracy(prediction: Array, label: Array) -> float:
    """Share of rows whose predicted class is the label."""
    return float((prediction == label).mean())


def macro_f1(prediction: Array, label: Array) -> float:
    """Mean F1 over the classes that occur among the labels."""
    scores = []
    for c in np.unique(label):
        hits = ((prediction == c) & (label == c)).sum()
        scores.append(2 * hits / max(((prediction == c).sum() + (label == c).sum()), 1))
    return float(np.mean(scores))


def ccc(prediction: Array, target: Array) -> float:
    """Concordance correlation coefficient (Lin, 1989)."""
    covariance = ((prediction - prediction.mean()) * (target - target.mean())).mean()
    return float(2 * covariance / (prediction.var() + target.var() + (prediction.mean() - target.mean()) ** 2 + 1e-12))


def expected_calibration_error(probability: Array, label: Array, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width bins (Guo et al., 2017)."""
    confidence, hit = probability.max(1), probability.argmax(1) == label
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(which, minlength=bins)
    gap = np.abs(np.bincount(which, hit, bins) - np.bincount(which, confidence, bins))
    return float(gap[counts > 0].sum() / len(label))


def point_errors(prediction: Array, target: Array, eye_distance: Array) -> Array:
    """Mean distance over the points of f32[N,K,2], in units of the outer eye corners' distance f32[N]."""
    return np.asarray(np.linalg.norm(prediction - target, axis=2).mean(1) / eye_distance)


def roc_auc(score: Array, positive: Array) -> float:
    """Area under the ROC curve by ranks; ties count half."""
    order = np.argsort(score, kind="stable")
    _, start, inverse, counts = np.unique(score[order], return_index=True, return_inverse=True, return_counts=True)
    rank = (start + (counts - 1) / 2 + 1)[inverse]
    hits = positive[order].astype(bool)
    n_pos, n_neg = hits.sum(), (~hits).sum()
    return float((rank[hits].sum() - n_pos * (n_pos + 1) / 2) / max(n_pos * n_neg, 1))
