"""Summaries of a face and of a video."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vidfer.stats.affect import AffectSummary, pooled, summarize_affect
from vidfer.stats.changes import Expressions, expressions, transitions
from vidfer.stats.peaks import find_peaks
from vidfer.stats.series import FaceSeries
from vidfer.stats.synchrony import Synchrony
from vidfer.types import F64, I64

# Signal, whether its troughs count too.
_PEAKS = (("valence", True), ("arousal", False), ("expressivity", False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """A moment at which a smoothed signal stands out.

    Attributes:
        signal: "valence", "arousal" or "expressivity".
        is_trough: Whether it is low there; only of valence.
        time_s: When.
        value: The signal there.
        prominence: How far it stands out, see `find_peaks`; positive.
    """

    signal: str
    is_trough: bool
    time_s: float
    value: float
    prominence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceSummary:
    """One face track.

    Attributes:
        face_id: Its id in the source.
        identity: The person, where the table knows persons.
        first_s: Time of the first frame in which it was seen.
        last_s: Of the last one.
        on_screen_s: Time in which it was there: seen, or bridged between two frames in which it was.
        measured_s: Time in which it was seen; all that follows is about this time.
        raw: What it showed; None where there is no time.
        smooth: The same from smoothed values.
        transitions: i64[8,8], see `transitions`; of smoothed labels.
        expressions: Stretches in which the smoothed label is not neutral.
        peaks: By time.
        baseline: What this person shows when neutral, smoothed; None where not asked for or not known.
    """

    face_id: int
    identity: int | None
    first_s: float
    last_s: float
    on_screen_s: float
    measured_s: float
    raw: AffectSummary | None
    smooth: AffectSummary | None
    transitions: I64
    expressions: Expressions
    peaks: tuple[Peak, ...]
    baseline: AffectSummary | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSummary:
    """One source.

    Attributes:
        frames: Analysed frames.
        seconds: Their time.
        with_faces_s: Time in which at least one face was there (seen or bridged).
        face_s: Time on screen of all faces together.
        most_faces: Most of them at once.
        faces: Number of face tracks.
        raw: What all faces showed together, each for as long as it was seen; None where there was none.
        smooth: The same from smoothed values.
        transitions: Sum over the faces.
        expressions: Sum over the faces.
    """

    frames: int
    seconds: float
    with_faces_s: float
    face_s: float
    most_faces: int
    faces: int
    raw: AffectSummary | None
    smooth: AffectSummary | None
    transitions: I64
    expressions: Expressions


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSummary:
    """All about one source.

    Attributes:
        table: The table, as it was named.
        source: The source, as its table names it.
        video: All faces together.
        faces: Each face track, by `face_id`.
        synchrony: Of pairs that share enough time.
    """

    table: str
    source: str
    video: VideoSummary
    faces: tuple[FaceSummary, ...]
    synchrony: tuple[Synchrony, ...]


def summarize_face(
    face: FaceSeries, *, least_prominence: float = 0.2, baseline: AffectSummary | None = None
) -> FaceSummary:
    """Summary of one face with at least one row.

    Args:
        face: Its columns.
        least_prominence: Of peaks that are told.
        baseline: Of this person, from `baseline.baseline`.
    """
    return FaceSummary(
        face_id=face.face_id,
        identity=face.identity,
        first_s=float(face.time_s[0]),
        last_s=float(face.time_s[-1]),
        on_screen_s=face.measured_s + face.predicted_s,
        measured_s=face.measured_s,
        raw=summarize_affect(face.raw, face.duration_s),
        smooth=summarize_affect(face.smooth, face.duration_s),
        transitions=transitions(face.smooth.label, face.part),
        expressions=expressions(face.smooth.label, face.part, face.duration_s),
        peaks=tuple(sorted(_peaks(face, least_prominence), key=lambda peak: (peak.time_s, peak.signal))),
        baseline=baseline,
    )


def _peaks(face: FaceSeries, least: float) -> Iterable[Peak]:
    for signal, both in _PEAKS:
        values = getattr(face.smooth, signal)
        for sign in (1, -1) if both else (1,):
            found = find_peaks(sign * values, face.part, least)
            for row, prominence in zip(found.row.tolist(), found.prominence.tolist(), strict=True):
                time_s, value = float(face.time_s[row]), float(values[row])
                yield Peak(signal=signal, is_trough=sign < 0, time_s=time_s, value=value, prominence=prominence)


def summarize_video(duration_s: F64, faces_at_once: I64, faces: Sequence[FaceSummary]) -> VideoSummary:
    """Summary of a source.

    Args:
        duration_s: f64[F], of its frames, from `frame_durations`.
        faces_at_once: i64[F], faces in each frame, bridged ones included.
        faces: Of all its tracks.
    """
    none = np.zeros((8, 8), np.int64)
    return VideoSummary(
        frames=len(duration_s),
        seconds=float(duration_s.sum()),
        with_faces_s=float(duration_s[faces_at_once > 0].sum()),
        face_s=float(duration_s @ faces_at_once),
        most_faces=int(faces_at_once.max(initial=0)),
        faces=len(faces),
        raw=pooled([face.raw for face in faces]),
        smooth=pooled([face.smooth for face in faces]),
        transitions=sum((face.transitions for face in faces), none),
        expressions=Expressions(
            count=sum(face.expressions.count for face in faces),
            seconds=sum(face.expressions.seconds for face in faces),
        ),
    )
