"""Cameras that are none: frames of a clip, analysed once, put on a board again and again."""

import itertools
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from vidfer.media.file import VideoFile
from vidfer.pipeline.board import (
    EMOTION_SMOOTH,
    LABEL_SMOOTH,
    VALENCE_AROUSAL_SMOOTH,
    Board,
    CameraStatus,
    LiveFrame,
)
from vidfer.pipeline.looks import Looker
from vidfer.pipeline.models import Models
from vidfer.pipeline.still import still_analysis
from vidfer.pipeline.tracks import softmax
from vidfer.types import FrameResult

STARTED = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


def looker():
    models = Models(device="cpu")
    return Looker(models.detector, models.network)


def analysed(clip, looking, count, step=1):
    """(picture, faces) of every `step`-th frame of a clip, with ids from left to right, and smoothed."""
    analyze, found, before = still_analysis(looking), [], None
    with VideoFile(clip) as video:
        for frame in itertools.islice(video, 0, count * step, step):
            image = frame.picture.rgb()
            faces = analyze(image)
            now = np.concatenate([softmax(faces.heads["emotion"]), faces.heads["valence_arousal"]], axis=1)
            if before is not None and before.shape == now.shape:
                now = (0.8 * before + 0.2 * now).astype(np.float32)
            before = now
            heads = {
                **faces.heads,
                EMOTION_SMOOTH: now[:, :8],
                VALENCE_AROUSAL_SMOOTH: now[:, 8:],
                LABEL_SMOOTH: now[:, :8].argmax(axis=1)[:, None].astype(np.float32),
            }
            found.append((image, replace(faces, track_id=np.arange(len(faces), dtype=np.int64), heads=heads)))
    return found


@dataclass
class FakeCamera:
    """A camera on a board that does what a test says."""

    board: Board
    name: str
    frames: list
    fps: float = 25.0
    index: int = -1
    pictures: int = 0  # how many of its frames had one

    def __post_init__(self):
        self.status = CameraStatus(name=self.name, url=f"rtsp://camera.example/{self.name}")
        self.board.update(self.status)

    def say(self, **changes):
        self.status = replace(self.status, **changes)
        self.board.update(self.status)

    def step(self):
        """Put the next frame on the board, as the watching does: with a picture if somebody looks."""
        if self.board.paused(self.name):
            self.say(state="paused")
            return
        if self.status.state not in ("connecting", "live", "paused"):
            return
        self.index += 1
        image, faces = self.frames[self.index % len(self.frames)]
        looked_at = self.board.wanted(self.name)
        self.pictures += looked_at
        time_s = self.index / self.fps
        captured = STARTED + timedelta(seconds=time_s)
        when = {"index": self.index, "epoch": self.status.epoch, "time_s": time_s, "captured_utc": captured}
        result = FrameResult(pts=None, shot=0, corrupt=False, faces=faces, **when)
        picture = image if looked_at else None
        self.board.publish(LiveFrame(camera=self.name, image=picture, result=result, **when))
        self.say(
            state="live",
            width=image.shape[1],
            height=image.shape[0],
            frames=self.index + 1,
            faces=self.status.faces + len(faces),
            fps=self.fps,
            latency_p50_ms=21.4,
            latency_p95_ms=38.25,
            last_frame_utc=captured,
        )


@contextmanager
def playing(*cameras):
    """Frames come, at the rate of the first camera, until the block ends or the board is asked to stop."""
    over = threading.Event()

    def play():
        while not over.wait(1 / cameras[0].fps) and not cameras[0].board.stop_requested.is_set():
            for camera in cameras:
                camera.step()

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
