"""Paths of SVG in whole numbers: small, and sharp on paper."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def line(x: Sequence[int], y: Sequence[int]) -> str:
    """A path through points, in steps from one to the next: they have fewer digits."""
    if not len(x):
        return ""
    steps = "".join(
        f"{_number(b - a)}{_number(d - c)}" for (a, b), (c, d) in zip(pairwise(x), pairwise(y), strict=True)
    )
    return f"M{x[0]} {y[0]}" + (f"l{steps.lstrip()}" if steps else "")


def _number(value: int) -> str:
    """A number of a path; a minus is enough to tell it from the one before."""
    return str(value) if value < 0 else f" {value}"
