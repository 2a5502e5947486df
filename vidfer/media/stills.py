"""Single frames of a video file, without decoding all of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import av

from vidfer.media.file import VideoFile
from vidfer.media.picture import Layout, VideoPicture, sane_aspect_ratio
from vidfer.media.reading import Reading
from vidfer.types import Picture

_log = logging.getLogger(__name__)

# Nearer frames are decoded towards, not sought: key frames lie 2 to 10 s apart in most files.
_SEEK_BEYOND_S = 4.0


def stills(path: Path, stream: int, wanted: dict[int, int | None]) -> Iterator[tuple[int, Picture]]:
    """Some frames of a video, in no certain order; one that cannot be found is left out.

    Args:
        path: The file.
        stream: Which of its video streams.
        wanted: Number and pts of the frames, as the table has them; without a pts a frame is found by counting.

    Raises:
        InputError: The file cannot be read.
    """
    left = dict(wanted)
    by_pts = {pts: index for index, pts in wanted.items() if pts is not None}
    # Stamps that came twice do not tell frames apart.
    if len(by_pts) == len(wanted):
        for pts, picture in _sought(path, stream, sorted(by_pts)):
            del left[by_pts[pts]]
            yield by_pts[pts], picture
    if left:
        _log.debug("%s: %d frames are not found by their stamps: the file is read from its start", path, len(left))
        yield from _counted(path, stream, left)


def _sought(path: Path, stream: int, wanted: Iterable[int]) -> Iterator[tuple[int, Picture]]:
    reading = Reading(path, stream)
    try:
        video, layout, at = reading.video, None, None
        ratio = sane_aspect_ratio(video.sample_aspect_ratio)
        far = int(_SEEK_BEYOND_S / video.time_base) if video.time_base else 0
        frames: Iterator[av.VideoFrame] = reading.container.decode(video)
        for pts in wanted:
            if at is None or pts - at > far:
                reading.container.seek(pts, stream=video)
                frames = reading.container.decode(video)
            for frame in frames:
                layout = layout or Layout.of_frame(frame, ratio)
                at = frame.pts
                if at is not None and at >= pts:
                    break
            else:
                return
            if at == pts and layout is not None:
                yield pts, VideoPicture(frame, layout)
    except av.FFmpegError as error:
        _log.debug("%s: %s while looking for single frames", path, error)
    finally:
        reading.close()


def _counted(path: Path, stream: int, wanted: dict[int, int | None]) -> Iterator[tuple[int, Picture]]:
    last = max(wanted)
    with VideoFile(path, stream=stream) as file:
        for frame in file:
            if frame.index in wanted and wanted[frame.index] in (None, frame.pts):
                yield frame.index, frame.picture
            if frame.index >= last:
                return
