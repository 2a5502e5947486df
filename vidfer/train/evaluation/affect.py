"""Valence and arousal: concordance, correlation, errors, signs and quadrants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vidfer.train.evaluation.scores import Judged, Score, column_share, divided, quotient
from vidfer.types import F32, F64, I64

DIMENSIONS = ("valence", "arousal")
QUADRANTS = ("pleasant, excited", "unpleasant, excited", "unpleasant, calm", "pleasant, calm")
_NO_SPREAD = 1e-12  # a variance: values that are within a millionth of each other
_COLUMNS = 8  # of each dimension: guess, truth, their squares, their product, |error|, same sign, has a sign


def judge_affect(guess: F32, truth: F32, rows: I64, groups: I64) -> Judged:
    """Judge valence and arousal f[N, 2] of rows that have both.

    Signs and quadrants count rows whose truth is not exactly 0: 0 is of neither side.
    """
    a, b = guess.astype(np.float64), truth.astype(np.float64)
    sided = b != 0
    same = (a > 0) == (b > 0)
    both = sided.all(1)
    # Moments around the truth's mean: of raw ones, little would be left of small variances.
    middle = b.mean(0)
    p, t = a - middle, b - middle
    parts = [p, t, p * p, t * t, p * t, np.abs(a - b), same & sided, sided]
    columns = np.stack(parts, 2).reshape(len(a), -1)
    columns = np.column_stack([columns, same.all(1) & both, both])
    found: dict[str, Score] = {}
    for k, name in enumerate(DIMENSIONS):
        found |= _of_dimension(name, k * _COLUMNS, len(a), int(sided[:, k].sum()))
    last = 2 * _COLUMNS
    if both.any():
        found["quadrants"] = Score(of=quotient(last, last + 1), n=int(both.sum()), higher=True, is_share=True)
    return Judged(
        rows=rows,
        groups=groups,
        columns=columns,
        scores=found,
        badness=np.linalg.norm(a - b, axis=1),
        facts={"rows": len(a), "quadrants": list(QUADRANTS), "quadrant_confusion": _quadrants(a[both], b[both])},
    )


def _of_dimension(name: str, start: int, n: int, sided: int) -> dict[str, Score]:
    def score(of: Callable[..., F64], *, higher: bool) -> Score:
        return Score(of=lambda means: of(*(means[..., start + k] for k in range(5))), n=n, higher=higher)

    signs = {
        f"sign_{name}": Score(of=quotient(start + 6, start + 7), n=sided, higher=True, is_share=True),
    }
    return {
        f"ccc_{name}": score(_ccc, higher=True),
        f"pearson_{name}": score(_pearson, higher=True),
        f"mse_{name}": score(_mse, higher=False),
        f"rmse_{name}": score(lambda *moments: np.sqrt(_mse(*moments)), higher=False),
        f"mae_{name}": Score(of=column_share(start + 5), n=n, higher=False),
        **(signs if sided else {}),
    }


def _spread(p: F64, t: F64, pp: F64, tt: F64, pt: F64) -> tuple[F64, F64, F64]:
    """Variances of both, their covariance; what is left of rounding is no variance."""
    found = [
        np.where(of_squares - mean**2 < _NO_SPREAD, 0, of_squares - mean**2) for mean, of_squares in ((p, pp), (t, tt))
    ]
    return found[0], found[1], pt - p * t


def _ccc(*moments: F64) -> F64:
    """Concordance correlation coefficient (Lin, 1989)."""
    var_p, var_t, covariance = _spread(*moments)
    return divided(2 * covariance, var_p + var_t + (moments[0] - moments[1]) ** 2)


def _pearson(*moments: F64) -> F64:
    var_p, var_t, covariance = _spread(*moments)
    return divided(covariance, np.sqrt(var_p * var_t))


def _mse(p: F64, t: F64, pp: F64, tt: F64, pt: F64) -> F64:
    return np.maximum(pp + tt - 2 * pt, 0)


def _quadrants(guess: F64, truth: F64) -> list[list[int]]:
    """How often which quadrant (line) was taken for which (column), in the order of `QUADRANTS`."""

    def of(values: F64) -> I64:
        right, up = values[:, 0] > 0, values[:, 1] > 0
        return np.where(up, np.where(right, 0, 1), np.where(right, 3, 2))

    counts = np.zeros((4, 4), int)
    np.add.at(counts, (of(truth), of(guess)), 1)
    found: list[list[int]] = counts.tolist()
    return found
