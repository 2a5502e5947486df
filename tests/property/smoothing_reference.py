"""Smoothing, straightforward: all values of a track at once."""

from __future__ import annotations

import numpy as np

from vidfer.smooth import Smoothed, _bridge, _centred_log, _duration, _segments, _softmax, _trust


def smooth_track(time_s, segment, emotion_probability, valence_arousal, quality, options):
    """As `vidfer.smooth.smooth_track`."""
    measured = np.isfinite(np.concatenate([emotion_probability, valence_arousal], axis=1)).all(axis=1)
    if options.time_constant_s == 0:
        label = np.where(measured, np.argmax(np.nan_to_num(emotion_probability), axis=1), -1).astype(np.int8)
        return Smoothed(
            emotion_probability=emotion_probability.copy(), valence_arousal=valence_arousal.copy(), emotion=label
        )
    values = np.concatenate([_centred_log(emotion_probability), valence_arousal.astype(np.float64)], axis=1)
    trust = _trust(quality, len(time_s))
    smoothed = np.full(values.shape, np.nan)
    label = np.full(len(values), -1, np.int8)
    for rows in _segments(segment):
        seen = measured[rows]
        if not seen.any():
            continue
        time = time_s[rows]
        duration_s = _duration(time[seen], options.time_constant_s)
        noise = options.time_constant_s**2 / (duration_s * trust[rows][seen])
        level = _kalman_rts(values[rows][seen], np.diff(time[seen]), noise)
        smoothed[rows] = _bridge(time, time[seen], level)
        weight = np.zeros(len(time))
        weight[seen] = duration_s
        label[rows] = _label(_softmax(smoothed[rows, :-2]), weight, options.hold_s / 2)
    return Smoothed(
        emotion_probability=_softmax(smoothed[:, :-2]).astype(np.float32),
        valence_arousal=smoothed[:, -2:].astype(np.float32),
        emotion=label,
    )


def _kalman_rts(measured, step_s, noise):
    """Smoothed means of random walks of unit drift per second.

    Args:
        measured: f64[M,D], measurements of D walks at the same moments.
        step_s: f64[M-1], time between them.
        noise: f64[M], variance of each measurement, the same for all walks.

    Returns:
        f64[M,D]. The gains do not depend on the measurements, so they are shared by all walks.
    """
    gain, back = _gains(step_s.tolist(), noise.tolist())
    level = measured.copy()
    now = level[0].copy()
    for row, k in zip(level[1:], gain, strict=True):
        now += k * (row - now)
        row[:] = now
    for row, c in zip(level[-2::-1], reversed(back), strict=True):
        now = row + c * (now - row)
        row[:] = now
    return level


def _gains(step_s, noise):
    """Gain of the filter at rows 1..M-1 and of the smoother at rows 0..M-2."""
    variance = noise[0]  # no prior: the first measurement is all there is
    gain, back = [], []
    for step, variance_measured in zip(step_s, noise[1:], strict=True):
        predicted = variance + step
        k = predicted / (predicted + variance_measured)
        back.append(variance / predicted)
        gain.append(k)
        variance = (1 - k) * predicted
    return gain, back


def _label(probability, weight, change_cost):
    """The label sequence of least cost, by dynamic programming (Viterbi, 1967); ties keep the label."""
    leader = probability.argmax(axis=1).astype(np.int8)
    if (leader == leader[0]).all():
        return leader
    loss = (probability.max(axis=1, keepdims=True) - probability) * weight[:, None]
    cost = loss[0].copy()
    changed = np.empty(probability.shape, bool)
    origin = np.empty(len(probability), np.int8)
    for row in range(1, len(probability)):
        origin[row] = best = cost.argmin()
        limit = cost[best] + change_cost
        np.greater(cost, limit, out=changed[row])
        np.minimum(cost, limit, out=cost)
        cost += loss[row]
    label = np.empty(len(probability), np.int8)
    label[-1] = cost.argmin()
    for row in range(len(probability) - 1, 0, -1):
        label[row - 1] = origin[row] if changed[row, label[row]] else label[row]
    return label
