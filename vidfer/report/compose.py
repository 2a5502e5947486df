"""The page: the template, filled.

All that stands in it is escaped, and it may load nothing and run no script but its own: see `output.page`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markupsafe import Markup

from vidfer.output.page import rendered
from vidfer.output.words import percent
from vidfer.report import facts, sentences, statistics
from vidfer.report.charts import HIGH, LANE_WIDE, WIDE, Axis, cut_lines
from vidfer.report.faces import cards, chart, face_rows, lanes, more_faces
from vidfer.report.gather import Gathered
from vidfer.report.quality import FLAGS, WARN_SHARE
from vidfer.report.results import Results
from vidfer.report.thumbnails import Pictures
from vidfer.stats.summary import SourceSummary
from vidfer.types import EMOTIONS

_FOLDER = Path(__file__).parent / "page"
_MOST_STEPS = 10_000  # of the slider


def page(
    results: Results,
    gathered: Gathered,
    summary: SourceSummary | None,
    portraits: Pictures,
    film: Pictures,
    notes: list[str],
) -> str:
    """The page as HTML.

    Args:
        results: The files of the result.
        gathered: What was read of the table.
        summary: Its statistics; None where it has no faces or no times.
        portraits: Pictures of faces by (face, frame); empty without a video.
        film: More of them.
        notes: What else is to be warned of, one line each.
    """
    about = results.about
    return rendered(
        _FOLDER / "report.html.j2",
        _FOLDER / "report.css",
        _FOLDER / "report.js",
        data=Markup(_data(gathered, is_timed=summary is not None)),
        name=about["source"]["name"],
        lede=sentences.lede(about, gathered),
        key=sentences.key_figures(gathered),
        warnings=[*sentences.warnings(about, gathered), *notes],
        cards=cards(gathered, summary, portraits),
        more=more_faces(gathered),
        faces_note=sentences.about_faces(bool(portraits)),
        rows=face_rows(gathered),
        flags=FLAGS,
        warn_share=percent(WARN_SHARE),
        video=facts.video_facts(about),
        account=facts.frame_accounting(about["counts"]),
        account_note=sentences.about_frames(about, gathered),
        install=facts.install(about),
        command=facts.command(about),
        settings=facts.settings(about),
        networks=facts.networks(about),
        **_over_time(about, gathered, summary, portraits, film),
    )


def _over_time(
    about: dict[str, Any], gathered: Gathered, summary: SourceSummary | None, portraits: Pictures, film: Pictures
) -> dict[str, Any]:
    """What has an axis of time."""
    if gathered.span is None or summary is None:
        return {"span": None, "charts": []}
    axis = Axis(start_s=gathered.span[0], end_s=gathered.span[1])
    charts = [chart(face, gathered, summary, film, portraits) for face in gathered.charted]
    return {
        "span": gathered.span,
        "steps": max(1, min(_MOST_STEPS, round((axis.end_s - axis.start_s) / gathered.step_s))),
        "ticks": axis.ticks,
        "lanes": lanes(gathered, axis),
        "lane_wide": LANE_WIDE,
        "lanes_caption": sentences.about_lanes(gathered),
        "cuts": cut_lines(gathered, axis),
        "shown": statistics.shown(summary),
        "bar_wide": statistics.BAR_WIDE,
        "pairs": statistics.pairs(summary),
        "pairs_note": sentences.about_pairs(summary),
        "charts": [one for one in charts if one is not None],
        "charts_note": sentences.about_charts(about, gathered),
        "wide": WIDE,
        "high": HIGH,
        "emotions": EMOTIONS,
    }


def _data(gathered: Gathered, *, is_timed: bool) -> str:
    """What the script needs, as JSON that no text in it can end."""
    found: list[dict[str, Any]] = []
    for face in gathered.charted:
        if (series := face.series) is None:
            continue
        ms = (series.time_s * 1000).round().astype(int)
        found.append(
            {
                "id": face.id,
                "start": float(ms[0]) / 1000,
                "t": [0, *(ms[1:] - ms[:-1]).tolist()],
                "near": round(1.5 * series.step_s, 3),
                "e": (series.mean[:, :8].T * 1000).round().astype(int).tolist(),
                "v": (series.mean[:, 8] * 1000).round().astype(int).tolist(),
                "a": (series.mean[:, 9] * 1000).round().astype(int).tolist(),
            }
        )
    data = {"span": gathered.span if is_timed else None, "emotions": EMOTIONS, "faces": found}
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
