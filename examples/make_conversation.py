"""Makes examples/conversation.parquet: ``python examples/make_conversation.py`` in the repository.

A simulated talk of two faces, so that the truth is known and nobody's face is published. Face 1 smiles back 0.8 s after
face 0 smiles, has moods of its own, and is out of the picture from 52 s to 58 s. Smoothing is vidfer's own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidfer.output.parquet import TableWriter
from vidfer.schema import SCHEMA_VERSION, observation_schema
from vidfer.smooth import Smoothing, smooth_track
from vidfer.types import EMOTIONS

Array = npt.NDArray[np.float64]

HERE = Path(__file__).parent
STEP_S, FRAMES, LAG_S, AWAY = 0.08, 1125, 0.8, (52.0, 58.0)
# Class, middle (s), duration (s), height in logits.
SMILES = [("happiness", *one) for one in ((9, 5, 5.5), (22, 4, 4), (33, 6, 6), (47, 3, 4.5), (66, 5, 5.5), (80, 4, 5))]
ALONE = {
    0: [("surprise", 16, 2.5, 5), ("sadness", 57, 7, 5), ("surprise", 73, 2, 4.5)],
    1: [("anger", 28, 4, 4.5), ("surprise", 41, 3, 5), ("fear", 62, 3, 4)],
}
# Where the classes lie in the plane of valence and arousal.
PLANE = np.array([[0, -0.1], [0.8, 0.4], [-0.7, -0.3], [0.1, 0.7], [-0.6, 0.7], [-0.7, 0.3], [-0.6, 0.6], [-0.4, 0.1]])


def wander(random: np.random.Generator, columns: int, height: float, memory: float) -> Array:
    """Noise that remembers: f64[FRAMES, columns] of standard deviation `height`."""
    noise = random.standard_normal((FRAMES, columns)) * height * np.sqrt(1 - memory**2)
    for i in range(1, FRAMES):
        noise[i] += memory * noise[i - 1]
    return noise


def face(random: np.random.Generator, number: int, time_s: Array) -> tuple[Array, Array]:
    """Probabilities f64[FRAMES,8], and valence and arousal f64[FRAMES,2], as a network would say them."""
    logit = wander(random, len(EMOTIONS), 0.5, 0.9) + wander(random, len(EMOTIONS), 0.35, 0.0)
    logit += [2.5, -0.5, 0, -0.5, -1, -1, -0.5, -0.5]
    smiles = [(name, middle + number * LAG_S, length, height - number) for name, middle, length, height in SMILES]
    for name, middle, length, height in smiles + ALONE[number]:
        phase = np.clip((time_s - middle) / length, -0.5, 0.5)
        logit[:, EMOTIONS.index(name)] += height * np.cos(np.pi * phase) ** 2
    power = np.exp(logit)
    probability = power / power.sum(axis=1, keepdims=True)
    plane = probability @ PLANE + wander(random, 2, 0.06, 0.5) + [[0, 0], [-0.1, 0.1]][number]
    return probability, np.clip(plane, -1, 1)


def columns(number: int, time_s: Array, probability: Array, plane: Array) -> dict[str, npt.NDArray[np.generic]]:
    """All columns of one face."""
    shown, pair = probability.astype(np.float32), plane.astype(np.float32)
    part = np.cumsum(np.diff(time_s, prepend=time_s[0]) > 0.5).astype(np.int32)
    smooth = smooth_track(time_s, part, shown, pair, None, Smoothing.preset("medium"))
    rows = len(time_s)
    found: dict[str, npt.NDArray[np.generic]] = {
        "frame": np.rint(time_s / STEP_S).astype(np.int64) * 2,
        "timestamp": time_s,
        "face_id": np.full(rows, number),
        "face_status": np.full(rows, "detected"),
        "confidence": np.full(rows, 0.95),
        "quality": np.full(rows, 0.8),
        "emotion": np.array(EMOTIONS)[shown.argmax(axis=1)],
        "emotion_smooth": np.array(EMOTIONS)[smooth.emotion],
    }
    box = {"face_x": 180.0 + 620 * number, "face_y": 200.0, "face_w": 220.0, "face_h": 280.0}
    found |= {name: np.full(rows, value) for name, value in box.items()}
    found |= {name: np.zeros(rows) for name in ("pitch", "yaw", "roll")}
    for kind, emotions, values in (("", shown, pair), ("_smooth", smooth.emotion_probability, smooth.valence_arousal)):
        found |= {f"emotion_{name}{kind}": emotions[:, i] for i, name in enumerate(EMOTIONS)}
        found |= {f"valence{kind}": values[:, 0], f"arousal{kind}": values[:, 1]}
    return found


def main() -> None:
    """Simulate both faces and write the table."""
    random = np.random.default_rng(20)
    time_s = np.arange(FRAMES) * STEP_S
    parts = []
    for number in (0, 1):
        there = np.ones(FRAMES, bool) if number == 0 else (time_s < AWAY[0]) | (time_s >= AWAY[1])
        probability, plane = face(random, number, time_s)
        parts.append(columns(number, time_s[there], probability[there], plane[there]))
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.lexsort((joined["face_id"], joined["frame"]))
    schema, rows = observation_schema(None), len(order)
    frame = joined["frame"][order]
    same = {"source": "conversation.mp4", "epoch": 0, "shot": 0, "frame_status": "ok"}
    filled = {name: np.full(rows, value) for name, value in same.items()}
    filled |= {"pts": frame * 512, "n_faces": np.array([(frame == one).sum() for one in frame])}
    filled |= {name: values[order] for name, values in joined.items()}
    arrays = [pa.array(filled[f.name]).cast(f.type) if f.name in filled else pa.nulls(rows, f.type) for f in schema]
    with TableWriter(HERE / "conversation.parquet", schema) as writer:
        writer.write(pa.table(arrays, schema=schema))
        source = {"name": "conversation.mp4", "average_frame_rate": "25/1", "time_base": "1/12800"}
        sampling = {"start": None, "end": None, "fps": 12.5, "stride": None}
        about = {
            "schema_version": SCHEMA_VERSION,
            "vidfer_version": "simulated",
            "source": source,
            "sampling": sampling,
        }
        writer.set_metadata(about)


if __name__ == "__main__":
    main()
