"""What the page shows of every face: its card, its lane, its charts, its row."""

from __future__ import annotations

from typing import Any

import numpy as np

from vidfer.output.words import clock, duration, percent, plain, signed, thousands
from vidfer.report.charts import (
    Axis,
    at_plane,
    axis_of,
    cells,
    labels,
    lane,
    raw_line,
    shared_lanes,
    smooth_line,
    stacked,
)
from vidfer.report.gather import Face, Gathered
from vidfer.report.quality import FLAGS, WARN_SHARE
from vidfer.report.series import Series
from vidfer.report.thumbnails import MOST_PORTRAITS, Pictures
from vidfer.stats.summary import SourceSummary
from vidfer.types import EMOTIONS

_TABLE_ROWS = 12
_CURVES = (("valence", "unpleasant to pleasant"), ("arousal", "calm to excited"))


def shown(gathered: Gathered) -> list[Face]:
    """Faces with a card: all, or those that are on screen longest."""
    longest = sorted(gathered.faces, key=lambda face: (-face.row["frames"], face.id))[:MOST_PORTRAITS]
    return sorted(longest, key=lambda face: face.id)


def more_faces(gathered: Gathered) -> str | None:
    """What is said of faces without a card."""
    left = len(gathered.faces) - len(shown(gathered))
    return f"{left} more faces are on screen for a shorter time: they stand in the table below." if left else None


def _seconds(face: Face, summary: SourceSummary) -> str:
    """How long it was seen."""
    found = next((one for one in summary.faces if one.face_id == face.id), None)
    return duration(0.0 if found is None else found.measured_s)


def cards(gathered: Gathered, summary: SourceSummary | None, portraits: Pictures) -> list[dict[str, Any]]:
    """The strip of faces; `summary` is None where nothing has a time."""
    return [
        {
            "id": face.id,
            "image": portraits.get((face.id, face.row["best_frame"])),
            "frame": face.row["best_frame"],
            "time": None if face.best is None else face.best.time_s,
            "identity": face.row.get("identity"),
            "seconds": f"{thousands(face.row['frames'])} frames" if summary is None else _seconds(face, summary),
            "emotion": face.row["emotion"],
        }
        for face in shown(gathered)
    ]


def lanes(gathered: Gathered, axis: Axis) -> list[dict[str, Any]]:
    """Who is on screen when: a lane for each face with charts, shared ones for the others."""
    own = [face for face in gathered.charted if face.span is not None]
    ids = {face.id for face in gathered.charted}
    found = [_lane([face], axis, gathered, face.id, "") for face in own]
    others = shared_lanes([face for face in gathered.faces if face.id not in ids])
    return found + [
        _lane(faces, axis, gathered, None, "Others" if number == 0 else "") for number, faces in enumerate(others)
    ]


def _lane(faces: list[Face], axis: Axis, gathered: Gathered, number: int | None, name: str) -> dict[str, Any]:
    step = gathered.step_s
    if number is not None:
        spans = faces[0].present
        told = f"Face {number} is on screen {_times(spans, step)}"
    else:
        told = f"{len(faces)} more faces, one after the other"
    return {
        "id": number,
        "name": name,
        "told": told,
        "present": [(face.id, lane(face.present, axis, step)) for face in faces],
        "flagged": [(face.id, lane(face.flagged, axis, step)) for face in faces if face.flagged],
    }


def _times(spans: list[tuple[float, float]], step_s: float) -> str:
    first = [f"{clock(start)} to {clock(end + step_s)}" for start, end in spans[:4]]
    rest = f" and {len(spans) - 4} more times" if len(spans) > 4 else ""
    return f"from {', '.join(first)}{rest}"


def chart(
    face: Face, gathered: Gathered, summary: SourceSummary, film: Pictures, portraits: Pictures
) -> dict[str, Any] | None:
    """The charts of one face; None where it has none."""
    series = face.series
    if series is None or gathered.span is None:
        return None
    axis = axis_of(face, gathered.span)
    row = face.row
    middle = None
    if row["valence_mean"] is not None:
        x, y = at_plane(row["valence_mean"], row["arousal_mean"])
        left, bottom = at_plane(row["valence_mean"] - row["valence_sd"], row["arousal_mean"] - row["arousal_sd"])
        right, top = at_plane(row["valence_mean"] + row["valence_sd"], row["arousal_mean"] + row["arousal_sd"])
        middle = {"x": x, "y": y, "left": left, "right": right, "top": top, "bottom": bottom}
    return {
        "id": face.id,
        "identity": row.get("identity"),
        "image": portraits.get((face.id, row["best_frame"])),
        "facts": _facts(face, summary),
        "film": _film(face, film),
        "axis": axis,
        "ticks": axis.ticks,
        "stacked": stacked(series, axis),
        "labels": labels(series, axis),
        "curves": [_curve(row, series, axis, which) for which in range(2)],
        "cells": cells(face),
        "middle": middle,
        "valence": _mean_sd(row, "valence"),
        "arousal": _mean_sd(row, "arousal"),
        "means": [(name, percent(row[f"emotion_{name}_mean"] or 0.0)) for name in EMOTIONS],
        "caption": _caption(face, gathered, axis),
        "table": _table(series),
        "told_emotion": _told_emotion(row),
        "told_plane": (
            f"Plane of valence and arousal of face {face.id}: valence {_mean_sd(row, 'valence')}, arousal "
            f"{_mean_sd(row, 'arousal')} (mean and standard deviation)"
        ),
    }


