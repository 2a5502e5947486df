"""Memory and time of `vidfer export` on a long table.

    python benchmarks/export_memory.py [--frames 1000000] [--faces 3] [--folder DIR] [--keep]

Makes a table of made-up faces with 68 points (25 frames a second: a million frames are 11 hours), exports it to every
format in a process of its own, and prints peak memory, CPU time and size. Labels change about once a second and face.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from vidfer.output.export.formats import FORMATS
from vidfer.output.parquet import TableWriter
from vidfer.schema import observation_schema
from vidfer.types import EMOTIONS

RATE = 25
FRAMES_AT_ONCE = 1000
ABOUT = {
    "schema_version": 1,
    "vidfer_version": "0",
    "created_utc": "2026-01-01T00:00:00+00:00",
    "source": {"name": "long.mp4", "average_frame_rate": f"{RATE}"},
    "sampling": {"fps": None, "stride": None},
}


def block(first: int, faces: int, random: np.random.Generator) -> pa.Table:
    """The rows of some frames."""
    rows = FRAMES_AT_ONCE * faces
    frame = np.repeat(np.arange(first, first + FRAMES_AT_ONCE), faces)
    face = np.tile(np.arange(faces), FRAMES_AT_ONCE)
    label = np.array(EMOTIONS)[(frame // RATE + face) % len(EMOTIONS)]
    fixed = {
        "source": np.full(rows, "long.mp4"),
        "frame": frame,
        "pts": frame * 512,
        "timestamp": frame / RATE,
        "frame_status": np.full(rows, "ok"),
        "n_faces": np.full(rows, faces),
        "face_id": face,
        "face_status": np.full(rows, "detected"),
        "emotion": label,
        "emotion_smooth": label,
    }
    schema, columns = observation_schema(68), []
    for field in schema:
        kind = field.type
        if pa.types.is_fixed_size_list(kind):
            flat = pa.array(random.random(rows * kind.list_size, np.float32) * 1000)
            columns.append(pa.FixedSizeListArray.from_arrays(flat, kind.list_size).cast(kind))
        elif field.name in fixed:
            values = pa.array(fixed[field.name])
            columns.append(values.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else values.cast(kind))
        elif pa.types.is_timestamp(kind):
            columns.append(pa.nulls(rows, kind))
        else:
            columns.append(pa.array(random.random(rows, np.float32)).cast(kind, safe=False))
    return pa.table(columns, schema=schema)


def make(path: Path, frames: int, faces: int) -> None:
    """Write the table."""
    random = np.random.default_rng(0)
    with TableWriter(path, observation_schema(68)) as writer:
        for first in range(0, frames, FRAMES_AT_ONCE):
            writer.write(block(first, faces, random))
        writer.set_metadata(ABOUT)


def measure(table: Path, to: str, *options: str) -> str:
    """Export once; gives a line of figures."""
    out = table.with_suffix(f".out.{to}")
    command = [sys.executable, "-m", "vidfer", "export", str(table), "--to", to, "-o", str(out), "--quiet", *options]
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    size = out.stat().st_size if out.exists() else 0
    out.unlink(missing_ok=True)
    name = " ".join([to, *options])
    state = "" if os.waitstatus_to_exitcode(status) == 0 else "  FAILED"
    cpu = usage.ru_utime + usage.ru_stime
    return f"{name:<12}{usage.ru_maxrss / 1024:>8.0f} MB{cpu:>8.0f} CPU s{size / 1e6:>10.0f} MB written{state}"


def main() -> None:
    """Make, export, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--faces", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--formats", nargs="*", default=list(FORMATS))
    parser.add_argument("--keep", action="store_true", help="keep the table, and take it if it is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        table = (options.folder if options.keep and options.folder else Path(folder)) / "long.parquet"
        if not table.exists():
            make(table, options.frames, options.faces)
        print(f"{options.frames * options.faces} rows, {table.stat().st_size / 1e6:.0f} MB", flush=True)
        for to in options.formats:
            print(measure(table, to), flush=True)


if __name__ == "__main__":
    main()
