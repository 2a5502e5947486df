"""A second look at a whole file: final ids, bridged gaps and smoothed affect, from what analysis left in the parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vidfer.pipeline.raw import matrix
from vidfer.smooth import Smoothed, Smoothing, smooth_track
from vidfer.types import DETECTED, F32, F64, I64, Bool
from vidfer.vision.tracklets import LinkOptions, link_tracklets

# SCHEMA: a face out of sight for longer comes back under a new id, or unbridged where appearance is sure.
BRIDGED_GAP_S = 1.0
_SMOOTH_GAP_S, _SMOOTH_GAP_STEPS = 0.5, 3
LIGHT_COLUMNS: tuple[str, ...]
LIGHT_COLUMNS = ("frame", "time_s", "epoch", "shot", "tracklet", "status", "score", "presence", "quality", "box")
LIGHT_COLUMNS += ("emotion", "valence_arousal", "embedding")
# Best detector score + mean presence of a track of a real face. One look can be wrong, a whole track hardly: on the
# development clips without a face no more than 0.1 % of the frames keep one from 1.4 on, and hardly a true face is lost
# up to 1.5.
SURE_FACE = 1.45


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """Rows inside gaps of tracks: frame i64[P], face_id i64[P], box f32[P,4]."""

    frame: I64
    face_id: I64
    box_px: F32


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Every sure face of a source (one row each, in the order of the parts), with what the second look adds."""

    frame: I64
    time_s: F64
    shot: I64
    box_px: F32
    score: F32
    quality: F32
    probability: F32
    valence_arousal: F32
    face_id: I64
    smoothed: Smoothed
    bridge: Bridge
    analysed: I64  # indices of all analysed frames, sorted
    is_sure: Bool  # of every face in the parts: whether it is one of these

    def __len__(self) -> int:
        return len(self.frame)

    def frames_between(self, first: int, last: int) -> int:
        """Analysed frames from `first` to `last`, both included."""
        return int(np.searchsorted(self.analysed, last, "right") - np.searchsorted(self.analysed, first))


def second_look(
    parts: Iterator[pa.Table], *, frame_interval_s: float, smoothing: Smoothing, link: LinkOptions
) -> Observed:
    """Link, bridge and smooth the faces of a whole source.

    Args:
        parts: Raw parts in order, with `LIGHT_COLUMNS`.
        frame_interval_s: Usual time between two analysed frames.
        smoothing: How to smooth.
        link: How to join tracklets.
    """
    table = pa.concat_tables([part.select(list(LIGHT_COLUMNS)) for part in parts])
    clock = _Clock(table, frame_interval_s)
    faces = table.filter(pc.is_valid(table["tracklet"]))
    frame = faces["frame"].to_numpy()
    at = clock.position(frame)
    shot, box = clock.segment[at], matrix(faces["box"], 4).astype(np.float32)
    face_id = link_tracklets(
        frame=frame,
        time_s=clock.time_s[at],
        shot=shot.astype(np.int32),
        tracklet=faces["tracklet"].to_numpy(),
        box_px=box,
        embedding=matrix(faces["embedding"], 128).astype(np.float32),
        confidence=faces["score"].to_numpy(),
        options=link,
    )
    is_sure = sure_faces(
        face_id, faces["score"].to_numpy(), faces["presence"].to_numpy(), faces["status"].to_numpy() == DETECTED
    )
    faces, at, box = faces.filter(pa.array(is_sure)), at[is_sure], box[is_sure]
    # Still dense, still in order of first appearance.
    face_id = np.unique(face_id[is_sure], return_inverse=True)[1].astype(np.int64)
    probability = softmax(matrix(faces["emotion"], 8))
    valence_arousal = matrix(faces["valence_arousal"], 2)
    quality = faces["quality"].to_numpy()
    return Observed(
        frame=faces["frame"].to_numpy(),
        time_s=clock.time_s[at],
        shot=clock.segment[at],
        box_px=box,
        score=faces["score"].to_numpy(),
        quality=quality,
        probability=probability,
        valence_arousal=valence_arousal,
        face_id=face_id,
        smoothed=_smooth(at, face_id, clock, probability, valence_arousal, quality, smoothing),
        bridge=_bridge(at, face_id, box, clock),
        analysed=clock.frame,
        is_sure=is_sure,
    )


