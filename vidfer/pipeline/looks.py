"""What is expensive about a segment, as pure functions of its frames and the key frames around them.

The detector runs on key frames. Where the same faces stand apart on two neighbouring key frames, their boxes in between
are interpolated and the face network, which has to look at them anyway, confirms them by its presence and its own box.
Where it does not, or where faces come, go or touch, the detector runs on every frame in between. So nothing is guessed,
and new faces appear in the frame in which they can first be seen.

All frames are to be cropped alike, or what the network says jumps on key frames: boxes of the detector lie 3 to 6 % of
their side from those of the network. So a face is cropped by the network's own box: by that of the key frame before if
it is surely the same face and still in its place, else it is looked at twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from vidfer.types import DETECTED, F32, I64, TRACKED, Detections, Faces, Frame, FrameResult, Picture
from vidfer.vision.geometry import iou

# A face is looked at generously in a frame; whether its track is a face is decided over all of its frames.
_POSSIBLE = 0.05
_PRESENT = 0.5  # what confirms an interpolated box
# An interpolated box is confirmed where the network's own box overlaps it this much: it must be the same face.
_CONFIRMED_IOU = 0.5
_SAME_FACE_IOU = 0.3
_TOUCHING_IOU = 0.05
# A look-alike looks more like a face once it is in the middle of the crop, so only those of which the detector is as
# sure as this are taken for what they were on the key frame before: on clips without a face it never was (0.76).
_SURE = 0.8
# A crop is off where its middle or an edge is this far, in sides of the box, from those that are wanted.
_OFF = 0.03
# Two boxes of one face: the network pulls them onto each other.
_DUPLICATE_IOU = 0.6


class Detector(Protocol):
    """Finds faces in a picture; called by several threads."""

    def detect(self, picture: Picture) -> Detections:
        """Faces in px of the picture."""
        ...


class Network(Protocol):
    """Looks at faces; called by several threads. See `vision.face.FaceNetwork`."""

    def analyse(self, pictures: Sequence[Picture], boxes_px: Sequence[F32]) -> list[dict[str, F32]]:
        """Heads of the faces of every picture."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What the frames after a key frame have to know of it."""

    index: int
    time_s: float | None
    box_px: F32

    def state(self) -> dict[str, Any]:
        """JSON-able, and exact."""
        return {"index": self.index, "time_s": self.time_s, "box_px": self.box_px.tolist()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Key:
        """The key frame that said this."""
        box_px = np.array(state["box_px"], np.float32).reshape(-1, 4)
        return cls(index=state["index"], time_s=state["time_s"], box_px=box_px)


@dataclass(slots=True)
class Look:
    """One frame on its way through the analysis."""

    frame: Frame
    box_px: F32
    score: F32
    status: int
    heads: dict[str, F32] = field(default_factory=dict)

    def keep(self, chosen: np.ndarray) -> None:
        """Keep these faces only."""
        self.box_px, self.score = self.box_px[chosen], self.score[chosen]
        self.heads = {name: values[chosen] for name, values in self.heads.items()}

    def key(self) -> Key:
        """As a key frame."""
        return Key(index=self.frame.index, time_s=self.frame.time_s, box_px=self.box_px)

    def result(self, shot: int) -> FrameResult:
        """Without the picture, and not tracked yet."""
        frame, n = self.frame, len(self.box_px)
        return FrameResult(
            index=frame.index,
            epoch=frame.epoch,
            pts=frame.pts,
            time_s=frame.time_s,
            captured_utc=frame.captured_utc,
            shot=shot,
            corrupt=frame.corrupt,
            faces=Faces(
                box_px=self.box_px,
                score=self.score,
                status=np.full(n, self.status, np.uint8),
                track_id=np.full(n, -1, np.int64),
                heads=self.heads,
            ),
        )


class Looker:
    """Looks at frames; what it sees depends on what it is given alone, so several threads may share one.

    Args:
        detector: Face detector.
        network: Face network.
    """

    def __init__(self, detector: Detector, network: Network) -> None:
        self._detector, self._network = detector, network

    def find(self, frames: Sequence[Frame]) -> list[Look]:
        """What the detector takes for faces."""
        found = [(frame, self._detector.detect(frame.picture)) for frame in frames]
        return [Look(frame, faces.box_px, faces.score, DETECTED) for frame, faces in found]

    def detect(self, frames: Sequence[Frame], before: Sequence[F32] | None = None) -> list[Look]:
        """`find` and `confirm`."""
        looks = self.find(frames)
        self.confirm(looks, before)
        return looks

    def confirm(self, looks: Sequence[Look], before: Sequence[F32] | None = None) -> None:
        """Look at what was found; keep what the network sees as a face, with the network's box.

        Args:
            looks: From `find`.
            before: For each of them, the boxes f32[M,4] of a frame shortly before.
        """
        found = [look.box_px for look in looks]
        for look, boxes in () if before is None else zip(looks, before, strict=True):
            sure = (look.score >= _SURE)[:, None]
            look.box_px = np.where(sure, where_last_seen(look.box_px, boxes), look.box_px)
        self._look(looks)
        self._look_again(looks, found)
        for look in looks:
            if len(look.box_px):
                look.keep(_faces_among(look))
                look.box_px = look.heads["box"]

    def _look_again(self, looks: Sequence[Look], found: Sequence[F32]) -> None:
        """A second look at the faces whose crop was off; presence stays that of the first where it is in doubt."""
        seen = [(look, box) for look, box in zip(looks, found, strict=True) if len(box)]
        wanted = [_better_crop(look, box) for look, box in seen]
        rows = [np.flatnonzero(is_off(look.box_px, box)) for (look, _), box in zip(seen, wanted, strict=True)]
        again = [
            Look(look.frame, box[chosen], look.score[chosen], DETECTED)
            for (look, _), box, chosen in zip(seen, wanted, rows, strict=True)
        ]
        self._look(again)
        for (look, _), second, chosen in zip(seen, again, rows, strict=True):
            for name, values in second.heads.items():
                better = second.score >= _SURE if name == "presence" else slice(None)
                look.heads[name][chosen[better]] = values[better]

    def between(self, frames: Sequence[Frame], start: Key, end: Key) -> list[Look]:
        """Looks at the frames between two key frames."""
        pairs = match_apart(start.box_px, end.box_px)
        if pairs is None:
            return self.detect(frames, [start.box_px] * len(frames))
        looks = [_interpolated(frame, start, end, pairs) for frame in frames]
        expected = [look.box_px for look in looks]
        self._look(looks)
        lost = [i for i, look in enumerate(looks) if not _confirmed(look, expected[i])]
        again = self.detect([looks[i].frame for i in lost], [start.box_px] * len(lost))
        for i, detected in zip(lost, again, strict=True):
            looks[i] = detected
        for look in looks:
            if look.status == TRACKED and len(look.box_px):
                look.box_px = look.heads["box"]
                look.score = look.heads["presence"][:, 0]
        return looks

    def _look(self, looks: Sequence[Look]) -> None:
        # Pictures without faces are never converted in full.
        seen = [look for look in looks if len(look.box_px)]
        if not seen:  # an empty call costs 0.3 ms: a twentieth of a frame with one face, where key frames are frequent
            return
        heads = self._network.analyse([look.frame.picture for look in seen], [look.box_px for look in seen])
        for look, of_frame in zip(seen, heads, strict=True):
            look.heads = of_frame


def share_of_way(frame: Frame, start: Key, end: Key) -> float:
    """Where a frame lies between two key frames, 0 to 1: by time where known, since frames may come unevenly."""
    if start.time_s is None or frame.time_s is None or end.time_s is None or end.time_s <= start.time_s:
        return (frame.index - start.index) / (end.index - start.index)
    return min(max((frame.time_s - start.time_s) / (end.time_s - start.time_s), 0.0), 1.0)


def _interpolated(frame: Frame, start: Key, end: Key, pairs: I64) -> Look:
    part = share_of_way(frame, start, end)
    box = (1 - part) * start.box_px + part * end.box_px[pairs]
    return Look(frame, box.astype(np.float32), np.ones(len(box), np.float32), TRACKED)


def where_last_seen(found: F32, before: F32) -> F32:
    """Of boxes f32[N,4] those of the key frame before, f32[M,4], where they fit one to one; else as they were found."""
    if not len(found) or not len(before):
        return found
    overlap = iou(found, before)
    partner = overlap.argmax(1)
    fits = (overlap.argmax(0)[partner] == np.arange(len(found))) & (overlap.max(1) >= _CONFIRMED_IOU)
    return np.where(fits[:, None], before[partner], found)


def is_off(box_px: F32, wanted: F32) -> np.ndarray:
    """Whether crops around boxes f32[N,4] lie elsewhere than those around the wanted ones: bool[N]."""
    side, wanted_side = ((box[:, 2:] - box[:, :2]).max(axis=1) for box in (box_px, wanted))
    shift = np.abs(box_px[:, :2] + box_px[:, 2:] - wanted[:, :2] - wanted[:, 2:]).max(axis=1) / 2
    return np.asarray(np.maximum(shift, np.abs(side - wanted_side) / 2) > _OFF * wanted_side)


def _better_crop(look: Look, found: F32) -> F32:
    """The network's boxes; those found where the network saw something else or no face."""
    own, presence = look.heads["box"], look.heads["presence"][:, 0]
    same = (np.diag(iou(own, found)) >= _CONFIRMED_IOU) & (presence >= _POSSIBLE)
    return np.where(same[:, None], own, found)


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


def _confirmed(look: Look, expected: F32) -> bool:
    if not len(expected):
        return True
    agree = np.diag(iou(look.heads["box"], expected)) >= _CONFIRMED_IOU
    return bool((agree & (look.heads["presence"][:, 0] >= _PRESENT)).all())


def _faces_among(look: Look) -> np.ndarray:
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
