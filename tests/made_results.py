"""Results of `vidfer process`, made up: tables, tracks and report of any length, without a video."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from columns import column_array

from vidfer.output.parquet import TableWriter
from vidfer.schema import observation_schema, tracks_schema
from vidfer.types import EMOTIONS

AFFECT = [*(f"emotion_{name}" for name in EMOTIONS), "valence", "arousal"]


def footer(name: str, frames: int, rate: float, **changes: Any) -> dict[str, Any]:
    """What stands in the footer of a table."""
    source = {
        "name": name, "size": 1000, "sha256": "0" * 64, "container": "mp4", "codec": "h264", "width": 640,
        "height": 360, "rotation": 0, "sample_aspect_ratio": "1/1", "time_base": "1/1000",
        "average_frame_rate": f"{round(rate * 1000)}/1000", "variable_frame_rate": False,
        "duration_s": frames / rate, "frames_declared": frames, "stream": 0, "has_audio": False,
    }  # fmt: skip
    counts = dict.fromkeys(("corrupt", "undecodable", "discarded", "dropped", "not_sampled", "faces", "tracks"), 0)
    models = [
        {"name": "face_detector", "version": "9.9", "sha256": "1" * 64, "licence": "Apache-2.0", "provider": "cpu"},
        {"name": "face_analyzer", "version": "9.9", "sha256": "2" * 64, "licence": "Apache-2.0", "provider": "cpu"},
    ]
    about = {
        "schema_version": 1, "vidfer_version": "0.1.0", "created_utc": "2026-11-21T12:00:00+00:00", "source": source,
        "counts": {**counts, "packets": frames, "decoded": frames, "analysed": frames}, "decoder": "made up",
        "sampling": {"start": None, "end": None, "fps": None, "stride": None}, "models": models,
        "emotion_labels": list(EMOTIONS), "landmark_topology": None, "tracker": {},
        "smoothing": {"preset": "medium", "time_constant_s": 0.25, "hold_s": 0.05},
        "options": {"landmarks": None, "start": None, "end": None, "fps": None, "stride": None, "stream": 0,
                    "detect_every": None, "smooth": "medium"},
        "config_sha256": "3" * 64,
    }  # fmt: skip
    return {**about, **changes}


def made_up(
    folder: Path,
    name: str = "made.mp4",
    *,
    presence: Sequence[tuple[int, int]] = ((0, 100), (20, 80)),
    frames: int = 100,
    rate: float = 25.0,
    seed: int = 0,
    times: Sequence[float | None] | None = None,
    values: dict[int, dict[str, float]] | None = None,
    **changes: Any,
) -> Path:
    """Write tables, tracks and report of a video with faces at random.

    Args:
        folder: Where.
        name: Of the video.
        presence: First frame of every face and the one after its last.
        frames: How many there are.
        rate: Frames a second.
        seed: Of the values.
        times: Of the frames; evenly spaced unless given.
        values: What stands in columns of a face instead, by its number.
        **changes: Keys of the footer that differ.

    Returns:
        The table.
    """
    folder.mkdir(exist_ok=True)
    rows = _rows(presence, frames, seed)
    known = np.array([np.nan if t is None else t for t in times] if times is not None else np.arange(frames) / rate)
    rows["timestamp"] = known[rows["frame"]]
    rows["pts"] = np.rint(rows["timestamp"] * 1000)
    for number, given in (values or {}).items():
        rows.loc[rows["face_id"] == number, list(given)] = list(given.values())
    about = footer(name, frames, rate, **changes)
    stem = Path(name).name.rsplit(".", 1)[0]
    path = folder / f"{stem}.parquet"
    _write(path, rows.assign(source=name), observation_schema(None), about)
    _write(
        path.with_name(f"{stem}.tracks.parquet"),
        _tracks(rows, len(presence)).assign(source=name),
        tracks_schema(),
        about,
    )
    report = {**about, "state": "done", "warnings": [], "outputs": [], "timings": None}
    path.with_name(f"{stem}.run.json").write_text(json.dumps(report), encoding="utf-8")
    return path


def _rows(presence: Sequence[tuple[int, int]], frames: int, seed: int) -> pd.DataFrame:
    parts = [
        _face(number, start, stop, np.random.default_rng([seed, number]))
        for number, (start, stop) in enumerate(presence)
    ]
    seen = np.bincount(
        np.concatenate([np.zeros(0, int), *(part["frame"] for part in parts)]).astype(int), minlength=frames
    )
    parts.append(pd.DataFrame({"frame": np.flatnonzero(seen == 0), "face_id": np.nan}))
    rows = pd.concat(parts, ignore_index=True).sort_values(["frame", "face_id"], ignore_index=True)
    rows["n_faces"] = seen[rows["frame"]]
    return rows.assign(epoch=0, shot=0, frame_status="ok")


def _face(number: int, start: int, stop: int, random: np.random.Generator) -> pd.DataFrame:
    count = stop - start
    walk = np.cumsum(random.normal(0, 0.3, (count, len(EMOTIONS))), axis=0)
    walk -= 0.5 * np.abs(walk).max() * random.random(len(EMOTIONS))
    power = np.exp(np.clip(walk / max(1.0, np.sqrt(count) / 10), -8, 8))
    emotion = power / power.sum(axis=1, keepdims=True)
    affect = np.tanh(np.cumsum(random.normal(0, 0.05, (count, 2)), axis=0) / max(1.0, np.sqrt(count) / 20))
    smooth = np.concatenate([emotion, affect], axis=1)
    raw = np.concatenate([emotion, np.clip(affect + random.normal(0, 0.1, affect.shape), -1, 1)], axis=1)
    label = np.array(EMOTIONS)[emotion.argmax(axis=1)]
    data = {
        "frame": np.arange(start, stop), "face_id": float(number), "face_status": "detected",
        "confidence": random.uniform(0.8, 1, count), "face_x": 40.0 + 90 * number, "face_y": 60.0, "face_w": 80.0,
        "face_h": 100.0, "quality": random.uniform(0.7, 1, count), "emotion": label, "emotion_smooth": label,
        "pitch": 0.0, "yaw": random.normal(0, 5, count), "roll": 0.0,
    }  # fmt: skip
    data |= {name: raw[:, i] for i, name in enumerate(AFFECT)}
    data |= {f"{name}_smooth": smooth[:, i] for i, name in enumerate(AFFECT)}
    return pd.DataFrame(data)


def _tracks(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    found = []
    for number in range(count):
        face = rows[rows["face_id"] == number]
        means = {f"emotion_{name}_mean": face[f"emotion_{name}"].mean() for name in EMOTIONS}
        found.append(
            {
                "face_id": number,
                **{
                    f"{side}_{key}": face[of].iloc[at]
                    for side, at in (("first", 0), ("last", -1))
                    for key, of in (("frame", "frame"), ("timestamp", "timestamp"))
                },
                "frames": len(face),
                "coverage": 1.0,
                **{f"{name}_median": face[name].median() for name in ("face_w", "face_h", "confidence", "quality")},
                "emotion": max(EMOTIONS, key=lambda name: means[f"emotion_{name}_mean"]),
                **means,
                **{
                    f"{name}_{how}": getattr(face[name], how)(**options)
                    for name in ("valence", "arousal")
                    for how, options in (("mean", {}), ("std", {"ddof": 0}))
                },
                "best_frame": face["frame"].iloc[int(face["quality"].to_numpy().argmax())],
            }
        )
    names = {"valence_std": "valence_sd", "arousal_std": "arousal_sd"}
    return pd.DataFrame(found).rename(columns=names)


def _write(path: Path, rows: pd.DataFrame, schema: pa.Schema, about: dict[str, Any]) -> None:
    columns = []
    for field in schema:
        values = rows[field.name] if field.name in rows else pd.Series(np.full(len(rows), np.nan))
        if pa.types.is_dictionary(field.type):
            values = values.astype(object).where(values.notna(), None)
        elif pa.types.is_timestamp(field.type):
            values = values.astype("datetime64[us]")
        columns.append(column_array(values.to_numpy(), field.type))
    with TableWriter(path, schema) as writer:
        writer.write(pa.Table.from_arrays(columns, schema=schema))
        writer.set_metadata(about)
