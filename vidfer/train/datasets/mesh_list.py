"""A CSV file with expression, box and the 478 points of MediaPipe's mesh of every picture.

`image` (relative to the file, or to `--images`), `expression` (a name), `box_x`, `box_y`, `box_w`, `box_h` (px of the
picture), `x0`, `y0`, `z0` ... `x477`, `y477`, `z477` (px, z in the scale of x); `split` (train, val, test) and `group`
(person) may be there. An expression, a box or points that are missing are empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vidfer.train.datasets.classes import emotion_of
from vidfer.train.datasets.lists import numbers, read_lines
from vidfer.train.datasets.rows import Labels
from vidfer.train.datasets.samples import SPLIT_NAMES, Sample, Source

_BOX = ("box_x", "box_y", "box_w", "box_h")
COLUMNS = ("image", "expression", *_BOX, *(f"{axis}{i}" for i in range(478) for axis in "xyz"))


def read_mesh_list(paths: Sequence[Path], source: Source) -> Iterator[Sample]:
    """Faces with expression, box and mesh."""
    for path in paths:
        for where, values in read_lines(path, COLUMNS, source.tally, ("split", "group")):
            name, expression, box, points = values[0], values[1], numbers(values[2:6]), numbers(values[6:-2])
            if box is None or points is None:
                source.tally.leave_out("a value is no number", where)
                continue
            split, group = values[-2].casefold(), values[-1] or source.group_of(name)
            if split not in ("", *SPLIT_NAMES):
                source.tally.leave_out("split is not train, val or test", where)
                continue
            emotion = emotion_of(expression, where, source.classes) if expression else None
            if expression and emotion is None:
                source.tally.leave_out("class that was to be left out", where)
                continue
            x, y, w, h = map(float, box)
            labels = Labels(
                emotion=emotion,
                box=None if np.isnan(box).all() else (x, y, w, h),
                points={} if np.isnan(points).all() else {478: points.reshape(478, 3)},
            )
            if (picture := source.picture(name, path.parent, where)) is not None:
                yield Sample(where=where, picture=picture, group=group, split=SPLIT_NAMES.get(split), labels=labels)
