"""Which face is shown in which row of the panel, and the curves of each row, a sliding window of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidfer.output.labels import OverlayFace
from vidfer.types import EMOTIONS, F32, F64

_FREE_AFTER_S = 0.3
_GAP_S, _GAP_STEPS = 0.5, 3.0  # curves close at longer gaps, as smoothing does
_HOLD_S = 0.5  # the playhead shows a face that it has just passed
_COLUMNS = 3 + len(EMOTIONS) + 4


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A piece of one face without a gap: time_s f64[N], probabilities f32[N,8], affect f32[N,4].

    Affect is valence, arousal, and both as measured, before smoothing.
    """

    face_id: int
    time_s: F64
    probabilities: F32
    affect: F32


class _Rows:
    """Rows of numbers, appended at the end and dropped at the start; copied seldom."""

    def __init__(self) -> None:
        self._rows = np.zeros((256, _COLUMNS))
        self._from = self._to = 0

    def append(self, row: Sequence[float]) -> None:
        if self._to == len(self._rows):
            kept = self.all()
            if len(kept) > len(self._rows) // 2:
                self._rows = np.concatenate([kept, np.zeros_like(kept)])
            else:
                self._rows[: len(kept)] = kept.copy()
            self._from, self._to = 0, len(kept)
        self._rows[self._to] = row
        self._to += 1

    def all(self) -> F64:
        return self._rows[self._from : self._to]

    def drop_from(self, time_s: float) -> None:
        self._to = self._from + int(np.searchsorted(self.all()[:, 0], time_s))

    def drop_before(self, time_s: float) -> None:
        # One more row is kept, so that a curve runs on to the border.
        self._from += max(0, int(np.searchsorted(self.all()[:, 0], time_s)) - 1)


@dataclass(slots=True)
class _Lane:
    rows: _Rows
    face_id: int = -1
    last_s: float = -np.inf
    shot: int = 0


class Lanes:
    """Rows of curves, a lane for each of the faces that are there at the same time.

    Args:
        count: How many lanes; more faces than that are not shown.
    """

    def __init__(self, count: int) -> None:
        self._lanes = [_Lane(_Rows()) for _ in range(count)]
        self._home: dict[int, int] = {}
        self._last_s: float | None = None

    def __len__(self) -> int:
        return len(self._lanes)

    def add(self, time_s: float, shot: int, faces: Sequence[OverlayFace]) -> None:
        """Take in the faces of the next analysed frame; where time steps back, what it comes to again is replaced."""
        if self._last_s is not None and time_s < self._last_s:
            self._step_back(time_s)
        step = 0.0 if self._last_s is None else time_s - self._last_s
        longest = max(_GAP_S, _GAP_STEPS * step)
        present = {face.face_id for face in faces}
        for face in sorted(faces, key=lambda face: face.face_id):
            if face.probabilities is None or face.valence is None or face.arousal is None:
                continue
            lane = self._lane_for(face.face_id, present, time_s)
            if lane is None:
                continue
            new = lane.face_id != face.face_id or shot != lane.shot or time_s - lane.last_s > longest
            measured = face.measured or (np.nan, np.nan)
            affect = (face.valence, face.arousal, *measured)
            lane.rows.append((time_s, new, face.face_id, *face.probabilities.tolist(), *affect))
            lane.face_id, lane.last_s, lane.shot = face.face_id, time_s, shot
        self._last_s = time_s

    def _step_back(self, time_s: float) -> None:
        for lane in self._lanes:
            lane.rows.drop_from(time_s)
            lane.shot, lane.last_s = -1, min(lane.last_s, time_s)  # what follows is a new piece
        self._last_s = None

    def _lane_for(self, face_id: int, present: set[int], time_s: float) -> _Lane | None:
        def is_free(lane: _Lane) -> bool:
            return lane.face_id not in present and time_s - lane.last_s > _FREE_AFTER_S

        home = self._home.get(face_id)
        if home is not None and (self._lanes[home].face_id == face_id or is_free(self._lanes[home])):
            return self._lanes[home]
        for number, lane in enumerate(self._lanes):
            if is_free(lane):
                self._home[face_id] = number
                return lane
        return None

    def curves(self, number: int, start_s: float, end_s: float) -> list[Curve]:
        """The pieces in a lane that touch a span of time; what lies before it is forgotten."""
        rows = self._lanes[number].rows
        rows.drop_before(start_s)
        span = rows.all()
        span = span[: int(np.searchsorted(span[:, 0], end_s)) + 1]
        pieces = np.split(span, np.flatnonzero(span[1:, 1]) + 1) if len(span) else []
        return [
            Curve(int(one[0, 2]), one[:, 0], one[:, 3:11].astype(np.float32), one[:, 11:].astype(np.float32))
            for one in pieces
            if one[-1, 0] >= start_s and one[0, 0] <= end_s
        ]


def twice(curve: Curve) -> Curve:
    """Each of its moments two times."""
    return Curve(
        curve.face_id, np.repeat(curve.time_s, 2), np.repeat(curve.probabilities, 2, 0), np.repeat(curve.affect, 2, 0)
    )


def current(curves: list[Curve], time_s: float) -> tuple[Curve, int] | None:
    """The piece and the place in it that the playhead is at."""
    for curve in reversed(curves):
        at = int(np.searchsorted(curve.time_s, time_s + 1e-6)) - 1
        if at >= 0:
            return (curve, at) if time_s - curve.time_s[at] <= _HOLD_S else None
    return None
