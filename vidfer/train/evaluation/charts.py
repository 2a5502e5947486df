"""Charts of an evaluation as paths of SVG; the template draws them, the style colours them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vidfer.output.svg import line
from vidfer.output.words import percent, plain
from vidfer.train.evaluation.evaluate import Evaluation
from vidfer.train.evaluation.places import CURVE_TO
from vidfer.types import F64

_SCALE = 10  # units of a path to one of the chart: paths are in whole numbers
_MOST_DOTS = 1500
_SHADES = 9
_DIGITS = 4  # behind the point of a mark: more of them have no room
_FEW = 0.01  # share of the rows: so few of a bin say little
_NO_CURVE = {"kind", "epoch", "step", "seconds"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark of an axis: where, and what it says."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Something drawn: `kind` is line, dots, few, cloud or guide; `number`, from 1 on, is that of a network."""

    path: str
    kind: str
    number: int = 1
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A plot with its axes, `wide` x `high` units, and `told`, what it shows in words."""

    told: str
    x_name: str
    y_name: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    series: Sequence[Series]
    wide: int
    high: int
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """From values to places in a plot."""

    x: tuple[float, float]
    y: tuple[float, float]
    wide: int = 300
    high: int = 200
    whole: bool = False  # of x, only whole numbers are something

    def points(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[list[int], list[int]]:
        """In units of paths."""
        across = (np.asarray(x, np.float64) - self.x[0]) / (self.x[1] - self.x[0])
        up = (np.asarray(y, np.float64) - self.y[0]) / (self.y[1] - self.y[0])
        return (
            np.rint(across * self.wide * _SCALE).astype(int).tolist(),
            np.rint((1 - np.clip(up, 0, 1)) * self.high * _SCALE).astype(int).tolist(),
        )

    def chart(self, series: Sequence[Series], told: str, x_name: str, y_name: str, title: str = "") -> Chart:
        """With round marks on both axes."""
        x_ticks = [
            Tick(at=self._place(v, self.x, self.wide), text=text) for v, text in ticks(*self.x, whole=self.whole)
        ]
        y_ticks = [Tick(at=self.high - self._place(v, self.y, self.high), text=text) for v, text in ticks(*self.y)]
        return Chart(
            told=told,
            x_name=x_name,
            y_name=y_name,
            x_ticks=x_ticks,
            y_ticks=y_ticks,
            series=series,
            wide=self.wide,
            high=self.high,
            title=title,
        )

    @staticmethod
    def _place(value: float, ends: tuple[float, float], length: int) -> float:
        return round((value - ends[0]) / (ends[1] - ends[0]) * length, 1)


def ticks(low: float, high: float, most: int = 5, *, whole: bool = False) -> list[tuple[float, str]]:
    """Round values from `low` to `high`, and their texts."""
    rough = max((high - low) / most, 1 if whole else 0)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(k * power for k in ((1, 2, 5, 10) if whole else (1, 2, 2.5, 5, 10)) if k * power >= rough * (1 - 1e-9))
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) + (1 if f"{step:.9e}".startswith("2.5") else 0)
    first = math.ceil(low / step - 1e-9)
    values = [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]
    values = [value if abs(value) > step / 1e6 else 0.0 for value in values]
    short = digits > _DIGITS and max(abs(low), abs(high)) < 0.01
    return [(value, _power(value, digits) if short else plain(value, digits)) for value in values]


def _power(value: float, digits: int) -> str:
    """0.00055 as 5.5e−4."""
    if not value:
        return "0"
    power = math.floor(math.log10(abs(value)) + 1e-9)
    return f"{plain(value / 10.0**power, max(0, digits + power))}e{plain(power, 0)}"


def dots(x: Sequence[int], y: Sequence[int]) -> str:
    """A path of points; the style makes them round."""
    return "".join(f"M{a} {b}h0" for a, b in zip(x, y, strict=True))


def error_curves(evaluation: Evaluation, task: str) -> Chart | None:
    """What share of faces has its points within an error, one curve a network."""
    frame, series = Frame(x=(0, CURVE_TO * 100), y=(0, 100)), []
    for k, (about, results) in enumerate(zip(evaluation.networks, evaluation.results, strict=True), 1):
        if task in results:
            curve = results[task].judged.facts["ced"]
            path = line(*frame.points(np.array(curve["error"]) * 100, np.array(curve["share"]) * 100))
            series.append(Series(path=path, kind="line", number=k, name=about.label))
    told = f"Share of faces by the mean error of their {task.removeprefix('points')} points"
    return frame.chart(series, told, "mean error, % of the eye distance", "% of faces") if series else None


def reliability(evaluation: Evaluation) -> Chart | None:
    """How often a network is right when it is so sure."""
    frame = Frame(x=(0, 1), y=(0, 1), wide=220, high=200)
    series = [Series(path=line(*frame.points([0, 1], [0, 1])), kind="guide")]
    for k, (about, results) in enumerate(zip(evaluation.networks, evaluation.results, strict=True), 1):
        if "emotion" in results:
            facts = results["emotion"].judged.facts
            few = _FEW * facts["rows"]
            parts = [[one for one in facts["reliability"] if (one["rows"] < few) == is_few] for is_few in (False, True)]
            many, rare = (
                frame.points([one["confidence"] for one in bins], [one["accuracy"] for one in bins]) for bins in parts
            )
            series += [
                Series(path=line(*many), kind="line", number=k, name=about.label),
                Series(path=dots(*many), kind="dots", number=k),
                Series(path=dots(*rare), kind="few", number=k),
            ]
    told = (
        "How often a network is right when it is so sure; on the dashed line it is as often right as it says. "
        f"Small dots are of less than {percent(_FEW)} of the faces"
    )
    return frame.chart(series, told, "how sure", "how often right") if len(series) > 1 else None


def scatter(guess: F64, truth: F64, name: str, number: int = 1) -> Chart:
    """What a network says of valence or arousal against the labels."""
    frame = Frame(x=(-1, 1), y=(-1, 1), wide=200, high=200)
    if len(guess) > _MOST_DOTS:
        chosen = np.random.default_rng(0).choice(len(guess), _MOST_DOTS, replace=False)
        guess, truth = guess[chosen], truth[chosen]
    series = [
        Series(path=line(*frame.points([-1, 1], [-1, 1])), kind="guide"),
        Series(path=dots(*frame.points(np.clip(truth, -1, 1), np.clip(guess, -1, 1))), kind="cloud", number=number),
    ]
    told = f"{name.capitalize()} of {len(guess)} faces: the label across, what the network says up"
    return frame.chart(series, told, f"{name}, label", "network", title=name.capitalize())


def curves(history: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Training curves: means of every epoch, then figures of the held-out rows."""
    found = []
    for kind, what in (("epoch", "training"), ("evaluation", "held out")):
        lines = [one for one in history if one.get("kind") == kind]
        names = dict.fromkeys(key for one in lines for key, value in one.items() if isinstance(value, int | float))
        for name in names:
            if name not in _NO_CURVE:
                points = [(one["epoch"] + 1, float(one[name])) for one in lines if name in one]
                found.append(_curve(name, what, [p for p in points if math.isfinite(p[1])]))
    return [chart for chart in found if chart is not None]


def _curve(name: str, what: str, points: Sequence[tuple[float, float]]) -> Chart | None:
    if not points:
        return None
    epochs, values = [p[0] for p in points], [p[1] for p in points]
    low, high = min(values), max(values)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    frame = Frame(x=(min(epochs) - 0.5, max(epochs) + 0.5), y=(low - room, high + room), wide=220, high=110, whole=True)
    at = frame.points(epochs, values)
    series = [Series(path=line(*at), kind="line"), Series(path=dots(*at), kind="dots")]
    told = f"{name}, {what}, by epoch: from {values[0]:.4g} to {values[-1]:.4g}"
    return frame.chart(series, told, "epoch", "", title=f"{name}, {what}")


def shades(counts: Sequence[Sequence[int]]) -> list[list[dict[str, Any]]]:
    """Cells of a matrix of counts: share of their line, and a shade from 0 to 9."""
    found = []
    for of_class in counts:
        total = sum(of_class)
        shares = [count / total if total else 0.0 for count in of_class]
        cells = zip(of_class, shares, strict=True)
        found.append(
            [{"n": n, "share": share, "shade": math.ceil(share * _SHADES) if share else 0} for n, share in cells]
        )
    return found
