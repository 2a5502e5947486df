"""Analysis of one source, frame after frame: detect, look, verify, track. Synchronous, no threads.

The detector runs on key frames: the first and last frame of each shot, and every 0.2 s in between. Where the same faces
stand apart on two neighbouring key frames, their boxes in between are interpolated and the face network, which has to
look at them anyway, confirms them by its presence and its own box. Where it does not, or where faces come, go or touch,
the detector runs on every frame of the interval. So nothing is guessed, and new faces appear in the frame in which they
can first be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vidfer.pipeline.cuts import CutDetector
from vidfer.types import DETECTED, F32, I64, TRACKED, Detections, Faces, Frame, FrameResult, Picture
from vidfer.vision.geometry import iou

# Longest rest of the detector; nobody should wait longer for a new face.
KEY_INTERVAL_S = 0.2
CUT_SIZE = (64, 36)
# A face is looked at generously in a frame; whether its track is a face is decided over all of its frames.
_POSSIBLE = 0.05
_PRESENT = 0.5  # what confirms an interpolated box
# An interpolated box is confirmed where the network's own box overlaps it this much: it must be the same face.
_CONFIRMED_IOU = 0.5
_SAME_FACE_IOU = 0.3
_TOUCHING_IOU = 0.05
# Two boxes of one face: the network pulls them onto each other.
_DUPLICATE_IOU = 0.6


class Detector(Protocol):
    """Finds faces in a picture."""

    def detect(self, picture: Picture) -> Detections:
        """Faces in px of the picture."""
        ...


class Network(Protocol):
    """Looks at faces; see `vision.face.FaceNetwork`."""

    def analyse(self, pictures: Sequence[np.ndarray], boxes_px: Sequence[F32]) -> list[dict[str, F32]]:
        """Heads of the faces of every picture."""
        ...


class Tracker(Protocol):
    """Gives tracklet ids; see `vision.track.FaceTracker`."""

    def update(self, time_s: float, shot: int, detections: Detections, embedding: F32) -> I64:
        """Tracklet id of every detection."""
        ...


@dataclass(slots=True)
class _Look:
    """One frame on its way through the analysis."""

    frame: Frame
    box_px: F32
    score: F32
    status: int
    heads: dict[str, F32] = field(default_factory=dict)

    def keep(self, chosen: np.ndarray) -> None:
        self.box_px, self.score = self.box_px[chosen], self.score[chosen]
        self.heads = {name: values[chosen] for name, values in self.heads.items()}


@dataclass(slots=True)
class AnalysisCounts:
    """How often the expensive things ran."""

    frames: int = 0
    detector_runs: int = 0
    faces: int = 0


class Analyzer:
    """Frames in, results out: in the same order, later by at most the interval between two key frames.

    Args:
        detector: Face detector.
        network: Face network.
        tracker: Tracker of this source; owned by this analyzer.
        frame_interval_s: Usual time between two frames.
        detect_every: Frames from key frame to key frame; None rests for `KEY_INTERVAL_S`.
    """

    def __init__(
        self,
        detector: Detector,
        network: Network,
        tracker: Tracker,
        *,
        frame_interval_s: float,
        detect_every: int | None = None,
    ) -> None:
        self._detector, self._network, self._tracker = detector, network, tracker
        self._interval_s = frame_interval_s
        self._detect_every = detect_every
        self._cuts = CutDetector()
        self._key: _Look | None = None
        self._waiting: list[Frame] = []
        self._shot = 0
        self._epoch = 0
        self._time_s = 0.0
        self.counts = AnalysisCounts()

    def process(self, frame: Frame) -> list[FrameResult]:
        """Take one frame; give the results that are ready."""
        results: list[FrameResult] = []
        cut = self._cuts.is_cut(frame.picture.gray(*CUT_SIZE))
        if self.counts.frames and (cut or frame.epoch != self._epoch):
            results = self._resolve()
            self._key = None
            self._shot += 1
        self._epoch = frame.epoch
        self.counts.frames += 1
        self._waiting.append(frame)
        if self._key is None or self._is_due(self._key.frame):
            results += self._resolve()
        return results

    def _is_due(self, key: Frame) -> bool:
        """Whether the newest frame has to be a key frame: the one after it would come too late."""
        if self._detect_every is not None:
            return len(self._waiting) >= self._detect_every
        times = [frame.time_s for frame in (key, *self._waiting)]
        if times[0] is None or times[-1] is None or times[-2] is None:
            return (len(self._waiting) + 1) * self._interval_s > KEY_INTERVAL_S + 1e-6
        return 2 * times[-1] - times[-2] - times[0] > KEY_INTERVAL_S + 1e-6

    def flush(self) -> list[FrameResult]:
        """Results of the frames that still wait; the source has ended."""
        return self._resolve()

    def _resolve(self) -> list[FrameResult]:
        """Decide about all waiting frames; the last of them becomes the key frame."""
        if not self._waiting:
            return []
        *between, last = self._waiting
        self._waiting = []
        end = self._detect([last])[0]
        looks = [*self._between(between, end), end]
        self._key = end
        self.counts.faces += sum(len(look.box_px) for look in looks)
        return [self._track(look) for look in looks]

    def _between(self, frames: list[Frame], end: _Look) -> list[_Look]:
        if not frames or self._key is None:
            return self._detect(frames)
        pairs = match_apart(self._key.box_px, end.box_px)
        if pairs is None:
            return self._detect(frames)
        looks = [self._interpolated(frame, end, pairs) for frame in frames]
        expected = [look.box_px for look in looks]
        self._look(looks)
        lost = [i for i, look in enumerate(looks) if not _confirmed(look, expected[i])]
        for i, again in zip(lost, self._detect([looks[i].frame for i in lost]), strict=True):
            looks[i] = again
        for look in looks:
            if look.status == TRACKED and len(look.box_px):
                look.box_px = look.heads["box"]
                look.score = look.heads["presence"][:, 0]
        return looks

    def _interpolated(self, frame: Frame, end: _Look, pairs: I64) -> _Look:
        assert self._key is not None
        start = self._key
        part = (frame.index - start.frame.index) / (end.frame.index - start.frame.index)
        box = (1 - part) * start.box_px + part * end.box_px[pairs]
        return _Look(frame, box.astype(np.float32), np.ones(len(box), np.float32), TRACKED)

    def _detect(self, frames: list[Frame]) -> list[_Look]:
        """Detect and look; keep what the network sees as a face, with the network's box."""
        looks = []
        for frame in frames:
            found = self._detector.detect(frame.picture)
            looks.append(_Look(frame, found.box_px, found.score, DETECTED))
        self.counts.detector_runs += len(looks)
        self._look(looks)
        for look in looks:
            if len(look.box_px):
                look.keep(_faces_among(look))
                look.box_px = look.heads["box"]
        return looks

    def _look(self, looks: list[_Look]) -> None:
        seen = [look for look in looks if len(look.box_px)]
        # Converting a picture to full-size RGB is the dearest step of a frame without faces: they never get there.
        pictures = [look.frame.picture.rgb() for look in seen]
        for look, heads in zip(seen, self._network.analyse(pictures, [s.box_px for s in seen]), strict=True):
            look.heads = heads

    def _track(self, look: _Look) -> FrameResult:
        frame = look.frame
        self._time_s = frame.time_s if frame.time_s is not None else self._time_s + self._interval_s
        detections = Detections(box_px=look.box_px, score=look.score)
        embedding = look.heads.get("embedding", np.zeros((0, 128), np.float32))
        ids = self._tracker.update(self._time_s, self._shot, detections, embedding)
        return FrameResult(
            index=frame.index,
            epoch=frame.epoch,
            pts=frame.pts,
            time_s=frame.time_s,
            captured_utc=frame.captured_utc,
            shot=self._shot,
            corrupt=frame.corrupt,
            faces=Faces(
                box_px=look.box_px,
                score=look.score,
                status=np.full(len(ids), look.status, np.uint8),
                track_id=ids,
                heads=look.heads,
            ),
        )


