"""``vidfer summary``: what the faces in tables showed, over time."""

from __future__ import annotations

import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click
import typer

from vidfer import __version__
from vidfer.cli.stopping import Interrupted, Stopped, stoppable
from vidfer.errors import UsageError, VidferError, one_line

if TYPE_CHECKING:
    from vidfer.pipeline.summary import SummaryOptions
    from vidfer.stats.summary import SourceSummary

Tables = Annotated[list[Path], typer.Argument(metavar="FILE...")]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        click_type=click.Choice(["parquet", "csv", "json"]),
        help="Write all of it as files; JSON without -o to stdout.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", show_default="here", help="Folder of the files; made if missing."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there already.")]
Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        metavar="SPAN|auto",
        help="When people were neutral, 0:05-0:15, or auto; what they show beyond that goes into more columns.",
    ),
]
Prominence = Annotated[
    float, typer.Option("--prominence", metavar="P", help="Peaks stand out by at least P of their signal.")
]
Window = Annotated[float, typer.Option("--window", metavar="S", help="Windows in which two faces are compared.")]
MaxLag = Annotated[float, typer.Option("--max-lag", metavar="S", help="Longest lag of one face behind the other.")]
Debug = Annotated[bool, typer.Option("--debug", help="After an error, print its traceback.")]


def summary(
    tables: Tables,
    to: To = None,
    output: Output = None,
    overwrite: Overwrite = False,
    baseline: Baseline = None,
    prominence: Prominence = 0.2,
    window: Window = 5.0,
    max_lag: MaxLag = 2.0,
    debug: Debug = False,
) -> None:
    """Sum up what faces showed: time on screen, emotions, changes, peaks, synchrony.

    FILE is a table that `vidfer process` wrote, or a folder of them; several give one result. On the terminal the most
    important, in files everything: videos, faces, transitions, peaks and synchrony. docs/statistics.md defines every
    number.
    """
    from vidfer.cli.process import exit_code
    from vidfer.pipeline.summary import SummaryOptions, parse_baseline
    from vidfer.stats.synchrony import SynchronyOptions

    if to is None and (output is not None or overwrite):
        raise UsageError("-o and --overwrite are for files: say which with --to parquet, csv or json")
    options = SummaryOptions(
        baseline=None if baseline is None else parse_baseline(baseline),
        least_prominence=prominence,
        synchrony=SynchronyOptions(window_s=window, max_lag_s=max_lag),
    )
    try:
        with stoppable():
            done, errors = _summarize(tables, options, to, output, overwrite=overwrite, debug=debug)
    except Stopped as stop:
        raise Interrupted(
            "interrupted: files that are there are whole; the same command writes them all", stop.exit_code
        ) from None
    raise typer.Exit(exit_code(done, errors))


def _summarize(
    tables: list[Path], options: SummaryOptions, to: str | None, output: Path | None, *, overwrite: bool, debug: bool
) -> tuple[int, list[VidferError]]:
    from vidfer.cli import summary_text
    from vidfer.output.export.found import find_tables
    from vidfer.output.summaries import summary_files
    from vidfer.pipeline.summary import summarize_table
    from vidfer.stats.tables import TABLES

    to_stdout = to == "json" and output is None
    if to is not None and not to_stdout:
        summary_files(dict.fromkeys(TABLES), to, output or Path(), overwrite=overwrite)  # before the work is done
    found, failed = find_tables(tables)
    errors: list[VidferError] = [error for _, error in failed]
    for error in errors:
        print("vidfer: error:", one_line(error), file=sys.stderr)
    done: list[SourceSummary] = []
    for table, _ in found:
        try:
            done.append(summarize_table(table, options))
        except VidferError as problem:
            errors.append(problem)
            if debug:
                traceback.print_exc()
            print("vidfer: error:", one_line(problem), file=sys.stderr)
        else:
            if to is None:
                print("\n".join(summary_text.of_source(done[-1], first=len(done) == 1)))
    for text in summary_text.warnings(done, options.baseline is not None):
        print("vidfer: warning:", text, file=sys.stderr)
    if done and to is not None:
        _write(done, options, to, None if to_stdout else output or Path(), overwrite=overwrite)
    return len(done), errors


def _write(
    done: list[SourceSummary], options: SummaryOptions, to: str, folder: Path | None, *, overwrite: bool
) -> None:
    from vidfer.output.summaries import summary_files, summary_json, write_summaries
    from vidfer.stats.tables import summary_tables

    tables = summary_tables(done, options.baseline is not None)
    about: dict[str, Any] = {"summary_version": 1, "vidfer_version": __version__, "options": asdict(options)}
    if folder is None:
        print(summary_json(tables, about), end="")
        return
    paths = summary_files(tables, to, folder, overwrite=overwrite)
    write_summaries(tables, paths, to, about)
    for path in dict.fromkeys(paths.values()):
        print(path)
