"""Cuts a stream of frames into segments that can be analysed apart: sequential, cheap, from thumbnails and times.

The last frame of a segment is its key frame; those before it lie between the key frame of the segment before and their
own. The first frame of a shot is a segment by itself, so no segment reaches over a cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from vidfer.pipeline.cuts import THUMBNAIL_H, THUMBNAIL_W, CutDetector
from vidfer.types import Frame

# Longest rest of the detector; nobody should wait longer for a new face.
KEY_INTERVAL_S = 0.2
# Longest rest in frames, whatever `--detect-every` says: all frames of a segment wait in memory, 3 MB each in full HD.
MOST_FRAMES = 32
# And in pixels: 12 frames of full HD (0.2 s at 60 a second), 3 of 4K; several segments are in flight.
MOST_PX = 12 * 1920 * 1080


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Frames from after one key frame up to the next.

    Attributes:
        frames: At least one; the last is the key frame.
        shot: Count of the cuts before it.
        opens: Whether it opens its shot: it is one frame then, and has no key frame before it.
        cuts: The cut detector as it was after the last frame.
    """

    frames: list[Frame]
    shot: int
    opens: bool
    cuts: CutDetector

    def state(self) -> dict[str, Any]:
        """What a `Segmenter` needs to go on after this segment; JSON-able."""
        key = self.frames[-1]
        return {"shot": self.shot, "epoch": key.epoch, "key_time_s": key.time_s, "cuts": self.cuts.state()}


class Segmenter:
    """Finds the cuts and picks the key frames, by time alone.

    Args:
        frame_interval_s: Usual time between two frames.
        detect_every: Frames from key frame to key frame (at most `MOST_FRAMES` and `MOST_PX`); None for at most
            `KEY_INTERVAL_S`.
        state: `Segment.state()` of the segment to go on after.
    """

    def __init__(
        self, *, frame_interval_s: float, detect_every: int | None = None, state: dict[str, Any] | None = None
    ) -> None:
        self._interval_s = frame_interval_s
        self._detect_every = detect_every
        self._waiting: list[Frame] = []
        self._in_shot = state is not None
        self._shot: int = state["shot"] if state else 0
        self._epoch: int | None = state["epoch"] if state else None
        self._key_time_s: float | None = state["key_time_s"] if state else None
        self._cuts = CutDetector(state["cuts"] if state else None)

    def segments(self, frames: Iterable[Frame]) -> Iterator[Segment]:
        """Cut the frames up; every frame comes out once, in order."""
        for frame in frames:
            before = self._cuts.copy()
            cut = self._cuts.is_cut(frame.picture.gray(THUMBNAIL_W, THUMBNAIL_H))
            if self._epoch is not None and (cut or frame.epoch != self._epoch):
                if self._waiting:
                    yield self._take(before)
                self._shot += 1
                self._in_shot = False
            self._epoch = frame.epoch
            self._waiting.append(frame)
            if not self._in_shot or self._is_due():
                yield self._take(self._cuts.copy())
        if self._waiting:
            yield self._take(self._cuts.copy())

    def _take(self, cuts: CutDetector) -> Segment:
        segment = Segment(frames=self._waiting, shot=self._shot, opens=not self._in_shot, cuts=cuts)
        self._key_time_s = self._waiting[-1].time_s
        self._waiting = []
        self._in_shot = True
        return segment

    def _is_due(self) -> bool:
        """Whether the newest frame has to be a key frame: the one after it would come too late."""
        picture = self._waiting[-1].picture
        most = most_frames(picture.width, picture.height)
        times = [self._key_time_s, *(frame.time_s for frame in self._waiting[-2:])]
        return is_due(
            len(self._waiting),
            (times[0], times[-2], times[-1]),
            most=most,
            detect_every=self._detect_every,
            frame_interval_s=self._interval_s,
        )


def most_frames(width: int, height: int) -> int:
    """The most frames of a segment, for the size of their pictures."""
    return max(2, min(MOST_FRAMES, MOST_PX // (width * height)))


def is_due(
    waiting: int,
    times: tuple[float | None, float | None, float | None],
    *,
    most: int,
    detect_every: int | None,
    frame_interval_s: float,
) -> bool:
    """Whether the newest of the frames since the last key frame has to be one.

    Args:
        waiting: How many frames these are.
        times: Of the last key frame, of the newest frame but one, of the newest frame.
        most: See `most_frames`.
        detect_every: See `Segmenter`; `frame_interval_s` likewise.
        frame_interval_s: See `Segmenter`.
    """
    if detect_every is not None or waiting >= most:
        return waiting >= min(detect_every or most, most)
    first, before, last = times
    if first is None or before is None or last is None:
        return (waiting + 1) * frame_interval_s > KEY_INTERVAL_S + 1e-6
    return 2 * last - before - first > KEY_INTERVAL_S + 1e-6
