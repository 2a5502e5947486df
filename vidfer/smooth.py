"""Smoothing over a face track: no lag, on true time, never beyond the values it was made from.

Model: every value is a random walk seen through noise (local level model); a Kalman filter forwards and a
Rauch-Tung-Striebel pass backwards give its mean given the whole segment (Rauch, Tung and Striebel, 1965). The result is
a weighted mean of the measurements around each moment, with weights that fall as exp(-|t| / time constant): it cannot
overshoot, so valence and arousal stay in [-1, 1]. Emotions are smoothed as centred log-probabilities and go back to
probabilities by softmax.

A frame counts for the time it stands for. So the time constant is one of seconds, at any frame rate and with gaps, and
denser frames are not trusted more than the face can change between them.

The smoothed label has hysteresis without lag: among all label sequences it is the one of the least cost. A label pays
its distance to the largest smoothed probability, times seconds; every change pays half of ``hold_s``. In words: a visit
to another class is shown only if its lead times its duration is more than ``hold_s``: a lead of 1 must last ``hold_s``,
a lead of 0.25 four times as long; and the label changes where the lead does, not later.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vidfer.errors import UsageError
from vidfer.types import F32, F64, Bool

I8 = npt.NDArray[np.int8]
I32 = npt.NDArray[np.int32]

PRESETS = ("off", "light", "medium", "strong")
# Two thirds of the height of an expression remain if it lasts 0.2 s (light), 0.5 s (medium), 1.5 s (strong); the label
# shows it, if sure, from 0.2, 0.5 and 1.3 s.
_TIME_CONSTANT_S = {"off": 0.0, "light": 0.1, "medium": 0.25, "strong": 0.7}
_HOLD_S = {"off": 0.0, "light": 0.02, "medium": 0.05, "strong": 0.15}
# A probability of 0 has no logarithm; this is far below what a calibrated network says.
_PROBABILITY_FLOOR = 1e-6
# A poor picture is noisier, but the best one of a bad second still counts.
_QUALITY_FLOOR = 0.1
_BLOCK = 4096  # rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothing:
    """How strongly to smooth.

    Attributes:
        time_constant_s: Distance in time at which a measurement of quality 1 counts 1/e of the one in the middle, 0 is
            off; at quality q it is 1 / sqrt(q) times as long.
        hold_s: How long another class must lead with certainty to be shown as label, in seconds.
    """

    time_constant_s: float
    hold_s: float

    @classmethod
    def preset(cls, name: str) -> Smoothing:
        """The preset ``off``, ``light``, ``medium`` or ``strong``."""
        if name not in PRESETS:
            raise UsageError(f"unknown smoothing {name!r}: choose one of {', '.join(PRESETS)}")
        return cls(time_constant_s=_TIME_CONSTANT_S[name], hold_s=_HOLD_S[name])


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothed:
    """A smoothed track of T rows.

    Attributes:
        emotion_probability: f32[T,8], sum 1; NaN where a whole segment was not analysed.
        valence_arousal: f32[T,2]; NaN in the same places.
        emotion: i8[T], index of the label; -1 in the same places.
    """

    emotion_probability: F32
    valence_arousal: F32
    emotion: I8


def smooth_track(
    time_s: F64,
    segment: I32,
    emotion_probability: F32,
    valence_arousal: F32,
    quality: F32 | None,
    options: Smoothing,
) -> Smoothed:
    """Smooth one track, each of its segments by itself.

    Args:
        time_s: f64[T], not decreasing within a segment.
        segment: i32[T]; rows that follow each other with one number belong together.
        emotion_probability: f32[T,8]; a row with a NaN was not analysed: it is bridged, and counts for nothing.
        valence_arousal: f32[T,2]; likewise.
        quality: f32[T] in [0, 1], scales how far a row is trusted; None or NaN counts as 1.
        options: How strongly. ``off`` gives the values as they came, rows that were not analysed included.

    Raises:
        ValueError: Lengths differ, or time is NaN or runs backwards within a segment.
    """
    _check(time_s, segment, emotion_probability, valence_arousal, quality)
    measured = np.asarray(np.isfinite(emotion_probability).all(axis=1) & np.isfinite(valence_arousal).all(axis=1))
    if options.time_constant_s == 0:
        label = np.where(measured, np.argmax(np.nan_to_num(emotion_probability), axis=1), -1).astype(np.int8)
        return Smoothed(
            emotion_probability=emotion_probability.copy(), valence_arousal=valence_arousal.copy(), emotion=label
        )
    smoothed = Smoothed(
        emotion_probability=np.full_like(emotion_probability, np.nan),
        valence_arousal=np.full_like(valence_arousal, np.nan),
        emotion=np.full(len(time_s), -1, np.int8),
    )
    for rows in _segments(segment):
        seen = measured[rows]
        if seen.any():
            known = slice(None) if seen.all() else seen
            values = emotion_probability[rows][known], valence_arousal[rows][known]
            trusted = None if quality is None else quality[rows][known]
            part = smoothed.emotion_probability[rows], smoothed.valence_arousal[rows], smoothed.emotion[rows]
            _smooth_segment(time_s[rows], seen, values, trusted, options, part)
    return smoothed


def _smooth_segment(
    time: F64, seen: Bool, values: tuple[F32, F32], quality: F32 | None, options: Smoothing, out: tuple[F32, F32, I8]
) -> None:
    """Smooth the `values` of the rows that were `seen`, into `out`."""
    known = time if seen.all() else time[seen]
    duration_s = _duration(known, options.time_constant_s)
    level = np.empty((len(known), values[0].shape[1] + 2))
    for block in _blocks(len(known)):
        level[block, :-2] = _centred_log(values[0][block])
        level[block, -2:] = values[1][block]
    _kalman_rts(level, *_gains(np.diff(known), options.time_constant_s**2 / (duration_s * _trust(quality, len(known)))))
    level = _bridge(time, known, level)
    probability, valence_arousal, label = out
    for block in _blocks(len(time)):
        now = _softmax(level[block, :-2])
        probability[block], valence_arousal[block], label[block] = now, level[block, -2:], now.argmax(axis=1)
    weight = np.zeros(len(time))
    weight[seen] = duration_s
    _hold_label(label, level[:, :-2], weight, options.hold_s / 2)


def _blocks(rows: int) -> Iterator[slice]:
    """What is made at once from all rows is needed for some rows at a time only."""
    return (slice(start, start + _BLOCK) for start in range(0, rows, _BLOCK))


def _check(time_s: F64, segment: I32, probability: F32, valence_arousal: F32, quality: F32 | None) -> None:
    rows = len(time_s)
    lengths = [len(segment), len(probability), len(valence_arousal), rows if quality is None else len(quality)]
    if lengths != [rows] * 4 or probability.ndim != 2 or valence_arousal.shape[1:] != (2,):
        shapes = [time_s.shape, segment.shape, probability.shape, valence_arousal.shape]
        raise ValueError(
            f"time, segment, probabilities and valence/arousal must be [T], [T], [T,C], [T,2], got {shapes}"
        )
    same = segment[1:] == segment[:-1]
    if np.isnan(time_s).any() or (np.diff(time_s)[same] < 0).any():
        raise ValueError("time_s must be known and must not decrease within a segment")


def _segments(segment: I32) -> list[slice]:
    edges = [0, *(np.flatnonzero(np.diff(segment)) + 1).tolist(), len(segment)]
    return [slice(start, stop) for start, stop in pairwise(edges) if stop > start]


def _trust(quality: F32 | None, rows: int) -> F64:
    if quality is None:
        return np.ones(rows)
    return np.clip(np.where(np.isnan(quality), 1.0, quality.astype(np.float64)), _QUALITY_FLOOR, 1.0)


def _centred_log(probability: F32) -> F64:
    logarithm: F64 = np.log(np.maximum(probability.astype(np.float64), _PROBABILITY_FLOOR))
    logarithm -= logarithm.mean(axis=1, keepdims=True)
    return logarithm


def _softmax(logit: F64) -> F64:
    power: F64 = np.exp(logit - logit.max(axis=1, keepdims=True))
    power /= power.sum(axis=1, keepdims=True)
    return power


def _duration(time: F64, alone_s: float) -> F64:
    """The time that each measurement stands for: the step to its nearest neighbour.

    Not the mean of both steps: a row at the edge of a gap would count for half of the gap.
    """
    step = np.diff(time)
    step = np.where(step > 0, step, np.inf)  # two frames with one time: each stands for the step to the next
    nearest = np.minimum(np.append(np.inf, step), np.append(step, np.inf))
    return np.where(np.isfinite(nearest), nearest, alone_s)


def _kalman_rts(level: F64, gain: array[float], back: array[float]) -> None:
    """Smoothed means of random walks of unit drift per second, in place.

    Args:
        level: f64[M,D], measurements of D walks at the same moments.
        gain: Of the filter, from `_gains`.
        back: Of the smoother.
    """
    now = level[0].copy()
    for row, k in zip(level[1:], gain, strict=True):
        now += k * (row - now)
        row[:] = now
    for row, c in zip(level[-2::-1], reversed(back), strict=True):
        now = row + c * (now - row)
        row[:] = now


def _gains(step_s: F64, noise: F64) -> tuple[array[float], array[float]]:
    """Gain of the filter at rows 1..M-1 and of the smoother at rows 0..M-2.

    They do not depend on the measurements, so they are shared by all walks.

    Args:
        step_s: f64[M-1], time between measurements.
        noise: f64[M], variance of each measurement.
    """
    variance = float(noise[0])  # no prior: the first measurement is all there is
    gain, back = array("d"), array("d")  # lists of floats take four times as much memory
    for step, variance_measured in zip(step_s.data, noise[1:].data, strict=True):
        predicted = variance + step
        k = predicted / (predicted + variance_measured)
        back.append(variance / predicted)
        gain.append(k)
        variance = (1 - k) * predicted
    return gain, back


def _bridge(time: F64, known: F64, level: F64) -> F64:
    """Levels at all times: the mean of a random walk between two known points is the straight line."""
    if len(time) == len(known):
        return level
    return np.stack([np.interp(time, known, column) for column in level.T], axis=1)


def _hold_label(label: I8, logit: F64, weight: F64, change_cost: float) -> None:
    """Turn the labels of the largest probability into the sequence of least cost; ties keep the label.

    Dynamic programming (Viterbi, 1967).
    """
    if (label == label[0]).all():
        return
    cost = np.zeros(logit.shape[1])
    changed = np.empty(logit.shape, bool)
    origin = np.empty(len(logit), np.int8)
    row = 0
    for block in _blocks(len(logit)):
        probability = _softmax(logit[block])
        for loss in (probability.max(axis=1, keepdims=True) - probability) * weight[block, None]:
            origin[row] = best = cost.argmin()
            limit = cost[best] + change_cost
            np.greater(cost, limit, out=changed[row])
            np.minimum(cost, limit, out=cost)
            cost += loss
            row += 1
    label[-1] = cost.argmin()
    for row in range(len(label) - 1, 0, -1):
        label[row - 1] = origin[row] if changed[row, label[row]] else label[row]
