"""What a camera leaves on the disk: a piece of the table every minute or so, and of the video where it is recorded.

A disk that takes nothing any more ends nothing: writing pauses, loudly, and goes on when it can. The piece that could
not be written is kept in memory until then; what comes in between is counted and left out.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from vidfer.errors import OutputError, one_line
from vidfer.media.picture import VideoPicture
from vidfer.output.archive import Archive
from vidfer.pipeline.board import EMOTION_SMOOTH, LABEL_SMOOTH, VALENCE_AROUSAL_SMOOTH
from vidfer.pipeline.follow import Followed
from vidfer.pipeline.raw import to_table
from vidfer.pipeline.recording import Recording
from vidfer.pipeline.tables import observations
from vidfer.pipeline.tracks import SMOOTHED, Seen
from vidfer.types import ColourSpace, FrameResult

_log = logging.getLogger(__name__)

_RETRY_S = 5.0
# Frames that wait as such: their faces take five times as much memory as the rows that they become.
_MOST_WAITING = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingOptions:
    """What is written of a camera.

    Attributes:
        segment_s: How long a piece is.
        landmarks: Points of a face in the table: 68, 478 or None.
        record: Record the video too, annotated.
        blur: Make the faces in it unrecognisable.
    """

    segment_s: float = 60.0
    landmarks: int | None = 68
    record: bool = False
    blur: bool = False


@dataclass(slots=True)
class _Piece:
    """One piece, while it grows."""

    table: Path
    video: Path
    began: datetime
    pictures: tuple[int, int, ColourSpace | None]
    waiting: list[FrameResult] = field(default_factory=list)
    tables: list[pa.Table] = field(default_factory=list)
    frames: int = 0
    faces: int = 0
    about: dict[str, Any] | None = None
    told: int = 0  # of the frames that could not be written before, those that `about` tells
    has_lost_video: bool = False


class Rolling:
    """Writes the followed frames of one camera; one thread.

    Args:
        archive: Where to.
        camera: Its name.
        options: What.
        describe: Gives what a piece says about itself, from (frames, faces, frames that could not be written before).
        happened: Called with what happens to the writing and the reason.
    """

    def __init__(
        self,
        archive: Archive,
        camera: str,
        options: RollingOptions,
        *,
        describe: Callable[[int, int, int], dict[str, Any]],
        happened: Callable[[str, str | None], None],
    ) -> None:
        self._archive, self._camera, self._options = archive, camera, options
        self._describe, self._happened = describe, happened
        self._piece: _Piece | None = None
        self._recording: Recording | None = None
        self._not_written = 0
        self._retry_at = 0.0
        self.trouble: str | None = None

    @property
    def state(self) -> str:
        """The word "on"; or "paused: " and why."""
        return "on" if self.trouble is None else f"paused: {self.trouble}"

    @property
    def busy(self) -> list[Path]:
        """The file that is being written."""
        return [self._piece.video] if self._piece is not None and self._recording is not None else []

    def add(self, followed: Followed) -> None:
        """Write a frame, sooner or later."""
        utc, picture = followed.frame.captured_utc or datetime.now(UTC), followed.frame.picture
        colours = cast(VideoPicture, picture).colours if self._options.record else None
        pictures = (picture.width, picture.height, colours)  # a video takes no others
        piece = self._piece
        if piece is not None and (self._is_over(piece, utc) or piece.pictures != pictures):
            try:
                self.close_piece()
            except Exception as error:  # noqa: BLE001 (logged there; this frame is of the next piece)
                self.abandon(error)
        if self.trouble is not None:
            self._not_written += 1
            return
        if self._piece is None:
            self._piece = _Piece(*self._archive.places(self._camera, utc), began=utc, pictures=pictures)
        piece = self._piece
        piece.frames += 1
        piece.faces += int((followed.result.faces.track_id >= 0).sum())
        piece.waiting.append(followed.result)
        if len(piece.waiting) >= _MOST_WAITING:
            self._tabulate(piece)
        if self._options.record and not piece.has_lost_video:
            self._record(piece, followed)

    def tick(self, now: datetime) -> None:
        """Do what is due, whether frames come or not."""
        if self.trouble is not None:
            if time.monotonic() >= self._retry_at:
                self._write()
        elif self._piece is not None and self._is_over(self._piece, now):
            self.close_piece()

    def close_piece(self) -> None:
        """End the piece that grows, if there is one."""
        if self._recording is not None and self._piece is not None:
            recording, self._recording = self._recording, None
            try:
                recording.close()
            except OutputError as error:
                self._pause(error)
            except Exception as error:  # noqa: BLE001 (logged there)
                self._lose_video(self._piece, error)
        if self._piece is not None and self.trouble is None:
            self._write()

    def abandon(self, error: Exception) -> None:
        """Give up the piece that grows, which cannot be written for a reason that is not the disk's."""
        _log.debug("%s", self._camera, exc_info=True)
        piece, self._piece = self._piece, None
        self._discard_recording(error)
        if piece is not None:
            self._not_written += piece.frames + piece.told
            self._happened("piece lost", f"{type(error).__name__}: {one_line(error)}: {piece.frames} frames")

    def close(self) -> None:
        """End everything, with a last attempt where writing is paused.

        Raises:
            OutputError: There are frames that could not be written.
        """
        self.close_piece()
        if self.trouble is not None:
            self._write()
        if self.trouble is not None:
            frames = self._not_written + (self._piece.frames if self._piece is not None else 0)
            raise OutputError(f"{self._camera}: {frames} frames could not be written: {self.trouble}")

    def _is_over(self, piece: _Piece, now: datetime) -> bool:
        """Whether it is long enough, or of another day; or of another time, where the clock was set back."""
        segment, age = timedelta(seconds=self._options.segment_s), now - piece.began
        return not timedelta() <= age < segment or now.date() != piece.began.date()

    def _tabulate(self, piece: _Piece) -> None:
        if piece.waiting:
            piece.tables.append(_rows(piece.waiting, self._camera, self._options.landmarks))
            piece.waiting.clear()

    def _write(self) -> None:
        """Write the piece, and what could not be written before."""
        piece, not_written = self._piece, self._not_written
        try:
            if piece is not None:
                self._tabulate(piece)
                if piece.about is None:  # else told already, at the attempt that failed
                    piece.about = self._describe(piece.frames, piece.faces, self._not_written)
                    piece.told, self._not_written = not_written, 0
                self._archive.write(piece.table, piece.tables, piece.about)
                _log.debug("%s: %s: %d frames", self._camera, piece.table.name, piece.frames)
        except OutputError as error:
            self._pause(error)
            return
        self._piece = None
        if self.trouble is not None:
            self.trouble = None
            self._happened("writing resumed", f"{not_written} frames were not written")

    def _record(self, piece: _Piece, followed: Followed) -> None:
        try:
            if self._recording is None:
                self._recording = Recording(
                    piece.video,
                    followed,
                    landmarks=self._options.landmarks is not None,
                    blur=self._options.blur,
                )
            self._recording.add(followed)
        except OutputError as error:
            self._discard_recording(error)
            self._pause(error)
        except Exception as error:  # noqa: BLE001 (logged there; the table needs no video)
            self._discard_recording(error)
            self._lose_video(piece, error)

    def _discard_recording(self, error: Exception) -> None:
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.discard(error)

    def _lose_video(self, piece: _Piece, error: Exception) -> None:
        """Go without the rest of a piece's video, which cannot be made for a reason that is not the disk's."""
        _log.debug("%s", self._camera, exc_info=True)
        piece.has_lost_video = True
        self._happened("video lost", f"{type(error).__name__}: {one_line(error)}")

    def _pause(self, error: OutputError) -> None:
        self._retry_at = time.monotonic() + _RETRY_S
        if self.trouble is None:
            self.trouble = one_line(error)
            self._happened("writing paused", self.trouble)


