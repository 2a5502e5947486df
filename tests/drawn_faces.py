"""Training tables of drawn faces: the mouth says the emotion, its corners and the eyes are where the labels say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from vidfer.train.datasets.rows import Face, Labels
from vidfer.train.datasets.table import write_table
from vidfer.types import EMOTIONS

SIDE = 40
# Valence and arousal of each emotion.
AFFECT = ((0.0, 0.0), (0.8, 0.4), (-0.7, -0.4), (0.2, 0.8), (-0.5, 0.7), (-0.7, 0.3), (-0.6, 0.6), (-0.4, 0.1))


def face(number: int, emotion: str = "happiness", set_name: str = "drawn", split: str = "train") -> Face:
    """A face with every label but votes, of a group of its own."""
    rng = np.random.default_rng(number)
    image = np.full((SIDE, SIDE, 3), rng.integers(60, 200, 3), np.uint8)
    x, y = rng.uniform(12, 16, 2)
    code = EMOTIONS.index(emotion)
    points = np.array([[x, y], [x + 10, y], [x + 1, y + 12], [x + 9, y + 12]], np.float32)
    for point in points[:2]:
        cv2.circle(image, np.rint(point).astype(int).tolist(), 1, (0, 0, 0), -1)
    mouth = np.rint(points[2:]).astype(int)
    cv2.line(image, mouth[0].tolist(), mouth[1].tolist(), (25 * code + 20, 0, 200 - 25 * code), 1 + code // 3)
    teacher = np.full(8, 0.02, np.float32)
    teacher[code] = 0.86
    return Face(
        image=cv2.imencode(".png", image[..., ::-1])[1].tobytes(),
        size=(SIDE, SIDE),
        set_name=set_name,
        split=split,
        group=f"{set_name}{number}",
        labels=Labels(
            emotion=emotion,
            valence_arousal=AFFECT[code],
            box=(float(x) - 5, float(y) - 7, 20.0, 24.0),
            points={4: points},
            teacher=teacher,
            teacher_va=AFFECT[code],
        ),
    )


def faces(count: int, emotions: Sequence[str] = EMOTIONS, **about: str) -> list[Face]:
    """So many faces, the emotions in turn."""
    return [face(k, emotions[k % len(emotions)], **about) for k in range(count)]


def without(faces: Sequence[Face], *labels: str) -> list[Face]:
    """The same faces without some labels (names of `Labels`)."""
    empty = Labels()
    return [replace(f, labels=replace(f.labels, **{n: getattr(empty, n) for n in labels})) for f in faces]


def table(path: Path, rows: Sequence[Face]) -> Path:
    """A training table of faces."""
    write_table(path, rows)
    return path
