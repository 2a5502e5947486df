"""`watch`: cameras in, rolling tables out, for weeks.

    camera threads (decode) --> mailboxes: newest wins --> looks, ids, smoothing (the caller) --> writer thread

The models are shared: every round takes the newest frame of each camera that has one, detects in one after the other
and looks at the faces of all of them in one batch.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np

import vidfer
from vidfer.errors import OutputError, one_line
from vidfer.media.codecs import decoder_version
from vidfer.output.archive import Archive, Keep
from vidfer.pipeline.board import Board, CameraStatus
from vidfer.pipeline.camera import Camera
from vidfer.pipeline.follow import Followed
from vidfer.pipeline.looks import Look, Looker
from vidfer.pipeline.models import Models
from vidfer.pipeline.queues import Aborted, Channel, Mailboxes, Worker, run_in_thread
from vidfer.pipeline.report import TOPOLOGY
from vidfer.pipeline.rolling import Rolling, RollingOptions
from vidfer.pipeline.watch_options import WatchOptions
from vidfer.schema import SCHEMA_VERSION
from vidfer.smooth import Smoothing
from vidfer.types import EMOTIONS, F32, Frame

_log = logging.getLogger("vidfer.watch")

_TICK_S = 0.5
# Frames that wait for the writer, with their pictures where they are recorded: a second of one camera.
_MOST_WRITING = 25
_RETAIN_S = 60.0
# A thread that waits for a camera that is silent is left alone after so long: the process ends without it.
_PATIENCE_S = 1.0


def watch(
    options: WatchOptions,
    board: Board,
    *,
    models: Models | None = None,
    tell: Callable[[list[CameraStatus]], None] | None = None,
) -> list[CameraStatus]:
    """Watch cameras until all of them are over or `board.stop_requested` is set; then everything is written.

    Args:
        options: What to do.
        board: Where frames and states are shown.
        models: Loaded networks; loaded here by default.
        tell: Called twice a second with how the cameras are doing.

    Returns:
        How the cameras were doing at the end, in their order.

    Raises:
        OutputError: The folder cannot be written to, or some of the last frames could not be written.
        UsageError: Another vidfer writes to the folder.
    """
    with Archive(options.output) as archive:
        return _Watch(options, board, models or Models(options.device, options.precision), archive, tell).do()


class _Watch:
    def __init__(
        self,
        options: WatchOptions,
        board: Board,
        models: Models,
        archive: Archive,
        tell: Callable[[list[CameraStatus]], None] | None,
    ) -> None:
        self._options, self._board, self._models, self._tell = options, board, models, tell
        self._looker = Looker(models.detector, models.network)
        self._last_seen: dict[str, F32] = {}
        self._mailboxes = Mailboxes[Frame]()
        self._cameras: dict[str, Camera] = {}
        for camera in options.cameras:
            last = (archive.newest(camera.name) or {}).get("last") or None
            self._cameras[camera.name] = Camera(camera, options, board, self._mailboxes, last)
        self._writer = _Writer(options, archive, list(self._cameras.values()), self._about())

    def do(self) -> list[CameraStatus]:
        """Watch, then leave everything in order, whatever ended it."""
        self._show_status()
        threads = [run_in_thread(f"camera {camera.name}", camera.run) for camera in self._cameras.values()]
        try:
            self._analyse()
        finally:
            self._board.stop_requested.set()
            try:
                for camera in self._cameras.values():
                    with suppress(Aborted):
                        self._writer.add(camera, camera.flush())
            finally:
                self._close(threads)
        return self._statuses()

    def _close(self, threads: Sequence[Worker]) -> None:
        try:
            self._writer.close()
        finally:
            patient_until = time.monotonic() + _PATIENCE_S
            for thread in threads:
                thread.wait(max(0.0, patient_until - time.monotonic()))
            self._show_status()

    def _analyse(self) -> None:
        due = time.monotonic() + _TICK_S
        while not self._board.stop_requested.is_set():
            over = all(camera.is_over for camera in self._cameras.values())
            frames = self._mailboxes.take(0 if over else max(0.0, due - time.monotonic()))
            for look in self._looks(list(frames.values())):
                camera = self._cameras[look.frame.source_id]
                self._writer.add(camera, camera.follow(look))
            if over and not frames:
                return
            if time.monotonic() >= due:
                due = time.monotonic() + _TICK_S
                self._writer.tick()
                self._show_status()

    def _looks(self, frames: Sequence[Frame]) -> list[Look]:
        """Look at frames of several cameras at once; one that cannot be looked at takes nothing from the others."""
        if not frames:
            return []
        try:
            nobody = np.zeros((0, 4), np.float32)
            looks = self._looker.detect(frames, [self._last_seen.get(frame.source_id, nobody) for frame in frames])
        except Exception as error:  # noqa: BLE001 (a picture that breaks a library must not end the watching)
            if len(frames) > 1:
                return [look for frame in frames for look in self._looks([frame])]
            self._cameras[frames[0].source_id].skip(error)
            return []
        self._last_seen.update((look.frame.source_id, look.box_px) for look in looks)
        return looks

    def _statuses(self) -> list[CameraStatus]:
        return [camera.status(self._writer.state(camera)) for camera in self._cameras.values()]

    def _show_status(self) -> None:
        statuses = self._statuses()
        for status in statuses:
            self._board.update(status)
        if self._tell is not None:
            self._tell(statuses)

    def _about(self) -> dict[str, Any]:
        """What every piece of every table says."""
        options, camera = self._options, next(iter(self._cameras.values()))
        smoothing = asdict(Smoothing.preset(options.smooth))
        return {
            "schema_version": SCHEMA_VERSION,
            "vidfer_version": vidfer.__version__,
            "decoder": decoder_version(),
            "models": self._models.entries,
            "emotion_labels": list(EMOTIONS),
            "landmark_topology": TOPOLOGY[options.landmarks],
            "tracker": asdict(camera.tracking),
            "smoothing": {"preset": options.smooth, "lag_s": options.lag, **smoothing},
        }


class _Writer:
    """The thread that writes what all cameras leave."""

    def __init__(
        self, options: WatchOptions, archive: Archive, cameras: Sequence[Camera], about: dict[str, Any]
    ) -> None:
        self._archive, self._about = archive, about
        gigabytes = options.keep_gb
        self._keep = Keep(days=options.keep_days, size_bytes=None if gigabytes is None else gigabytes * 1e9)
        rolling = RollingOptions(
            segment_s=options.segment, landmarks=options.landmarks, record=options.record, blur=options.blur
        )
        self._rolling = {camera.name: self._roll(camera, rolling) for camera in cameras}
        self._retain_at = 0.0
        self._channel = Channel[tuple[str, Followed] | None](_MOST_WRITING)
        self._worker = run_in_thread("writer", self._run)

    def _roll(self, camera: Camera, options: RollingOptions) -> Rolling:
        def describe(frames: int, faces: int, not_written: int) -> dict[str, Any]:
            account = camera.account()
            counts = {**account.pop("counts"), "analysed": frames, "faces": faces, "not_written": not_written}
            return {
                **self._about,
                "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
                **account,
                "counts": counts,
            }

        def happened(event: str, reason: str | None) -> None:
            camera.note(event, reason, logging.WARNING if event == "writing resumed" else logging.ERROR)

        return Rolling(self._archive, camera.name, options, describe=describe, happened=happened)

    def state(self, camera: Camera) -> str:
        """Whether a camera's frames are written; see `CameraStatus.writing`."""
        return self._rolling[camera.name].state

    def add(self, camera: Camera, followed: Sequence[Followed]) -> None:
        """Have frames written."""
        for one in followed:
            self._channel.put((camera.name, one))

    def tick(self) -> None:
        """Have done what is due by time."""
        self._channel.put(None)

    def close(self) -> None:
        """Write everything.

        Raises:
            OutputError: Some of it cannot be written.
        """
        with suppress(Aborted):
            self._channel.close()
        self._worker.join()

    def _run(self) -> None:
        try:
            for message in self._channel:
                if message is None:
                    self._do_what_is_due()
                else:
                    self._carefully(self._rolling[message[0]], partial(Rolling.add, followed=message[1]))
            self._finish()
        except BaseException as error:
            self._channel.abort(error)
            raise

    @staticmethod
    def _carefully(rolling: Rolling, do: Callable[[Rolling], None]) -> None:
        """Do something for one camera such that a fault in what it shows costs the others nothing."""
        try:
            do(rolling)
        except Exception as error:  # noqa: BLE001 (logged there)
            rolling.abandon(error)

    def _do_what_is_due(self) -> None:
        now = datetime.now(UTC)
        for rolling in self._rolling.values():
            self._carefully(rolling, partial(Rolling.tick, now=now))
        if time.monotonic() >= self._retain_at and self._keep != Keep():
            self._retain_at = time.monotonic() + _RETAIN_S
            try:
                self._archive.retain(self._keep, now, [path for one in self._rolling.values() for path in one.busy])
            except OSError as error:  # tried again soon
                _log.warning("old pieces cannot be removed: %s: %s", error.filename, error.strerror)

    def _finish(self) -> None:
        errors = []
        for rolling in self._rolling.values():
            self._carefully(rolling, Rolling.close_piece)
            try:
                rolling.close()
            except OutputError as error:
                errors.append(one_line(error))
        if errors:
            raise OutputError("; ".join(errors))
