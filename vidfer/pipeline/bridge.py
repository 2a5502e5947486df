"""Boxes inside the gaps of a track: never before its first face or after its last, never over a cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vidfer.pipeline.timeline import Timeline
from vidfer.types import F32, I64, Bool

# SCHEMA: a face out of sight for longer comes back under a new id, or unbridged where appearance is sure.
BRIDGED_GAP_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """Rows inside gaps of tracks: position of the frame i64[B], face_id i64[B], box f32[B,4]."""

    at: I64
    face_id: I64
    box_px: F32

    @classmethod
    def none(cls) -> Bridge:
        """No rows."""
        return cls(at=np.zeros(0, np.int64), face_id=np.zeros(0, np.int64), box_px=np.zeros((0, 4), np.float32))

    def some(self, chosen: Bool) -> Bridge:
        """Those of the rows."""
        return Bridge(at=self.at[chosen], face_id=self.face_id[chosen], box_px=self.box_px[chosen])

    def __add__(self, other: Bridge) -> Bridge:
        return Bridge(
            at=np.concatenate([self.at, other.at]),
            face_id=np.concatenate([self.face_id, other.face_id]),
            box_px=np.concatenate([self.box_px, other.box_px]),
        )


def bridge(start: I64, end: I64, face_id: I64, start_box: F32, end_box: F32, time: Timeline) -> Bridge:
    """Interpolate boxes between two looks each at faces, where the gap is short and in one segment.

    Args:
        start: i64[G], positions of the frames before the gaps.
        end: i64[G], positions behind them.
        face_id: i64[G].
        start_box: f32[G,4].
        end_box: f32[G,4].
        time: The frames.
    """
    short = time.segment[start] == time.segment[end]
    short &= time.time_s[end] - time.time_s[start] <= BRIDGED_GAP_S + 1e-9
    start, end, face_id, start_box, end_box = start[short], end[short], face_id[short], start_box[short], end_box[short]
    missing = end - start - 1
    step = np.arange(missing.sum()) - np.repeat(np.cumsum(missing) - missing, missing) + 1
    gap = np.repeat(np.arange(len(missing)), missing)
    at = start[gap] + step
    start_s, end_s = time.time_s[start[gap]], time.time_s[end[gap]]
    part = ((time.time_s[at] - start_s) / np.maximum(end_s - start_s, 1e-9))[:, None]
    boxes = (1 - part) * start_box[gap] + part * end_box[gap]
    return Bridge(at=at, face_id=face_id[gap], box_px=boxes.astype(np.float32))
