"""Valence and arousal: concordance, correlation, errors, signs and quadrants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vidfer.train import metrics
from vidfer.train.evaluation.scores import Judged, Score, column_share, quotient
from vidfer.types import F32, F64, I64

DIMENSIONS = ("valence", "arousal")
QUADRANTS = ("pleasant, excited", "unpleasant, excited", "unpleasant, calm", "pleasant, calm")
_COLUMNS = 9  # of each dimension: moments, squared error, |error|, same sign, has a sign


def judge_affect(guess: F32, truth: F32, rows: I64, groups: I64) -> Judged:
    """Judge valence and arousal f[N, 2] of rows that have both.

    Signs and quadrants count rows whose truth is not exactly 0: 0 is of neither side.
    """
    a, b = guess.astype(np.float64), truth.astype(np.float64)
    said, wanted, both = _quadrant(a), _quadrant(b), (b != 0).all(1)
    found: dict[str, Score] = {}
    for k, name in enumerate(DIMENSIONS):
        found |= _of_dimension(name, k * _COLUMNS, len(a), int((b[:, k] != 0).sum()))
    last = 2 * _COLUMNS
    if both.any():
        found["quadrants"] = Score(of=quotient(last, last + 1), n=int(both.sum()), higher=True, is_share=True)
    confusion = metrics.confusion(said[both], wanted[both], len(QUADRANTS))
    return Judged(
        rows=rows,
        groups=groups,
        columns=np.column_stack(
            [_columns(a[:, 0], b[:, 0]), _columns(a[:, 1], b[:, 1]), (said == wanted) & both, both]
        ),
        scores=found,
        badness=np.linalg.norm(a - b, axis=1),
        facts={"rows": len(a), "quadrants": list(QUADRANTS), "quadrant_confusion": confusion.astype(int).tolist()},
    )


def _columns(guess: F64, truth: F64) -> F64:
    off, sided = guess - truth, truth != 0
    same = (guess > 0) == (truth > 0)
    return np.column_stack([metrics.moments(guess, truth), off**2, np.abs(off), same & sided, sided])


def _of_dimension(name: str, start: int, n: int, sided: int) -> dict[str, Score]:
    def score(of: Callable[[F64], F64], *, higher: bool) -> Score:
        return Score(of=lambda means: of(means[..., start : start + _COLUMNS]), n=n, higher=higher)

    signs = {
        f"sign_{name}": Score(of=quotient(start + 7, start + 8), n=sided, higher=True, is_share=True),
    }
    return {
        f"ccc_{name}": score(metrics.ccc_of, higher=True),
        f"pearson_{name}": score(metrics.pearson_of, higher=True),
        f"mse_{name}": score(column_share(5), higher=False),
        f"rmse_{name}": score(lambda means: np.sqrt(means[..., 5]), higher=False),
        f"mae_{name}": score(column_share(6), higher=False),
        **(signs if sided else {}),
    }


def _quadrant(values: F64) -> I64:
    """Index into `QUADRANTS`."""
    right, up = values[:, 0] > 0, values[:, 1] > 0
    return np.where(up, np.where(right, 0, 1), np.where(right, 3, 2))
