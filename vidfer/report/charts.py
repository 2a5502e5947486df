"""Charts as paths of SVG, in whole numbers: small, sharp on paper, and stretched by the browser to any width.

A plot is `WIDE` units wide from its first to its last moment, whatever its width in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vidfer.output.svg import line
from vidfer.output.words import clock
from vidfer.report.gather import CELLS, Face, Gathered, Span
from vidfer.report.series import Series
from vidfer.types import EMOTIONS, F64

WIDE, HIGH = 4000, 400
LANE_WIDE = 20_000  # of the plot of who is on screen when
# A face that is there for less of the video than this has an axis of its own: on that of the video it would be a dash.
_OWN_AXIS_BELOW = 0.2
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
_MOST_TICKS = 9
_LABEL_WIDE, _LABEL_HIGH = 0.13, 0.14  # room that a name on an area needs, as parts of the plot
_LEVELS = 5  # shades of the plane


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark of an axis: where (percent of the plot) and what it says; every other one is `minor`."""

    at: float
    text: str
    minor: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The name of an emotion on its area, in percent of the plot."""

    emotion: str
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The time that a plot shows."""

    start_s: float
    end_s: float

    def x(self, time_s: npt.ArrayLike, wide: int = WIDE) -> npt.NDArray[np.int64]:
        """Where moments are in a plot."""
        part = (np.asarray(time_s, np.float64) - self.start_s) / (self.end_s - self.start_s)
        return np.rint(part * wide).astype(np.int64)

    @property
    def ticks(self) -> list[Tick]:
        """Its marks at round times."""
        length = self.end_s - self.start_s
        step = next((step for step in _STEPS_S if length / step < _MOST_TICKS), max(_STEPS_S[-1], length / 8))
        first = int(np.ceil(self.start_s / step - 1e-9))
        last = int(np.floor(self.end_s / step + 1e-9))
        return [
            Tick(
                at=round((number * step - self.start_s) / length * 100, 3),
                text=clock(number * step, decimals=0 if step >= 1 else 1),
                minor=(number - first) % 2 == 1,
            )
            for number in range(first, last + 1)
        ]


def axis_of(face: Face, span: Span) -> Axis:
    """The time that the plots of a face show: all of the video, or only its own part of it."""
    if face.span is None or face.span[1] - face.span[0] >= _OWN_AXIS_BELOW * (span[1] - span[0]):
        return Axis(start_s=span[0], end_s=span[1])
    length = max(face.span[1] - face.span[0], 0.2)
    return Axis(start_s=max(span[0], face.span[0] - 0.02 * length), end_s=min(span[1], face.span[1] + 0.05 * length))


def _pieces(series: Series) -> list[slice]:
    return [slice(start, stop) for start, stop in pairwise([*series.starts, len(series.time_s)])]


def stacked(series: Series, axis: Axis) -> dict[str, str]:
    """Areas of the eight emotions from the floor up to the top of each, to be painted in this order, last first."""
    top = np.cumsum(series.mean[:, :8], axis=1)
    top /= top[:, -1:]
    paths = {}
    for number, name in reversed(list(enumerate(EMOTIONS))):
        areas = []
        for piece in _pieces(series):
            x, y = _with_ends(series, piece, axis, HIGH - np.rint(top[piece, number] * HIGH).astype(np.int64))
            if number == len(EMOTIONS) - 1:  # the last one reaches the ceiling everywhere
                x, y = [x[0], x[-1]], [0, 0]
            areas.append(f"M{x[0]} {HIGH}V{y[0]}{line(x, y).removeprefix(f'M{x[0]} {y[0]}')}V{HIGH}z")
        paths[name] = "".join(areas)
    return paths


def _with_ends(series: Series, piece: slice, axis: Axis, y: npt.NDArray[np.int64]) -> tuple[list[int], list[int]]:
    """Points with half a step before the first and after the last one: a single one has a width, too."""
    time_s, half = series.time_s[piece], series.step_s / 2
    x = axis.x(np.concatenate([[time_s[0] - half], time_s, [time_s[-1] + half]]))
    return np.clip(x, 0, WIDE).tolist(), [int(y[0]), *y.tolist(), int(y[-1])]


