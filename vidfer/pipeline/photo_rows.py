"""The rows of one photo, for both tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidfer.output.overlay import OverlayFace
from vidfer.pipeline.tracks import softmax
from vidfer.schema import observation_schema, tracks_schema
from vidfer.types import EMOTIONS, FACE_STATUS, Faces

_MESH = 478


def photo_rows(source: str, faces: Faces, landmarks: int | None) -> pa.Table:
    """Rows of the table of observations: one for each face, from left to right, or one without a face."""
    schema = observation_schema(landmarks)  # type: ignore[arg-type]
    count = len(faces)
    rows = max(1, count)
    columns = _of_faces(faces, landmarks) if count else {}
    columns |= {
        "frame": np.zeros(rows),
        "epoch": np.zeros(rows),
        "shot": np.zeros(rows),
        "n_faces": np.full(rows, count),
    }
    columns |= {"source": np.full(rows, source), "frame_status": np.full(rows, "ok")}
    return pa.table([_column(columns.get(field.name), field.type, rows) for field in schema], schema=schema)


def _of_faces(faces: Faces, landmarks: int | None) -> dict[str, npt.NDArray[Any]]:
    heads, box = faces.heads, faces.box_px
    probability = softmax(heads["emotion"])
    columns: dict[str, npt.NDArray[Any]] = {
        "face_id": np.arange(len(faces)),
        "face_status": np.array(FACE_STATUS)[faces.status],
        "confidence": faces.score,
        "face_x": box[:, 0],
        "face_y": box[:, 1],
        "face_w": box[:, 2] - box[:, 0],
        "face_h": box[:, 3] - box[:, 1],
        "quality": heads["quality"][:, 0],
        "emotion": np.array(EMOTIONS)[probability.argmax(axis=1)],
        "valence": heads["valence_arousal"][:, 0],
        "arousal": heads["valence_arousal"][:, 1],
    }
    columns |= {f"emotion_{name}": probability[:, i] for i, name in enumerate(EMOTIONS)}
    columns |= {name: heads["pose"][:, i] for i, name in enumerate(("pitch", "yaw", "roll"))}
    if landmarks == _MESH:
        mesh = heads["landmarks"].reshape(-1, _MESH, 3)
        columns |= {"landmarks": mesh[:, :, :2].reshape(-1, 2 * _MESH), "landmarks_z": mesh[:, :, 2]}
    elif landmarks is not None:
        columns["landmarks"] = heads["landmarks68"]
    return columns


def _column(values: npt.NDArray[Any] | None, kind: pa.DataType, rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(rows, kind)
    if pa.types.is_fixed_size_list(kind):
        flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, type=kind)
    if pa.types.is_dictionary(kind):
        return pa.array(values.tolist(), pa.string()).dictionary_encode().cast(kind)
    return pa.array(values).cast(kind)


def photo_tracks(rows: pa.Table) -> pa.Table:
    """Rows of the table of tracks: every face of a photo is a track of one frame."""
    schema = tracks_schema()
    faces = rows.filter(rows["face_id"].is_valid())
    same = {f"{name}_median": name for name in ("face_w", "face_h", "confidence", "quality")}
    same |= {f"emotion_{name}_mean": f"emotion_{name}" for name in EMOTIONS}
    same |= {"valence_mean": "valence", "arousal_mean": "arousal", "first_frame": "frame", "last_frame": "frame"}
    same |= {"best_frame": "frame", "first_timestamp": "timestamp", "last_timestamp": "timestamp"}
    fixed = {"frames": 1, "coverage": 1, "valence_sd": 0, "arousal_sd": 0}
    columns = [
        pa.array(np.full(len(faces), fixed[field.name])).cast(field.type)
        if field.name in fixed
        else faces[same.get(field.name, field.name)].cast(field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def drawn_faces(faces: Faces, landmarks: int | None) -> list[OverlayFace]:
    """The faces of a photo as they are drawn: what was measured, since nothing is smoothed."""
    points = None
    if landmarks is not None and len(faces):
        mesh = faces.heads["landmarks"].reshape(-1, _MESH, 3)[:, :, :2]
        points = mesh if landmarks == _MESH else faces.heads["landmarks68"].reshape(-1, 68, 2)
    probability = softmax(faces.heads["emotion"]) if len(faces) else np.zeros((0, len(EMOTIONS)), np.float32)
    return [
        OverlayFace(
            face_id=i,
            box_px=tuple(faces.box_px[i].tolist()),
            status=int(faces.status[i]),
            label=EMOTIONS[int(probability[i].argmax())],
            probabilities=probability[i],
            valence=float(faces.heads["valence_arousal"][i, 0]),
            arousal=float(faces.heads["valence_arousal"][i, 1]),
            measured=None,
            landmarks=None if points is None else points[i],
        )
        for i in range(len(faces))
    ]
