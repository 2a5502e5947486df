"""The second pass over a file: decode it again, join the frames with their rows, draw, encode.

    decode thread (YUV 4:2:0) --> bounded channel --> join on (frame, pts) --> draw --> encode (threads of its own)

It needs the table and the video only, no network.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from vidfer.errors import InputError, UsageError
from vidfer.media.encode import VideoWriter
from vidfer.media.file import VideoFile
from vidfer.media.picture import VideoPicture
from vidfer.media.planes import YuvPicture
from vidfer.output.canvas import YuvCanvas
from vidfer.output.overlay import Overlay, OverlayFace
from vidfer.output.parquet import open_table, read_footer
from vidfer.pipeline.queues import read_ahead
from vidfer.types import DETECTED, EMOTIONS, FACE_STATUS, Frame

HOLD_S = 0.5  # so long the last boxes stay on frames that were not sampled
_FRAMES_AHEAD = 4  # decoded RGB pictures: 25 MB each at 4K
_BATCH_ROWS = 2048

_BOX = ["face_x", "face_y", "face_w", "face_h"]
_AFFECT = [*(f"emotion_{name}_smooth" for name in EMOTIONS), "valence_smooth", "arousal_smooth"]
_TEXTS = ["face_status", "emotion_smooth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Analysed:
    """What the table says about one frame."""

    index: int
    pts: int | None
    faces: list[OverlayFace]


def render(
    video: Path,
    table: Path,
    destination: Path,
    *,
    landmarks: bool = False,
    progress: Callable[[int, float], None] | None = None,
) -> None:
    """Draw the rows of a table onto the video they were made from.

    Every frame is kept with its time, and so is the sound. Frames that were not sampled hold the last boxes for half a
    second.

    Args:
        video: The source.
        table: Its observations, ``NAME.parquet``.
        destination: The MP4 to write; it appears when it is complete.
        landmarks: Draw them too.
        progress: Called after every frame with the number of frames and the time in the source in seconds.

    Raises:
        InputError: The video or the table cannot be read, or the table was made from another video.
        UsageError: The table has no landmarks to draw.
        OutputError: The result cannot be written.
    """
    source = read_footer(table).get("source", {})
    with VideoFile(video, stream=source.get("stream", 0)) as file, closing(_analysed_frames(table, landmarks)) as rows:
        info = file.info
        if source.get("size") not in (None, info.size_bytes):
            raise _foreign(video, table, f"it was made from {source['size']} bytes, the video has {info.size_bytes}")
        overlay = Overlay(info.width, info.height, file.colours)
        faces_of = _Join(rows, video, table)
        with (
            VideoWriter(
                destination,
                width=info.width,
                height=info.height,
                time_base=info.time_base,
                frame_rate=info.average_frame_rate,
                audio_from=video if info.has_audio else None,
                colours=file.colours,
            ) as writer,
            read_ahead("render decode", _pictures(file), _FRAMES_AHEAD) as pictures,
        ):
            for done, (frame, picture) in enumerate(pictures, start=1):
                faces = faces_of.frame(frame)
                if faces:
                    overlay.draw(YuvCanvas(picture.writable()), faces)
                writer.write(picture, frame.pts)
                if progress is not None:
                    progress(done, frame.time_s or 0.0)
            faces_of.finish()


def _pictures(file: VideoFile) -> Iterator[tuple[Frame, YuvPicture]]:
    """Frames with their pictures, put upright here so that it happens in the decoding thread."""
    for frame in file:
        yield frame, cast(VideoPicture, frame.picture).yuv()


class _Join:
    """Finds the faces of each decoded frame, in one pass over both."""

    def __init__(self, analysed: Iterator[_Analysed], video: Path, table: Path) -> None:
        self._analysed = analysed
        self._video, self._table = video, table
        self._next = next(analysed, None)
        self._held: list[OverlayFace] = []
        self._held_from_s: float | None = None

    def frame(self, frame: Frame) -> list[OverlayFace]:
        """The faces to draw on the next frame."""
        row = self._next
        if row is None or row.index != frame.index:
            return self._hold(frame.time_s)
        if row.pts != frame.pts:
            reason = f"frame {frame.index} has pts {row.pts} in the table and {frame.pts} in the video"
            raise _foreign(self._video, self._table, reason)
        self._next = next(self._analysed, None)
        self._held, self._held_from_s = row.faces, frame.time_s
        return row.faces

    def _hold(self, time_s: float | None) -> list[OverlayFace]:
        if time_s is None or self._held_from_s is None or time_s - self._held_from_s > HOLD_S:
            return []
        return self._held

    def finish(self) -> None:
        """All frames of the table must have been there."""
        if self._next is not None:
            raise _foreign(
                self._video, self._table, f"it goes on with frame {self._next.index}, the video ended before"
            )


def _foreign(video: Path, table: Path, reason: str) -> InputError:
    return InputError(f"{table} was not made from {video}: {reason}; run `vidfer process` on that video")


def _analysed_frames(table: Path, landmarks: bool) -> Generator[_Analysed, None, None]:
    """The frames of a table in their order, read in small pieces."""
    with open_table(table) as file:
        names = file.schema_arrow.names
        if landmarks and "landmarks" not in names:
            raise UsageError(f"{table} has no landmarks to draw: process the video with --landmarks 68 or 478")
        wanted = ["frame", "pts", "face_id", *_TEXTS, *_BOX, *_AFFECT, *(["landmarks"] if landmarks else [])]
        lacking = [name for name in wanted if name not in names]
        if lacking:
            raise InputError(f"{table} lacks the column {lacking[0]}: give a table made by `vidfer process`")
        batches = file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted)
        rows = (row for batch in batches for row in _rows(batch, landmarks))
        for (index, pts), group in groupby(rows, key=itemgetter(0, 1)):
            yield _Analysed(index=index, pts=pts, faces=[face for _, _, face in group if face is not None])


def _rows(batch: pa.RecordBatch, landmarks: bool) -> Iterator[tuple[int, int | None, OverlayFace | None]]:
    """(frame, pts, face) of every row; the face is None where there is none."""
    frame, pts, face_id, status, label = (batch[name].to_pylist() for name in ("frame", "pts", "face_id", *_TEXTS))
    numbers = np.stack([batch[name].to_numpy(zero_copy_only=False) for name in (*_BOX, *_AFFECT)], axis=1)
    box, affect = numbers[:, :4], numbers[:, 4:].astype(np.float32)
    corner = box[:, :2] + box[:, 2:]
    points = _points(batch["landmarks"]) if landmarks else [None] * len(frame)
    for row, number in enumerate(face_id):
        if number is None:
            yield frame[row], pts[row], None
            continue
        seen = not np.isnan(affect[row]).any()
        yield (
            frame[row],
            pts[row],
            OverlayFace(
                face_id=number,
                box_px=(*box[row, :2].tolist(), *corner[row].tolist()),
                status=FACE_STATUS.index(status[row]) if status[row] is not None else DETECTED,
                label=label[row],
                probabilities=affect[row, :8] if seen else None,
                valence=float(affect[row, 8]) if seen else None,
                arousal=float(affect[row, 9]) if seen else None,
                landmarks=points[row],
            ),
        )


def _points(column: pa.Array) -> list[Any]:
    """f32[K,2] of each row of a list column, None where it is null."""
    known = column.is_valid().to_numpy(zero_copy_only=False)
    if not known.any():
        return [None] * len(known)
    values = column.flatten().to_numpy(zero_copy_only=False).reshape(int(known.sum()), -1, 2)
    place = np.cumsum(known) - 1
    return [values[at] if is_known else None for at, is_known in zip(place, known, strict=True)]
