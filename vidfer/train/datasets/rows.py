"""A row of the training table, as it is written: a picture, where it belongs, and what is known of the face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vidfer.types import F32

SPLITS = ("train", "val", "test")
# How many points a row may have, and how many numbers each of them has.
POINTS = {4: 2, 5: 2, 15: 2, 68: 2, 478: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What is known of a face; None where nothing is.

    Attributes:
        emotion: One of `EMOTIONS`.
        votes: f32[8], shares of raters that sum to 1.
        valence_arousal: Both in [-1, 1].
        box: x, y, w, h in px of the picture.
        points: By their number (`POINTS`): f32[K,2], or f32[478,3]; NaN for single points that are missing.
        teacher: f32[8], probabilities by a teacher.
        teacher_va: Valence and arousal by a teacher.
        face_found: Whether `vidfer train label` found a face.
    """

    emotion: str | None = None
    votes: F32 | None = None
    valence_arousal: tuple[float, float] | None = None
    box: tuple[float, float, float, float] | None = None
    points: Mapping[int, F32] = field(default_factory=dict)
    teacher: F32 | None = None
    teacher_va: tuple[float, float] | None = None
    face_found: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """A row to write.

    Attributes:
        image: The picture as a JPEG, PNG or WebP file.
        size: Its width and height in px, upright.
        set_name: Data set that it is from.
        split: One of `SPLITS`.
        group: Person, clip or picture.
        labels: What is known of it.
    """

    image: bytes
    size: tuple[int, int]
    set_name: str
    split: str
    group: str
    labels: Labels = field(default_factory=Labels)

    def row(self) -> dict[str, Any]:
        """As a row of the schema."""
        known = self.labels
        pairs = {
            ("valence", "arousal"): known.valence_arousal,
            ("face_x", "face_y", "face_w", "face_h"): known.box,
            ("teacher_valence", "teacher_arousal"): known.teacher_va,
        }
        row: dict[str, Any] = {
            "image": self.image,
            "width": self.size[0],
            "height": self.size[1],
            "set": self.set_name,
            "split": self.split,
            "group": self.group,
            "emotion": known.emotion,
            "votes": _flat(known.votes),
            "teacher": _flat(known.teacher),
            "face_found": known.face_found,
        }
        row |= {f"points{k}": _flat(known.points.get(k)) for k in POINTS}
        for names, values in pairs.items():
            row |= dict(zip(names, values or [None] * len(names), strict=True))
        return row


def _flat(values: F32 | None) -> F32 | None:
    return None if values is None else np.asarray(values, np.float32).ravel()
