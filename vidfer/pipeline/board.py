"""What is known of every camera right now: written by the analysis, read by whoever shows it, in any threads.

Nothing piles up here: one status and one frame for each camera, the newest.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from vidfer.types import U8, FrameResult

CameraState = Literal["connecting", "live", "stalled", "waiting", "failed", "paused", "ended"]
CAMERA_STATES: tuple[CameraState, ...] = get_args(CameraState)

# What smoothing adds to `Faces.heads` of a live frame: probabilities [N,8], valence and arousal [N,2], and the index of
# the label that is shown [N,1]; NaN where a face was not analysed. The raw ones are there too.
EMOTION_SMOOTH, VALENCE_AROUSAL_SMOOTH, LABEL_SMOOTH = "emotion_smooth", "valence_arousal_smooth", "label_smooth"


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraStatus:
    """How a camera is doing. Counts are since the start, over all reconnects.

    Attributes:
        name: Of the camera.
        url: Where it is, without credentials.
        state: "connecting" before its first frame; "live"; "stalled": connected, but its newest frame is old;
            "waiting" for the next attempt; "failed": given up; "paused" by somebody; "ended": its source was over.
        width, height: Of its pictures; 0 before the first.
        epoch: +1 at each reconnect that brought frames, and wherever its stamps start anew.
        frames: Analysed.
        faces: Rows of faces in them.
        fps: Analysed frames a second, lately.
        latency_p50_ms, latency_p95_ms: From a frame's arrival to its result, lately; None before there is one.
        dropped: Decoded frames that a newer one overtook.
        reconnects: How often it was lost and came back.
        last_frame_utc: When its newest frame arrived.
        last_error: Why it was lost the last time, without credentials.
        writing: "on", or "paused: " and the reason.
    """

    name: str
    url: str
    state: CameraState = "connecting"
    width: int = 0
    height: int = 0
    epoch: int = 0
    frames: int = 0
    faces: int = 0
    fps: float = 0.0
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    dropped: int = 0
    reconnects: int = 0
    last_frame_utc: datetime | None = None
    last_error: str | None = None
    writing: str = "on"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFrame:
    """The newest analysed frame of a camera.

    Attributes:
        camera: Its name.
        index: Of the frame; rises for ever, over reconnects too.
        epoch: See `CameraStatus`.
        time_s: Since the camera's first frame.
        captured_utc: When it arrived.
        image: Read-only RGB uint8[H,W,3], nothing drawn on it; None where nobody was looking when it was analysed.
        blurred: Whether faces are unrecognisable in it.
        result: Its sure faces with ids, raw heads, and the smoothed ones (`EMOTION_SMOOTH` ...).
    """

    camera: str
    index: int
    epoch: int
    time_s: float
    captured_utc: datetime
    image: U8 | None = field(repr=False)
    blurred: bool = False
    result: FrameResult = field(repr=False)


class Board:
    """The newest status and frame of every camera, and what those who look ask for.

    Attributes:
        stop_requested: Set it to end the watching in good order.
    """

    def __init__(self) -> None:
        self.stop_requested = threading.Event()
        self._lock = threading.Lock()
        self._statuses: dict[str, CameraStatus] = {}
        self._frames: dict[str, LiveFrame] = {}
        self._viewers: Counter[str] = Counter()
        self._paused: set[str] = set()

    def update(self, status: CameraStatus) -> None:
        """Take the place of the camera's status; the first one makes the camera known."""
        with self._lock:
            self._statuses[status.name] = status

    def publish(self, frame: LiveFrame) -> None:
        """Take the place of the camera's frame."""
        with self._lock:
            self._frames[frame.camera] = frame

    def cameras(self) -> list[CameraStatus]:
        """All cameras, in the order in which they became known."""
        with self._lock:
            return list(self._statuses.values())

    def latest(self, name: str) -> LiveFrame | None:
        """The newest frame; its picture is there only if somebody looks. None before there is one."""
        with self._lock:
            return self._frames.get(name)

    @contextmanager
    def look(self, name: str) -> Iterator[None]:
        """Look at a camera: while anybody does, its frames come with their pictures."""
        with self._lock:
            self._viewers[name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._viewers[name] -= 1

    def wanted(self, name: str) -> bool:
        """Whether anybody looks at a camera."""
        with self._lock:
            return self._viewers[name] > 0

    def pause(self, name: str | None = None) -> None:
        """Analyse and write nothing more of a camera (None: of all); it stays connected."""
        with self._lock:
            self._paused |= set(self._statuses) if name is None else {name}

    def resume(self, name: str | None = None) -> None:
        """Go on with a camera (None: with all)."""
        with self._lock:
            self._paused -= set(self._statuses) if name is None else {name}

    def paused(self, name: str) -> bool:
        """Whether a camera is paused."""
        with self._lock:
            return name in self._paused