def sure_faces(face_id: I64, score: F32, presence: F32, detected: Bool) -> Bool:
    """Which rows belong to tracks that are faces, bool[R]: best detector score + mean presence >= `SURE_FACE`."""
    n = int(face_id.max(initial=-1)) + 1
    best = np.zeros(n)
    np.maximum.at(best, face_id[detected], score[detected])
    mean = np.bincount(face_id, presence, n) / np.maximum(np.bincount(face_id, minlength=n), 1)
    return np.asarray((best + mean >= SURE_FACE)[face_id], bool)


class _Clock:
    """The analysed frames of a source: index, time (estimated where a frame has none) and segment between cuts."""

    def __init__(self, table: pa.Table, frame_interval_s: float) -> None:
        self.frame, first = np.unique(table["frame"].to_numpy(), return_index=True)
        self.interval_s = frame_interval_s
        time_s = table["time_s"].to_numpy()[first].astype(np.float64)
        missing = np.isnan(time_s)
        if missing.any():
            # A frame without a time stands one interval after the one before it.
            known = np.maximum.accumulate(np.where(missing, -1, np.arange(len(time_s))))
            start = np.where(known >= 0, time_s[known], -frame_interval_s)
            time_s = start + (np.arange(len(time_s)) - known) * frame_interval_s * missing
        self.time_s = time_s
        shot, epoch = (table[name].to_numpy()[first].astype(np.int64) for name in ("shot", "epoch"))
        self.segment = np.cumsum(np.r_[0, (np.diff(shot) != 0) | (np.diff(epoch) != 0)])

    def position(self, frame: I64) -> I64:
        return np.searchsorted(self.frame, frame)


def softmax(logits: npt.NDArray[Any]) -> F32:
    """Probabilities f32[N,C] of logits."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(e / e.sum(axis=1, keepdims=True), np.float32)


def by_track(face_id: I64, *keys: npt.NDArray[Any]) -> list[I64]:
    """Row indices of each id 0, 1, …, in the order of `keys`."""
    order = np.lexsort((*keys[::-1], face_id))
    return np.split(order, np.flatnonzero(np.diff(face_id[order])) + 1) if len(order) else []


def _smooth(
    at: I64, face_id: I64, clock: _Clock, probability: F32, valence_arousal: F32, quality: F32, smoothing: Smoothing
) -> Smoothed:
    out = Smoothed(
        emotion_probability=np.zeros_like(probability),
        valence_arousal=np.zeros_like(valence_arousal),
        emotion=np.zeros(len(at), np.int8),
    )
    longest = max(_SMOOTH_GAP_S, _SMOOTH_GAP_STEPS * clock.interval_s)
    for rows in by_track(face_id, at):
        time_s, segment = clock.time_s[at[rows]], clock.segment[at[rows]]
        breaks = (np.diff(segment) != 0) | (np.diff(time_s) > longest + 1e-9)
        part = np.cumsum(np.r_[0, breaks]).astype(np.int32)
        smooth = smooth_track(time_s, part, probability[rows], valence_arousal[rows], quality[rows], smoothing)
        out.emotion_probability[rows] = smooth.emotion_probability
        out.valence_arousal[rows] = smooth.valence_arousal
        out.emotion[rows] = smooth.emotion
    return out


def _bridge(at: I64, face_id: I64, box: F32, clock: _Clock) -> Bridge:
    """Interpolate boxes inside the gaps of a track: never before its first face or after its last, never over a cut."""
    order = np.lexsort((at, face_id))
    a, b = order[:-1], order[1:]
    missing = at[b] - at[a] - 1
    gap = (face_id[a] == face_id[b]) & (missing > 0) & (clock.segment[at[a]] == clock.segment[at[b]])
    gap &= clock.time_s[at[b]] - clock.time_s[at[a]] <= BRIDGED_GAP_S + 1e-9
    a, b, missing = a[gap], b[gap], missing[gap]
    step = np.arange(missing.sum()) - np.repeat(np.cumsum(missing) - missing, missing) + 1
    a, b = np.repeat(a, missing), np.repeat(b, missing)
    place = at[a] + step
    start_s, end_s = clock.time_s[at[a]], clock.time_s[at[b]]
    part = ((clock.time_s[place] - start_s) / np.maximum(end_s - start_s, 1e-9))[:, None]
    boxes = (1 - part) * box[a] + part * box[b]
    return Bridge(frame=clock.frame[place], face_id=face_id[a], box_px=boxes.astype(np.float32))
