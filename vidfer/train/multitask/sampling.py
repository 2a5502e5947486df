"""Which rows choose the best weights, and in which order the others are drawn."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from vidfer.errors import DataError
from vidfer.types import F32, I64, Bool


def hold_out(set_name: npt.NDArray[np.str_], group: npt.NDArray[np.str_], share: float) -> Bool:
    """Rows of a share of the groups of each set, always the same ones; a set with one group gives none.

    Raises:
        DataError: There is only one group in all.
    """
    chosen: set[str] = set()
    for name in np.unique(set_name):
        groups = sorted(set(group[set_name == name].tolist()), key=_fixed_order)
        if len(groups) > 1:
            chosen |= set(groups[: min(len(groups) - 1, max(1, round(share * len(groups))))])
    mask = np.isin(group, sorted(chosen))
    if not mask.any() or mask.all():
        raise DataError(
            f"the {len(group)} rows are of too few groups (persons, clips, pictures), which are never split: nothing "
            "can be held out to choose the best weights; name more groups when you make the table"
        )
    return np.asarray(mask, np.bool_)


def _fixed_order(group: str) -> bytes:
    return hashlib.sha256(group.encode()).digest()


def draw(classes: I64, count: int, sampling: str, rng: np.random.Generator) -> I64:
    """Rows i64[count] of an epoch.

    Args:
        classes: Class i64[N] of each row, -1 for none.
        count: How many.
        sampling: "uniform" draws every row once before any comes again. "balanced" draws each class as often as any
            other, with replacement; rows without a class keep their share of the whole.
        rng: Decides.
    """
    n = len(classes)
    if sampling == "uniform":
        rounds = [rng.permutation(n) for _ in range(-(-count // n))]
        return np.concatenate(rounds)[:count].astype(np.int64)
    return rng.choice(n, count, p=_balanced(classes)).astype(np.int64)


def _balanced(classes: I64) -> npt.NDArray[np.float64]:
    chance = np.full(len(classes), 1 / len(classes))
    there = classes >= 0
    counts = np.bincount(classes[there])
    chance[there] = there.mean() / (counts > 0).sum() / counts[classes[there]]
    return np.asarray(chance / chance.sum())


def classes_of(emotion: F32) -> I64:
    """The most probable class i64[N] of distributions f32[N,C], -1 where there is none."""
    there = ~np.isnan(emotion).any(1) & (emotion.shape[1] > 0)
    found = np.full(len(emotion), -1, np.int64)
    if there.any():
        found[there] = emotion[there].argmax(1)
    return found
