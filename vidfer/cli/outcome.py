"""What `vidfer process` says at its end, for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfer.errors import VidferError, one_line

if TYPE_CHECKING:
    from vidfer.pipeline.results import ProcessResult

_COLUMNS = ("source", "state", "frames", "faces", "tracks", "frames/s")
_LEFT = 2  # columns that start at the left


def of_one(result: ProcessResult) -> str:
    """What was found and where it lies."""
    report = result.report
    counts, timings = report["counts"], report.get("timings")
    of_photos = report["source"].get("container") == "photos"
    what = ("faces", "photos") if of_photos else ("face tracks", "frames")
    found = f"{counts['tracks']} {what[0]} in {counts['analysed']} {what[1]}"
    if result.state == "already done":
        found += ", already done: kept as it is"
    elif timings:
        found += f" ({timings['wall_s']:.1f} s, {timings['frames_per_second']:.0f} frames/s)"
        if result.state == "resumed":
            found += f", {timings['resumed_frames']} of them before an interruption"
    files = [
        (result.table_path, "one row per face" if of_photos else "one row per face per frame"),
        (result.tracks_path, "one row per face track"),
        (result.report_path, "the report: what was done, with which networks"),
        (result.video_path, "copies with their faces drawn in" if of_photos else "the video with its faces drawn in"),
    ]
    written = [(str(path), what) for path, what in files if path]
    width = max(len(path) for path, _ in written)
    lines = [f"{report['source']['name']}: {found}", *(f"  {path:<{width}}  {what}" for path, what in written)]
    return "\n".join(lines + [f"  warning: {text}" for text in report["warnings"]])


def of_many(outcomes: Sequence[ProcessResult | tuple[Path, VidferError]]) -> str:
    """One line per input: fresh, resumed, kept from before or failed; then the warnings."""
    rows: list[tuple[str, ...]] = [_COLUMNS]
    notes = []
    for outcome in outcomes:
        if isinstance(outcome, tuple):
            rows.append((str(outcome[0]), "failed", "", "", "", ""))  # why stands on stderr
        else:
            rows.append(_row(outcome))
            notes += [f"{outcome.source}: warning: {text}" for text in outcome.report["warnings"]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    return "\n".join([_line(row, widths) for row in rows] + notes)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    texts = [
        f"{text:<{w}}" if i < _LEFT else f"{text:>{w}}" for i, (text, w) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(texts).rstrip()


def _row(result: ProcessResult) -> tuple[str, ...]:
    counts, timings = result.report["counts"], result.report.get("timings")
    speed = f"{timings['frames_per_second']:.0f}" if timings and result.state != "already done" else "-"
    return str(result.source), result.state, *(str(counts[key]) for key in ("analysed", "faces", "tracks")), speed


def as_dict(result: ProcessResult) -> dict[str, Any]:
    """A result as JSON."""
    return {
        "source": str(result.source),
        "state": result.state,
        "table": str(result.table_path),
        "tracks": str(result.tracks_path),
        "report": result.report,
        "report_path": str(result.report_path),
        "video": str(result.video_path) if result.video_path else None,
    }


def error_as_dict(path: Path, error: VidferError) -> dict[str, Any]:
    """A failure as JSON."""
    return {"source": str(path), "error": one_line(error), "exit_code": error.exit_code}
