"""Figures of merit, and bootstrap intervals for them.

What is told of a whole table is a function of sums or means over its rows (`..._of`): a confusion matrix, bins of
confidence, moments. They take any number of resamples at once, f64[..., what it is], as `evaluation.scores` has them;
the functions without `_of` make them of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vidfer.types import F64, I64, Bool

BINS = 15  # of confidence
# Those whose distance is the unit of errors, by number of points: outer corners of 68 and 478, centres of fewer.
EYES = {4: (0, 1), 5: (0, 1), 15: (0, 1), 68: (36, 45), 478: (33, 263)}
_NO_SPREAD = 1e-12  # a variance: values that are within a millionth of each other
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
    rows: I64
    columns: tuple[Array, ...]

    def figure(self) -> Figure:
        """On all of its rows."""
        return figure(self.metric, *self.columns)

    def within(self, group: Bool) -> Measure:
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
    return Figure(value=count / n, low=low if count else 0.0, high=high if count < n else 1.0, n=n)


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
    return float(accuracy_of(confusion(prediction, label)))


def macro_f1(prediction: Array, label: Array) -> float:
    """Mean F1 over the classes that occur among the labels."""
    return float(macro_f1_of(confusion(prediction, label)))


def confusion(prediction: Array, label: Array, classes: int | None = None) -> F64:
    """How often rows of a class (line) are taken for a class (column), f64[C,C]."""
    c = classes or 1 + max(int(of.max(initial=0)) for of in (prediction, label))
    return np.bincount(label * c + prediction, minlength=c * c).reshape(c, c).astype(np.float64)


def accuracy_of(counts: F64) -> F64:
    """Accuracy from confusion matrices f64[...,C,C]."""
    return divided(_hits(counts).sum(-1), counts.sum((-2, -1)))


def precision_of(counts: F64) -> F64:
    """Precision f64[...,C] from confusion matrices; NaN where a class is never guessed."""
    return divided(_hits(counts), counts.sum(-2))


def recall_of(counts: F64) -> F64:
    """Recall f64[...,C] from confusion matrices; NaN where no row is of a class."""
    return divided(_hits(counts), counts.sum(-1))


def f1_of(counts: F64) -> F64:
    """F1 f64[...,C] from confusion matrices."""
    return divided(2 * _hits(counts), counts.sum(-1) + counts.sum(-2))


def macro_f1_of(counts: F64) -> F64:
    """Mean F1 over the classes that rows have."""
    there = counts.sum(-1) > 0
    return divided((np.nan_to_num(f1_of(counts)) * there).sum(-1), there.sum(-1))


def weighted_f1_of(counts: F64) -> F64:
    """Mean F1 over the rows' classes."""
    return divided((np.nan_to_num(f1_of(counts)) * counts.sum(-1)).sum(-1), counts.sum((-2, -1)))


def _hits(counts: F64) -> F64:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def expected_calibration_error(probability: Array, label: Array) -> float:
    """Mean gap between confidence and accuracy over equal-width bins (Guo et al., 2017)."""
    return float(calibration_error_of(confidence_bins(probability, label).sum(0)))


def confidence_bins(probability: Array, label: Array) -> F64:
    """What every row adds to the bins of confidence, f64[N,BINS,3]: itself, whether it is right, its confidence."""
    n, confidence = len(label), probability.max(1)
    bins = np.zeros((n, BINS, 3))
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins[np.arange(n), which] = np.stack([np.ones(n), probability.argmax(1) == label, confidence], 1)
    return bins


def calibration_error_of(bins: F64) -> F64:
    """Calibration error from sums or means of `confidence_bins`, f64[...,BINS,3]."""
    return divided(np.abs(bins[..., 1] - bins[..., 2]).sum(-1), bins[..., 0].sum(-1))


def ccc(prediction: Array, target: Array) -> float:
    """Concordance correlation coefficient (Lin, 1989)."""
    return float(ccc_of(moments(prediction, target).mean(0)))


def moments(prediction: Array, target: Array) -> F64:
    """Both, their squares and their product, f64[N,5], around the target's mean.

    Of raw ones, little would be left of small variances.
    """
    p, t = (values.astype(np.float64) - target.mean(dtype=np.float64) for values in (prediction, target))
    return np.stack([p, t, p * p, t * t, p * t], 1)


def ccc_of(means: F64) -> F64:
    """Concordance from means of `moments`, f64[...,5]; 0 where one side never changes, NaN where both are the same."""
    var_p, var_t, covariance = _spread(means)
    return divided(2 * covariance, var_p + var_t + (means[..., 0] - means[..., 1]) ** 2)


def pearson_of(means: F64) -> F64:
    """Correlation from means of `moments`, f64[...,5]; NaN where one side never changes."""
    var_p, var_t, covariance = _spread(means)
    return divided(covariance, np.sqrt(var_p * var_t))


def _spread(means: F64) -> tuple[F64, F64, F64]:
    """Variances of both, their covariance; what is left of rounding is no variance."""
    variances = [means[..., 2 + k] - means[..., k] ** 2 for k in (0, 1)]
    var_p, var_t = (np.where(variance < _NO_SPREAD, 0, variance) for variance in variances)
    return var_p, var_t, np.where(var_p * var_t > 0, means[..., 4] - means[..., 0] * means[..., 1], 0)


def point_errors(prediction: Array, target: Array) -> F64:
    """Mean distance f64[N] over the points of f[N,K,2], in units of the distance of the target's eyes.

    Missing points (NaN) do not count; NaN where none is there, or the eyes are unknown or in one place.
    """
    first, second = EYES[target.shape[1]]
    eyes = np.linalg.norm((target[:, first] - target[:, second]).astype(np.float64), axis=1)
    distance = np.linalg.norm((prediction - target).astype(np.float64), axis=2)
    there = ~np.isnan(distance)
    return divided(divided(np.nan_to_num(distance).sum(1), there.sum(1)), np.where(eyes > 1e-6, eyes, 0))


def softmax(logits: Array) -> Array:
    """Probabilities f[N,C]."""
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True))


def divided(above: Array, below: Array) -> F64:
    """Quotient; NaN where there is nothing to divide by."""
    above, below = np.broadcast_arrays(np.asarray(above, np.float64), np.asarray(below, np.float64))
    return np.asarray(np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0))


def roc_auc(score: Array, positive: Array) -> float:
    """Area under the ROC curve by ranks; ties count half."""
    order = np.argsort(score, kind="stable")
    _, start, inverse, counts = np.unique(score[order], return_index=True, return_inverse=True, return_counts=True)
    rank = (start + (counts - 1) / 2 + 1)[inverse]
    hits = positive[order].astype(bool)
    n_pos, n_neg = hits.sum(), (~hits).sum()
    return float((rank[hits].sum() - n_pos * (n_pos + 1) / 2) / max(n_pos * n_neg, 1))
