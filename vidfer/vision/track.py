"""Frame-to-frame tracking with Norfair: short, sure tracklets; `vision.tracklets` joins them over the whole source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vidfer.types import F32, I64, Detections

_NO_MATCH = 4.0  # finite: Norfair 2.1 ends the process at infinity or NaN
_THRESHOLD = 3.0  # above every cost of a pair that may match: (1 - IoU) + weight * (1 - cosine)
_MAX_APPEARANCE_WEIGHT = 0.9
_UNKNOWN_COSINE = 0.5
_SIZE_CHANGE = 1.6  # of a face that is apart from its tracklet
_STEPS_OF_SLACK = 2  # Norfair forgets later than we do: it counts updates, we go by the clock

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerOptions:
    """How faces are followed from frame to frame.

    Attributes:
        min_iou: Smallest overlap of a face with the tracklet's estimate or its last box.
        far_cosine: With looks so much alike, a face may also be apart from both by up to `far_reach`: fast faces, and
            sampled frames.
        far_reach: Distance of the centres, in sizes of the larger face.
        appearance_weight: Weight of (1 - cosine of embeddings) beside (1 - IoU); in [0, 0.9]. It decides between
            neighbours; alone it never forbids a match, since extreme poses would break their tracklets.
        appearance_memory_s: Time constant of the tracklet's mean embedding.
        lost_after_s: A tracklet without a face for longer than this (or 1.5 frame intervals) ends.
    """

    min_iou: float = 0.3
    far_cosine: float = 0.6
    far_reach: float = 1.0
    appearance_weight: float = 0.5
    appearance_memory_s: float = 0.4
    lost_after_s: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.min_iou < 1:
            raise ValueError(f"min_iou must be in (0, 1), got {self.min_iou}")
        if not 0 <= self.appearance_weight <= _MAX_APPEARANCE_WEIGHT:
            raise ValueError(
                f"appearance_weight must be in [0, {_MAX_APPEARANCE_WEIGHT}], got {self.appearance_weight}"
            )
        if not (-1 <= self.far_cosine <= 1 and self.far_reach >= 0):
            raise ValueError(f"far_cosine must be in [-1, 1] and far_reach at least 0, got {self}")
        if not (self.appearance_memory_s > 0 and self.lost_after_s > 0):
            raise ValueError(f"appearance_memory_s and lost_after_s must be positive, got {self}")


class FaceTracker:
    """Gives every face of a source a tracklet id; one tracker per source.

    Every shot has a Norfair tracker of its own, so no tracklet crosses a cut, and nothing global is used: equal calls
    give equal ids, in any process, which is how a resumed run finds its tracklets again. Faces are reported from their
    first frame, with their own box, and only in frames where they were seen.

    Args:
        frame_interval_s: Usual time between two updates; with sampling, that between two sampled frames.
        options: Parameters in seconds.
        first_id: The first id to give: a resumed run need not repeat the shots before its last one.
    """

    def __init__(self, *, frame_interval_s: float, options: TrackerOptions | None = None, first_id: int = 0) -> None:
        if not (math.isfinite(frame_interval_s) and frame_interval_s > 0):
            raise ValueError(f"frame_interval_s must be positive, got {frame_interval_s}")
        import norfair  # 1.25 s: only where something is tracked

        self._norfair: Any = norfair
        self._options = options or TrackerOptions()
        self._interval_s = frame_interval_s
        self._lost_after_s = max(self._options.lost_after_s, 1.5 * frame_interval_s)
        self._inertia = math.ceil(self._lost_after_s / frame_interval_s) + _STEPS_OF_SLACK
        self._shot: int | None = None
        self._time_s = -math.inf
        self._next_id = first_id
        self._tracker: Any = None
        self._cost = _Cost(self._options, self._lost_after_s)

    def update(self, time_s: float, shot: int, detections: Detections, embedding: F32) -> I64:
        """Follow the faces into the next frame; call it for every frame, with or without faces.

        Args:
            time_s: Time of the frame; where it goes back, tracking starts anew.
            shot: Count of the cuts so far; where it changes, tracking starts anew.
            detections: The N faces of the frame, with finite boxes.
            embedding: f32[N,D] of unit length; rows that are not finite or all zero count as unknown.

        Returns:
            i64[N] tracklet ids, dense from `first_id` in order of appearance and never given twice, over all shots.

        Raises:
            ValueError: A box or the time is not finite, or embedding has another number of rows.
        """
        box_px = detections.box_px
        if not (np.isfinite(box_px).all() and math.isfinite(time_s)):
            raise ValueError(f"boxes and time must be finite, got {box_px.tolist()} at {time_s} s")
        if embedding.ndim != 2 or len(embedding) != len(detections):
            raise ValueError(f"embedding must be float32[{len(detections)},D], got {list(embedding.shape)}")
        if shot != self._shot or time_s < self._time_s:
            self._start(shot)
        else:
            self._pass_over(time_s - self._time_s)
        self._time_s = time_s
        candidates = [
            self._norfair.Detection(points, data=row)
            for row, points in enumerate(box_px.astype(np.float64).reshape(-1, 2, 2))
        ]
        self._cost.begin(time_s, box_px, embedding)
        # With the whole inertia as period, the counter of a face is full from its first hit on.
        self._tracker.update(candidates, period=self._inertia)
        return self._ids(candidates)

    def _start(self, shot: int) -> None:
        self._shot = shot
        self._cost.forget()
        self._tracker = self._norfair.Tracker(
            "iou",  # replaced below: 2.3 would log a warning about a function of ours, 2.1 takes nothing else
            distance_threshold=_THRESHOLD,
            hit_counter_max=self._inertia,
            initialization_delay=0,
            past_detections_length=0,
        )
        self._tracker.distance_function = self._cost

    def _pass_over(self, elapsed_s: float) -> None:
        """Norfair counts in updates: let those pass that are missing between two frames far apart."""
        missing = round(elapsed_s / self._interval_s) - 1
        for _ in range(min(missing, self._inertia + 1)):
            self._tracker.update(None)

    def _ids(self, candidates: Sequence[Any]) -> I64:
        matched = {id(obj.last_detection): obj for obj in self._tracker.tracked_objects}
        ids = np.empty(len(candidates), np.int64)
        for row, candidate in enumerate(candidates):
            key = matched[id(candidate)].id
            if (memory := self._cost.memory.get(key)) is None:
                memory = self._cost.memory[key] = _Memory(self._next_id)
                self._next_id += 1
            self._cost.remember(memory, row)
            ids[row] = memory.tracklet
        alive = {obj.id for obj in self._tracker.tracked_objects}
        self._cost.memory = {key: memory for key, memory in self._cost.memory.items() if key in alive}
        return ids


class _Memory:
    """What is known of a tracklet beside Norfair's filter."""

    __slots__ = ("appearance", "box", "time_s", "tracklet")

    def __init__(self, tracklet: int) -> None:
        self.tracklet = tracklet
        self.box: Box = (0.0, 0.0, 0.0, 0.0)
        self.time_s = -math.inf
        self.appearance: npt.NDArray[np.float64] | None = None


