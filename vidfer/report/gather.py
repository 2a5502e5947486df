"""One pass over a table: what is drawn of every face, thinned out while it is read.

An hour of five faces has 450,000 rows; no more is kept of a face than a chart can show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidfer.errors import InputError
from vidfer.output.parquet import batches, open_table
from vidfer.report.quality import FLAGS, flags
from vidfer.report.series import MOST_POINTS, Series, SeriesMaker
from vidfer.types import EMOTIONS, F64, I64, Bool

# Faces with charts of their own, the longest on screen first; the points of all their charts together; faces at all.
MOST_CHARTS = 24
_ALL_POINTS = 8000
FILM, _FILM_STEP_S = 6, 0.5  # pictures in the strip of a face; of a short one fewer, since they would be alike
CELLS = 41  # of the plane of valence and arousal, along each side
_GAP_S, _GAP_STEPS = 0.2, 3.0  # a face that is away for longer is away
_BATCH_ROWS = 65_536

SMOOTHED = [f"emotion_{name}_smooth" for name in EMOTIONS] + ["valence_smooth", "arousal_smooth"]
_BOX = ["face_x", "face_y", "face_w", "face_h"]
_NUMBERS = [*SMOOTHED, "valence", "arousal", *_BOX, "quality", "confidence", "pitch", "yaw"]
_FRAME = ["frame", "pts", "timestamp", "epoch"]

Span = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """One face in one frame, to be cut out of the picture."""

    frame: int
    pts: int | None
    epoch: int
    time_s: float | None
    box_px: tuple[float, float, float, float]  # x, y, width, height
    quality: float


@dataclass(slots=True, kw_only=True, eq=False)
class Face:
    """What the page tells of one face.

    Attributes:
        row: Of the table of tracks.
        series: What is drawn over time; None for those without charts of their own, or without times.
        present: When it is on screen, bridged gaps included.
        flagged: When one of the `FLAGS` holds.
        flag_frames: In how many frames each of them holds.
        measured: In how many frames it was looked at.
        cells: i64[CELLS, CELLS], looks by valence (columns) and arousal (rows, from -1 up), before smoothing.
        best: The look of the highest quality.
        film: Of each part of its time on screen the best look.
    """

    row: dict[str, Any]
    series: Series | None = None
    present: list[Span] = field(default_factory=list)
    flagged: list[Span] = field(default_factory=list)
    flag_frames: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FLAGS, 0))
    measured: int = 0
    cells: I64 = field(default_factory=lambda: np.zeros((CELLS, CELLS), np.int64))
    best: Look | None = None
    film: dict[int, Look] = field(default_factory=dict)

    @property
    def id(self) -> int:
        """Its number."""
        return int(self.row["face_id"])

    @property
    def span(self) -> Span | None:
        """Its first and last moment."""
        first, last = self.row["first_timestamp"], self.row["last_timestamp"]
        return None if first is None or last is None else (first, last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """All of it.

    Attributes:
        span: First and last moment of the analysed frames; None where they have no times.
        step_s: Usual time between two of them.
        frames: How many they are.
        untimed: How many of them have no time.
        with_face: How many have a face.
        most_faces: At the same time.
        cuts: When a new shot begins.
        faces: In the order of their numbers.
        charted: Those with charts of their own, in the same order.
    """

    span: Span | None
    step_s: float
    frames: int
    untimed: int
    with_face: int
    most_faces: int
    cuts: list[float]
    faces: list[Face]
    charted: list[Face]


def gather(table: Path, tracks: Sequence[dict[str, Any]]) -> Gathered:
    """Read a table once for its frames and once for its faces.

    Args:
        table: The observations.
        tracks: The rows of the table of tracks.

    Raises:
        InputError: The table cannot be read or has a face that the tracks do not know.
    """
    frames, times, shots, counts = _frames(table)
    known = times[~np.isnan(times)]
    steps = np.diff(known)
    step_s = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.04
    faces = {int(row["face_id"]): Face(row=row) for row in tracks}
    longest = sorted(faces.values(), key=lambda face: (-face.row["frames"], face.id))[:MOST_CHARTS]
    points = min(MOST_POINTS, max(200, _ALL_POINTS // max(1, len(longest))))
    makers = {face.id: SeriesMaker(face.span, face.row["frames"], points) for face in longest if face.span is not None}
    gap_s = max(_GAP_S, _GAP_STEPS * step_s)
    with open_table(table) as file:
        for batch in batches(file, _BATCH_ROWS, [*_FRAME, "face_id", *_NUMBERS]):
            _take_in(batch, faces, makers, gap_s, table)
    for number, maker in makers.items():
        faces[number].series = maker.series(step_s)
    cut = np.flatnonzero(np.diff(shots)) + 1
    return Gathered(
        span=(float(known.min()), float(known.max()) + step_s) if len(known) else None,
        step_s=step_s,
        frames=len(frames),
        untimed=int(np.isnan(times).sum()),
        with_face=int((counts > 0).sum()),
        most_faces=int(counts.max(initial=0)),
        cuts=[float(time) for time in times[cut] if not np.isnan(time)],
        faces=list(faces.values()),
        charted=sorted(longest, key=lambda face: face.id),
    )


def _frames(table: Path) -> tuple[I64, F64, I64, I64]:
    """Number, time, shot and faces of every analysed frame."""
    parts = []
    with open_table(table) as file:
        for batch in batches(file, _BATCH_ROWS, ["frame", "timestamp", "shot", "n_faces"]):
            columns = [batch[name].to_numpy(zero_copy_only=False) for name in batch.schema.names]
            _, first = np.unique(columns[0], return_index=True)
            parts.append([column[first] for column in columns])
    frame, time_s, shot, count = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else [[]] * 4
    frame = np.asarray(frame, np.int64)
    _, first = np.unique(frame, return_index=True)  # the rows of one frame may lie in two batches
    times = np.asarray(time_s, np.float64)
    return frame[first], times[first], np.asarray(shot, np.int64)[first], np.asarray(count, np.int64)[first]


def _take_in(
    batch: pa.RecordBatch, faces: dict[int, Face], makers: dict[int, SeriesMaker], gap_s: float, table: Path
) -> None:
    number = batch["face_id"].to_numpy(zero_copy_only=False).astype(np.float64)
    found = np.flatnonzero(~np.isnan(number))
    order = found[np.argsort(number[found], kind="stable")]
    edges = np.flatnonzero(np.diff(number[order], prepend=-1.0, append=np.inf))
    rows = _Rows(batch)
    for start, stop in pairwise(edges.tolist()):
        face_id = int(number[order[start]])
        if face_id not in faces:
            raise InputError(f"{table} has face {face_id}, its table of tracks has not: run `vidfer process` again")
        of_face = order[start:stop]
        _add(faces[face_id], rows, of_face, gap_s)
        if face_id in makers:
            measured = of_face[rows.measured[of_face]]
            makers[face_id].add(rows.time_s[measured], rows.numbers[measured, :12])


class _Rows:
    """A batch as numpy arrays; missing is NaN."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch
        self.frame: I64 = batch["frame"].to_numpy()
        self.time_s: F64 = batch["timestamp"].to_numpy(zero_copy_only=False).astype(np.float64)
        columns = [batch[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in _NUMBERS]
        self.numbers: F64 = np.stack(columns, axis=1)
        self.measured: Bool = np.asarray(np.isfinite(self.numbers[:, :12]).all(axis=1))
        self.box, self.quality = self.numbers[:, 12:16], self.numbers[:, 16]
        self.flags = flags(self.box, *self.numbers[:, 16:20].T)

    def look(self, row: int) -> Look:
        pts, time_s = self.batch["pts"][row].as_py(), self.time_s[row]
        x, y, width, height = self.box[row].tolist()
        return Look(
            frame=int(self.frame[row]),
            pts=pts,
            epoch=self.batch["epoch"][row].as_py(),
            time_s=None if np.isnan(time_s) else float(time_s),
            box_px=(x, y, width, height),
            quality=float(self.quality[row]),
        )


def _add(face: Face, rows: _Rows, which: I64, gap_s: float) -> None:
    """Take in the rows of one face."""
    time_s = rows.time_s[which]
    _extend(face.present, time_s, gap_s)
    looked = which[rows.measured[which]]
    face.measured += len(looked)
    any_flag = np.zeros(len(looked), bool)
    for name, held in rows.flags.items():
        face.flag_frames[name] += int(held[looked].sum())
        any_flag |= held[looked]
    _extend(face.flagged, rows.time_s[looked][any_flag], gap_s)
    place = np.clip(np.rint((rows.numbers[looked, 10:12] + 1) / 2 * (CELLS - 1)), 0, CELLS - 1).astype(np.int64)
    np.add.at(face.cells, (place[:, 1], place[:, 0]), 1)
    for row in looked[rows.frame[looked] == face.row["best_frame"]]:
        face.best = rows.look(int(row))
    if face.span is not None:
        _film(face, rows, looked, face.span)


def _film(face: Face, rows: _Rows, looked: I64, span: Span) -> None:
    """Keep the best look of each part of the time."""
    length = max(span[1] - span[0], 1e-9)
    parts = max(1, min(FILM, int(length / _FILM_STEP_S)))
    part = (rows.time_s[looked] - span[0]) / length * parts
    slot = np.where(np.isnan(part), -1, np.minimum(part, parts - 1)).astype(np.int64)
    for number in range(parts):
        inside = looked[slot == number]
        if not len(inside):
            continue
        best = int(inside[np.argmax(rows.quality[inside])])
        if number not in face.film or rows.quality[best] > face.film[number].quality:
            face.film[number] = rows.look(best)


def _extend(spans: list[Span], time_s: npt.NDArray[np.float64], gap_s: float) -> None:
    """Append moments to stretches of time: a longer gap begins a new one, and so does time that steps back."""
    time_s = time_s[~np.isnan(time_s)]
    if not len(time_s):
        return
    step = np.diff(time_s)
    edges = np.flatnonzero((step > gap_s) | (step < 0)) + 1
    found = [(float(part[0]), float(part[-1])) for part in np.split(time_s, edges)]
    if spans and 0 <= found[0][0] - spans[-1][1] <= gap_s:
        found[0] = (spans.pop()[0], found[0][1])
    spans.extend(found)