def match_apart(start: F32, end: F32) -> I64 | None:
    """Partners of the boxes `start` among `end`, both f32[N,4], or None.

    None where faces come, go or touch: there interpolation would guess.
    """
    if len(start) != len(end):
        return None
    if len(start) == 0:
        return np.zeros(0, np.int64)
    overlap = iou(start, end)
    partner = overlap.argmax(1)
    one_to_one = len(set(partner.tolist())) == len(partner)
    if not one_to_one or overlap.max(1).min() < _SAME_FACE_IOU:
        return None
    touching = [np.triu(iou(boxes, boxes), 1).max() > _TOUCHING_IOU for boxes in (start, end)]
    return None if any(touching) else partner.astype(np.int64)


def _confirmed(look: _Look, expected: F32) -> bool:
    if not len(expected):
        return True
    agree = np.diag(iou(look.heads["box"], expected)) >= _CONFIRMED_IOU
    return bool((agree & (look.heads["presence"][:, 0] >= _PRESENT)).all())


def _faces_among(look: _Look) -> np.ndarray:
    """Indices of detections that the network takes for faces, best first, without doubles."""
    presence = look.heads["presence"][:, 0]
    order = np.argsort(-look.score, kind="stable")
    order = order[presence[order] >= _POSSIBLE]
    overlap = iou(look.heads["box"], look.heads["box"])
    kept: list[int] = []
    for i in order.tolist():
        if all(overlap[i, j] < _DUPLICATE_IOU for j in kept):
            kept.append(i)
    return np.array(kept, np.int64)