def _facts(face: Face, summary: SourceSummary) -> str:
    row = face.row
    return (
        f"{_seconds(face, summary)} on screen between {clock(row['first_timestamp'])} and "
        f"{clock(row['last_timestamp'])}, {thousands(row['frames'])} frames · "
        f"{plain(row['face_w_median'], 0)} px wide · quality {plain(row['quality_median'])}"
    )


def _film(face: Face, film: Pictures) -> list[dict[str, Any]]:
    looks = sorted(face.film.values(), key=lambda look: look.frame)
    return [
        {"image": film[face.id, look.frame], "time": look.time_s, "text": clock(look.time_s or 0.0)}
        for look in looks
        if (face.id, look.frame) in film
    ]


def _curve(row: dict[str, Any], series: Series, axis: Axis, which: int) -> dict[str, str]:
    key, ends = _CURVES[which]
    values = series.mean[:, 8 + which]
    told = (
        f"{key.capitalize()} over time: mean {_mean_sd(row, key)}, smoothed from {signed(float(values.min()))} to "
        f"{signed(float(values.max()))}"
    )
    return {
        "key": key,
        "name": key.capitalize(),
        "ends": "−1 to 1",
        "told": f"{told} ({ends})",
        "raw": raw_line(series, axis, which),
        "smooth": smooth_line(series, axis, which),
    }


def _mean_sd(row: dict[str, Any], key: str) -> str:
    return f"{signed(row[f'{key}_mean'])} ± {plain(row[f'{key}_sd'])}"


def _told_emotion(row: dict[str, Any]) -> str:
    means = sorted(((row[f"emotion_{name}_mean"] or 0.0, name) for name in EMOTIONS), reverse=True)
    return "Probabilities of eight emotions over time, stacked; means: " + ", ".join(
        f"{name} {percent(mean)}" for mean, name in means
    )


def _caption(face: Face, gathered: Gathered, axis: Axis) -> str:
    text = (
        f"Face {face.id}: probabilities of the eight emotions, valence and arousal over time, and both in their plane."
    )
    if gathered.span is not None and axis.end_s - axis.start_s < 0.99 * (gathered.span[1] - gathered.span[0]):
        text += f" The axis shows only its part of the video, {clock(axis.start_s)} to {clock(axis.end_s)}."
    return text


def _table(series: Series) -> list[dict[str, Any]]:
    """Means of equal parts of its time."""
    edges = np.linspace(series.time_s[0], series.time_s[-1], min(_TABLE_ROWS, len(series.time_s)) + 1)
    part = np.clip(np.searchsorted(edges, series.time_s, side="right") - 1, 0, max(0, len(edges) - 2))
    lines = []
    for number in range(len(edges) - 1):
        inside = part == number
        if not inside.any():
            continue
        mean = np.average(series.mean[inside], axis=0, weights=series.rows[inside])
        lines.append(
            {
                "start": clock(edges[number], 2),
                "end": clock(edges[number + 1], 2),
                "numbers": [*(f"{value:.2f}" for value in mean[:8]), signed(mean[8]), signed(mean[9])],
            }
        )
    return lines


def face_rows(gathered: Gathered) -> list[dict[str, Any]]:
    """The table of all faces."""
    return [
        {
            "id": face.id,
            "cells": _cells(face.row),
            "flags": [_flag(face, flag) for flag in FLAGS],
        }
        for face in gathered.faces
    ]


def _cells(row: dict[str, Any]) -> list[str]:
    times = [row["first_timestamp"], row["last_timestamp"]]
    return [
        *("–" if time is None else clock(time) for time in times),
        thousands(row["frames"]),
        row["emotion"] or "–",
        _mean_sd(row, "valence"),
        _mean_sd(row, "arousal"),
        plain(row["face_w_median"], 0),
        plain(row["confidence_median"]),
        plain(row["quality_median"]),
    ]


def _flag(face: Face, flag: str) -> tuple[str, bool]:
    share = face.flag_frames[flag] / face.measured if face.measured else 0.0
    return percent(share), share >= WARN_SHARE
