"""`watch` in a thread, with networks that see one face everywhere: these tests are about streams, not about faces."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow.dataset
from patience import PATIENCE_S, until

from vidfer.output.parquet import read_footer
from vidfer.pipeline.board import Board
from vidfer.pipeline.watch import watch
from vidfer.pipeline.watch_options import watch_options
from vidfer.types import Detections


class OneFace:
    """Stands for both networks, and for `Models`."""

    entries = ()

    def __init__(self):
        self.detector = self.network = self

    def detect(self, picture):
        width, height = picture.width, picture.height
        box = np.array([[width * 0.25, height * 0.25, width * 0.5, height * 0.75]], np.float32)
        return Detections(box_px=box, score=np.ones(1, np.float32))

    def analyse(self, pictures, boxes_px):
        assert all(picture.rgb().shape[2] == 3 for picture in pictures)
        return [_heads(boxes) for boxes in boxes_px]


def _heads(boxes):
    n = len(boxes)
    embedding = np.zeros((n, 128), np.float32)
    embedding[:, 0] = 1
    zeros = {"emotion": 8, "valence_arousal": 2, "landmarks": 478 * 3, "landmarks68": 136, "pose": 3}
    heads = {name: np.zeros((n, width), np.float32) for name, width in zeros.items()}
    heads["landmarks68"][:] = 20.0
    return {**heads, "presence": np.ones((n, 1), np.float32), "quality": np.ones((n, 1), np.float32),
            "embedding": embedding, "box": boxes.copy()}  # fmt: skip


_COMMAND = """
import sys
from functools import partial
sys.path[:0] = {paths!r}
from watching import OneFace
import vidfer.pipeline.models
vidfer.pipeline.models.Models = lambda *_: OneFace()
import vidfer.pipeline.camera as camera
camera.LiveOptions = partial(camera.LiveOptions, open_s=60.0)
from vidfer.cli.app import run
sys.exit(run(sys.argv[1:]))
"""


def start(*args, **environment):
    """`vidfer watch` as a process of its own, which sees one face everywhere, too."""
    code = _COMMAND.format(paths=[path for path in sys.path if path])
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", code, "watch", *map(str, args)]
    return subprocess.Popen(command, env={**os.environ, **environment}, **pipes)


class Watching:
    """A run of `watch`; a context manager that ends it in good order.

    Args:
        folder: Of the output.
        urls: Cameras, or a folder of options for `watch_options`.
        models: Stand-ins for the networks.
        given: Options.
    """

    def __init__(self, folder: Path, *urls: str, models=None, config=None, **given):
        self.board, self.folder = Board(), folder
        self.options = watch_options(urls, config, {"segment": 0.5, "stall": 20.0, "output": folder, **given})
        self._models = models or OneFace()
        self._error, self.result = None, None
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            self.result = watch(self.options, self.board, models=self._models)
        except BaseException as error:  # noqa: BLE001 (raised where the block ends)
            self._error = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self.stop()
        if kind is None and self._error is not None:
            raise self._error

    def stop(self):
        self.board.stop_requested.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def join(self):
        """Wait until all cameras are over."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def camera(self, number=0):
        cameras = self.board.cameras()
        return cameras[number] if number < len(cameras) else None

    def until(self, is_so, number=0, what="it happened"):
        """Wait until something is so of a camera; gives its status."""

        def check():
            assert self._error is None, self._error
            camera = self.camera(number)
            return camera if camera is not None and is_so(camera) else None

        return until(check, what)

    def until_frames(self, more, number=0):
        """Wait until so many more frames are analysed, and that the camera is live."""
        before = self.camera(number).frames if self.camera(number) else 0
        return self.until(lambda c: c.frames >= before + more and c.state == "live", number, f"{more} more frames")

    def until_pieces(self, count):
        """Wait until so many pieces of the table are there."""
        self.until(lambda c: len(self.parts()) >= count, what=f"{count} pieces are written")

    def parts(self, name="*"):
        return sorted(self.folder.glob(f"camera={name}/date=*/part-*.parquet"))


def table(folder):
    """All rows, as anybody would read them."""
    return pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive").to_table().to_pandas()


def footers(folder, name="*"):
    return [read_footer(path) for path in sorted(folder.glob(f"camera={name}/date=*/part-*.parquet"))]


def events(folder, name="*"):
    """What the footers say has happened, in order: (event, reason)."""
    found = [event for footer in footers(folder, name) for event in footer["events"]]
    return [(event["event"], event.get("reason")) for event in sorted(found, key=lambda event: event["utc"])]
