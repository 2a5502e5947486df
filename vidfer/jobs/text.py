"""How a job stands, in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from vidfer.jobs.status import Run, Status
from vidfer.jobs.units import STATES

_REASONS = 10


def as_table(status: Status) -> str:
    """For a terminal."""
    rows = [(state, str(status.states.get(state, 0))) for state in STATES]
    rows = [("sources", str(status.total)), *rows, ("waiting", str(status.waiting)), *_amounts(status)]
    if status.left_s is not None:
        rows.append(("time left", _span(status.left_s)))
    width = max(len(value) for _, value in rows)
    lines = [status.folder, *(f"  {name:<14} {value:>{width}}" for name, value in rows)]
    lines += [f"  {reason.count}x {reason.state}: {reason.text}" for reason in status.reasons[:_REASONS]]
    return "\n".join([*lines, *(f"  run: {_run(run)}" for run in status.runs[-5:])])


def as_markdown(status: Status) -> str:
    """The report."""
    return "\n".join(_lines(status))


def _lines(status: Status) -> Iterator[str]:
    yield f"# {status.folder}"
    yield ""
    yield "| sources | count |"
    yield "|---|---:|"
    for state in STATES:
        yield f"| {state} | {status.states.get(state, 0)} |"
    yield f"| waiting | {status.waiting} |"
    yield f"| **all** | **{status.total}** |"
    yield ""
    yield from (f"* {name}: {value}" for name, value in _amounts(status))
    for reason in status.reasons:
        yield from ("", f"## {reason.count} {reason.state}: {reason.text}", "")
        yield from (f"* `{source}`" for source in reason.sources)
        if reason.count > len(reason.sources):
            yield f"* and {reason.count - len(reason.sources)} more: `manifest.parquet` has them all"
    yield from ("", "## Runs", "")
    yield from (f"* {_run(run)}" for run in status.runs)


def _amounts(status: Status) -> Iterator[tuple[str, str]]:
    yield "units", str(status.units)
    yield "frames", str(status.frames)
    yield "faces", str(status.faces)
    yield "hours of video", f"{status.duration_s / 3600:.2f}"
    yield "worker hours", f"{status.seconds / 3600:.2f}"
    if status.seconds:
        yield "frames/s", f"{status.frames / status.seconds:.0f} per worker"


def _run(run: Run) -> str:
    began = datetime.fromtimestamp(run.began, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    took = f" after {_span(run.ended - run.began)}" if run.ended is not None else ""
    part = "" if run.shard == "1/1" else f", shard {run.shard}"
    return f"{began} on {run.host} ({run.pid}){part}: {run.todo} of {run.total} sources to do; {run.state}{took}"


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
