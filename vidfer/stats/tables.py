"""Summaries as Arrow tables: one row per video, face, transition, peak and pair of faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from vidfer.stats.affect import AffectSummary
from vidfer.stats.changes import Expressions
from vidfer.stats.summary import FaceSummary, SourceSummary, VideoSummary
from vidfer.types import EMOTIONS, I64

Row = dict[str, Any]

_TEXT, _ID, _COUNT, _NUMBER = pa.string(), pa.int32(), pa.int64(), pa.float64()
_WHERE = [("table", _TEXT), ("source", _TEXT)]
_KINDS = ("", "_smooth")
_SHOWN = [
    ("emotion_smooth", _TEXT),
    *((f"emotion_{name}{kind}_share", _NUMBER) for kind in _KINDS for name in EMOTIONS),
    *((f"emotion_{name}{kind}_mean", _NUMBER) for kind in _KINDS for name in EMOTIONS),
    *((f"valence{kind}_{what}", _NUMBER) for kind in _KINDS for what in ("mean", "sd")),
    *((f"arousal{kind}_{what}", _NUMBER) for kind in _KINDS for what in ("mean", "sd")),
    *((f"expressivity{kind}", _NUMBER) for kind in _KINDS),
    ("expressions", _COUNT),
    ("expressions_per_min", _NUMBER),
    ("expression_s_mean", _NUMBER),
    ("transitions", _COUNT),
    ("transitions_per_min", _NUMBER),
]
_SIGNALS = (*(f"emotion_{name}" for name in EMOTIONS), "valence", "arousal", "expressivity")
_BASELINE = [
    ("baseline_s", _NUMBER),
    *((f"{name}_{what}", _NUMBER) for what in ("baseline", "change") for name in _SIGNALS),
]
_COLUMNS = {
    "videos": [
        *_WHERE,
        ("frames", _COUNT),
        ("seconds", _NUMBER),
        ("with_faces_s", _NUMBER),
        ("face_s", _NUMBER),
        ("faces", _COUNT),
        ("most_faces", _COUNT),
        *_SHOWN,
    ],
    "faces": [
        *_WHERE,
        ("face_id", _ID),
        ("identity", _ID),
        ("first_timestamp", _NUMBER),
        ("last_timestamp", _NUMBER),
        ("on_screen_s", _NUMBER),
        ("on_screen_share", _NUMBER),
        ("measured_s", _NUMBER),
        *_SHOWN,
    ],
    "transitions": [
        *_WHERE,
        ("face_id", _ID),
        ("emotion", _TEXT),
        ("next_emotion", _TEXT),
        ("count", _COUNT),
        ("share", _NUMBER),
    ],
    "peaks": [
        *_WHERE,
        ("face_id", _ID),
        ("timestamp", _NUMBER),
        ("signal", _TEXT),
        ("kind", _TEXT),
        ("value", _NUMBER),
        ("prominence", _NUMBER),
    ],
    "synchrony": [
        *_WHERE,
        ("face_id", _ID),
        ("other_face_id", _ID),
        ("signal", _TEXT),
        ("shared_s", _NUMBER),
        ("windows", _COUNT),
        ("correlation", _NUMBER),
        ("lag_s", _NUMBER),
        ("first_leads", _NUMBER),
        ("correlation_at_0", _NUMBER),
        ("surrogate", _NUMBER),
        ("surrogate_p", _NUMBER),
    ],
}
TABLES = tuple(_COLUMNS)


def summary_schema(name: str, baseline: bool = False) -> pa.Schema:
    """The schema of one of `TABLES`; `baseline`: with its columns, in `faces`."""
    return pa.schema(_COLUMNS[name] + (_BASELINE if baseline and name == "faces" else []))


def summary_tables(sources: Sequence[SourceSummary], baseline: bool = False) -> dict[str, pa.Table]:
    """All `TABLES` of some sources; what is not known is null.

    Args:
        sources: Their summaries.
        baseline: With the columns of the baseline.
    """
    makers = {"videos": _videos, "faces": _faces, "transitions": _transitions, "peaks": _peaks, "synchrony": _synchrony}
    tables = {}
    for name, rows_of in makers.items():
        rows = [{"table": one.table, "source": one.source, **row} for one in sources for row in rows_of(one)]
        tables[name] = pa.Table.from_pylist(rows, schema=summary_schema(name, baseline))
    return tables


def _videos(one: SourceSummary) -> Iterator[Row]:
    names = ("frames", "seconds", "with_faces_s", "face_s", "faces", "most_faces")
    yield {**{name: getattr(one.video, name) for name in names}, **_shown(one.video)}


def _faces(one: SourceSummary) -> Iterator[Row]:
    for face in one.faces:
        yield {
            "face_id": face.face_id,
            "identity": face.identity,
            "first_timestamp": face.first_s,
            "last_timestamp": face.last_s,
            "on_screen_s": face.on_screen_s,
            "on_screen_share": face.on_screen_s / one.video.seconds if one.video.seconds else None,
            "measured_s": face.measured_s,
            **_shown(face),
            **_against_baseline(face),
        }


def _shown(one: FaceSummary | VideoSummary) -> Row:
    row: Row = {}
    for kind, affect in (("", one.raw), ("_smooth", one.smooth)):
        if affect is not None:
            for i, name in enumerate(EMOTIONS):
                row[f"emotion_{name}{kind}_share"] = float(affect.share[i])
                row[f"emotion_{name}{kind}_mean"] = float(affect.probability[i])
            for name in ("valence", "arousal"):
                spread = getattr(affect, name)
                row |= {f"{name}{kind}_mean": spread.mean, f"{name}{kind}_sd": spread.sd}
            row[f"expressivity{kind}"] = affect.expressivity
    if one.smooth is not None:
        row["emotion_smooth"] = one.smooth.emotion
    return row | _changes(one.transitions, one.expressions, None if one.raw is None else one.raw.seconds)


def _changes(transitions: I64, expressions: Expressions, seconds: float | None) -> Row:
    count = int(transitions.sum())
    return {
        "expressions": expressions.count,
        "expressions_per_min": None if seconds is None else 60 * expressions.count / seconds,
        "expression_s_mean": expressions.seconds / expressions.count if expressions.count else None,
        "transitions": count,
        "transitions_per_min": None if seconds is None else 60 * count / seconds,
    }


def _against_baseline(face: FaceSummary) -> Row:
    if face.baseline is None or face.smooth is None:
        return {}
    own, now = _signals(face.baseline), _signals(face.smooth)
    return {
        "baseline_s": face.baseline.seconds,
        **{f"{name}_baseline": own[name] for name in _SIGNALS},
        **{f"{name}_change": now[name] - own[name] for name in _SIGNALS},
    }


def _signals(affect: AffectSummary) -> dict[str, float]:
    means = {f"emotion_{name}": float(affect.probability[i]) for i, name in enumerate(EMOTIONS)}
    means |= {"valence": affect.valence.mean, "arousal": affect.arousal.mean}
    return means | {"expressivity": affect.expressivity}


def _transitions(one: SourceSummary) -> Iterator[Row]:
    """Those that happened."""
    for face in one.faces:
        leaving = face.transitions.sum(axis=1)
        for i, j in zip(*face.transitions.nonzero(), strict=True):
            count = int(face.transitions[i, j])
            share = count / int(leaving[i])
            row = {"emotion": EMOTIONS[i], "next_emotion": EMOTIONS[j], "count": count, "share": share}
            yield {"face_id": face.face_id, **row}


def _peaks(one: SourceSummary) -> Iterator[Row]:
    for face in one.faces:
        for peak in face.peaks:
            yield {
                "face_id": face.face_id,
                "timestamp": peak.time_s,
                "signal": peak.signal,
                "kind": "trough" if peak.is_trough else "peak",
                "value": peak.value,
                "prominence": peak.prominence,
            }


def _synchrony(one: SourceSummary) -> Iterator[Row]:
    for pair in one.synchrony:
        names = summary_schema("synchrony").names[4:]
        yield {"face_id": pair.first, "other_face_id": pair.second, **{name: getattr(pair, name) for name in names}}
