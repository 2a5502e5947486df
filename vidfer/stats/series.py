"""The columns of one face on true time, and how long each frame is seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vidfer.types import EMOTIONS, F32, F64, I64

I8 = npt.NDArray[np.int8]
I32 = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Affect:
    """What a face showed, raw or smoothed.

    Attributes:
        probability: f32[T,8], in the order of `EMOTIONS`.
        label: i8[T], index into `EMOTIONS`.
        valence: f32[T].
        arousal: f32[T].
    """

    probability: F32
    label: I8
    valence: F32
    arousal: F32

    @property
    def expressivity(self) -> F32:
        """f32[T], the probability that the face is not neutral."""
        return np.float32(1) - self.probability[:, EMOTIONS.index("neutral")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceSeries:
    """One face track: its detected and tracked rows, in order of time.

    Attributes:
        face_id: Its id in the source.
        identity: The person, where the table knows persons.
        time_s: f64[T], time of the frame.
        duration_s: f64[T], how long the frame is seen, from `frame_durations`.
        part: i32[T]; rows that follow each other with one number were seen without a cut or a gap between them.
        raw: As the network said it.
        smooth: The same smoothed.
        predicted_s: Time in which the face was not seen but bridged (`predicted` rows).
    """

    face_id: int
    identity: int | None = None
    time_s: F64
    duration_s: F64
    part: I32
    raw: Affect
    smooth: Affect
    predicted_s: float = 0.0

    def __post_init__(self) -> None:
        columns: list[npt.NDArray[Any]] = [self.duration_s, self.part]
        for affect in (self.raw, self.smooth):
            columns += [affect.probability, affect.label, affect.valence, affect.arousal]
        if any(len(column) != len(self.time_s) for column in columns):
            raise ValueError(f"all columns must have {len(self.time_s)} rows, got {[len(c) for c in columns]}")

    @property
    def measured_s(self) -> float:
        """How long the face was seen."""
        return float(self.duration_s.sum())


def frame_durations(time_s: F64, usual_s: float, longest_s: float) -> F64:
    """How long each frame of a source is seen: until the next one.

    Args:
        time_s: f64[F], times of the frames in their order.
        usual_s: Usual time between two frames: what the last one counts, and one after which time steps back.
        longest_s: No frame counts for more: what lies in a gap is not known.

    Returns:
        f64[F]; frames of a variable rate count for as long as they are shown.
    """
    step = np.append(np.diff(time_s), usual_s)[: len(time_s)]
    return np.asarray(np.minimum(np.where(step < 0, usual_s, step), longest_s))


def stretches(part: I32) -> I64:
    """Where rows of one part begin, and the number of rows at the end: i64[P+1]; only [0] without rows."""
    begin = np.flatnonzero(np.diff(part)) + 1
    return np.concatenate([[0], begin, [len(part)]]).astype(np.int64) if len(part) else np.zeros(1, np.int64)
