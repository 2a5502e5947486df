"""One pass against slices: whether frames, times and ids are the same, and what splitting costs.

    python benchmarks/slices.py CLIP ... [--slice 60] [--loop SECONDS] [--processes 2] [--set fps=5]

For each clip: slices and how many begin at cuts, rows that differ in any column, IDF1 of the stitched table against
that of one pass, seconds and CPU seconds of both, and what planning and stitching take of them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from mot_score import Boxes, read_table, score

from vidfer.media.cores import VARIABLE, available_cores
from vidfer.pipeline.models import Models
from vidfer.pipeline.options import ProcessOptions
from vidfer.pipeline.results import Outputs
from vidfer.pipeline.run import process_file
from vidfer.pipeline.slices import Slice, SliceResult, analyse_slice, plan_slices
from vidfer.pipeline.stitch import stitch

_models: list[Models] = []


def looped(clip: Path, seconds: float, folder: Path) -> Path:
    """A clip repeated without encoding it again, until it lasts so long."""
    path = folder / f"{clip.stem}_looped.mp4"
    command = ["ffmpeg", "-v", "error", "-stream_loop", "-1", "-i", str(clip), "-t", str(seconds), "-map", "0:v:0"]
    subprocess.run([*command, "-c", "copy", "-y", str(path)], check=True)
    return path


def _load(options: ProcessOptions, cores: int) -> None:
    os.environ[VARIABLE] = str(cores)
    _models.append(Models(options.device, options.precision))


def _analyse(path: Path, options: ProcessOptions, part: Slice, folder: Path) -> tuple[SliceResult, float]:
    before = time.process_time()
    return analyse_slice(path, options, part, folder, _models[0]), time.process_time() - before


def _one_pass(path: Path, options: ProcessOptions) -> float:
    before = time.process_time()
    process_file(path, options, models=_models[0])
    return time.process_time() - before


def _stitch(
    path: Path, options: ProcessOptions, parts: list[Slice], folders: list[Path], outputs: Outputs
) -> tuple[float, dict[str, Any], int]:
    before = time.process_time()
    result = stitch(path, options, parts, folders, outputs, _models[0])
    return time.process_time() - before, result.report, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def compare(path: Path, slice_s: float, processes: int, settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """All figures of one clip."""
    cores = available_cores()
    one, many = (ProcessOptions(output_dir=folder / name, render=False, **settings) for name in ("one", "many"))
    with ProcessPoolExecutor(1, initializer=_load, initargs=(one, cores)) as pool:
        pool.submit(time.sleep, 0).result()
        began = time.perf_counter()
        one_cpu_s = pool.submit(_one_pass, path, one).result()
        one_s = time.perf_counter() - began
    began, before = time.perf_counter(), time.process_time()
    parts = plan_slices(path, many, slice_s)
    plan_s, plan_cpu_s = time.perf_counter() - began, time.process_time() - before
    folders = [folder / f"slice-{part.number}" for part in parts]
    outputs = Outputs.of(folder / "many", path.stem)
    with ProcessPoolExecutor(processes, initializer=_load, initargs=(many, max(1, cores // processes))) as pool:
        list(pool.map(time.sleep, [0.1] * processes))
        began = time.perf_counter()
        running = [pool.submit(_analyse, path, many, *pair) for pair in zip(parts, folders, strict=True)]
        done = [future.result() for future in running]
        slices_s = time.perf_counter() - began
    with ProcessPoolExecutor(1, initializer=_load, initargs=(many, cores)) as pool:
        pool.submit(time.sleep, 0).result()
        began = time.perf_counter()
        stitch_cpu_s, report, peak_kb = pool.submit(_stitch, path, many, parts, folders, outputs).result()
        stitch_s = time.perf_counter() - began
    tables = [pq.read_table(folder / name / f"{path.stem}.parquet") for name in ("one", "many")]
    about = json.loads((folder / "one" / f"{path.stem}.run.json").read_text())
    return {
        "clip": path.name,
        "slices": len(parts),
        "at_cuts": sum(part.at_cut for part in parts),
        "frames_analysed": [about["counts"]["analysed"], sum(result.frames for result, _ in done)],
        "same_counts": {**about["counts"], "faces": 0, "tracks": 0} == {**report["counts"], "faces": 0, "tracks": 0},
        "same_warnings": about["warnings"] == report["warnings"],
        **_differences(*tables),
        "idf1": _idf1(folder / "one" / f"{path.stem}.parquet", folder / "many" / f"{path.stem}.parquet"),
        "faces": [about["counts"]["faces"], report["counts"]["faces"]],
        "tracks": [about["counts"]["tracks"], report["counts"]["tracks"]],
        "wall_s": [round(one_s, 2), round(plan_s + slices_s + stitch_s, 2)],
        "plan_slices_stitch_s": [round(value, 2) for value in (plan_s, slices_s, stitch_s)],
        "cpu_s": [round(one_cpu_s, 2), round(plan_cpu_s + sum(cpu for _, cpu in done) + stitch_cpu_s, 2)],
        "plan_stitch_cpu_s": [round(plan_cpu_s, 2), round(stitch_cpu_s, 2)],
        "stitch_peak_mb": peak_kb // 1024,
    }


def _differences(one: Any, many: Any) -> dict[str, Any]:
    frames = [
        table.select(["frame", "pts", "timestamp", "frame_status"]).to_pandas().drop_duplicates("frame")
        for table in (one, many)
    ]
    same = frames[0].reset_index(drop=True).equals(frames[1].reset_index(drop=True))
    if one.num_rows != many.num_rows:
        return {"same_frames_and_times": same, "same_table": False}
    columns = [name for name in one.column_names if not one[name].equals(many[name])]
    return {"same_frames_and_times": same, "same_table": not columns, "columns_that_differ": columns}


def _idf1(one: Path, many: Path) -> float:
    truth: Boxes = read_table(one)
    return float(score(truth, read_table(many)).idf1) if len(truth.frame) else float(np.nan)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--slice", type=float, default=60.0)
    parser.add_argument("--loop", type=float, help="repeat each clip until it lasts so many seconds")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE")
    args = parser.parse_args()
    settings = dict(pair.split("=", 1) for pair in args.set)
    for clip in args.clips:
        with tempfile.TemporaryDirectory() as name:
            path = looped(clip, args.loop, Path(name)) if args.loop else clip
            found = compare(path, args.slice, args.processes, {"landmarks": "none", **settings}, Path(name))
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    sys.exit(main())
