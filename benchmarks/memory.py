"""How much memory `process` takes, and whether it grows with the length of the video; prints one JSON object.

    python benchmarks/memory.py [CLIP] [--videos DIR] [--minutes N] [--detect-every N] [--landmarks 68|478|none]

Without a clip the one of `make_crowd.py` is made. It is repeated to N minutes without encoding it again and processed
without rendering; memory is read at every progress message.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import make_crowd
import numpy as np

from vidfer.pipeline.models import Models
from vidfer.pipeline.options import ProcessOptions
from vidfer.pipeline.report import peak_rss_bytes
from vidfer.pipeline.results import Progress
from vidfer.pipeline.run import process_file

_MB = 2**20
_SETTLED = 0.25  # of the video: from there on memory should stay where it is


def rss_bytes() -> int:
    """What this process holds now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def measure(clip: Path, options: ProcessOptions) -> dict[str, Any]:
    """Process one clip."""
    steps = {"imports_mb": rss_bytes() / _MB}
    models = Models(options.device, options.precision)
    steps["models_mb"] = rss_bytes() / _MB
    seen: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def progress(moment: Progress) -> None:
        seen[moment.stage].append((moment.time_s / 60, rss_bytes() / _MB))

    cpu_s, began = time.process_time(), time.perf_counter()
    report = process_file(clip, options, models=models, progress=progress).report
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - began
    frames = report["counts"]["decoded"]
    analysis = np.array(seen["analyse"])
    settled = analysis[analysis[:, 0] >= _SETTLED * analysis[-1, 0]]
    slope = np.polyfit(settled[:, 0], settled[:, 1], 1)[0] if len(settled) > 2 else float("nan")
    return {
        "clip": clip.name,
        "frames": frames,
        "faces": report["counts"]["faces"],
        "minutes": round(float(analysis[-1, 0]), 2),
        **{name: round(value, 1) for name, value in steps.items()},
        "analysis_median_mb": round(float(np.median(settled[:, 1])), 1),
        "analysis_peak_mb": round(float(analysis[:, 1].max()), 1),
        "slope_mb_per_10_minutes": round(10 * float(slope), 2),
        "end_mb": round(rss_bytes() / _MB, 1),
        "peak_rss_mb": round((peak_rss_bytes() or 0) / _MB, 1),
        "fps": round(frames / wall_s, 1),
        "cpu_ms_per_frame": round(1e3 * cpu_s / frames, 2),
    }


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the memory of `vidfer process`.")
    parser.add_argument("clip", nargs="?", type=Path, help="default: 1920x1080 with eight faces, made here")
    parser.add_argument("--videos", type=Path, default=make_crowd.VIDEOS, metavar="DIR")
    parser.add_argument("--minutes", type=float, default=1.0, metavar="N")
    parser.add_argument("--detect-every", type=int, metavar="N")
    parser.add_argument("--landmarks", choices=("68", "478", "none"), default="68")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = options.clip
        if clip is None:
            clip = folder / "crowd.mp4"
            make_crowd.compose(clip, options.videos, seconds=12)
        long = folder / f"long{clip.suffix}"
        make_crowd.repeat(clip, long, options.minutes)
        wanted = ProcessOptions(
            output_dir=folder,
            render=False,
            detect_every=options.detect_every,
            landmarks=None if options.landmarks == "none" else int(options.landmarks),
        )
        print(json.dumps({**measure(long, wanted), "clip": clip.name}, indent=1))


if __name__ == "__main__":
    main()
