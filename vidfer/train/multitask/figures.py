"""Quick figures on held-out rows, which choose the best weights; `vidfer train evaluate` has more, with intervals."""

from __future__ import annotations

import numpy as np

from vidfer.errors import DataError
from vidfer.train import metrics
from vidfer.train.evaluation.places import box_overlaps
from vidfer.train.multitask.augmentation import Arrays
from vidfer.train.multitask.rows import labelled

_LEAST_ROWS_OF_CCC = 2


def figures_of(found: Arrays, truth: Arrays) -> dict[str, float]:
    """Figures of what a network says about held-out rows, and their `score`.

    The score is the mean over the heads of what is 1 at best: macro F1, mean concordance, 1 / (1 + 10 NME), IoU.

    Args:
        found: By the names of the network's heads; positions in px of the crop.
        truth: Labels by the names of `Rows.labels`, NaN where there is none; a kind that no row has tells nothing.

    Raises:
        DataError: Too few rows have any of the labels.
    """
    figures: dict[str, float] = {}
    scores: list[float] = []
    for name, values in found.items():
        kind = "landmarks" if name.startswith("landmarks") else name
        there = labelled(truth[kind])
        if there.any():
            of_head = _OF_HEAD[kind](values[there], truth[kind][there])
            figures |= of_head
            scores += _score(kind, of_head)
    if not scores:
        raise DataError("too few of the held-out rows have labels to choose the best weights by: raise data.held_out")
    return {"score": float(np.mean(scores)), **figures}


def _emotion(logits: metrics.Array, truth: metrics.Array) -> dict[str, float]:
    guess, label = logits.argmax(1), truth.argmax(1)
    return {"accuracy": metrics.accuracy(guess, label), "macro_f1": metrics.macro_f1(guess, label)}


def _affect(values: metrics.Array, truth: metrics.Array) -> dict[str, float]:
    if len(values) < _LEAST_ROWS_OF_CCC:
        return {}
    names = ("ccc_valence", "ccc_arousal")
    return {name: metrics.ccc(values[:, i], truth[:, i]) for i, name in enumerate(names)}


def _points(points: metrics.Array, truth: metrics.Array) -> dict[str, float]:
    errors = metrics.point_errors(points[..., :2], truth[..., :2])
    return {} if np.isnan(errors).all() else {"nme": float(np.nanmean(errors))}


def _box(box: metrics.Array, truth: metrics.Array) -> dict[str, float]:
    return {"iou": float(box_overlaps(box, truth).mean())}


def _score(kind: str, figures: dict[str, float]) -> list[float]:
    if not figures:
        return []
    if kind == "emotion":
        return [figures["macro_f1"]]
    if kind == "landmarks":
        return [1 / (1 + 10 * figures["nme"])]
    return [float(np.mean(list(figures.values())))]


_OF_HEAD = {"emotion": _emotion, "valence_arousal": _affect, "landmarks": _points, "box": _box}
