"""Which labels of a row are there, and what is wrong with them: such rows are left out before anything is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from vidfer.errors import UsageError
from vidfer.train.datasets.rows import POINTS, Labels
from vidfer.types import EMOTIONS, F32

_PLAIN = ("emotion", "votes", "valence_arousal", "box", "teacher", "teacher_va")
# Labels by the names that options give them.
NAMES = (*_PLAIN[:4], *(f"points{count}" for count in POINTS), *_PLAIN[4:])


def check_names(names: tuple[str, ...], option: str) -> None:
    """Refuse names that no label has.

    Raises:
        UsageError: There is one.
    """
    for name in names:
        if name not in NAMES:
            raise UsageError(f"{option} {name}: there is no such label; choose from {', '.join(NAMES)}")


def check_points(points: tuple[int, ...]) -> None:
    """Refuse counts of points that are not made out of more.

    Raises:
        UsageError: There is one.
    """
    if not set(points) <= {4, 5, 15}:
        raise UsageError(f"--points must be 4, 5 or 15, got {', '.join(map(str, points))}")


def _get(labels: Labels, name: str) -> Any:
    return getattr(labels, name) if name in _PLAIN else labels.points.get(int(name.removeprefix("points")))


def present(labels: Labels) -> list[str]:
    """Names of the labels that a row has."""
    return [name for name in NAMES if _get(labels, name) is not None]


def without(labels: Labels, names: tuple[str, ...]) -> Labels:
    """A row's labels without some of them."""
    if not names:
        return labels
    points = {count: values for count, values in labels.points.items() if f"points{count}" not in names}
    return replace(labels, points=points, **{name: None for name in names if name in _PLAIN})


def fault_of(labels: Labels) -> str | None:
    """What is wrong with the labels of a row, in words that do not differ from row to row."""
    if labels.emotion is not None and labels.emotion not in EMOTIONS:
        return "emotion is not one of the eight"
    for name in ("valence_arousal", "teacher_va"):
        pair = _get(labels, name)
        if pair is not None and not all(-1 <= value <= 1 for value in pair):  # NaN is not
            return f"{name} is not two numbers from -1 to 1"
    for name in ("votes", "teacher"):
        if (shares := _get(labels, name)) is not None and not _are_shares(shares):
            return f"{name} are not {len(EMOTIONS)} shares that sum to 1"
    if labels.box is not None and not (np.isfinite(labels.box).all() and min(labels.box[2:]) > 0):
        return "box has no size or is no number"
    return next((fault for k, points in labels.points.items() if (fault := _fault_of_points(points, k))), None)


def _are_shares(values: F32) -> bool:
    return bool(values.shape == (len(EMOTIONS),) and (values >= 0).all() and abs(float(values.sum()) - 1) < 1e-3)


def _fault_of_points(points: F32, count: int) -> str | None:
    missing = np.isnan(points)
    if np.isinf(points).any() or (missing.any(1) != missing.all(1)).any() or (POINTS[count] == 3 and missing.any()):
        return f"points{count} are not all numbers"
    return f"points{count} are all missing" if missing.all() else None
