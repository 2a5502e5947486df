"""Emotion: accuracy, F1, precision and recall by class, the confusion matrix and calibration.

A network and a table need not have the same classes. Rows whose label the network does not know are left out and
counted. A class that no judged row has is left out of the guesses, too: the figures of a set with seven classes are
those of a choice among seven.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vidfer.train import metrics
from vidfer.train.evaluation.scores import Judged, Score
from vidfer.types import EMOTIONS, F32, F64, I64


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
    return metrics.softmax(logits[:, [list(of).index(name) for name in classes]].astype(np.float64))


def judge_emotion(task: EmotionTask, probability: F64, groups: I64) -> Judged:
    """Judge probabilities f64[N, C] of the rows of a task.

    Args:
        task: The rows, their labels and the classes.
        probability: Of the classes, row by row of the task.
        groups: Group of each of its rows.
    """
    c, n = len(task.classes), len(task.rows)
    cells, bins = np.zeros((n, c, c)), metrics.confidence_bins(probability, task.label)
    cells[np.arange(n), task.label, probability.argmax(1)] = 1
    confusion = cells.sum(0)
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
                for k, hit, total in bins.sum(0).tolist()
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

    def of_class(per_class: Callable[[F64], F64], k: int) -> Callable[[F64], F64]:
        return lambda counts: np.asarray(per_class(counts)[..., k])

    def ece(means: F64) -> F64:
        return metrics.calibration_error_of(means[..., c * c :].reshape(*means.shape[:-1], metrics.BINS, 3))

    found = {
        "accuracy": score(metrics.accuracy_of, is_share=True),
        "macro_f1": score(metrics.macro_f1_of),
        "weighted_f1": score(metrics.weighted_f1_of),
        "ece": Score(of=ece, n=n, higher=False, rises=True),
    }
    for k, name in enumerate(classes):
        found[f"precision_{name}"] = score(of_class(metrics.precision_of, k), int(guessed[k]), is_share=True)
        found[f"recall_{name}"] = score(of_class(metrics.recall_of, k), int(truth[k]), is_share=True)
        found[f"f1_{name}"] = score(of_class(metrics.f1_of, k), int(truth[k]))
    return found
