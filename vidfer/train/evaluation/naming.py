"""Tasks and figures as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from vidfer.output.words import percent, plain
from vidfer.train.evaluation.scores import Score
from vidfer.train.metrics import Figure

_THIN = "\u202f"
_NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "F1, mean over classes",
    "weighted_f1": "F1, weighted by class size",
    "ece": "calibration error (ECE)",
    "quadrants": "right quadrant",
    "nme": "mean error (NME), of the eye distance",
    "rmse_px": "RMSE, px in 96x96",
    "mae_px": "MAE, px in 96x96",
    "failures_above_0.08": "faces off by more than 8 %",
    "failures_above_0.10": "faces off by more than 10 %",
    "ced_area_to_0.10": "area under the curve of errors up to 10 %",
    "iou": "overlap with the box (IoU), mean",
    "iou_from_0.50": "boxes with an IoU of 0.5 and more",
    "iou_from_0.75": "boxes with an IoU of 0.75 and more",
}
_DIMENSIONS = {
    "ccc": "concordance (CCC)",
    "pearson": "correlation (Pearson)",
    "mse": "mean squared error",
    "rmse": "RMSE",
    "mae": "mean error (MAE)",
    "sign": "right sign",
}
_PERCENT = {"accuracy", "nme", "ece", "quadrants", "sign_valence", "sign_arousal"}
_PERCENT |= {name for name in _NAMES if name.startswith(("failures", "iou_from"))}
# By task, the figures that stand for it.
MAIN = {
    "emotion": ("accuracy", "macro_f1", "ece"),
    "valence_arousal": ("ccc_valence", "ccc_arousal"),
    "points": ("nme", "failures_above_0.10"),
    "box": ("iou",),
}
PER_CLASS = ("precision_", "recall_", "f1_")


def task_name(task: str) -> str:
    """The title of a task."""
    if task.startswith("points"):
        return f"{task.removeprefix('points')} points"
    return {"emotion": "Emotion", "valence_arousal": "Valence and arousal", "box": "Box of the face"}[task]


def main_figures(task: str) -> tuple[str, ...]:
    """Figures that stand for a task."""
    return MAIN["points" if task.startswith("points") else task]


def figure_name(name: str) -> str:
    """What a figure is called."""
    if name in _NAMES:
        return _NAMES[name]
    kind, dimension = name.rsplit("_", 1)
    return f"{dimension}, {_DIMENSIONS[kind]}"


def number(name: str, value: float, *, sign: bool = False) -> str:
    """A figure's value; of a difference with its sign, in points where it is a share."""
    if not math.isfinite(value):
        return "–"
    digits = (2 if name == "nme" else 1 if name in _PERCENT else 3) + sign  # differences are small
    text = plain(value * 100 if name in _PERCENT else value, digits)
    if sign and value > 0:
        text = f"+{text}"
    return f"{text}{_THIN}%" if name in _PERCENT and not sign else text


def with_interval(name: str, figure: Figure, *, sign: bool = False) -> str:
    """A figure with the ends of its interval."""
    if not math.isfinite(figure.value):
        return "–"
    if not math.isfinite(figure.low):
        return f"{number(name, figure.value, sign=sign)} [no interval]"
    ends = [number(name, end, sign=sign).removesuffix(f"{_THIN}%") for end in (figure.low, figure.high)]
    return f"{number(name, figure.value, sign=sign)} [{ends[0]}, {ends[1]}]"


def verdict(score: Score, difference: Figure) -> str:
    """Whether a difference is one for the better: only if its interval leaves out 0."""
    if difference.value == difference.low == difference.high == 0:
        return "the same"
    if not difference.low * difference.high > 0:
        return "not sure"
    return "better" if (difference.value > 0) == score.higher else "worse"


def shares(counts: Mapping[str, int]) -> str:
    """Counts by name in one line."""
    return ", ".join(f"{n} {name}" for name, n in counts.items())


def share_text(share: float) -> str:
    """A share of a line of a matrix; nothing for none."""
    return percent(share) if share else ""
