"""Facial keypoints (Kaggle, 2013): `training.csv` with 15 points and grey pictures of 96x96 px.

A column for each coordinate, `left_eye_center_x` and so on (left is the left of the person shown), empty where a point
is missing, and `Image`: 9216 numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from vidfer.train.datasets.fer import pixels_of
from vidfer.train.datasets.lists import numbers, read_lines
from vidfer.train.datasets.rows import Labels
from vidfer.train.datasets.samples import Sample, Source
from vidfer.train.points import NAMES15

_SIDE = 96
_COLUMNS = tuple(f"{name}_{axis}" for name in NAMES15 for axis in "xy")


def read_keypoints(paths: Sequence[Path], source: Source) -> Iterator[Sample]:
    """Faces with 15 points, some of them missing."""
    for path in paths:
        file = path / "training.csv" if path.is_dir() else path
        for where, (*values, text) in read_lines(file, (*_COLUMNS, "Image"), source.tally):
            points, pixels = numbers(values), pixels_of(text, _SIDE)
            if points is None or pixels is None:
                reason = (
                    "a value is no number" if points is None else f"Image is not {_SIDE * _SIDE} numbers from 0 to 255"
                )
                source.tally.leave_out(reason, where)
                continue
            pairs = points.reshape(15, 2)
            pairs[np.isnan(pairs).any(1)] = np.nan
            group = sha256(pixels.tobytes()).hexdigest()[:16]
            yield Sample(where=where, picture=pixels, group=group, labels=Labels(points={15: pairs}))
