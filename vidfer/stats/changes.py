"""How labels follow each other: transitions, and expressions from neutral to neutral."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidfer.stats.series import I8, I32
from vidfer.types import EMOTIONS, F64, I64

_NEUTRAL = EMOTIONS.index("neutral")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expressions:
    """Stretches in which a face is not neutral, as people count them who code faces by hand (Kring and Sloan, 2007).

    Attributes:
        count: How many.
        seconds: Their time together.
    """

    count: int
    seconds: float


def transitions(label: I8, part: I32) -> I64:
    """How often each label (row) was followed by each other one (column): i64[8,8], 0 on the diagonal.

    Cuts and gaps are no transitions: what the face did there is not known.
    """
    changes = (np.diff(label) != 0) & (np.diff(part) == 0)
    count = np.zeros((len(EMOTIONS), len(EMOTIONS)), np.int64)
    np.add.at(count, (label[:-1][changes], label[1:][changes]), 1)
    return count


def expressions(label: I8, part: I32, duration_s: F64) -> Expressions:
    """Every stretch without a neutral label, whichever labels it has; a cut or a gap ends it."""
    shown = label != _NEUTRAL
    goes_on = np.append(False, shown[:-1] & (np.diff(part) == 0)) if len(label) else shown
    return Expressions(count=int((shown & ~goes_on).sum()), seconds=float(duration_s[shown].sum()))
