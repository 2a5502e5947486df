"""Emotion: accuracy, F1, precision and recall by class, the confusion matrix and calibration.

A network and a table need not have the same classes. Rows whose label the network does not know are left out and
counted. A class that no judged row has is left out of the guesses, too: the figures of a set with seven classes are
those of a choice among seven.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vidfer.train.evaluation.scores import Judged, Score, divided
from vidfer.types import EMOTIONS, F32, F64, I64

BINS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class EmotionTask:
    """Which rows are judged among which classes.

    Attributes:
        classes: In the order of `EMOTIONS`.
        rows: i64[N].
        label: Index into `classes`, i64[N].
        left_out: Rows by a label that not all networks know.
        never_there: Classes that all networks know and no row has.
    """

    classes: tuple[str, ...]
    rows: I64
    label: I64
    left_out: dict[str, int]
    never_there: tuple[str, ...]


def emotion_task(label: I64, known: Sequence[Sequence[str]]) -> EmotionTask | None:
    """What networks with these classes can be asked; None where fewer than two classes are left.

    Args:
        label: Index into `EMOTIONS`, -1 for none, of every row.
        known: The classes of each network.
    """
    common = [name for name in EMOTIONS if all(name in names for names in known)]
    counts = np.bincount(label[label >= 0], minlength=len(EMOTIONS))
    classes = tuple(name for name in common if counts[EMOTIONS.index(name)])
    if len(classes) < 2:
        return None
    place = np.full(len(EMOTIONS) + 1, -1)
    place[[EMOTIONS.index(name) for name in classes]] = range(len(classes))
    of_row = place[label]
    rows = np.flatnonzero(of_row >= 0)
    return EmotionTask(
        classes=classes,
        rows=rows,
        label=of_row[rows],
        left_out={name: int(n) for name, n in zip(EMOTIONS, counts, strict=True) if n and name not in common},
        never_there=tuple(name for name in common if name not in classes),
    )


def probabilities(logits: F32, of: Sequence[str], classes: Sequence[str]) -> F64:
    """Softmax over some of a network's classes."""
    chosen = logits[:, [list(of).index(name) for name in classes]].astype(np.float64)
    raised = np.exp(chosen - chosen.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True))


def judge_emotion(task: EmotionTask, probability: F64, groups: I64) -> Judged:
    """Judge probabilities f64[N, C] of the rows of a task.

    Args:
        task: The rows, their labels and the classes.
        probability: Of the classes, row by row of the task.
        groups: Group of each of its rows.
    """
    c, n = len(task.classes), len(task.rows)
    guess, confidence = probability.argmax(1), probability.max(1)
    cells = np.zeros((n, c, c))
    cells[np.arange(n), task.label, guess] = 1
    bins = np.zeros((n, BINS, 3))
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins[np.arange(n), which] = np.stack([np.ones(n), guess == task.label, confidence], 1)
    confusion, reliability = cells.sum(0), bins.sum(0)
    return Judged(
        rows=task.rows,
        groups=groups,
        columns=np.concatenate([cells.reshape(n, -1), bins.reshape(n, -1)], 1),
        scores=_scores(task.classes, confusion),
        badness=1 - probability[np.arange(n), task.label],
        facts={
            "classes": list(task.classes),
            "rows": n,
            "left_out": task.left_out,
            "never_there": list(task.never_there),
            "confusion": confusion.astype(int).tolist(),
            "reliability": [
                {"rows": int(k), "accuracy": round(hit / k, 4), "confidence": round(total / k, 4)}
                for k, hit, total in reliability.tolist()
                if k
            ],
        },
    )


def _scores(classes: Sequence[str], confusion: F64) -> dict[str, Score]:
    n, truth, guessed = int(confusion.sum()), confusion.sum(1).astype(int), confusion.sum(0).astype(int)
    c = len(classes)

    def score(of: Callable[[F64], F64], n: int = n, *, is_share: bool = False) -> Score:
        return Score(of=lambda means: of(means[..., : c * c].reshape(*means.shape[:-1], c, c)), n=n, higher=True,
                     is_share=is_share)  # fmt: skip

    found = {
        "accuracy": score(_accuracy, is_share=True),
        "macro_f1": score(_macro_f1),
        "weighted_f1": score(_weighted_f1),
        "ece": Score(of=lambda means: _ece(means[..., c * c :]), n=n, higher=False),
    }
    for k, name in enumerate(classes):
        found[f"precision_{name}"] = score(_of_class(_precision, k), int(guessed[k]), is_share=True)
        found[f"recall_{name}"] = score(_of_class(_recall, k), int(truth[k]), is_share=True)
        found[f"f1_{name}"] = score(_of_class(_f1, k), int(truth[k]))
    return found


def _of_class(per_class: Callable[[F64], F64], k: int) -> Callable[[F64], F64]:
    return lambda confusion: np.asarray(per_class(confusion)[..., k])


def _hits(confusion: F64) -> F64:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _accuracy(confusion: F64) -> F64:
    return divided(_hits(confusion).sum(-1), confusion.sum((-2, -1)))


def _precision(confusion: F64) -> F64:
    return divided(_hits(confusion), confusion.sum(-2))


def _recall(confusion: F64) -> F64:
    return divided(_hits(confusion), confusion.sum(-1))


def _f1(confusion: F64) -> F64:
    return divided(2 * _hits(confusion), confusion.sum(-1) + confusion.sum(-2))


def _macro_f1(confusion: F64) -> F64:
    """Mean over the classes that the rows of a resample have."""
    there = confusion.sum(-1) > 0
    return divided((np.nan_to_num(_f1(confusion)) * there).sum(-1), there.sum(-1))


def _weighted_f1(confusion: F64) -> F64:
    return divided((np.nan_to_num(_f1(confusion)) * confusion.sum(-1)).sum(-1), confusion.sum((-2, -1)))


def _ece(bins: F64) -> F64:
    """Mean gap between confidence and accuracy over equal-width bins (Guo et al., 2017)."""
    parts = bins.reshape(*bins.shape[:-1], BINS, 3)
    return divided(np.abs(parts[..., 1] - parts[..., 2]).sum(-1), parts[..., 0].sum(-1))
