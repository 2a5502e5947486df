"""How much memory and time finishing takes for parts of made-up faces of some minutes each; prints one JSON object.

    python benchmarks/finish_memory.py [MINUTES ...] [--faces 8] [--shot 30] [--landmarks 68]

Every length is finished in a process of its own, so that its peak is its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vidfer.output.parts import PartWriter
from vidfer.pipeline.finish import finish
from vidfer.pipeline.raw import raw_schema
from vidfer.pipeline.report import peak_rss_bytes
from vidfer.smooth import Smoothing
from vidfer.vision.tracklets import LinkOptions

FPS = 25
_PART_FRAMES = 500
_LOSS = 0.01  # of the faces, here and there


def part(first: int, frames: int, options: argparse.Namespace) -> pa.Table:
    """Raw rows of some frames: as many persons as there are faces, each in every shot."""
    random = np.random.default_rng(first)
    n = options.faces
    frame = np.repeat(np.arange(first, first + frames), n)
    person = np.tile(np.arange(n), frames)
    seen = (random.random(len(frame)) > _LOSS) | (person == 0)  # never a frame without a face
    frame, person = frame[seen], person[seen]
    shot = frame // round(options.shot * FPS)
    looks = np.random.default_rng(1).standard_normal((n, 128))[person] + 0.5 * random.standard_normal(
        (len(frame), 128), np.float32
    )
    corner = np.stack([person * 100, np.full(len(frame), 50)], axis=1) + random.normal(0, 1, (len(frame), 2))
    values = {
        "frame": frame,
        "pts": frame,
        "time_s": frame / FPS,
        "captured_utc": None,
        "epoch": np.zeros(len(frame)),
        "shot": shot,
        "corrupt": np.zeros(len(frame), bool),
        "tracklet": shot * n + person,
        "status": frame % 2,
        "score": random.uniform(0.7, 1, len(frame)),
        "presence": random.uniform(0.9, 1, len(frame)),
        "quality": random.uniform(0, 1, len(frame)),
        "box": np.concatenate([corner, corner + 80], axis=1),
        "emotion": random.normal(0, 2, (len(frame), 8)),
        "valence_arousal": random.uniform(-1, 1, (len(frame), 2)),
        "pose": random.normal(0, 10, (len(frame), 3)),
        "embedding": looks / np.linalg.norm(looks, axis=1, keepdims=True),
        "landmarks": 300 + 50 * random.standard_normal((len(frame), 2 * options.landmarks), np.float32),
        "landmarks_z": 50 * random.standard_normal((len(frame), options.landmarks), np.float32),
    }
    schema = raw_schema(options.landmarks)
    return pa.table([_column(values[field.name], field.type, len(frame)) for field in schema], schema=schema)


def _column(values: Any, kind: pa.DataType, rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(rows, kind)
    if pa.types.is_fixed_size_list(kind):
        flat = pa.array(values.astype(kind.value_type.to_pandas_dtype()).ravel(), kind.value_type)
        return pa.FixedSizeListArray.from_arrays(flat, type=kind)
    return pa.array(values.astype(kind.to_pandas_dtype()), kind)


def make(folder: Path, minutes: float, options: argparse.Namespace) -> None:
    """Write the parts of a video of so many minutes."""
    writer, frames = PartWriter(folder), round(minutes * 60 * FPS)
    for first in range(0, frames, _PART_FRAMES):
        writer.write_part(part(first, min(_PART_FRAMES, frames - first), options))


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Finish the parts in a folder, in this process."""
    before, began = peak(), time.process_time()
    counts = finish(
        folder,
        folder / "table",
        folder / "tracks",
        source="made-up.mp4",
        landmarks=options.landmarks,
        frame_interval_s=1 / FPS,
        smoothing=Smoothing.preset("medium"),
        link=LinkOptions(),
        describe=lambda faces, tracks: {"faces": faces, "tracks": tracks},
    )
    seconds = time.process_time() - began
    return {
        **counts,
        "start_rss_mb": round(before / 1e6, 1),
        "peak_rss_mb": round(peak() / 1e6, 1),
        "cpu_s_per_100k_rows": round(seconds / counts["faces"] * 1e5, 2),
    }


def peak() -> int:
    """Peak memory of this process; what `getrusage` says on Linux may be that of the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return peak_rss_bytes() or 0


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the memory that finishing takes.")
    parser.add_argument("minutes", nargs="*", type=float, default=[1, 10, 30, 60])
    parser.add_argument("--faces", type=int, default=8)
    parser.add_argument("--shot", type=float, default=30, help="seconds from cut to cut", metavar="S")
    parser.add_argument("--landmarks", type=int, choices=[68, 478], default=68)
    parser.add_argument("--parts", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.parts is not None:
        print(json.dumps(measure(options.parts, options)))
        return
    print(json.dumps(compare(options), indent=1))


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """All lengths, and how peak memory grows from one to the next."""
    found = []
    for minutes in options.minutes:
        with tempfile.TemporaryDirectory() as folder:
            settings = [f"--{name}={getattr(options, name)}" for name in ("faces", "shot", "landmarks")]
            make(Path(folder), minutes, options)
            command = [sys.executable, __file__, "--parts", folder, *settings]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found.append({"minutes": minutes, **json.loads(done.stdout)})
    slopes = [
        round((b["peak_rss_mb"] - a["peak_rss_mb"]) / (b["minutes"] - a["minutes"]) * 10, 2) for a, b in pairwise(found)
    ]
    return {"lengths": found, "mb_per_10_minutes": slopes}


if __name__ == "__main__":
    main()
