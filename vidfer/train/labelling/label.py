"""A training table with labels by MediaPipe and by a teacher, written row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vidfer.train.data import as_rgb
from vidfer.train.datasets.faults import check_points
from vidfer.train.datasets.parquet import count_rows, read_parquet
from vidfer.train.datasets.pictures import load
from vidfer.train.datasets.rows import Face, Labels
from vidfer.train.datasets.samples import Sample, Source, Tally
from vidfer.train.datasets.summary import Summary
from vidfer.train.datasets.table import write_table
from vidfer.train.labelling.meshes import MediaPipe
from vidfer.train.labelling.teacher import Teacher
from vidfer.train.points import box_around, filled
from vidfer.types import F32, U8

_ROWS = 32  # that a teacher sees at a time
_ROOM = 2.0  # side of what MediaPipe sees / longer side of a known box: its detector wants more than the face
_SEEN_PX = 256  # smaller pictures are enlarged to it
_BORDER = 0.25  # of the side, around pictures in which no face was found at first: faces may fill them


def label_table(
    table: Path,
    output: Path,
    *,
    landmarks: MediaPipe | None = None,
    teacher: Teacher | None = None,
    points: tuple[int, ...] = (),
    tally: Tally | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Any]:
    """Write a training table again with more labels, and say what stands in it (`Summary.as_dict`).

    Where MediaPipe finds a face, its mesh and the box around that are the row's; where it finds none, the row is kept
    as it was, with `face_found` false. A teacher sees the face by its box, or the whole picture.

    Args:
        table: A training table.
        output: The file to write.
        landmarks: Finds meshes.
        teacher: Tells expressions, valence and arousal.
        points: How many points rows get out of the mesh where they have none: 4, 5 or 15.
        tally: What was left out when the table was made; what is left out now is added.
        progress: Called with how many rows are done, and of how many.

    Raises:
        DataError: The table cannot be read, or a labeller fails.
        UsageError: Points cannot be made.
        OutputError: The table cannot be written.
    """
    check_points(points)
    tally = Tally() if tally is None else tally
    summary = Summary(tally)
    total = count_rows(table)
    made: dict[str, Any] = {"format": "labelled", "sources": [table.name]}
    if landmarks is not None:
        made["mediapipe"] = landmarks.version

    def faces() -> Iterator[Face]:
        done: Counter[str] = Counter()
        for piece in _pieces(read_parquet([table], Source(tally=tally))):
            for face in _labelled(piece, tally, landmarks, teacher, points):
                summary.add(face)
                yield face
            done["rows"] += len(piece)
            progress(done["rows"], total)
        made["summary"] = summary.as_dict()

    write_table(output, faces(), made)
    return dict(made["summary"])


def _labelled(
    samples: list[Sample],
    tally: Tally,
    landmarks: MediaPipe | None,
    teacher: Teacher | None,
    points: tuple[int, ...],
) -> Iterator[Face]:
    rows: list[tuple[Sample, bytes, U8, Labels]] = []
    for sample in samples:
        found = load(sample)
        if isinstance(found, str):
            tally.leave_out(found, sample.where)
            continue
        labels = sample.labels
        if landmarks is not None:
            labels = with_mesh(labels, find_mesh(landmarks, found[1], labels), points)
        rows.append((sample, *found, labels))
    soft = _soft(teacher, rows) if teacher is not None and rows else [{}] * len(rows)
    for (sample, data, pixels, labels), more in zip(rows, soft, strict=True):
        yield Face(
            image=data,
            size=(pixels.shape[1], pixels.shape[0]),
            set_name=sample.set_name or "unknown",
            split=sample.split or "train",
            group=sample.group,
            labels=replace(labels, **more),
        )


def find_mesh(landmarks: MediaPipe, pixels: U8, labels: Labels) -> F32 | None:
    """The mesh f32[478,3] in px of a picture: of the face in its box, if it has one."""
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = 0, 0, width, height
    if labels.box is not None:
        x, y, w, h = labels.box
        half = max(w, h) * _ROOM / 2
        x0, x1 = (int(np.clip(x + w / 2 + side, 0, width)) for side in (-half, half))
        y0, y1 = (int(np.clip(y + h / 2 + side, 0, height)) for side in (-half, half))
    part = pixels[y0:y1, x0:x1]
    if min(part.shape[:2]) < 2:
        return None
    for border in (0, round(_BORDER * max(part.shape[:2]))):
        seen = cv2.copyMakeBorder(part, border, border, border, border, cv2.BORDER_REPLICATE) if border else part
        scale = max(1.0, _SEEN_PX / min(seen.shape[:2]))
        size = (round(seen.shape[1] * scale), round(seen.shape[0] * scale))
        large = cv2.resize(seen, size, interpolation=cv2.INTER_CUBIC) if scale > 1 else seen
        mesh = landmarks.find(as_rgb(np.asarray(large, np.uint8)))
        if mesh is not None:
            share = np.array([seen.shape[1] / size[0], seen.shape[0] / size[1]]) if scale > 1 else np.ones(2)
            mesh[:, :2] = (mesh[:, :2] + 0.5) * share - 0.5 - border + (x0, y0)
            mesh[:, 2] *= share[0]
            return mesh if _of_box(mesh, labels) else None
    return None


def _of_box(mesh: F32, labels: Labels) -> bool:
    """Whether the mesh is that of the face in the box, and not of another one beside it."""
    if labels.box is None:
        return True
    x, y, w, h = labels.box
    middle = mesh[:, :2].mean(0)
    return bool(x <= middle[0] <= x + w and y <= middle[1] <= y + h)


def with_mesh(labels: Labels, mesh: F32 | None, points: tuple[int, ...]) -> Labels:
    """Labels of a row after MediaPipe looked at it."""
    if mesh is None:
        return replace(labels, face_found=False)
    known = {**labels.points, 478: mesh}
    for count in points:
        made = filled({k: values[None] for k, values in known.items()}, count)
        if made is not None:
            known[count] = made[0]
    return replace(labels, face_found=True, box=box_around(mesh), points=known)


def _soft(teacher: Teacher, rows: list[tuple[Sample, bytes, U8, Labels]]) -> list[dict[str, Any]]:
    boxes = np.full((len(rows), 4), np.nan, np.float32)
    for i, (*_, labels) in enumerate(rows):
        if labels.box is not None:
            x, y, w, h = labels.box
            boxes[i] = (x, y, x + w, y + h)
    emotions, affect = teacher.label([pixels for _, _, pixels, _ in rows], boxes)
    return [
        ({} if emotions is None else {"teacher": emotions[i]})
        | ({} if affect is None else {"teacher_va": (float(affect[i, 0]), float(affect[i, 1]))})
        for i in range(len(rows))
    ]


def _pieces(samples: Iterator[Sample]) -> Iterator[list[Sample]]:
    piece: list[Sample] = []
    for sample in samples:
        piece.append(sample)
        if len(piece) == _ROWS:
            yield piece
            piece = []
    if piece:
        yield piece