def _rows(results: list[FrameResult], camera: str, landmarks: int | None) -> pa.Table:
    """Rows of the table of observations; of the faces only the sure ones."""
    raw = to_table(results, landmarks)
    is_sure = np.concatenate([r.faces.track_id >= 0 if len(r.faces) else np.zeros(1, bool) for r in results])
    faces = [result.faces for result in results if len(result.faces)]
    chosen = [f.track_id >= 0 for f in faces]
    smoothed = np.empty(int(is_sure.sum()), SMOOTHED)
    for name, head in (("emotion_probability", EMOTION_SMOOTH), ("valence_arousal", VALENCE_AROUSAL_SMOOTH)):
        smoothed[name] = np.concatenate(
            [f.heads[head][c] for f, c in zip(faces, chosen, strict=True)] or [smoothed[name]]
        )
    labels = [f.heads[LABEL_SMOOTH][c, 0] for f, c in zip(faces, chosen, strict=True)]
    smoothed["emotion"] = np.concatenate(labels or [smoothed["emotion"]])
    seen = Seen(
        is_sure=is_sure,
        face_id=np.concatenate([f.track_id[c] for f, c in zip(faces, chosen, strict=True)] or [np.zeros(0, np.int64)]),
        smoothed=smoothed,
        bridge_at=np.zeros(0, np.int64),
        bridge_id=np.zeros(0, np.int64),
        bridge_box=np.zeros((0, 4), np.float32),
    )
    return observations(raw, seen, source=camera, landmarks=landmarks)
