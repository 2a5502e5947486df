"""How fast `process` is, against the floor of decoding alone, measured in the same run; prints one JSON object.

    python benchmarks/process.py [CLIP ...] [--videos DIR] [--repeat 5]

Every repeat measures all variants of all clips, in turn, so that what else the machine does falls on all of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import make_crowd
import numpy as np

from vidfer.media.file import VideoFile
from vidfer.media.picture import ArrayPicture
from vidfer.pipeline.models import Models
from vidfer.pipeline.options import ProcessOptions
from vidfer.pipeline.report import peak_rss_bytes
from vidfer.pipeline.run import process_file
from vidfer.types import F32

CROWD = "crowd"  # made by make_crowd.py
CLIPS = ("WolfgangLanger_Pexels.mp4", "interview2.mp4", CROWD)
_REPOSITORY = Path(__file__).resolve().parents[1]
_DEMO = _REPOSITORY / "examples" / "two_faces.mp4"
_CALLS = 20
_FACES = 8
_WIDTH, _HEIGHT = 640, 360


def decode_fps(clip: Path) -> tuple[int, float, float]:
    """Frames of a clip, how many a second decoding gives when nobody asks for a pixel, and ms of CPU for one."""
    began, cpu_s = time.perf_counter(), time.process_time()
    with VideoFile(clip) as video:
        frames = sum(1 for _ in video)
    return frames, frames / (time.perf_counter() - began), 1e3 * (time.process_time() - cpu_s) / frames


def process_fps(clip: Path, models: Models, render: bool) -> tuple[float, float, dict[str, float]]:
    """A whole run, opening and hashing included: frames per second, ms of CPU per frame, seconds of its stages."""
    with tempfile.TemporaryDirectory() as folder:
        options = ProcessOptions(output_dir=Path(folder), overwrite=True, render=render)
        began, cpu_s = time.perf_counter(), time.process_time()
        report = process_file(clip, options, models=models).report
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
    frames = report["counts"]["decoded"]
    stages = {name: stage["total_s"] for name, stage in report["timings"]["stages"].items()}
    return frames / seconds, 1e3 * cpu_s / frames, stages


def measure(clip: Path, models: Models) -> dict[str, Any]:
    """One repeat of one clip."""
    frames, floor, decode_cpu_ms = decode_fps(clip)
    plain, cpu_ms, stages = process_fps(clip, models, render=False)
    rendered, render_cpu_ms, with_render = process_fps(clip, models, render=True)
    return {
        "frames": frames,
        "decode_fps": floor,
        "process_fps": plain,
        "process_render_fps": rendered,
        "cpu_ms_per_frame.decode": decode_cpu_ms,
        "cpu_ms_per_frame.process": cpu_ms,
        "cpu_ms_per_frame.process_render": render_cpu_ms,
        "share": plain / floor,
        "share_render": rendered / floor,
        **{f"stage_s.{name}": seconds for name, seconds in {**with_render, **stages}.items()},
    }


def medians(repeats: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of every number; those named `a.b` as a group."""
    out: dict[str, Any] = {}
    for name in sorted({name for repeat in repeats for name in repeat}):
        value = round(float(np.median([repeat[name] for repeat in repeats if name in repeat])), 4)
        group, _, inner = name.partition(".")
        if inner:
            out.setdefault(group, {})[inner] = value
        else:
            out[name] = int(value) if name == "frames" else value
    return out


def demo_picture(models: Models) -> tuple[ArrayPicture, F32]:
    """A picture of 640x360 with faces, and their boxes."""
    with VideoFile(_DEMO) as video:
        picture = ArrayPicture(next(iter(video)).picture.rgb(_WIDTH, _HEIGHT))
    return picture, models.detector.detect(picture).box_px


def milliseconds(call: Callable[[], object]) -> float:
    """Median time of a call, the first two left out."""
    times = []
    for _ in range(_CALLS + 2):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return float(np.median(times[2:])) * 1e3


def network_times(models: Models) -> dict[str, float]:
    """Detector: ms per picture of 640x360. Face network, crops and pose included: ms per face, eight together."""
    picture, boxes = demo_picture(models)
    if not len(boxes):
        raise SystemExit(f"no face found in the first frame of {_DEMO}")
    faces = np.resize(boxes, (_FACES, 4)).astype(np.float32)
    return {
        "detector_ms_per_call": milliseconds(lambda: models.detector.detect(picture)),
        "face_network_ms_per_face": milliseconds(lambda: models.network.analyse([picture], [faces])) / _FACES,
    }


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure `vidfer process` against decoding alone.")
    parser.add_argument("clips", nargs="*", default=CLIPS, help="names in the folder of videos, paths, or crowd")
    parser.add_argument("--videos", type=Path, default=_REPOSITORY.parent / "shared" / "videos", metavar="DIR")
    parser.add_argument("--repeat", type=int, default=5, metavar="N")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--precision", default="auto", help="auto, float32 or int8")
    options = parser.parse_args(arguments)
    if options.repeat < 1:
        parser.error("--repeat must be at least 1")
    clips = [options.videos / name for name in options.clips if name != CROWD]  # an absolute path stays what it is
    if missing := [str(clip) for clip in clips if not clip.is_file()]:
        parser.error(f"not there: {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as folder:
        if CROWD in options.clips:
            clips.append(Path(folder) / f"{CROWD}.mp4")
            make_crowd.compose(clips[-1], options.videos, seconds=12)
        print(json.dumps(run(clips, options.repeat, Models(options.device, options.precision)), indent=1))


def run(clips: list[Path], repeat: int, models: Models) -> dict[str, Any]:
    """All repeats of all clips."""
    repeats: dict[str, list[dict[str, Any]]] = defaultdict(list)
    networks: list[dict[str, Any]] = []
    for _ in range(repeat):
        networks.append(network_times(models))
        for clip in clips:
            repeats[clip.name].append(measure(clip, models))
    return {
        "repeat": repeat,
        "machine": {"platform": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()},
        "providers": {entry["name"]: entry["provider"] for entry in models.entries},
        "networks": medians(networks),
        "clips": {name: medians(measured) for name, measured in repeats.items()},
        "peak_rss_bytes": peak_rss_bytes(),
    }


if __name__ == "__main__":
    main()
