"""The annotated video beside a piece of a camera's table."""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import cast

from vidfer.media.encode import VideoWriter
from vidfer.media.picture import VideoPicture
from vidfer.output.canvas import Canvas
from vidfer.output.files import writing
from vidfer.output.mosaic import hide_faces
from vidfer.output.overlay import Overlay
from vidfer.pipeline.follow import Followed, overlay_faces

_TICK = Fraction(1, 90_000)


class Recording:
    """A video in fragments, which can be read up to the last one whatever ends it.

    Args:
        path: Of the file.
        first: Its first frame, which is yet to be added; all others have its size and colours.
        landmarks: Draw them, too.
        blur: Make faces unrecognisable; landmarks, the shape of a face, are left out then.

    Raises:
        OutputError: It cannot be written.
    """

    def __init__(self, path: Path, first: Followed, *, landmarks: bool, blur: bool) -> None:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        picture = cast(VideoPicture, first.frame.picture)
        size, colours = (picture.width, picture.height), picture.colours
        self._began_s = first.frame.time_s or 0.0
        self._overlay = Overlay(*size, colours)
        self._landmarks, self._blur = landmarks and not blur, blur
        self._files = ExitStack()
        self._writer = self._files.enter_context(
            VideoWriter(path, width=size[0], height=size[1], time_base=_TICK, colours=colours, fragmented=True)
        )

    def add(self, followed: Followed) -> None:
        """Add the next frame."""
        picture, time_s = cast(VideoPicture, followed.frame.picture).yuv(), followed.frame.time_s or 0.0
        if self._blur:
            hide_faces(picture.writable(), followed.hide_px.tolist())
        faces = overlay_faces(followed.result, landmarks=self._landmarks)
        if faces:
            self._overlay.draw(Canvas(picture.writable()), faces)
        self._writer.write(picture, round((time_s - self._began_s) / _TICK))

    def close(self) -> None:
        """End it."""
        self._files.close()

    def discard(self, error: Exception) -> None:
        """End it because of an error."""
        self._files.__exit__(type(error), error, error.__traceback__)
