"""How much memory and time training tables of made-up faces take; prints one JSON object.

    python benchmarks/training_table.py [ROWS ...] [--points 68] [--kb 10] [--memory-mb 2048] [--folder DIR]

Every row has a JPEG of its own, an emotion, valence and arousal, a box and points. Each table is read in three ways,
each in a process of its own, so that its peak is its own: made ready for `vidfer train fit`, with some batches; read as
by `vidfer train evaluate`, with all pictures looked at; and read as by `vidfer train label`. `private_mb` is the peak
of what nobody else can have, `mapped_mb` that of mapped files (the program's own among them), which the system takes
back when it needs room. Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vidfer.train.datasets.parquet import read_parquet
from vidfer.train.datasets.rows import POINTS, Face, Labels
from vidfer.train.datasets.samples import Source
from vidfer.train.datasets.table import read_table, write_table
from vidfer.types import EMOTIONS

_SIDE = 96
_KINDS = 64  # of pictures; each row's has another ending, which decoders do not look at
_BATCHES = 20
_EVERY_S = 0.02


def faces(rows: int, options: argparse.Namespace) -> Iterator[Face]:
    """Rows with noise for pictures."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (_KINDS, _SIDE, _SIDE, 3), dtype=np.uint8)
    pictures = [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 70])[1].tobytes() for image in noise]
    shape = (options.points, POINTS[options.points])
    for row in range(rows):
        picture = pictures[row % _KINDS] + row.to_bytes(8, "little")
        yield Face(
            image=picture + bytes(max(0, round(options.kb * 1000) - len(picture))),
            size=(_SIDE, _SIDE),
            set_name="made",
            split="train",
            group=f"{row}.jpg",
            labels=Labels(
                emotion=EMOTIONS[row % 8],
                valence_arousal=(0.5, -0.5),
                box=(16.0, 16.0, 64.0, 64.0),
                points={options.points: random.uniform(16, 80, shape).astype(np.float32)},
            ),
        )


def fit(table: Path, options: argparse.Namespace) -> Iterator[str]:
    """What happens before the first step, and some batches; gives the name of each part when it is done."""
    import torch

    from vidfer.train.multitask.recipe import Recipe
    from vidfer.train.multitask.training import prepare_training

    torch.set_num_threads(1)
    recipe = Recipe.from_dict(
        {
            "heads": {"emotion": list(EMOTIONS), "valence_arousal": True, "landmarks": options.points, "box": True},
            "data": {"memory_mb": options.memory_mb},
            "loop": {"steps_per_epoch": _BATCHES},
        }
    )
    yield "start"
    training = prepare_training(recipe, [table])
    yield "prepare"
    for _ in training.task.batches(1, 0):
        pass
    yield f"{_BATCHES} batches"


def evaluate(table: Path, options: argparse.Namespace) -> Iterator[str]:
    """All rows at once, and every picture."""
    yield "start"
    rows = read_table([table], "train")
    yield "read"
    sum(map(len, rows.images))
    yield "look at pictures"


def label(table: Path, options: argparse.Namespace) -> Iterator[str]:
    """Row by row."""
    yield "start"
    for _ in read_parquet([table], Source()):
        pass
    yield "read"


KINDS = {"RssAnon": "private_mb", "RssFile": "mapped_mb"}
WAYS: dict[str, Callable[[Path, argparse.Namespace], Iterator[str]]] = {
    "fit": fit,
    "evaluate": evaluate,
    "label": label,
}


def measure(table: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One way, in this process."""
    peak, start, seconds = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0.0), dict[str, float]()
    ended, began = threading.Event(), 0.0

    def look() -> None:
        for kind in KINDS:
            peak[kind] = max(peak[kind], memory_mb(kind))

    def watch() -> None:
        while not ended.wait(_EVERY_S):
            look()

    threading.Thread(target=watch, daemon=True).start()
    for part in WAYS[options.way](table, options):
        now = time.process_time()
        look()
        if part == "start":
            start = {kind: memory_mb(kind) for kind in KINDS}
        else:
            seconds[part] = round(now - began, 2)
        began = now
    ended.set()
    return {
        **{f"start_{name}": start[kind] for kind, name in KINDS.items()},
        **{name: peak[kind] for kind, name in KINDS.items()},
        "cpu_s": seconds,
    }


def memory_mb(kind: str) -> float:
    """Memory of this process."""
    status = Path("/proc/self/status").read_text().splitlines()
    return round(int(next(line for line in status if line.startswith(kind)).split()[1]) * 1024 / 1e6, 1)


def compare(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All numbers of rows."""
    found = []
    for rows in options.rows:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            table = Path(folder) / "table.parquet"
            write_table(table, faces(rows, options))
            result: dict[str, Any] = {
                "rows": rows,
                "points": options.points,
                "table_mb": round(table.stat().st_size / 1e6),
            }
            settings = [f"--points={options.points}", f"--memory-mb={options.memory_mb}"]
            for way in WAYS:
                command = [sys.executable, __file__, f"--table={table}", f"--way={way}", *settings]
                result[way] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            found.append(result)
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", type=int, default=[10_000, 100_000, 400_000])
    parser.add_argument("--points", type=int, choices=list(POINTS), default=68)
    parser.add_argument("--kb", type=float, default=10, help="size of a picture")
    parser.add_argument("--memory-mb", type=int, default=2048, help="as in recipes")
    parser.add_argument("--folder", type=Path, help="for the tables")
    parser.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.table is not None:
        print(json.dumps(measure(options.table, options)))
        return
    print(json.dumps(compare(options), indent=1))


if __name__ == "__main__":
    main()
