"""What stands in a table and what does not: rows, groups, classes and labels of every split, and what was left out."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from vidfer.train.datasets.faults import present
from vidfer.train.datasets.rows import SPLITS, Face
from vidfer.train.datasets.samples import Tally
from vidfer.types import EMOTIONS


class Summary:
    """Counts the rows that are written.

    Args:
        tally: What was left out.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._rows: Counter[str] = Counter()
        self._groups: defaultdict[str, set[str]] = defaultdict(set)
        self._emotions: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._labels: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._lost: Counter[str] = Counter()

    def add(self, face: Face) -> None:
        """Count a row."""
        self._rows[face.split] += 1
        self._groups[face.split].add(face.group)
        self._emotions[face.split][face.labels.emotion or "none"] += 1
        self._labels[face.split].update(present(face.labels))
        if face.labels.face_found is False:
            self._lost[face.split] += 1

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `first` says where the first row of every reason stands."""
        return {
            "rows": self._rows.total(),
            "left_out": dict(self._tally.left_out.most_common()),
            "labels_left_out": dict(self._tally.labels.most_common()),
            "first": self._tally.first,
            "splits": {split: self._split(split) for split in SPLITS if self._rows[split]},
        }

    def _split(self, split: str) -> dict[str, Any]:
        emotions = self._emotions[split]
        return {
            "rows": self._rows[split],
            "groups": len(self._groups[split]),
            "face_not_found": self._lost[split],
            "emotion": {name: emotions[name] for name in (*EMOTIONS, "none") if emotions[name]},
            "labels": dict(self._labels[split]),
        }
