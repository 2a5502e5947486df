"""The rows of a table beside the frames of its video: read in small pieces, some seconds ahead where that is needed."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vidfer.errors import InputError, UsageError
from vidfer.output.overlay import OverlayFace
from vidfer.output.parquet import batches, open_table
from vidfer.types import DETECTED, EMOTIONS, FACE_STATUS, Frame

HOLD_S = 0.5  # so long the last boxes stay on frames that were not sampled
_BATCH_ROWS = 2048
# A face is hidden for so long before its first and after its last row of a shot: it was there, only not yet or no
# longer found.
HIDE_AROUND_S = 0.4

Box = tuple[float, float, float, float]

_FRAME = ["frame", "pts", "timestamp", "shot"]
_TEXTS = ["face_status", "emotion_smooth"]
_BOX = ["face_x", "face_y", "face_w", "face_h"]
_AFFECT = [*(f"emotion_{name}_smooth" for name in EMOTIONS), "valence_smooth", "arousal_smooth", "valence", "arousal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysed:
    """What the table says about one frame."""

    index: int
    pts: int | None
    time_s: float | None
    shot: int
    faces: list[OverlayFace]


class MismatchError(InputError):
    """A frame of the video is not the one that the table tells of."""


class Surroundings:
    """The analysed frames around the current one, in one pass over table and video.

    Args:
        frames: All analysed frames in their order.
        ahead_s: How far beyond the next one to look.
        behind_s: How long to keep those that are over.
    """

    def __init__(self, frames: Iterator[Analysed], *, ahead_s: float = 0.0, behind_s: float = 0.0) -> None:
        self._frames = frames
        self._ahead_s, self._behind_s = ahead_s, behind_s
        self._behind: deque[Analysed] = deque()
        self._ahead: deque[Analysed] = deque()
        self._all_read = False
        self._frame: Frame | None = None
        self._fill(None)

    def move_to(self, frame: Frame) -> None:
        """Go on to the next frame of the video.

        Raises:
            MismatchError: The table knows another frame of this number.
        """
        self._frame = frame
        if self._ahead and self._ahead[0].index <= frame.index:
            found = self._ahead.popleft()
            if (found.index, found.pts) != (frame.index, frame.pts):
                raise MismatchError(
                    f"frame {found.index} has pts {found.pts} in the table and {frame.pts} in the video"
                )
            self._behind.append(found)
        self._fill(frame.time_s)
        while len(self._behind) > 1 and self._is_over(self._behind[0], frame.time_s):
            self._behind.popleft()

    def finish(self) -> None:
        """Say that the video has ended: nothing may be left."""
        if self._ahead:
            raise MismatchError(f"it goes on with frame {self._ahead[0].index}, the video ended before")

    def shown(self) -> list[OverlayFace]:
        """The faces to draw on the current frame.

        Between analysed frames of one shot boxes move evenly, for half a second at most. Where a cut lies between them
        nothing is known about its moment, so nothing is drawn.
        """
        last, following, time_s = self._around()
        if last is None or self._is_current(last):
            return last.faces if last is not None else []
        if time_s is None or last.time_s is None or not 0 <= time_s - last.time_s <= HOLD_S:
            return []
        if following is None:
            return last.faces
        return [] if following.shot != last.shot else between(last, following, time_s)

    def hidden(self) -> list[Box] | None:
        """The boxes to hide in the current frame; None where nobody knows what is in it."""
        last, following, time_s = self._around()
        if last is None:
            return None
        if self._is_current(last):
            faces = last.faces
        elif time_s is None or last.time_s is None or _gap_s(last.time_s, following, time_s) > HOLD_S + 1e-6:
            return None
        elif following is None:
            faces = last.faces
        else:  # wherever in between a face is, in a straight line or not
            moving = between(last, following, time_s) if following.shot == last.shot else []
            faces = last.faces + following.faces + moving
        return [face.box_px for face in faces] + self._just_outside({face.face_id for face in faces}, last, time_s)

    def _just_outside(self, known: set[int], last: Analysed, time_s: float | None) -> list[Box]:
        """Where the faces are that were there a moment ago or will be in a moment, in the same shot."""
        if time_s is None:
            return []
        near = [
            (abs(other.time_s - time_s), other)
            for other in (*self._behind, *self._ahead)
            if other.time_s is not None and other.shot == last.shot and abs(other.time_s - time_s) <= HIDE_AROUND_S
        ]
        boxes = []
        for _, other in sorted(near, key=itemgetter(0)):
            boxes += [face.box_px for face in other.faces if face.face_id not in known]
            known |= {face.face_id for face in other.faces}
        return boxes

    def _around(self) -> tuple[Analysed | None, Analysed | None, float | None]:
        assert self._frame is not None
        return (
            self._behind[-1] if self._behind else None,
            self._ahead[0] if self._ahead else None,
            self._frame.time_s,
        )

    def _is_current(self, analysed: Analysed) -> bool:
        return self._frame is not None and analysed.index == self._frame.index

    def _is_over(self, analysed: Analysed, time_s: float | None) -> bool:
        # Time may have stepped back: nothing is kept until it comes again.
        return analysed.time_s is None or time_s is None or abs(time_s - analysed.time_s) > self._behind_s

    def _fill(self, time_s: float | None) -> None:
        while not self._all_read and not (self._ahead and self._is_far(self._ahead[-1], time_s)):
            analysed = next(self._frames, None)
            if analysed is None:
                self._all_read = True
            else:
                self._ahead.append(analysed)

    def _is_far(self, analysed: Analysed, time_s: float | None) -> bool:
        return time_s is None or analysed.time_s is None or abs(analysed.time_s - time_s) >= self._ahead_s


def _gap_s(last_s: float, following: Analysed | None, time_s: float) -> float:
    """How long the gap after the last analysed frame is, as far as is known; infinite where time steps back in it."""
    end_s = time_s if following is None or following.time_s is None else following.time_s
    return end_s - last_s if last_s <= time_s <= end_s else math.inf


def between(last: Analysed, following: Analysed, time_s: float) -> list[OverlayFace]:
    """The faces of a frame between two analysed ones: moved evenly where both have them, else the last known ones."""
    if last.time_s is None or following.time_s is None or following.time_s <= last.time_s:
        return last.faces
    part = min(1.0, max(0.0, (time_s - last.time_s) / (following.time_s - last.time_s)))
    later = {face.face_id: face for face in following.faces}
    return [_moved(face, later[face.face_id], part) if face.face_id in later else face for face in last.faces]


def _moved(face: OverlayFace, later: OverlayFace, part: float) -> OverlayFace:
    x0, y0, x1, y1 = (a + (b - a) * part for a, b in zip(face.box_px, later.box_px, strict=True))
    points = face.landmarks
    if points is not None and later.landmarks is not None:
        points = points + (later.landmarks - points) * np.float32(part)
    return replace(face, box_px=(x0, y0, x1, y1), landmarks=points)


def analysed_frames(table: Path, landmarks: bool) -> Generator[Analysed, None, None]:
    """The frames of a table in their order, read in small pieces.

    Raises:
        InputError: It lacks a column.
        UsageError: It has no landmarks, and they are asked for.
    """
    with open_table(table) as file:
        names = file.schema_arrow.names
        if landmarks and "landmarks" not in names:
            raise UsageError(f"{table} has no landmarks to draw: process the video with --landmarks 68 or 478")
        wanted = [*_FRAME, "face_id", *_TEXTS, *_BOX, *_AFFECT, *(["landmarks"] if landmarks else [])]
        lacking = [name for name in wanted if name not in names]
        if lacking:
            raise InputError(f"{table} lacks the column {lacking[0]}: give a table made by `vidfer process`")
        rows = (row for batch in batches(file, _BATCH_ROWS, wanted) for row in _rows(batch, landmarks))
        for (index, pts, time_s, shot), group in groupby(rows, key=itemgetter(0)):
            faces = [face for _, face in group if face is not None]
            yield Analysed(index=index, pts=pts, time_s=time_s, shot=shot, faces=faces)


_Key = tuple[int, int | None, float | None, int]


def _rows(batch: pa.RecordBatch, landmarks: bool) -> Iterator[tuple[_Key, OverlayFace | None]]:
    """(frame, pts, time, shot) and face of every row; the face is None where there is none."""
    keys = list(zip(*(batch[name].to_pylist() for name in _FRAME), strict=True))
    face_id, status, label = (batch[name].to_pylist() for name in ("face_id", *_TEXTS))
    numbers = np.stack([batch[name].to_numpy(zero_copy_only=False) for name in (*_BOX, *_AFFECT)], axis=1)
    box, affect = numbers[:, :4], numbers[:, 4:].astype(np.float32)
    corner = box[:, :2] + box[:, 2:]
    points = _points(batch["landmarks"]) if landmarks else [None] * len(keys)
    for row, number in enumerate(face_id):
        if number is None:
            yield keys[row], None
            continue
        seen = not np.isnan(affect[row, :10]).any()
        valence, arousal, *measured = affect[row, 8:].tolist()
        yield (
            keys[row],
            OverlayFace(
                face_id=number,
                box_px=(*box[row, :2].tolist(), *corner[row].tolist()),
                status=FACE_STATUS.index(status[row]) if status[row] is not None else DETECTED,
                label=label[row],
                probabilities=affect[row, :8] if seen else None,
                valence=valence if seen else None,
                arousal=arousal if seen else None,
                measured=(measured[0], measured[1]) if seen else None,
                landmarks=points[row],
            ),
        )


def _points(column: pa.Array) -> list[Any]:
    """f32[K,2] of each row of a list column, None where it is null."""
    known = column.is_valid().to_numpy(zero_copy_only=False)
    if not known.any():
        return [None] * len(known)
    values = column.flatten().to_numpy(zero_copy_only=False).reshape(int(known.sum()), -1, 2)
    place = np.cumsum(known) - 1
    return [values[at] if is_known else None for at, is_known in zip(place, known, strict=True)]


def has_landmarks(table: Path) -> bool:
    """Whether a table has landmarks to draw."""
    with open_table(table) as file:
        return "landmarks" in file.schema_arrow.names


def most_faces(table: Path) -> int:
    """The largest number of faces in one frame, from the statistics of the file."""
    with open_table(table) as file:
        groups, names = file.metadata, file.schema_arrow.names
        if "n_faces" not in names:
            return 1
        at = names.index("n_faces")
        found = [groups.row_group(group).column(at).statistics for group in range(groups.num_row_groups)]
        return max((int(one.max) for one in found if one is not None and one.has_min_max), default=1)
