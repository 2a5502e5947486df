"""Where a long file is split: at cuts, or where the detector looks anyway, always some way behind a key frame."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from vidfer.errors import InputError
from vidfer.media.file import SourceInfo, VideoFile
from vidfer.media.forecast import Anchor, Forecast
from vidfer.pipeline.cuts import THUMBNAIL_H, THUMBNAIL_W, CutDetector
from vidfer.pipeline.options import ProcessOptions, frame_interval_s
from vidfer.pipeline.segments import is_due, most_frames
from vidfer.types import F64

# A slice begins so much before its first frame: boxes, which follow from those before them, and what the cut detector
# knows of the motion are as in one pass then.
OVERLAP_S, OVERLAP_FRAMES = 2.0, 12
# A cut is looked for on both sides of where a slice should begin. The cut detector starts so much before that.
_LOOK_FOR_CUTS_S, _LOOK_SHARE = 5.0, 0.2
_BEFORE_CUTS_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Border:
    """Where a slice begins.

    Attributes:
        index: Of its first frame, if none before it is lost by damage.
        pts: Of its first frame.
        time_s: Of its first frame.
        warm_from: Stamp of the frame from which on it is analysed to know what was before.
        anchor: The key frame before that, with which reading begins.
        is_cut: Whether a shot begins with it.
    """

    index: int
    pts: int
    time_s: float
    warm_from: int
    anchor: Anchor
    is_cut: bool


class _KeyFrames:
    """The key frames of the analysis (`Segmenter`), as positions among the sampled frames, by time alone."""

    def __init__(self, time_s: F64, info: SourceInfo, options: ProcessOptions) -> None:
        self._time_s = time_s.tolist()
        self._most = most_frames(info.width, info.height)
        self._interval_s, self._detect_every = frame_interval_s(info, options), options.detect_every
        self._keys, self._next = [0], 1

    def last(self, position: int) -> int:
        """The last of them up to a position, 0 or more."""
        self._go_to(position)
        return self._keys[bisect_right(self._keys, position) - 1]

    def between(self, start: int, stop: int) -> list[int]:
        """Those from one position to before another."""
        self._go_to(stop)
        return self._keys[bisect_left(self._keys, start) : bisect_left(self._keys, stop)]

    def cut(self, position: int) -> None:
        """A shot begins here."""
        self._go_to(position - 1)
        self._keys = [*self._keys[: bisect_left(self._keys, position)], position]
        self._next = position + 1

    def _go_to(self, position: int) -> None:
        time_s, last = self._time_s, self._keys[-1]
        for at in range(self._next, min(position + 1, len(time_s))):
            if is_due(
                at - last,
                (time_s[last], time_s[at - 1], time_s[at]),
                most=self._most,
                detect_every=self._detect_every,
                frame_interval_s=self._interval_s,
            ):
                self._keys.append(last := at)
        self._next = max(self._next, position + 1)


class Splitter:
    """Finds the borders between the slices of a file.

    Args:
        info: Of the file.
        options: Of the run.
        forecast: Of the frames that are analysed.
    """

    def __init__(self, info: SourceInfo, options: ProcessOptions, forecast: Forecast) -> None:
        self._info, self._options, self._forecast = info, options, forecast
        self._keys = _KeyFrames(forecast.time_s, info, options)

    def borders(self, slice_s: float) -> list[Border]:
        """Borders that leave slices of about this length: fewer where there are no key frames to begin with."""
        time_s = self._forecast.time_s
        found: list[Border] = []
        if len(time_s) <= OVERLAP_FRAMES:
            return found
        targets = np.linspace(time_s[0], time_s[-1], max(1, round((time_s[-1] - time_s[0]) / slice_s)) + 1).tolist()
        reach_s = min(_LOOK_FOR_CUTS_S, _LOOK_SHARE * slice_s)
        for target_s, next_s in pairwise(targets[1:]):
            least = found[-1].index if found else 0
            border = self._border(target_s, reach_s, least) or self._later(target_s, next_s, least)
            if border is not None:
                found.append(border)
        return found

    def _border(self, target_s: float, reach_s: float, least: int) -> Border | None:
        positions = self._cuts(target_s - reach_s, target_s + reach_s, least)
        for cut in sorted(positions, key=lambda at: abs(self._forecast.time_s[at] - target_s)):
            border = self._at(cut, least, is_cut=True)
            if border is not None:
                self._keys.cut(cut)
                return border
        return self._at(self._keys.last(self._position(target_s)) + 1, least)

    def _later(self, target_s: float, next_s: float, least: int) -> Border | None:
        """Where there is no key frame shortly before: the first one behind the next key frame."""
        keys = self._keys.between(self._position(target_s), self._position(next_s))
        first = bisect_left(keys, True, key=lambda key: self._at(key + 1, least) is not None)
        return self._at(keys[first] + 1, least) if first < len(keys) else None

    def _position(self, time_s: float) -> int:
        return int(np.searchsorted(self._forecast.time_s, time_s))

    def _at(self, position: int, least: int, *, is_cut: bool = False) -> Border | None:
        """The border before a frame, if there is a key frame to begin with between it and the border before it."""
        index, time_s, pts = self._forecast.index, self._forecast.time_s, self._forecast.pts
        if position >= len(index):
            return None
        early = min(position - OVERLAP_FRAMES, int(np.searchsorted(time_s, time_s[position] - OVERLAP_S, "right")) - 1)
        if early < 0:
            return None
        warm = self._keys.last(early)
        anchor = self._anchor(lambda found: found.index < index[warm])
        if anchor is None or anchor.index <= least:
            return None
        return Border(
            index=int(index[position]),
            pts=int(pts[position]),
            time_s=float(time_s[position]),
            warm_from=int(pts[warm]),
            anchor=anchor,
            is_cut=is_cut,
        )

    def _anchor(self, fits: Callable[[Anchor], bool]) -> Anchor | None:
        """The last one that fits; those that fit come first."""
        at = bisect_right(self._forecast.anchors, False, key=lambda anchor: not fits(anchor))
        return self._forecast.anchors[at - 1] if at else None

    def _cuts(self, start_s: float, end_s: float, least: int) -> list[int]:
        """Positions of the frames in a span that open a shot."""
        anchor = self._anchor(lambda found: found.time_s <= start_s - _BEFORE_CUTS_S)
        if anchor is None or anchor.index < least:
            return []
        found, detector = [], CutDetector()
        path, options = self._info.path, self._options
        try:
            with VideoFile(path, stream=options.stream, sampling=options.sampling(), bookmark=anchor.bookmark) as video:
                for frame in video:
                    time_s = frame.time_s or 0.0
                    if time_s >= end_s:
                        break
                    if time_s < start_s - _BEFORE_CUTS_S:
                        continue
                    if detector.is_cut(frame.picture.gray(THUMBNAIL_W, THUMBNAIL_H)) and time_s >= start_s:
                        found.append(int(np.searchsorted(self._forecast.index, frame.index)))
        except InputError:  # damaged here: whoever stitches finds out what that means
            return []
        return found


def forecast_of(path: Path, video: VideoFile, options: ProcessOptions) -> Forecast:
    """What frames a run will analyse."""
    info = video.info
    return Forecast(
        path,
        stream=options.stream,
        sampling=options.sampling(),
        time_base=info.time_base,
        frame_rate=info.average_frame_rate,
        container=info.container,
        first_pts=video.first_pts,
        apart_s=0.5,
    )
