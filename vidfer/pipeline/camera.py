"""One camera while it is watched: its thread, its faces, and how it is doing."""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np

from vidfer.errors import VidferError, one_line
from vidfer.media.connect import LiveOptions
from vidfer.media.ledger import FrameCounts
from vidfer.media.live import Happening, LiveSource, LiveStart
from vidfer.output.mosaic import without_faces
from vidfer.pipeline.board import Board, CameraState, CameraStatus, LiveFrame
from vidfer.pipeline.follow import REMEMBER_S, CameraFollower, Followed
from vidfer.pipeline.looks import Look
from vidfer.pipeline.queues import Mailboxes
from vidfer.pipeline.watch_options import CameraOptions, WatchOptions
from vidfer.smooth import Smoothing
from vidfer.types import U8, Frame
from vidfer.vision.track import FaceTracker, TrackerOptions

_log = logging.getLogger("vidfer.watch")

# Norfair counts updates to forget a face; above this rate it would do so before the clock does.
_FASTEST_FPS = 60.0
_RECENT = 256  # frames that latency and rate are taken from
_RECENT_S = 5.0
_STALLED_S = 2.0
_MOST_EVENTS = 1000


class Camera:
    """A camera that is watched. `run` belongs to its own thread, everything else to the one that analyses.

    Args:
        options: Of the camera.
        watch: Of the whole.
        board: Where its frames and its state are shown.
        mailboxes: Where its frames wait.
        last: What an earlier run said last of this camera; None where there was none.
    """

    def __init__(
        self,
        options: CameraOptions,
        watch: WatchOptions,
        board: Board,
        mailboxes: Mailboxes[Frame],
        last: dict[str, Any] | None,
    ) -> None:
        self.name, self._options, self._watch = options.name, options, watch
        self._board, self._mailboxes = board, mailboxes
        self._last = last
        interval_s = 1 / (options.max_fps or _FASTEST_FPS)
        self.tracking = TrackerOptions(lost_after_s=REMEMBER_S)
        self._follower = CameraFollower(
            FaceTracker(frame_interval_s=interval_s, options=self.tracking),
            smoothing=Smoothing.preset(watch.smooth),
            lag_s=watch.lag,
            interval_s=interval_s,
            first_id=last["face_id"] if last else 0,
            shot=last["shot"] if last else 0,
        )
        self._source: LiveSource | None = None
        self._state: CameraState = "connecting"
        self._error: str | None = None
        self._was_live = False
        self._newest = 0.0
        self._newest_utc: datetime | None = None
        self._reconnects = 0
        self._events: deque[dict[str, str]] = deque(maxlen=_MOST_EVENTS)
        self._frames = self._faces = self._skipped = 0
        self._skip_reason = ""
        self._done: deque[float] = deque(maxlen=_RECENT)
        self._latency_s: deque[float] = deque(maxlen=_RECENT)
        self._where: dict[str, Any] = last or {}
        self._written = FrameCounts()

    @property
    def is_over(self) -> bool:
        """Whether no frames will come any more."""
        return self._state in ("failed", "ended")

    @property
    def has_failed(self) -> bool:
        """Whether it was given up."""
        return self._state == "failed"

    def run(self) -> None:
        """Read the camera, until it is over or the watching ends."""
        stop = self._board.stop_requested
        try:
            self._source = source = LiveSource(
                self.name,
                self._options.address(),
                LiveOptions(
                    transport=self._options.transport,
                    stall_s=self._watch.stall,
                    max_outage_s=self._watch.max_outage,
                    max_fps=self._options.max_fps,
                ),
                start=self._start(),
                wait=stop.wait,
                tell=self._tell,
            )
            for frame in source:
                if stop.is_set():
                    return
                self._newest, self._newest_utc = time.monotonic(), frame.captured_utc
                if self._board.paused(self.name):
                    source.counts.not_sampled += 1
                elif self._mailboxes.put(self.name, frame) is not None:
                    source.counts.dropped += 1
        except VidferError as error:
            self._fail(one_line(error))
        except Exception as error:  # noqa: BLE001 (the others go on, whatever happened here)
            _log.debug("%s", self.name, exc_info=True)
            self._fail(
                f"{type(error).__name__} (a fault of vidfer's: run again with --debug and report what it prints)"
            )

    def _start(self) -> LiveStart:
        """Where the frames of an earlier run ended; on the clock on the wall, the time in between has passed."""
        last = self._last
        if last is None:
            return LiveStart()
        away_s = (datetime.now(UTC) - datetime.fromisoformat(last["utc"])).total_seconds()
        return LiveStart(index=last["frame"] + 1, epoch=last["epoch"] + 1, time_s=last["time_s"] + max(0.0, away_s))

    def _fail(self, reason: str) -> None:
        self._error = reason
        self.note("failed", reason, logging.ERROR)
        self._state = "failed"

    def _tell(self, happening: Happening, reason: str | None) -> None:
        if happening == "live":
            self._newest = time.monotonic()
            self._reconnects += self._was_live and self._state != "live"
            self._was_live, self._state = True, "live"
            info = self._source.info if self._source else None
            self.note("live", f"{info.width}x{info.height} {info.codec}" if info else None)
        elif happening == "lost":
            repeated = reason == self._error and self._state != "live"
            self._error, self._state = reason, "waiting"
            if not repeated:  # once is enough to say that it is still away
                self.note("lost", reason, logging.WARNING)
        elif happening == "ended":
            self._state = "ended"
            self.note("ended", None)
        else:
            self._state = "connecting"

    def note(self, event: str, reason: str | None, level: int = logging.INFO) -> None:
        """Log what happened, and keep it for the next piece of the table."""
        utc = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._events.append({"utc": utc, "event": event, **({"reason": reason} if reason else {})})
        text = f"{self.name}: {event}" + (f": {reason}" if reason else "")
        _log.log(level, "%s", text, extra={"camera": self.name, "event": event, "reason": reason})

    def follow(self, look: Look) -> list[Followed]:
        """Take in the next look; gives the frames that are done, shown on the board."""
        try:
            return self._show(self._follower.add(look))
        except Exception as error:  # noqa: BLE001 (nothing that one camera shows may end the others)
            self.skip(error)
            return []

    def flush(self) -> list[Followed]:
        """The frames that still wait for what follows."""
        try:
            return self._show(self._follower.flush())
        except Exception as error:  # noqa: BLE001 (as above: the others have a last piece to write)
            self.skip(error)
            return []

    def skip(self, error: Exception) -> None:
        """Count a frame that could not be looked at, and say so once for each reason."""
        self._skipped += 1
        reason = f"{type(error).__name__}: {one_line(error)}"
        if reason != self._skip_reason:
            self._skip_reason = reason
            self.note("frame skipped", reason, logging.ERROR)
            _log.debug("%s", self.name, exc_info=True)

    def _show(self, done: list[Followed]) -> list[Followed]:
        for followed in done:
            frame, result = followed.frame, followed.sure()
            utc = frame.captured_utc or datetime.now(UTC)
            self._frames += 1
            self._faces += len(result.faces)
            self._done.append(time.monotonic())
            self._latency_s.append((datetime.now(UTC) - utc).total_seconds())
            self._where = {
                "frame": frame.index,
                "epoch": frame.epoch,
                "time_s": frame.time_s,
                "utc": utc.isoformat(),
                "shot": self._follower.shot,
                "face_id": self._follower.next_id,
            }
            self._board.publish(
                LiveFrame(
                    camera=self.name,
                    index=frame.index,
                    epoch=frame.epoch,
                    time_s=frame.time_s or 0.0,
                    captured_utc=utc,
                    image=self._image(followed),
                    blurred=self._watch.blur,
                    result=result,
                )
            )
        return done

    def _image(self, followed: Followed) -> U8 | None:
        """What those who look get to see."""
        if not self._board.wanted(self.name):
            return None
        image = followed.frame.picture.rgb()
        return without_faces(image, followed.hide_px.tolist()) if self._watch.blur else image

    def status(self, writing: str) -> CameraStatus:
        """How it is doing right now."""
        now, info, state = time.monotonic(), self._source and self._source.info, self._state
        if state == "live":
            stalled = now - self._newest > _STALLED_S
            state = "paused" if self._board.paused(self.name) else "stalled" if stalled else "live"
        recent = [at for at in list(self._done) if now - at <= _RECENT_S]
        p50, p95 = np.percentile(self._latency_s, [50, 95]) * 1e3 if self._latency_s else (None, None)
        return CameraStatus(
            name=self.name,
            url=self._source.shown if self._source else self._options.shown,
            state=state,
            width=info.width if info else 0,
            height=info.height if info else 0,
            epoch=self._where.get("epoch", 0),
            frames=self._frames,
            faces=self._faces,
            fps=(len(recent) - 1) / max(now - recent[0], 1e-3) if len(recent) > 1 else 0.0,
            latency_p50_ms=None if p50 is None else float(p50),
            latency_p95_ms=None if p95 is None else float(p95),
            dropped=(self._source.counts.dropped if self._source else 0) + self._skipped,
            reconnects=self._reconnects,
            last_frame_utc=self._newest_utc,
            last_error=self._error,
            writing=writing,
        )

    def account(self) -> dict[str, Any]:
        """What happened since the last call, and where the next run goes on: for a piece of the table."""
        source, events = self._source, []
        while self._events:
            events.append(self._events.popleft())
        now = asdict(source.counts) if source else asdict(FrameCounts())
        now["dropped"] += self._skipped
        before, self._written = asdict(self._written), FrameCounts(**now)
        info = {} if source is None or source.info is None else asdict(source.info)
        return {
            "source": {"name": self.name, "url": source.shown if source else self._options.shown, **info},
            "counts": {name: now[name] - before[name] for name in now},
            "events": events,
            "last": self._where,
        }
