"""Tables of observations with chosen rows; all that is not named is missing, or made up where it must be there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from vidfer.output.parquet import TableWriter
from vidfer.schema import SCHEMA_VERSION, LandmarkCount, observation_schema
from vidfer.types import EMOTIONS

ABOUT = {
    "schema_version": SCHEMA_VERSION,
    "vidfer_version": "0.1.0",
    "created_utc": "2026-11-21T14:00:00+00:00",
    "source": {"name": "talk.mp4", "average_frame_rate": "25"},
    "sampling": {"start": None, "end": None, "fps": None, "stride": None},
}
_FRAME = {"source": "talk.mp4", "epoch": 0, "shot": 0, "frame_status": "ok"}


def face(frame: int, face_id: int, label: str = "neutral", **changes: Any) -> dict[str, Any]:
    """A face that was measured; its numbers differ from row to row."""
    seed = frame + 10 * face_id
    affect = {f"emotion_{name}{end}": (i + 1) / 36 for i, name in enumerate(EMOTIONS) for end in ("", "_smooth")}
    row = {
        "frame": frame,
        "pts": frame * 512,
        "timestamp": frame / 25,
        "n_faces": 1,
        "face_id": face_id,
        "face_status": "detected",
        "confidence": 0.9,
        **{f"face_{side}": seed + 0.1 + i for i, side in enumerate("xywh")},
        "quality": 0.5,
        "emotion": label,
        "emotion_smooth": label,
        **affect,
        "valence": 0.1,
        "arousal": -0.3,
        "valence_smooth": 0.2,
        "arousal_smooth": -0.2,
        "pitch": 5.0,
        "yaw": -10.0,
        "roll": 2.0,
        "landmarks": lambda count: [seed + i / 8 for i in range(2 * count)],
        "landmarks_z": lambda count: [i / 4 for i in range(count)],
    }
    return row | changes


def predicted(frame: int, face_id: int) -> dict[str, Any]:
    """A face of which only the tracker's guess is known."""
    box = {f"face_{side}": 7.5 for side in "xywh"}
    return nobody(frame) | {"face_id": face_id, "face_status": "predicted", **box}


def nobody(frame: int, **changes: Any) -> dict[str, Any]:
    """A frame without a face."""
    return {"frame": frame, "pts": frame * 512, "timestamp": frame / 25, "n_faces": 0} | changes


def as_table(
    rows: Sequence[Mapping[str, Any]], landmarks: LandmarkCount | None = 68, identity: bool = False
) -> pa.Table:
    """Rows as a table of the contract."""
    columns = []
    schema = observation_schema(landmarks, identity=identity)
    for field in schema:
        values = [(_FRAME | dict(row)).get(field.name) for row in rows]
        values = [value(landmarks) if callable(value) else value for value in values]
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        columns.append(pa.array(values, plain).cast(field.type))
    return pa.table(columns, schema=schema)


def write_observed(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    landmarks: LandmarkCount | None = 68,
    *,
    identity: bool = False,
    at_once: int = 1000,
    **about: Any,
) -> Path:
    """Write a table; `at_once` rows go into a row group."""
    table = as_table(rows, landmarks, identity)
    with TableWriter(path, table.schema) as writer:
        for start in range(0, len(rows), at_once):
            writer.write(table.slice(start, at_once))
        writer.set_metadata(ABOUT | about)
    return path
