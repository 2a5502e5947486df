"""The published tables: rows of observations, part by part, and one row per track."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidfer import schema
from vidfer.pipeline.raw import matrix
from vidfer.pipeline.scratch import Rows
from vidfer.pipeline.tracks import Seen, Track, softmax
from vidfer.types import EMOTIONS, FACE_STATUS, I64, PREDICTED, Bool

Columns = dict[str, pa.Array]


def observations(
    part: pa.Table, seen: Seen, *, source: str, landmarks: int | None, person: I64 | None = None
) -> pa.Table:
    """Rows of the table of observations for one raw part, sorted by (frame, face_id).

    Args:
        part: The raw part.
        seen: Its sure faces.
        source: Name of the source.
        landmarks: Points per face in the part.
        person: i64[T], the identity of each face id, where the table has that column.
    """
    wanted = schema.observation_schema(landmarks, person is not None)  # type: ignore[arg-type]
    columns = _columns(part, seen, landmarks)
    if person is not None:
        columns["identity"] = _persons(columns["face_id"], person)
    columns["source"] = pa.array([source] * len(columns["frame"]))
    return pa.table([columns[name].cast(wanted.field(name).type) for name in wanted.names], schema=wanted)


def _persons(face_id: pa.Array, person: I64) -> pa.Array:
    return pa.array(person, pa.int32()).take(face_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    """Where each output row comes from.

    Attributes:
        row: i64[N], row of the part that it takes its frame's columns from: its own, if it has one.
        face: i64[N], number among the sure faces of the part; 0 where it is none.
        bridge: i64[N], number among the bridged rows; 0 where it is none.
        kind: i64[N], one of _FACE, _BRIDGED, _EMPTY.
        face_id: i64[N], -1 in frames without a face.
    """

    row: I64
    face: I64
    bridge: I64
    kind: I64
    face_id: I64


_FACE, _BRIDGED, _EMPTY = 0, 1, 2


def _columns(part: pa.Table, seen: Seen, landmarks: int | None) -> Columns:
    """Columns of one part: its faces, the bridged rows of its frames, and its frames without either."""
    origin = _origin(part["frame"].to_numpy(), seen)
    return {
        **_frame_columns(part, seen.is_sure, origin.row),
        **_box_columns(part, seen, origin),
        **_affect_columns(part, seen, origin),
        **_shape_columns(part, origin, landmarks),
    }


def _origin(frame: I64, seen: Seen) -> _Origin:
    own = np.flatnonzero(seen.is_sure)
    # One row for each frame without a face, the first of those that analysis left.
    occupied = np.concatenate([frame[own], frame[seen.bridge_at]])
    empty = np.flatnonzero((np.diff(frame, prepend=-1) != 0) & ~np.isin(frame, occupied))
    faces, bridged = len(own), len(seen.bridge_at)
    none = np.zeros(len(empty), np.int64)
    row = np.concatenate([own, seen.bridge_at, empty])
    face_id = np.concatenate([seen.face_id, seen.bridge_id, none - 1])
    order = np.lexsort((face_id, frame[row]))
    return _Origin(
        row=row[order],
        face=np.concatenate([np.arange(faces), np.zeros(bridged, np.int64), none])[order],
        bridge=np.concatenate([np.zeros(faces, np.int64), np.arange(bridged), none])[order],
        kind=np.repeat([_FACE, _BRIDGED, _EMPTY], [faces, bridged, len(empty)])[order],
        face_id=face_id[order],
    )


def _frame_columns(part: pa.Table, is_face: Bool, row: I64) -> Columns:
    frame = part["frame"].to_numpy()
    names, inverse = np.unique(frame, return_inverse=True)
    count = np.bincount(inverse, is_face, len(names))[inverse]
    take = pa.array(row)
    corrupt = part["corrupt"].to_numpy()[row]
    return {
        "frame": part["frame"].combine_chunks().take(take),
        "pts": part["pts"].combine_chunks().take(take),
        "timestamp": part["time_s"].combine_chunks().take(take),
        "wallclock": part["captured_utc"].combine_chunks().take(take),
        "epoch": part["epoch"].combine_chunks().take(take),
        "shot": part["shot"].combine_chunks().take(take),
        "frame_status": pa.array(np.where(corrupt, "corrupt", "ok")),
        "n_faces": pa.array(count[row].astype(np.int16)),
    }


def _box_columns(part: pa.Table, seen: Seen, origin: _Origin) -> Columns:
    bridged, empty = origin.kind == _BRIDGED, origin.kind == _EMPTY
    box = matrix(part["box"], 4)[origin.row]
    box[bridged] = seen.bridge_box[origin.bridge[bridged]]
    status = part["status"].combine_chunks().fill_null(0).to_numpy()[origin.row]
    status[bridged] = PREDICTED
    columns = {
        "face_id": _nullable(origin.face_id.astype(np.int32), empty),
        "face_status": _nullable(np.array(FACE_STATUS)[status], empty),
        "confidence": _taken(part["score"], origin),
        "quality": _taken(part["quality"], origin),
    }
    sides = {"x": box[:, 0], "y": box[:, 1], "w": box[:, 2] - box[:, 0], "h": box[:, 3] - box[:, 1]}
    return columns | {f"face_{side}": _nullable(values, empty) for side, values in sides.items()}


def _affect_columns(part: pa.Table, seen: Seen, origin: _Origin) -> Columns:
    labels, real = np.array(EMOTIONS), origin.kind == _FACE
    probability = softmax(matrix(part["emotion"], len(EMOTIONS))[origin.row])
    valence_arousal = matrix(part["valence_arousal"], 2)[origin.row]
    smoothed = np.zeros(len(real), seen.smoothed.dtype)
    smoothed[real] = seen.smoothed[origin.face[real]]
    columns = {"emotion": _nullable(labels[probability.argmax(axis=1)], ~real), **smoothed_columns(smoothed, real)}
    for i, name in enumerate(EMOTIONS):
        columns[f"emotion_{name}"] = _nullable(probability[:, i], ~real)
    for i, name in enumerate(("valence", "arousal")):
        columns[name] = _nullable(valence_arousal[:, i], ~real)
    return columns


def smoothed_columns(smoothed: Rows, real: Bool) -> Columns:
    """All smoothed columns, from rows of `tracks.SMOOTHED`; null where there is no real face."""
    columns = {"emotion_smooth": _nullable(np.array(EMOTIONS)[smoothed["emotion"]], ~real)}
    for i, name in enumerate(EMOTIONS):
        columns[f"emotion_{name}_smooth"] = _nullable(smoothed["emotion_probability"][:, i], ~real)
    for i, name in enumerate(("valence", "arousal")):
        columns[f"{name}_smooth"] = _nullable(smoothed["valence_arousal"][:, i], ~real)
    return columns


def _shape_columns(part: pa.Table, origin: _Origin, landmarks: int | None) -> Columns:
    pose = matrix(part["pose"], 3)[origin.row]
    columns = {name: _nullable(pose[:, i], origin.kind != _FACE) for i, name in enumerate(("pitch", "yaw", "roll"))}
    for name in _landmark_columns(landmarks):
        columns[name] = _taken(part[name], origin)
    return columns


def _landmark_columns(landmarks: int | None) -> tuple[str, ...]:
    if landmarks is None:
        return ()
    return ("landmarks", "landmarks_z") if landmarks == 478 else ("landmarks",)


def raw_columns(landmarks: int | None) -> tuple[str, ...]:
    """Columns of a raw part that `observations` needs."""
    return (*_OF_FRAMES, *_OF_FACES, *_landmark_columns(landmarks))


_OF_FRAMES = ("frame", "pts", "time_s", "captured_utc", "epoch", "shot", "corrupt")
_OF_FACES = ("tracklet", "status", "score", "quality", "box", "emotion", "valence_arousal", "pose")


def _nullable(values: npt.NDArray[Any], null: Bool) -> pa.Array:
    return pa.array(values, mask=null)


def _taken(column: pa.ChunkedArray, origin: _Origin) -> pa.Array:
    """A column of the part where there is a face, null elsewhere."""
    return column.combine_chunks().take(pa.array(origin.row, mask=origin.kind != _FACE))


def tracks(rows: list[dict[str, Any]], *, source: str, identity: bool = False, embeddings: bool = False) -> pa.Table:
    """The table of tracks, of one `track_row` each, with an identity and an embedding in it where that is wanted."""
    wanted = schema.tracks_schema(identity, embeddings)
    columns: dict[str, pa.Array] = {}
    for field in wanted:
        values = [source] * len(rows) if field.name == "source" else [row[field.name] for row in rows]
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        columns[field.name] = pa.array(values, plain).cast(field.type)
    return pa.table(columns, schema=wanted)


def track_row(track: Track) -> dict[str, Any]:
    """What is to be said of a track; shares and means are over its detected and tracked rows, raw values."""
    frame, look = track.frame, track.look
    probability, affect = track.affect[:, : len(EMOTIONS)], track.affect[:, len(EMOTIONS) :].astype(np.float64)
    mean = probability.mean(axis=0, dtype=np.float64)
    return {
        "face_id": track.face_id,
        "first_frame": int(frame[0]),
        "last_frame": int(frame[-1]),
        "first_timestamp": track.timestamp[0],
        "last_timestamp": track.timestamp[1],
        "frames": len(frame),
        "coverage": len(frame) / track.analysed,
        "face_w_median": float(np.median(look["box"][:, 2] - look["box"][:, 0])),
        "face_h_median": float(np.median(look["box"][:, 3] - look["box"][:, 1])),
        "confidence_median": float(np.median(look["score"])),
        "quality_median": float(np.median(look["quality"])),
        "emotion": EMOTIONS[int(mean.argmax())],
        **{f"emotion_{name}_mean": float(mean[i]) for i, name in enumerate(EMOTIONS)},
        "valence_mean": float(affect[:, 0].mean()),
        "valence_sd": float(affect[:, 0].std()),
        "arousal_mean": float(affect[:, 1].mean()),
        "arousal_sd": float(affect[:, 1].std()),
        "best_frame": int(frame[look["quality"].argmax()]),
    }
