"""A small world for whole runs with faults in them: a clip of two seconds, and networks that take no time.

The networks are those of vidfer with sessions that know the answers: what is found depends on the pictures alone.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from patience import PATIENCE_S

from vidfer.media.synthetic import write_video
from vidfer.pipeline.models import Models
from vidfer.pipeline.options import ProcessOptions
from vidfer.pipeline.report import model_entries
from vidfer.pipeline.results import ProcessResult
from vidfer.pipeline.run import process_file
from vidfer.vision.detect import FaceDetector
from vidfer.vision.face import FaceNetwork
from vidfer.vision.session import ModelCard

WIDTH, HEIGHT, FRAMES, CUT = 160, 96, 40, 23
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
NAME = "clip"
PARTS = f".{NAME}.vidfer"
TABLES = {f"{NAME}.parquet", f"{NAME}.tracks.parquet", f"{NAME}.run.json"}
ALL = TABLES | {f"{NAME}.annotated.mp4"}


def write_clip(path: Path) -> Path:
    """Two shots with noise, which no encoder makes small, and with sound."""
    random = np.random.default_rng(0)
    scenes = [np.kron(random.integers(0, 90, (6, 10, 3)), np.ones((16, 16, 1), int)) + 100 * k for k in range(2)]
    noise = [random.integers(0, 40, (HEIGHT, WIDTH, 3)) for _ in range(7)]
    tone = (0.2 * np.sin(np.arange(48000 * 2) * 0.05)).astype(np.float32)
    images = ((scenes[at >= CUT] + noise[at % 7]).astype(np.uint8) for at in range(FRAMES))
    write_video(path, ((image, at) for at, image in enumerate(images)), time_base=Fraction(1, 25), sound=tone)
    return path


class DetectorSession:
    """One face, two behind the cut."""

    provider = "cpu"
    card = ModelCard(name="face_detector", version="0", licence="none", sha256="0" * 64, details={})

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        image = inputs["image"]
        boxes = np.array([[[10, 20, 50, 70], [90, 20, 130, 70]]], np.float32)[:, : 2 if image.mean() > 120 else 1]
        return {"box": boxes, "score": np.full(boxes.shape[:2], 0.9, np.float32)}


class NetworkSession:
    """A face in every crop, where it is looked for; how it looks follows from its place in the batch of a picture."""

    provider = "cpu"
    card = ModelCard(name="face_analyzer", version="0", licence="none", sha256="1" * 64, details={})

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        self._mesh = (random.standard_normal((478, 3)) * 20 + (56, 56, 0)).astype(np.float32)
        self._mesh[[33, 263]] = (36, 50, 0), (76, 50, 0)
        self._embedding = random.standard_normal(128).astype(np.float32)

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        crops = inputs["image"]
        count, size = len(crops), crops.shape[1]
        shade = crops.reshape(count, -1).mean(1)[:, None].astype(np.float32) / 255
        box = np.array([0.25, 0.25, 0.75, 0.75], np.float32) * size
        return {
            "emotion": np.full((count, 8), 0.125, np.float32),
            "valence_arousal": np.concatenate([shade, -shade], 1),
            "landmarks": np.repeat(self._mesh[None] * size / 112, count, 0),
            "landmarks68": np.repeat(self._mesh[None, :68, :2] * size / 112, count, 0),
            "box": np.repeat(box[None], count, 0),
            "presence": np.full((count, 1), 0.95, np.float32),
            "embedding": np.repeat(self._embedding[None], count, 0),
        }


class FastModels(Models):
    """What `process_file` takes for both networks."""

    def __init__(self, device: str = "auto", precision: str = "auto") -> None:
        self.sessions = [DetectorSession(), NetworkSession()]  # type: ignore[list-item]
        self.entries = model_entries(self.sessions)
        self.detector = FaceDetector(self.sessions[0], threshold=0.5)
        self.network = FaceNetwork(self.sessions[1])


def process(clip: Path, folder: Path, progress: Any = None, **options: Any) -> ProcessResult:
    """A whole run with the networks that take no time."""
    return process_file(clip, ProcessOptions(output_dir=folder, **options), models=FastModels(), progress=progress)


def fresh(error: BaseException) -> BaseException:
    """Another one of the same kind: notes stay with the error they were added to."""
    return type(error)(*error.args)


def at_call(number: int, error: BaseException, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which fails when it is called for the nth time, whichever thread calls it."""
    calls, lock = [0], threading.Lock()

    def failing(*args: Any, **options: Any) -> Any:
        with lock:
            calls[0] += 1
            now = calls[0]
        if now == number:
            raise fresh(error)
        return function(*args, **options)

    return failing


def after(number: int, error: BaseException, function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """The generator function, which fails after so many items of its first use."""

    def failing(*args: Any, **options: Any) -> Iterator[Any]:
        for at, item in enumerate(function(*args, **options)):
            if at == number:
                raise fresh(error)
            yield item

    return failing


@contextmanager
def in_time() -> Iterator[None]:
    """A hang of this thread fails its case and no other."""

    def late(*_: object) -> None:
        raise AssertionError(f"it hangs: {PATIENCE_S:g} s are over")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    """Of the results that lie there."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
