"""Networks against the rows of a table: every task that both have labels for, over all rows and by set.

Networks that are compared get the same rows, crops of the same boxes, the same classes and the same resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vidfer.errors import DataError
from vidfer.train.datasets.table import TrainingFaces
from vidfer.train.evaluation.affect import judge_affect
from vidfer.train.evaluation.emotion import emotion_task, judge_emotion, probabilities
from vidfer.train.evaluation.network import About, Network
from vidfer.train.evaluation.places import judge_boxes, judge_points
from vidfer.train.evaluation.predict import Said, predict, reference_sides
from vidfer.train.evaluation.scores import Judged, differences, figures
from vidfer.train.metrics import Figure
from vidfer.train.points import filled
from vidfer.types import EMOTIONS, I64, Bool

_MAJORITY = 0.5  # share of the votes that a class needs to be the label


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One network at one task.

    Attributes:
        judged: On all rows.
        figures: With their intervals.
        sets: The same by data set, where there are several.
    """

    judged: Judged
    figures: Mapping[str, Figure]
    sets: Mapping[str, tuple[Judged, Mapping[str, Figure]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What was found.

    Attributes:
        rows: Those whose pictures could be decoded.
        unreadable: How many could not.
        said: By each network.
        results: Of each network, by task.
        differences: Of every network but the first to the first, by task; empty for one network.
    """

    rows: TrainingFaces
    unreadable: int
    said: Sequence[Said]
    results: Sequence[Mapping[str, Result]]
    differences: Sequence[Mapping[str, Mapping[str, Figure]]]

    @property
    def networks(self) -> list[About]:
        """Which networks."""
        return [said.about for said in self.said]

    @property
    def tasks(self) -> list[str]:
        """What any of them was judged at."""
        return list(dict.fromkeys(task for results in self.results for task in results))


def evaluate(
    networks: Sequence[Network], rows: TrainingFaces, progress: Callable[[int, int], None] | None = None
) -> Evaluation:
    """Judge networks on rows.

    Args:
        networks: Which; they are compared with the first.
        rows: Of a training table.
        progress: Called with how many rows are done and how many there are.

    Raises:
        DataError: Rows have no label that a network tells, or no picture of them can be decoded.
    """
    said, kept = predict(networks, rows, progress)
    unreadable, rows = len(rows) - len(kept), rows.take(kept)
    all_judged = _judge(rows, said, np.ones(len(rows), bool))
    for one, tasks in zip(said, all_judged, strict=True):
        if not tasks:
            emotions = {"emotion": f"emotion ({', '.join(one.about.emotions)})"}
            told = ", ".join(emotions.get(head, head) for head in one.about.heads)
            raise DataError(
                f"nothing to judge {one.about.label} by: it tells {told}, the rows have "
                f"{', '.join(_labels(rows)) or 'no labels'}; of emotions, two or more must be known to both"
            )
    by_set: dict[str, list[dict[str, Judged]]] = {}
    names = np.unique(rows.set_name)
    if len(names) > 1:
        by_set = {str(name): _judge(rows, said, rows.set_name == name) for name in names}
    results = []
    for k, tasks in enumerate(all_judged):
        of_network: dict[str, Result] = {}
        for task, judged in tasks.items():
            parts = {name: found[k][task] for name, found in by_set.items() if task in found[k]}
            sets = {name: (part, figures(part)) for name, part in parts.items()}
            of_network[task] = Result(judged=judged, figures=figures(judged), sets=sets)
        results.append(of_network)
    compared = [
        {task: differences(all_judged[0][task], tasks[task]) for task in tasks if task in all_judged[0]}
        for tasks in all_judged[1:]
    ]
    return Evaluation(rows=rows, unreadable=unreadable, said=said, results=results, differences=compared)


def labels(rows: TrainingFaces) -> I64:
    """The emotion of every row: the one that it has, else that of the majority of its voters; -1 for none."""
    votes = np.nan_to_num(rows.votes)
    majority = np.where(votes.max(1) > _MAJORITY, votes.argmax(1), -1)
    return np.where(rows.emotion >= 0, rows.emotion, majority)


def groups(rows: TrainingFaces) -> I64:
    """The number of every row's person, clip or picture."""
    names = np.char.add(np.char.add(rows.set_name.astype(str), "/"), rows.group.astype(str))
    return np.asarray(np.unique(names, return_inverse=True)[1], np.int64)


def _labels(rows: TrainingFaces) -> list[str]:
    emotions = [name for k, name in enumerate(EMOTIONS) if (labels(rows) == k).any()]
    there = {
        f"emotion ({', '.join(emotions)})": bool(emotions),
        "valence and arousal": (~np.isnan(rows.valence_arousal).any(1)).any(),
        "box": (~np.isnan(rows.box_px).any(1)).any(),
    }
    return [name for name, found in there.items() if found] + [f"{k} points" for k in sorted(rows.points)]


def _judge(rows: TrainingFaces, said: Sequence[Said], mask: Bool) -> list[dict[str, Judged]]:
    """What each network did at each task on some rows."""
    group = groups(rows)
    tasks: dict[str, list[Judged | None]] = {
        "emotion": _emotion(rows, said, mask, group),
        "valence_arousal": _affect(rows, said, mask, group),
    }
    for count in sorted({k for one in said for k in one.points}):
        tasks[f"points{count}"] = _points(rows, said, mask, group, count)
    tasks["box"] = _boxes(rows, said, mask, group)
    return [
        {task: judged for task, of_networks in tasks.items() if (judged := of_networks[k]) is not None}
        for k in range(len(said))
    ]


def _emotion(rows: TrainingFaces, said: Sequence[Said], mask: Bool, group: I64) -> list[Judged | None]:
    known = [one.about.emotions for one in said if one.about.emotions]
    task = emotion_task(np.where(mask, labels(rows), -1), known) if known else None
    if task is None:
        return [None for _ in said]

    def judge(one: Said) -> Judged:
        probability = probabilities(one.heads["emotion"][task.rows], one.about.emotions, task.classes)
        return judge_emotion(task, probability, group[task.rows])

    return [judge(one) if one.about.emotions else None for one in said]


def _affect(rows: TrainingFaces, said: Sequence[Said], mask: Bool, group: I64) -> list[Judged | None]:
    index = np.flatnonzero(mask & ~np.isnan(rows.valence_arousal).any(1))
    truth = rows.valence_arousal[index]
    return [
        judge_affect(one.heads["valence_arousal"][index], truth, index, group[index])
        if len(index) and "valence_arousal" in one.heads
        else None
        for one in said
    ]


def _points(rows: TrainingFaces, said: Sequence[Said], mask: Bool, group: I64, count: int) -> list[Judged | None]:
    # Parts of more points tell nothing new, unless somebody set just these.
    asked = count in rows.points or any(count in one.points and count not in one.reduced for one in said)
    truth = filled(rows.points, count) if asked else None
    if truth is None:
        return [None for _ in said]
    index, side = np.flatnonzero(mask & ~np.isnan(truth).all((1, 2))), reference_sides(rows)
    return [
        judge_points(one.points[count][index], truth[index][..., :2], side[index], index, group[index])
        if count in one.points
        else None
        for one in said
    ]


def _boxes(rows: TrainingFaces, said: Sequence[Said], mask: Bool, group: I64) -> list[Judged | None]:
    index = np.flatnonzero(mask & ~np.isnan(rows.box_px).any(1))
    return [
        judge_boxes(one.box_px[index], rows.box_px[index], index, group[index])
        if len(index) and one.box_px is not None
        else None
        for one in said
    ]
