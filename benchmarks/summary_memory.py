"""Memory and time of `vidfer summary` on long tables.

    python benchmarks/summary_memory.py [--hours 1 10] [--faces 2]

Makes a table of made-up faces that are always on screen (25 frames a second, a change of label about every two
seconds), summarises it in a process of its own, and prints peak memory and CPU time.
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
from export_memory import ABOUT, FRAMES_AT_ONCE, RATE, block

from vidfer.output.parquet import TableWriter
from vidfer.schema import observation_schema
from vidfer.types import EMOTIONS


def waving(table: pa.Table) -> pa.Table:
    """The rows with affect that goes up and down over some seconds, in place of noise; without landmarks."""
    time_s, face = table["timestamp"].to_numpy(), table["face_id"].to_numpy()
    wave = {
        name: np.sin(time_s * (0.9 + 0.13 * i) + 2 * face + i)
        for i, name in enumerate((*EMOTIONS, "valence", "arousal"))
    }
    power = np.exp(2 * np.stack([wave[name] for name in EMOTIONS]))
    probability = power / power.sum(axis=0)
    label = np.array(EMOTIONS)[probability.argmax(axis=0)]
    values = {f"emotion_{name}": probability[i] for i, name in enumerate(EMOTIONS)}
    values |= {name: 0.8 * wave[name] for name in ("valence", "arousal")} | {"emotion": label}
    schema = observation_schema(None)
    for field in schema:
        name = field.name.removesuffix("_smooth")
        if name in values:
            new = pa.array(values[name])
            new = new.dictionary_encode() if pa.types.is_dictionary(field.type) else new
            table = table.set_column(table.schema.get_field_index(field.name), field, new.cast(field.type))
    return table.select(schema.names).cast(schema)


def measure(table: Path) -> str:
    """Summarise once; gives a line of figures."""
    command = [sys.executable, "-m", "vidfer", "summary", str(table), "--baseline", "auto", "--to", "json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    state = "" if os.waitstatus_to_exitcode(status) == 0 else "  FAILED"
    return f"{usage.ru_maxrss / 1024:.0f} MB, {usage.ru_utime + usage.ru_stime:.1f} CPU s{state}"


def main() -> None:
    """Make, summarise, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, nargs="*", default=[1.0, 10.0])
    parser.add_argument("--faces", type=int, default=2)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    for hours in options.hours:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "long.parquet"
            with TableWriter(path, observation_schema(None)) as writer:
                for first in range(0, int(hours * 3600 * RATE), FRAMES_AT_ONCE):
                    writer.write(waving(block(first, options.faces, random)))
                writer.set_metadata(ABOUT)
            print(f"{hours:g} h, {options.faces} faces: {measure(path)}", flush=True)


if __name__ == "__main__":
    main()
