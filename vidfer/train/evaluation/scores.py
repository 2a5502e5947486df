"""Figures that are functions of means over rows, so that thousands of resamples of all of them are one product.

Accuracy, F1, calibration, concordance and landmark errors all follow from means of a few columns: counts of a confusion
matrix, sums and squares, errors. A resample changes the weights of the rows and nothing else. Groups (a person, a clip)
are resampled, not rows: pictures of one person are no independent evidence. Two networks judged on the same rows get
the same resamples, so that the interval of their difference is that of pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidfer.train.metrics import Figure, divided, share
from vidfer.types import F64, I64

ROUNDS = 1000
_SEED = 0
_NO_WIDTH = 1e-9  # of an interval: what is left of rounding
_AT_ONCE = 50  # resamples whose weights are in memory together: 16 MB for 40,000 groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One figure.

    Attributes:
        of: From means of the columns f64[..., M] to the figure f64[...]; NaN where it is not defined.
        n: How many rows count.
        higher: Whether more is better.
        unit: What it is counted in; empty for shares and coefficients.
        is_share: A share of rows: where all or none of them count, its interval is Wilson's, since no resample differs.
        rises: A resample's is larger on average, since its rows repeat: its interval is moved down by as much.
    """

    of: Callable[[F64], F64]
    n: int
    higher: bool
    unit: str = ""
    is_share: bool = False
    rises: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one network did at one task.

    Attributes:
        rows: Which rows of the table it was judged on.
        groups: The group of each of them.
        columns: f64[N, M].
        scores: By name.
        badness: How far off each row is, f64[N]: what the worst examples are chosen by.
        facts: What else there is to tell: curves, matrices, what was left out; plain types.
    """

    rows: I64
    groups: I64
    columns: F64
    scores: Mapping[str, Score]
    badness: F64
    facts: Mapping[str, Any]

    @property
    def means(self) -> F64:
        """Of the columns over all rows."""
        return np.asarray(self.columns.mean(0))


def figures(judged: Judged, rounds: int = ROUNDS) -> dict[str, Figure]:
    """Every score with its 95 % interval; NaN as its ends where resamples tell nothing, as of one group."""
    of_groups = _group_sums(judged)
    drawn = _resampled(of_groups, rounds)
    return {name: _figure(score, judged.means, of_groups, drawn) for name, score in judged.scores.items()}


def differences(first: Judged, second: Judged, rounds: int = ROUNDS) -> dict[str, Figure]:
    """Second minus first for every score of both.

    Args:
        first: Judged on the same rows.
        second: Judged on the same rows.
        rounds: How many resamples.
    """
    if not np.array_equal(first.rows, second.rows):
        raise ValueError(f"networks were judged on different rows: {len(first.rows)} and {len(second.rows)}")
    sums = _group_sums(first), _group_sums(second)
    of_first, of_second = (_resampled(of_groups, rounds) for of_groups in sums)
    found = {}
    for name in (name for name in first.scores if name in second.scores):
        one, other = first.scores[name], second.scores[name]
        low, high = _ends(other.of(of_second) - one.of(of_first))
        if one.is_share and min(_counting(one, sums[0]), _counting(other, sums[1])) < 2:
            low = high = float("nan")
        found[name] = Figure(value=float(other.of(second.means) - one.of(first.means)), low=low, high=high, n=one.n)
    return found


def _figure(score: Score, means: F64, of_groups: F64, drawn: F64) -> Figure:
    value, values = float(score.of(means)), score.of(drawn)
    if score.rises and not np.isnan(values).all():
        values = np.maximum(values - (np.nanmean(values) - value), 0)
    low, high = _ends(values)
    counting = _counting(score, of_groups) if score.is_share else 0
    if score.is_share and counting > 1 and value in (0, 1):
        bound = share(round(value * counting), counting)
        low, high = bound.low, bound.high
    elif high - low < _NO_WIDTH:
        low = high = float("nan")
    return Figure(value=value, low=low, high=high, n=score.n)


def _counting(score: Score, of_groups: F64) -> int:
    """How many groups have rows that count for a share."""
    return int((~np.isnan(score.of(of_groups[:, :-1] / of_groups[:, -1:]))).sum())


def _ends(values: F64) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def _group_sums(judged: Judged) -> F64:
    """Of the columns, and how many rows there are, group by group, f64[G, M + 1]."""
    names, group = np.unique(judged.groups, return_inverse=True)
    sums = np.zeros((len(names), judged.columns.shape[1] + 1))
    np.add.at(sums, group, np.column_stack([judged.columns, np.ones(len(group))]))
    return sums


def _resampled(of_groups: F64, rounds: int) -> F64:
    """Means of the columns in resamples of the groups (Efron, 1979), f64[rounds, M]; NaN if there is one group only."""
    number, width = of_groups.shape
    if number < 2:
        return np.full((rounds, width - 1), np.nan)
    rng, parts = np.random.default_rng(_SEED), []
    for start in range(0, rounds, _AT_ONCE):
        k = min(_AT_ONCE, rounds - start)
        chosen = rng.integers(0, number, (k, number)) + np.arange(k)[:, None] * number
        weights = np.bincount(chosen.ravel(), minlength=k * number).reshape(k, -1)
        parts.append(weights.astype(np.float64) @ of_groups)
    drawn = np.concatenate(parts)
    return np.asarray(drawn[:, :-1] / drawn[:, -1:])


def column_share(k: int) -> Callable[[F64], F64]:
    """Mean of column `k`."""
    return lambda means: np.asarray(means[..., k])


def quotient(above: int, below: int) -> Callable[[F64], F64]:
    """Mean of column `above` over the rows (or parts of rows) that column `below` counts."""
    return lambda means: divided(means[..., above], means[..., below])
