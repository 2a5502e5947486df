"""The second pass over a file: decode it again, join the frames with their rows, draw, encode.

    decode thread (YUV 4:2:0) --> draw thread: join on (frame, pts), draw --> encode (the caller, and threads of x264)

It needs the table and the video only, no network.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import cycle
from pathlib import Path
from typing import Any, cast

from vidfer.errors import InputError
from vidfer.media.encode import VideoWriter
from vidfer.media.file import SourceInfo, VideoFile
from vidfer.media.inputs import sha256_of
from vidfer.media.picture import VideoPicture
from vidfer.media.planes import YuvPicture
from vidfer.output.canvas import Canvas
from vidfer.output.mosaic import hide_all, hide_faces
from vidfer.output.overlay import Overlay
from vidfer.output.panel import WINDOW_S, Panel
from vidfer.output.parquet import check_version, read_footer
from vidfer.pipeline.queues import read_ahead
from vidfer.pipeline.results import OnProgress, Progress
from vidfer.pipeline.rows import HIDE_AROUND_S, Analysed, MismatchError, Surroundings, analysed_frames, most_faces
from vidfer.types import Frame

_FRAMES_AHEAD = 4  # decoded pictures: 12 MB each at 4K
_DRAWN_AHEAD = 2  # of those that wait for the encoder


def render(
    video: Path,
    table: Path,
    destination: Path,
    *,
    landmarks: bool = False,
    labels: bool = True,
    blur: bool = False,
    panel: bool = False,
    source_is_checked: bool = False,
    progress: OnProgress | None = None,
) -> None:
    """Draw the rows of a table onto the video they were made from.

    Every frame is kept with its time, and so is the sound. On frames that were not sampled boxes move on for half a
    second at most.

    Args:
        video: The source; it may have been moved and renamed.
        table: Its observations, ``NAME.parquet``.
        destination: The MP4 to write; it appears when it is complete.
        landmarks: Draw them too.
        labels: Draw boxes and labels.
        blur: Make the faces that were found unrecognisable; frames between two analysed ones that are more than half
            a second apart, and those outside of the analysed part, become unrecognisable as a whole.
        panel: Add timelines of emotions, valence and arousal beside the picture.
        source_is_checked: The caller knows that the table is of this very file: its SHA-256 is not compared again.
        progress: Called after every frame.

    Raises:
        InputError: The video or the table cannot be read, or the table was made from another video.
        UsageError: The table has no landmarks to draw.
        OutputError: The result cannot be written.
    """
    about = read_footer(table)
    check_version(table, about)
    source = about.get("source", {})
    with VideoFile(video, stream=source.get("stream", 0)) as file, closing(analysed_frames(table, landmarks)) as rows:
        check_source(video, table, file.info, source, by_contents=not source_is_checked)
        beside = _panel(file, most_faces(table)) if panel else None
        around = Surroundings(
            rows if beside is None else _told(beside, rows),
            ahead_s=WINDOW_S if panel else HIDE_AROUND_S if blur else 0.0,
            behind_s=HIDE_AROUND_S if blur else 0.0,
        )
        artist = _Artist(file, around, beside, labels=labels, blur=blur)
        with (
            VideoWriter(
                destination,
                width=artist.size[0],
                height=artist.size[1],
                time_base=file.info.time_base,
                frame_rate=file.info.average_frame_rate,
                audio_from=video if file.info.has_audio else None,
                colours=file.colours,
            ) as writer,
            read_ahead("render decode", _pictures(file), _FRAMES_AHEAD) as pictures,
            read_ahead("render draw", artist.draw(pictures), _DRAWN_AHEAD) as drawn,
        ):
            began = time.perf_counter()
            try:
                for done, (frame, picture) in enumerate(drawn, start=1):
                    writer.write(picture, frame.pts)
                    if progress is not None:
                        progress(_moment(done, frame, file.info, began))
            except MismatchError as error:
                raise _foreign(video, table, str(error)) from error


def _moment(done: int, frame: Frame, info: SourceInfo, began: float) -> Progress:
    return Progress(
        stage="render",
        frames_done=done,
        frames_total=info.frames_declared or None,
        time_s=frame.time_s or 0.0,
        seconds=time.perf_counter() - began,
        faces=0,
    )


def _pictures(file: VideoFile) -> Iterator[tuple[Frame, YuvPicture]]:
    """Frames with their pictures, put upright here so that it happens in the decoding thread."""
    for frame in file:
        yield frame, cast(VideoPicture, frame.picture).yuv()


def _panel(file: VideoFile, lanes: int) -> Panel:
    info = file.info
    return Panel(info.width, info.height, file.colours, lanes=lanes, duration_s=info.duration_s)


def _told(panel: Panel, rows: Iterator[Analysed]) -> Iterator[Analysed]:
    """The same rows; the panel has seen them first."""
    for analysed in rows:
        panel.add(analysed.time_s, analysed.shot, analysed.faces)
        yield analysed


class _Artist:
    """Draws what the table says onto the frames of a video, one after the other."""

    def __init__(self, file: VideoFile, around: Surroundings, panel: Panel | None, *, labels: bool, blur: bool) -> None:
        info = file.info
        self._around, self._panel, self._blur = around, panel, blur
        self._overlay = Overlay(info.width, info.height, file.colours) if labels else None
        self.size = (info.width, info.height) if panel is None else panel.canvas
        # One that is drawn, those that wait, and one that is encoded.
        count = _DRAWN_AHEAD + 2
        self._copies = cycle([YuvPicture.blank(info.width, info.height, file.colours) for _ in range(count)])

    def draw(self, pictures: Iterable[tuple[Frame, YuvPicture]]) -> Iterator[tuple[Frame, YuvPicture]]:
        """The pictures with everything drawn; the same ones where nothing is drawn on them.

        A picture can be used until `_DRAWN_AHEAD` + 1 more have been taken.

        Raises:
            MismatchError: The table does not fit these frames.
        """
        for frame, picture in pictures:
            self._around.move_to(frame)
            yield frame, self._drawn(picture, frame)
        self._around.finish()

    def _drawn(self, picture: YuvPicture, frame: Frame) -> YuvPicture:
        boxes = self._around.hidden() if self._blur else []
        faces = self._around.shown() if self._overlay is not None else []
        if boxes is None or boxes or faces:
            picture = picture.copy_to(next(self._copies))
        if boxes is None:
            hide_all(picture.writable())
        elif boxes:
            hide_faces(picture.writable(), boxes)
        if faces and self._overlay is not None:
            self._overlay.draw(Canvas(picture.writable()), faces)
        return picture if self._panel is None else _beside(picture, frame, self._panel)


def _beside(picture: YuvPicture, frame: Frame, panel: Panel) -> YuvPicture:
    """A larger picture: this one at the top left, and the panel."""
    wide = YuvPicture.blank(*panel.canvas, picture.colours)
    for target, plane in zip(wide.planes(), picture.planes(), strict=True):
        target[: plane.shape[0], : plane.shape[1]] = plane
    panel.draw(Canvas(wide.planes()), frame.time_s or 0.0)
    return wide


def check_source(
    video: Path, table: Path, info: SourceInfo, source: dict[str, Any], *, by_contents: bool = True
) -> None:
    """Refuse a video that is not the one the table was made from, as far as that shows before its frames are read.

    Another recording may have the same name and size and its frames the same stamps: only the whole contents tell, and
    boxes of another recording hide nothing.
    """
    if source.get("size") not in (None, info.size_bytes):
        raise _foreign(video, table, f"it was made from {source['size']} bytes, the video has {info.size_bytes}")
    size = (source.get("width", info.width), source.get("height", info.height))
    if size != (info.width, info.height):
        raise _foreign(
            video, table, f"its frames are {size[0]}x{size[1]}, those of the video {info.width}x{info.height}"
        )
    known = source.get("sha256")
    if by_contents and known is not None and sha256_of(video) != known:
        raise _foreign(video, table, "their contents (sha256) differ")


def _foreign(video: Path, table: Path, reason: str) -> InputError:
    return InputError(f"{table} was not made from {video}: {reason}; run `vidfer process` on that video")
