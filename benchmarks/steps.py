"""Processor time of single steps on made-up data; prints one JSON object.

    python benchmarks/steps.py [--repeat 5]

The help of the command line, a look at a frame for cuts (a still picture, and another one each time), two faces with 68
points drawn into 720p, 100,000 rows of one track smoothed, and 2,000 pieces of 60 persons linked. Each is the median of
the repeats.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from vidfer.output.canvas import Canvas
from vidfer.output.overlay import Overlay, OverlayFace
from vidfer.pipeline.cuts import THUMBNAIL_H, THUMBNAIL_W, CutDetector
from vidfer.smooth import Smoothing, smooth_track
from vidfer.types import DETECTED, U8
from vidfer.vision.tracklets import Tracklet, link_tracklets

_FPS = 25.0
_FRAMES = 400  # for steps that are over at once


def help_s() -> float:
    """`vidfer --help`, in a process of its own."""
    process = subprocess.Popen([sys.executable, "-m", "vidfer", "--help"], stdout=subprocess.DEVNULL)
    usage = os.wait4(process.pid, 0)[2]
    return usage.ru_utime + usage.ru_stime


def cuts_s(frames: list[U8]) -> float:
    """One frame after the other."""
    detector = CutDetector()
    return spent(lambda: [detector.is_cut(frame) for frame in frames]) / len(frames)


def overlay_s(random: np.random.Generator) -> float:
    """Two faces in one picture."""
    faces = [
        OverlayFace(
            face_id=number,
            box_px=(left, 100.0, left + 180, 320.0),
            status=DETECTED,
            label="happiness",
            probabilities=random.dirichlet(np.ones(8)).astype(np.float32),
            valence=0.5,
            arousal=-0.5,
            landmarks=(random.random((68, 2)) * (180, 220) + (left, 100)).astype(np.float32),
        )
        for number, left in enumerate((300.0, 800.0))
    ]
    overlay, canvas = Overlay(1280, 720), Canvas(list(np.full((3, 720, 1280), 90, np.uint8)))
    return spent(lambda: [overlay.draw(canvas, faces) for _ in range(_FRAMES)]) / _FRAMES


def smooth_s(random: np.random.Generator) -> float:
    """A track of 100,000 rows without gaps."""
    rows = 100_000
    columns = (
        np.arange(rows) / _FPS,
        np.zeros(rows, np.int32),
        random.dirichlet(np.full(8, 0.4), rows).astype(np.float32),
        random.uniform(-1, 1, (rows, 2)).astype(np.float32),
        random.uniform(0, 1, rows).astype(np.float32),
    )
    return spent(lambda: smooth_track(*columns, Smoothing.preset("medium")))


def link_s(random: np.random.Generator) -> float:
    """Short pieces of persons who come back again and again, eight at a time, far apart in time."""
    pieces, people, length = 2000, 60, 20
    centre = random.standard_normal((people, 128))
    tracklets = [piece(random, i // 8 * 40, length, centre[random.integers(people)]) for i in range(pieces)]
    return spent(lambda: link_tracklets(tracklets))


def piece(random: np.random.Generator, first: int, length: int, centre: np.ndarray) -> Tracklet:
    """One tracklet of a person whose embeddings lie around a centre."""
    looks = centre + 0.8 * random.standard_normal((length, len(centre)))
    looks = (looks / np.linalg.norm(looks, axis=1, keepdims=True)).astype(np.float32)
    frame = np.arange(first, first + length)
    return Tracklet(
        frame=frame,
        time_s=frame / _FPS,
        shot=0,
        box_px=np.tile(np.array([0, 0, 50, 50], np.float32), (length, 1)),
        confidence=np.ones(length, np.float32),
        embedding=lambda start, stop: looks[start:stop].copy(),
    )


def spent(work: Callable[[], object]) -> float:
    """Processor time of some work, in seconds."""
    began = time.process_time()
    work()
    return time.process_time() - began


def measure() -> dict[str, float]:
    """One repeat of all."""
    random = np.random.default_rng(0)
    pictures = list(random.integers(0, 256, (_FRAMES, THUMBNAIL_H, THUMBNAIL_W), np.uint8))
    return {
        "help_s": help_s(),
        "cuts_still_ms": 1e3 * cuts_s([pictures[0]] * _FRAMES),
        "cuts_changing_ms": 1e3 * cuts_s(pictures),
        "overlay_ms": 1e3 * overlay_s(random),
        "smooth_100k_rows_s": smooth_s(random),
        "link_2000_pieces_s": link_s(random),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the processor time of single steps.")
    parser.add_argument("--repeat", type=int, default=5, metavar="N")
    repeats = [measure() for _ in range(parser.parse_args().repeat)]
    print(
        json.dumps({name: round(float(np.median([one[name] for one in repeats])), 4) for name in repeats[0]}, indent=1)
    )


if __name__ == "__main__":
    main()
