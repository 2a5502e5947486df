"""Means, spread and shares over time: every row counts for as long as its frame is seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vidfer.stats.series import I8, Affect
from vidfer.types import EMOTIONS, F64


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Mean and spread over time.

    Attributes:
        mean: Weighted by time.
        sd: Population standard deviation; 0 for a constant.
    """

    mean: float
    sd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectSummary:
    """What a face, or all faces of a video, showed over some time.

    Attributes:
        seconds: The time, more than 0.
        share: f64[8], share of the time with each label; sum 1.
        probability: f64[8], mean probabilities; sum 1.
        valence: Mean and spread.
        arousal: Mean and spread.
    """

    seconds: float
    share: F64
    probability: F64
    valence: Moments
    arousal: Moments

    @property
    def expressivity(self) -> float:
        """Mean probability that the face is not neutral."""
        return 1 - float(self.probability[EMOTIONS.index("neutral")])

    @property
    def emotion(self) -> str:
        """The label shown longest."""
        return EMOTIONS[int(self.share.argmax())]


def shares(label: I8, duration_s: F64) -> F64:
    """Share of the time with each label: f64[8], sum 1; there must be some time."""
    seconds = np.bincount(label, duration_s, len(EMOTIONS))
    return np.asarray(seconds / seconds.sum())


def moments(values: npt.NDArray[np.floating], duration_s: F64) -> Moments:
    """Mean and spread of a column over time; there must be some time."""
    total = duration_s.sum()
    # From the first value: what is left of a constant after rounding must not be taken for spread.
    shifted = values.astype(np.float64) - float(values[0])
    mean = float((shifted * duration_s).sum() / total)
    variance = float((np.square(shifted - mean) * duration_s).sum() / total)
    return Moments(mean=float(values[0]) + mean, sd=math.sqrt(variance))


def summarize_affect(affect: Affect, duration_s: F64) -> AffectSummary | None:
    """Summary of rows that each count for a time; None where that is no time at all."""
    seconds = float(duration_s.sum())
    if seconds <= 0:
        return None
    probability = (
        np.array([duration_s @ column for column in affect.probability.T]) / seconds
    )  # one at a time in float64
    return AffectSummary(
        seconds=seconds,
        share=shares(affect.label, duration_s),
        probability=probability / probability.sum(),
        valence=moments(affect.valence, duration_s),
        arousal=moments(affect.arousal, duration_s),
    )


def pooled(summaries: Sequence[AffectSummary | None]) -> AffectSummary | None:
    """The summary of all their time together, as if they were one; None where there is none."""
    known = [one for one in summaries if one is not None]
    if not known:
        return None
    weight = np.array([one.seconds for one in known])
    weight /= weight.sum()
    return AffectSummary(
        seconds=sum(one.seconds for one in known),
        share=weight @ np.stack([one.share for one in known]),
        probability=weight @ np.stack([one.probability for one in known]),
        valence=_pooled(weight, [one.valence for one in known]),
        arousal=_pooled(weight, [one.arousal for one in known]),
    )


def _pooled(weight: F64, parts: Sequence[Moments]) -> Moments:
    """Variance of all = mean of the variances + variance of the means."""
    among = moments(np.array([part.mean for part in parts]), weight)
    within = float(weight @ np.square([part.sd for part in parts]))
    return Moments(mean=among.mean, sd=math.sqrt(within + among.sd**2))
