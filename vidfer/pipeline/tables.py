"""The published tables: rows of observations, part by part, and one row per track."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vidfer import schema
from vidfer.pipeline.raw import matrix
from vidfer.pipeline.tracks import Observed, by_track
from vidfer.types import EMOTIONS, FACE_STATUS, I64, PREDICTED, Bool

Columns = dict[str, pa.Array]


def observations(
    parts: Iterator[pa.Table], seen: Observed, *, source: str, landmarks: int | None
) -> Iterator[pa.Table]:
    """Rows of the table of observations, one table per raw part, sorted by (frame, face_id)."""
    wanted = schema.observation_schema(landmarks)  # type: ignore[arg-type]
    start = looked = 0
    for part in parts:
        is_face = pc.is_valid(part["tracklet"]).to_numpy(zero_copy_only=False).copy()
        found = int(is_face.sum())
        is_face[is_face] = seen.is_sure[looked : looked + found]
        looked += found
        rows = slice(start, start + int(is_face.sum()))
        start = rows.stop
        columns = _part_columns(part, is_face, seen, rows, landmarks)
        columns["source"] = pa.array([source] * len(columns["frame"]))
        yield pa.table([columns[name].cast(wanted.field(name).type) for name in wanted.names], schema=wanted)


def _part_columns(part: pa.Table, is_face: Bool, seen: Observed, rows: slice, landmarks: int | None) -> Columns:
    """Columns of one part: its faces, the bridged rows of its frames, and its frames without either."""
    frame = part["frame"].to_numpy()
    span = (frame[0], frame[-1]) if len(frame) else (0, -1)
    bridged = np.flatnonzero((seen.bridge.frame >= span[0]) & (seen.bridge.frame <= span[1]))
    # One row for each frame without a face, the first of those that analysis left.
    first_of_frame = np.diff(frame, prepend=-1) != 0
    occupied = np.concatenate([frame[is_face], seen.bridge.frame[bridged]])
    empty = np.flatnonzero(first_of_frame & ~np.isin(frame, occupied))
    # Where each output row takes its frame's columns from: faces and empty frames from themselves.
    origin = np.concatenate([np.flatnonzero(is_face), np.searchsorted(frame, seen.bridge.frame[bridged]), empty])
    n_faces, n_bridged = int(is_face.sum()), len(bridged)
    kind = np.repeat([0, 1, 2], [n_faces, n_bridged, len(empty)])
    face_id = np.concatenate([seen.face_id[rows], seen.bridge.face_id[bridged], np.full(len(empty), -1)])
    order = np.lexsort((face_id, frame[origin]))
    origin, kind, face_id = origin[order], kind[order], face_id[order]
    # Row of each real face among `seen`; of bridged rows among the bridge; 0 where it does not count.
    in_seen = np.concatenate([np.arange(rows.start, rows.stop), np.zeros(n_bridged + len(empty), np.int64)])[order]
    in_bridge = np.concatenate([np.zeros(n_faces, np.int64), bridged, np.zeros(len(empty), np.int64)])[order]
    return {
        **_frame_columns(part, is_face, origin),
        **_box_columns(part, seen, origin, kind, face_id, in_seen, in_bridge),
        **_affect_columns(seen, kind == 0, in_seen),
        **_shape_columns(part, origin, kind == 0, landmarks),
    }


def _frame_columns(part: pa.Table, is_face: Bool, origin: I64) -> Columns:
    frame = part["frame"].to_numpy()
    names, inverse = np.unique(frame, return_inverse=True)
    count = np.bincount(inverse, is_face, len(names))[inverse]
    take = pa.array(origin)
    corrupt = part["corrupt"].to_numpy()[origin]
    return {
        "frame": part["frame"].combine_chunks().take(take),
        "pts": part["pts"].combine_chunks().take(take),
        "timestamp": part["time_s"].combine_chunks().take(take),
        "wallclock": part["captured_utc"].combine_chunks().take(take),
        "epoch": part["epoch"].combine_chunks().take(take),
        "shot": part["shot"].combine_chunks().take(take),
        "frame_status": pa.array(np.where(corrupt, "corrupt", "ok")),
        "n_faces": pa.array(count[origin].astype(np.int16)),
    }


def _box_columns(
    part: pa.Table, seen: Observed, origin: I64, kind: I64, face_id: I64, in_seen: I64, in_bridge: I64
) -> Columns:
    box = np.zeros((len(kind), 4), np.float32)
    box[kind == 0] = seen.box_px[in_seen[kind == 0]]
    box[kind == 1] = seen.bridge.box_px[in_bridge[kind == 1]]
    status = part["status"].combine_chunks().fill_null(0).to_numpy()[origin]
    status[kind == 1] = PREDICTED
    empty = kind == 2
    columns = {
        "face_id": _nullable(face_id.astype(np.int32), empty),
        "face_status": _nullable(np.array(FACE_STATUS)[status], empty),
        "confidence": _gathered(seen.score, in_seen, kind == 0),
        "quality": _gathered(seen.quality, in_seen, kind == 0),
    }
    sides = {"x": box[:, 0], "y": box[:, 1], "w": box[:, 2] - box[:, 0], "h": box[:, 3] - box[:, 1]}
    return columns | {f"face_{side}": _nullable(values, empty) for side, values in sides.items()}


def _affect_columns(seen: Observed, real: Bool, in_seen: I64) -> Columns:
    labels = np.array(EMOTIONS)
    smooth = seen.smoothed
    raw_label = seen.probability.argmax(1) if len(seen) else np.zeros(0, np.int64)
    columns = {
        "emotion": _gathered(labels[raw_label], in_seen, real),
        "emotion_smooth": _gathered(labels[smooth.emotion], in_seen, real),
    }
    for i, name in enumerate(EMOTIONS):
        columns[f"emotion_{name}"] = _gathered(seen.probability[:, i], in_seen, real)
        columns[f"emotion_{name}_smooth"] = _gathered(smooth.emotion_probability[:, i], in_seen, real)
    for i, name in enumerate(("valence", "arousal")):
        columns[name] = _gathered(seen.valence_arousal[:, i], in_seen, real)
        columns[f"{name}_smooth"] = _gathered(smooth.valence_arousal[:, i], in_seen, real)
    return columns


def _shape_columns(part: pa.Table, origin: I64, real: Bool, landmarks: int | None) -> Columns:
    pose = matrix(part["pose"], 3)[origin]
    columns = {name: _nullable(pose[:, i], ~real) for i, name in enumerate(("pitch", "yaw", "roll"))}
    take = pa.array(origin, mask=~real)
    for name in ("landmarks", "landmarks_z") if landmarks == 478 else ("landmarks",) if landmarks else ():
        columns[name] = part[name].combine_chunks().take(take)
    return columns


def _nullable(values: npt.NDArray[Any], null: Bool) -> pa.Array:
    return pa.array(values, mask=null)


def _gathered(values: npt.NDArray[Any], index: I64, real: Bool) -> pa.Array:
    """values[index] where `real`, null elsewhere."""
    if not len(values):
        return pa.nulls(len(index), pa.array(values).type)
    return pa.array(values[index], mask=~real)


def tracks(seen: Observed, *, source: str) -> pa.Table:
    """One row per track; shares and means are over its detected and tracked rows, raw values."""
    rows = [_track_row(seen, index) for index in by_track(seen.face_id, seen.frame)]
    wanted = schema.tracks_schema()
    columns: dict[str, pa.Array] = {}
    for field in wanted:
        values = [source] * len(rows) if field.name == "source" else [row[field.name] for row in rows]
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        columns[field.name] = pa.array(values, plain).cast(field.type)
    return pa.table(columns, schema=wanted)


def _track_row(seen: Observed, index: I64) -> dict[str, Any]:
    frame, time_s = seen.frame[index], seen.time_s[index]
    mean = seen.probability[index].mean(0)
    size = seen.box_px[index, 2:] - seen.box_px[index, :2]
    affect = seen.valence_arousal[index].astype(np.float64)
    best = seen.quality[index].argmax()
    return {
        "face_id": int(seen.face_id[index[0]]),
        "first_frame": int(frame[0]),
        "last_frame": int(frame[-1]),
        "first_timestamp": float(time_s[0]),
        "last_timestamp": float(time_s[-1]),
        "frames": len(index),
        "coverage": len(index) / seen.frames_between(int(frame[0]), int(frame[-1])),
        "face_w_median": float(np.median(size[:, 0])),
        "face_h_median": float(np.median(size[:, 1])),
        "confidence_median": float(np.median(seen.score[index])),
        "quality_median": float(np.median(seen.quality[index])),
        "emotion": EMOTIONS[int(mean.argmax())],
        **{f"emotion_{name}_mean": float(mean[i]) for i, name in enumerate(EMOTIONS)},
        "valence_mean": float(affect[:, 0].mean()),
        "valence_sd": float(affect[:, 0].std()),
        "arousal_mean": float(affect[:, 1].mean()),
        "arousal_sd": float(affect[:, 1].std()),
        "best_frame": int(frame[best]),
    }