def labels(series: Series, axis: Axis) -> list[Label]:
    """Names on the areas that have room for them: colours alone do not tell everybody what is what."""
    x = axis.x(series.time_s) / WIDE
    top = np.cumsum(series.mean[:, :8], axis=1)
    floor = top - series.mean[:, :8]
    room, place = np.full(len(EMOTIONS), _LABEL_HIGH), np.zeros((len(EMOTIONS), 2))
    for piece in _pieces(series):
        here = x[piece]
        for middle in np.arange(here[0] + _LABEL_WIDE / 2, here[-1] - _LABEL_WIDE / 2, 0.01):
            start, stop = np.searchsorted(here, [middle - _LABEL_WIDE / 2, middle + _LABEL_WIDE / 2])
            if start == stop:
                continue
            low, high = floor[piece][start:stop].max(axis=0), top[piece][start:stop].min(axis=0)
            better = high - low > room
            room[better] = (high - low)[better]
            place[better] = np.stack([np.full(len(low), middle), (low + high) / 2], axis=1)[better]
    return [
        Label(emotion=name, x=round(place[number, 0] * 100, 2), y=round((1 - place[number, 1]) * 100, 2))
        for number, name in enumerate(EMOTIONS)
        if room[number] > _LABEL_HIGH
    ]


def smooth_line(series: Series, axis: Axis, which: int) -> str:
    """Smoothed valence (0) or arousal (1), from 1 at the top to -1 at the bottom."""
    y = _height(series.mean[:, 8 + which])
    return "".join(line(*_with_ends(series, piece, axis, y[piece])) for piece in _pieces(series))


def raw_line(series: Series, axis: Axis, which: int) -> str:
    """The same before smoothing, through the least and the largest value of every point: no peak is lost."""
    low, high = _height(series.low[:, which]), _height(series.high[:, which])
    paths = []
    for piece in _pieces(series):
        x, ends = axis.x(series.time_s[piece]), np.stack([low[piece], high[piece]], axis=1)
        ends[1::2] = ends[1::2, ::-1]  # down, then up: half as long
        keep = np.stack([np.ones(len(ends), bool), ends[:, 0] != ends[:, 1]], axis=1).ravel()
        paths.append(line(np.repeat(x, 2)[keep].tolist(), ends.ravel()[keep].tolist()))
    return "".join(paths)


def _height(values: F64) -> npt.NDArray[np.int64]:
    return np.rint((1 - np.clip(values, -1, 1)) / 2 * HIGH).astype(np.int64)


def lane(spans: Sequence[Span], axis: Axis, step_s: float) -> str:
    """Bars where a face is on screen; those that nobody could tell apart are joined."""
    bars: list[list[int]] = []
    for start, end in spans:
        x0, x1 = axis.x([start, end + step_s], LANE_WIDE).tolist()
        if bars and 0 <= x0 - bars[-1][1] <= LANE_WIDE // 4000:
            bars[-1][1] = x1
        else:
            bars.append([x0, max(x1, x0 + 8)])
    return "".join(f"M{x0} 0H{x1}" for x0, x1 in bars)


def shared_lanes(faces: Sequence[Face]) -> list[list[Face]]:
    """Faces without a lane of their own, in as few lanes as their times allow."""
    lanes: list[list[Face]] = []
    for face in sorted((face for face in faces if face.span is not None), key=lambda face: face.span or (0, 0)):
        free = next((one for one in lanes if (one[-1].span or (0, 0))[1] < (face.span or (0, 0))[0]), None)
        if free is None:
            lanes.append([face])
        else:
            free.append(face)
    return lanes


def cells(face: Face) -> list[str]:
    """The plane of valence and arousal, -1 to 1 on 240 units: a path for each shade, the palest first.

    Shades go by the logarithm of how often a cell was hit: rare places stay visible beside the usual one.
    """
    counts = face.cells
    level = np.ceil(np.log1p(counts) / np.log1p(max(1, counts.max())) * _LEVELS).astype(np.int64)
    side = 200 / CELLS
    paths = []
    for shade in range(1, _LEVELS + 1):
        rows, columns = np.nonzero(level == shade)
        x, y = 20 + columns * side, 220 - (rows + 1) * side
        path = "".join(f"M{a:.1f} {b:.1f}h5v5h-5z" for a, b in zip(x, y, strict=True))
        paths.append(path)
    return paths


def at_plane(valence: float, arousal: float) -> tuple[float, float]:
    """Where a point of the plane is drawn."""
    return round(120 + 100 * valence, 1), round(120 - 100 * arousal, 1)


def cut_lines(gathered: Gathered, axis: Axis) -> str:
    """Lines at cuts, in the plot of who is on screen when."""
    return "".join(f"M{x} 0V100" for x in sorted(set(axis.x(gathered.cuts, LANE_WIDE).tolist())))
