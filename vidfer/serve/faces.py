"""Faces as JSON, under the names of the columns of the table, and as they are drawn."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from vidfer.output.overlay import OverlayFace
from vidfer.pipeline.board import EMOTION_SMOOTH, LABEL_SMOOTH, VALENCE_AROUSAL_SMOOTH, LiveFrame
from vidfer.pipeline.follow import overlay_faces
from vidfer.pipeline.tracks import softmax
from vidfer.types import EMOTIONS, F32, FACE_STATUS, Faces

Json = dict[str, Any]
LANDMARKS = {"none": None, "68": 68, "478": 478}
_MESH = 478


def finite(value: float, digits: int = 4) -> float | None:
    """A number for JSON: rounded, null where there is none."""
    return round(float(value), digits) if math.isfinite(value) else None


def as_json(faces: Faces, landmarks: int | None = None) -> list[Json]:
    """One object for each face; what was not measured is null.

    Args:
        faces: Smoothed values are given out where `heads` has them.
        landmarks: Points to give out: 68, 478 (with depth) or None.
    """
    heads = faces.heads
    probability = softmax(_head(heads, "emotion", len(faces), len(EMOTIONS)))
    columns = {"emotion": _labels(probability), **_affect(probability, heads.get("valence_arousal"), "")}
    if EMOTION_SMOOTH in heads:
        smooth = heads[EMOTION_SMOOTH]
        columns["emotion_smooth"] = _shown_labels(heads)
        columns |= _affect(smooth, heads.get(VALENCE_AROUSAL_SMOOTH), "_smooth")
    columns |= _columns(_head(heads, "pose", len(faces), 3), ("pitch", "yaw", "roll"))
    columns |= _points(heads, len(faces), landmarks)
    identity = _identity(faces)
    return [{**one, **{name: values[row] for name, values in columns.items()}} for row, one in enumerate(identity)]


def frame_as_json(frame: LiveFrame) -> Json:
    """The faces of a live frame and what frame it is."""
    faces = as_json(frame.result.faces)
    return {
        "camera": frame.camera,
        "frame": frame.index,
        "epoch": frame.epoch,
        "timestamp": finite(frame.time_s),
        "wallclock": frame.captured_utc.isoformat(),
        "n_faces": len(faces),
        "faces": faces,
    }


def to_draw(frame: LiveFrame, scale: float) -> list[OverlayFace]:
    """The faces of a live frame, for the overlay of a picture of another size."""
    return [_scaled(face, scale) for face in overlay_faces(frame.result, landmarks=not frame.blurred)]


def _scaled(face: OverlayFace, scale: float) -> OverlayFace:
    x0, y0, x1, y1 = (value * scale for value in face.box_px)
    # The middle of the top left pixel is at (0, 0), in the large and in the small picture.
    points = None if face.landmarks is None else np.asarray((face.landmarks + 0.5) * scale - 0.5, np.float32)
    return replace(face, box_px=(x0, y0, x1, y1), landmarks=points)


def _identity(faces: Faces) -> list[Json]:
    box = faces.box_px
    sides = np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1)
    quality = _head(faces.heads, "quality", len(faces), 1)
    return [
        {
            "face_id": number if (number := int(faces.track_id[row])) >= 0 else None,
            "face_status": FACE_STATUS[int(faces.status[row])],
            "confidence": finite(faces.score[row]),
            **{f"face_{side}": finite(sides[row, i], 2) for i, side in enumerate("xywh")},
            "quality": finite(quality[row, 0]),
        }
        for row in range(len(faces))
    ]


def _affect(probability: F32, valence_arousal: F32 | None, ending: str) -> dict[str, list[Any]]:
    if valence_arousal is None:
        valence_arousal = np.full((len(probability), 2), np.nan, np.float32)
    emotions = _columns(probability, tuple(f"emotion_{name}{ending}" for name in EMOTIONS))
    return emotions | _columns(valence_arousal, (f"valence{ending}", f"arousal{ending}"))


def _columns(values: npt.NDArray[Any], names: tuple[str, ...]) -> dict[str, list[Any]]:
    return {name: [finite(value) for value in values[:, i]] for i, name in enumerate(names)}


def _points(heads: dict[str, F32], count: int, landmarks: int | None) -> dict[str, list[Any]]:
    if landmarks is None:
        return {}
    if landmarks != _MESH:
        points = _head(heads, "landmarks68", count, 2 * 68)
        return {"landmarks": [[finite(value, 2) for value in row] for row in points]}
    mesh = _head(heads, "landmarks", count, 3 * _MESH).reshape(count, _MESH, 3)
    return {
        "landmarks": [[finite(value, 2) for value in row] for row in mesh[:, :, :2].reshape(count, 2 * _MESH)],
        "landmarks_z": [[finite(value, 2) for value in row] for row in mesh[:, :, 2]],
    }


def _head(heads: dict[str, F32], name: str, count: int, width: int) -> F32:
    return heads[name] if name in heads else np.full((count, width), np.nan, np.float32)


def _labels(probability: F32) -> list[str | None]:
    return [EMOTIONS[int(row.argmax())] if np.isfinite(row).all() else None for row in probability]


def _shown_labels(heads: dict[str, F32]) -> list[str | None]:
    shown = heads[LABEL_SMOOTH][:, 0]
    return [EMOTIONS[int(index)] if index >= 0 else None for index in shown]  # NaN is not >= 0
