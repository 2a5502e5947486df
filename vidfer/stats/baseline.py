"""A person's own neutral: what the face shows when it shows least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidfer.stats.affect import AffectSummary, summarize_affect
from vidfer.stats.series import Affect, FaceSeries
from vidfer.types import EMOTIONS, F64, Bool

AUTO_SHARE, AUTO_LEAST_S = 0.1, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From (included) to (not included), in seconds of the source."""

    start_s: float
    end_s: float


def baseline(faces: Sequence[FaceSeries], span: Span | None) -> AffectSummary | None:
    """The baseline of one person from smoothed values.

    Args:
        faces: The tracks of this person.
        span: When the person was neutral; None takes the tenth of the time with the largest probability of neutral, at
            least a second of it.

    Returns:
        None where the person was not seen in that span, or for less than a second in all.
    """
    affect = _joined([face.smooth for face in faces])
    time_s = np.concatenate([face.time_s for face in faces])
    duration_s = np.concatenate([face.duration_s for face in faces])
    if span is None:
        if duration_s.sum() < AUTO_LEAST_S:
            return None
        chosen = _most_neutral(affect, duration_s)
    else:
        chosen = (time_s >= span.start_s) & (time_s < span.end_s)
    return summarize_affect(_rows(affect, chosen), duration_s[chosen])


def _most_neutral(affect: Affect, duration_s: F64) -> Bool:
    order = np.argsort(-affect.probability[:, EMOTIONS.index("neutral")], kind="stable")
    wanted_s = max(AUTO_LEAST_S, AUTO_SHARE * float(duration_s.sum()))
    before_s = np.cumsum(duration_s[order]) - duration_s[order]
    chosen = np.zeros(len(order), bool)
    chosen[order[before_s < wanted_s - 1e-9]] = True
    return chosen


def _joined(parts: Sequence[Affect]) -> Affect:
    if len(parts) == 1:  # hours of one face need no copy
        return parts[0]
    return Affect(
        probability=np.concatenate([part.probability for part in parts]),
        label=np.concatenate([part.label for part in parts]),
        valence=np.concatenate([part.valence for part in parts]),
        arousal=np.concatenate([part.arousal for part in parts]),
    )


def _rows(affect: Affect, chosen: Bool) -> Affect:
    return Affect(
        probability=affect.probability[chosen],
        label=affect.label[chosen],
        valence=affect.valence[chosen],
        arousal=affect.arousal[chosen],
    )