class _Cost:
    """The distance of a face and a tracklet, for both ends of Norfair: 2.1 asks pair by pair, 2.3 for a matrix."""

    def __init__(self, options: TrackerOptions, lost_after_s: float) -> None:
        self._options = options
        self._lost_after_s = lost_after_s + 1e-6
        self.forget()

    def forget(self) -> None:
        """Start a new shot."""
        self.memory: dict[int, _Memory] = {}
        self._time_s = -math.inf
        self._boxes: list[Box] = []
        self._appearance: list[npt.NDArray[np.float64] | None] = []
        self._estimates: dict[int, Box] = {}

    def begin(self, time_s: float, box_px: F32, embedding: F32) -> None:
        """The faces that the next distances are about."""
        self._time_s = time_s
        self._boxes = [tuple(box) for box in box_px.astype(np.float64).tolist()]
        self._appearance = [_unit(row) for row in embedding.astype(np.float64)]
        self._estimates = {}

    def remember(self, memory: _Memory, row: int) -> None:
        """This face of the frame belongs to this tracklet."""
        appearance = self._appearance[row]
        if memory.appearance is None:
            memory.appearance = appearance
        elif appearance is not None:
            kept = math.exp(-(self._time_s - memory.time_s) / self._options.appearance_memory_s)
            memory.appearance = _unit(kept * memory.appearance + (1 - kept) * appearance)
        memory.box, memory.time_s = self._boxes[row], self._time_s

    def get_distances(self, objects: Sequence[Any], candidates: Sequence[Any]) -> F32:
        """The protocol of Norfair 2.3."""
        values = [[self(candidate, obj) for obj in objects] for candidate in candidates]
        return np.array(values, np.float32).reshape(len(candidates), len(objects))

    def __call__(self, candidate: Any, obj: Any) -> float:
        """The protocol of Norfair 2.1."""
        memory, box = self.memory[obj.id], self._boxes[candidate.data]
        if self._time_s - memory.time_s > self._lost_after_s:
            return _NO_MATCH
        if (estimate := self._estimates.get(obj.id)) is None:
            estimate = self._estimates[obj.id] = tuple(obj.estimate.ravel().tolist())
        overlap = max(_iou(box, estimate), _iou(box, memory.box))
        near = overlap >= self._options.min_iou
        if not near and min(_apart(box, estimate), _apart(box, memory.box)) > self._options.far_reach:
            return _NO_MATCH
        face = self._appearance[candidate.data]
        cosine = _UNKNOWN_COSINE if face is None or memory.appearance is None else float(face @ memory.appearance)
        if not near and cosine < self._options.far_cosine:
            return _NO_MATCH
        return (1 - overlap) + self._options.appearance_weight * (1 - cosine)


def _unit(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
    length = math.sqrt(float(vector @ vector))
    return vector / length if math.isfinite(length) and length > 0 else None


def _iou(a: Box, b: Box) -> float:
    """Of two boxes; with a handful of faces plain floats are ten times faster than arrays."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def _apart(a: Box, b: Box) -> float:
    """Distance of the centres of two boxes, in sizes of the larger; infinite where the sizes do not fit."""
    side_a, side_b = (math.sqrt(max((c[2] - c[0]) * (c[3] - c[1]), 0.0)) for c in (a, b))
    large = max(side_a, side_b)
    if large == 0 or large > _SIZE_CHANGE * min(side_a, side_b):
        return math.inf
    return math.hypot(a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3]) / 2 / large
