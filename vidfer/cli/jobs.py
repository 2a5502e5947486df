"""``vidfer jobs``: many videos, analysed by many workers into one data set."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidfer.cli.process import INTERRUPTED, PARTIAL, Debug, Quiet
from vidfer.cli.progress import ProgressLine, clock, is_live, logs_shown
from vidfer.cli.stopping import Interrupted, stoppable
from vidfer.errors import InputError

if TYPE_CHECKING:
    from vidfer.jobs.definition import Job
    from vidfer.jobs.executor import Executor
    from vidfer.jobs.run import Tally
    from vidfer.jobs.status import Status

app = typer.Typer(help="Analyse archives: many videos, many workers, one data set.", no_args_is_help=True)

_LIVE_S, _SPARSE_S = 0.2, 10.0
_REASONS_SHOWN = 10

Definition = Annotated[Path, typer.Argument(metavar="JOB.toml")]
ShardOption = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Only the I-th of N parts of the sources: for job arrays."),
]
Rejected = Annotated[
    bool, typer.Option("--rejected", help="Also try again what was rejected: files that cannot be read.")
]
RunJson = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON to stdout.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the report to FILE.")]


@app.command("run")
def run(
    definition: Definition,
    shard: ShardOption = None,
    as_json: RunJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run a job, or go on with it.

    JOB.toml says which videos are analysed with which options, where the results go and who does the work (vidfer
    schema job explains it). What is done is skipped; what failed is tried again; what was rejected, a file that cannot
    be read, is not.
    """
    _run(definition, shard, (), as_json=as_json, quiet=quiet, debug=debug)


@app.command("retry")
def retry(
    definition: Definition,
    rejected: Rejected = False,
    shard: ShardOption = None,
    as_json: RunJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Go on with a job, with new attempts for all that failed."""
    again = ("failed", "rejected") if rejected else ("failed",)
    _run(definition, shard, again, as_json=as_json, quiet=quiet, debug=debug)


def _run(definition: Path, shard: str | None, again: Sequence[str], *, as_json: bool, quiet: bool, debug: bool) -> None:
    from vidfer.jobs.definition import read_definition
    from vidfer.jobs.run import Shard, run_job

    job = read_definition(definition)
    part = None if shard is None else Shard.parse(shard)
    line = ProgressLine(sys.stderr, live=is_live(sys.stderr))
    shown = _Shown(line)

    try:
        # Ray prints what befell its workers, on stdout, which is for data.
        with stoppable(), logs_shown(line, sys.stderr, debug=debug, quiet=quiet), redirect_stdout(sys.stderr):
            try:
                tally = run_job(job, _start, shard=part, again=again, tell=None if quiet else shown.update)
            finally:
                line.clear()
    except KeyboardInterrupt as stop:
        kept = "interrupted: what is analysed is kept, and the same command goes on from there"
        raise Interrupted(kept, getattr(stop, "exit_code", INTERRUPTED)) from None
    if as_json:
        print(json.dumps(_as_dict(tally, job.folder), indent=2))
    elif not quiet:
        print("\n".join(_ended(tally, definition, job.folder)))
    if tally.count("failed") or tally.count("rejected"):
        raise typer.Exit(PARTIAL)


def _start(job: Job) -> Executor:
    from vidfer.jobs.start import start_executor  # loads what workers need: not where nothing is to be done

    return start_executor(job)


@app.command("status")
def status(definition: Definition, as_json: Json = False, debug: Debug = False) -> None:
    """Show how far a job is, while it runs or after it.

    All that its folder holds is counted, also of videos that JOB.toml does not name any more.
    """
    from vidfer.jobs.text import as_table

    found = _read(definition)
    print(json.dumps(asdict(found), indent=2) if as_json else as_table(found))


@app.command("report")
def report(definition: Definition, as_json: Json = False, output: Output = None, debug: Debug = False) -> None:
    """Report on a job in Markdown: what was done, how fast, what was not, and why, source by source."""
    from vidfer.jobs.text import as_markdown

    found = _read(definition)
    text = json.dumps(asdict(found), indent=2) if as_json else as_markdown(found)
    if output is None:
        print(text)
        return
    from vidfer.output.files import write_text

    write_text(output, text + "\n")


def _read(definition: Path) -> Status:
    from vidfer.jobs.dataset import Dataset
    from vidfer.jobs.definition import read_definition
    from vidfer.jobs.status import read_status

    dataset = Dataset(read_definition(definition).folder)
    found = read_status(dataset)
    if not found.total:
        raise InputError(f"nothing was run into {dataset.folder} yet: start it with `vidfer jobs run {definition}`")
    return found


class _Shown:
    """What a person sees while a job runs."""

    def __init__(self, line: ProgressLine) -> None:
        self._line, self._every = line, _LIVE_S if line.live else _SPARSE_S
        self._due = time.monotonic() + (0 if line.live else _SPARSE_S)

    def update(self, tally: Tally) -> None:
        """Show how it stands, unless that was shown just now."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + self._every
            self._line.write(in_words(tally))


def in_words(tally: Tally) -> str:
    """One moment of a job: units, failures by reason, throughput, time left."""
    if not tally.workers:
        return f"looking for sources: {tally.total} so far"
    settled, now = sum(tally.before.values()) + tally.now.total(), tally.now.total()
    words = [f"{settled}/{tally.total} sources", f"{tally.busy} of {tally.workers} workers busy"]
    words += [f"{tally.count(state)} {state}" for state in ("failed", "rejected") if tally.count(state)]
    if now:
        words += [f"{tally.frames / tally.seconds:.0f} frames/s", f"{now / tally.seconds * 3600:.0f} sources/h"]
    words += [f"{clock(tally.left_s)} left"] if tally.left_s is not None else []
    reasons = [f"{count}x {reason}" for reason, count in tally.reasons.most_common(2)]
    return " · ".join(words + reasons)


def _ended(tally: Tally, definition: Path, folder: Path) -> list[str]:
    settled = ", ".join(f"{tally.count(state)} {state}" for state in ("done", "failed", "rejected"))
    words = f"{_count(tally.total, 'source')}: {settled}"
    if tally.todo:
        speed = f"{tally.frames / tally.seconds:.0f} frames/s"
        words += f"; {tally.todo} of them now, in {clock(tally.seconds)} ({_count(tally.workers, 'worker')}, {speed})"
    else:
        words += "; nothing was left to do"
    lines = [words, f"  {folder / 'manifest.parquet'}  one row per unit"]
    lines += [f"  {count}x {reason}" for reason, count in tally.reasons.most_common(_REASONS_SHOWN)]
    if tally.count("failed") or tally.count("rejected"):
        retry = f"vidfer jobs retry {definition}{' --rejected' * (not tally.count('failed'))}"
        lines.append(f"  vidfer jobs report {definition} says which, {retry} tries them again")
    return lines


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _as_dict(tally: Tally, folder: Path) -> dict[str, object]:
    states = {state: tally.count(state) for state in ("done", "failed", "rejected")}
    speed = {"seconds": round(tally.seconds, 3), "frames": tally.frames, "workers": tally.workers}
    return {
        "folder": str(folder),
        "total": tally.total,
        **states,
        "now": dict(tally.now),
        **(speed if tally.todo else {}),
        "reasons": dict(tally.reasons.most_common()),
    }
