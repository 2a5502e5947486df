"""``vidfer export``: tables in the formats of other programs."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import click
import typer

from vidfer.cli.progress import ProgressLine, logs_shown
from vidfer.cli.stopping import Interrupted, Stopped, stoppable
from vidfer.errors import VidferError, one_line

if TYPE_CHECKING:
    from vidfer.output.export.formats import Exported, ExportOptions

# Named here, too: the formats themselves need Arrow, and `--help` must not. A test compares.
FORMAT_NAMES = ("csv", "jsonl", "openface", "pyfeat", "mot", "elan", "srt", "vtt", "arrow")
_STDOUT = "-"

Tables = Annotated[list[Path], typer.Argument(metavar="FILE...")]
To = Annotated[str, typer.Option("--to", click_type=click.Choice(FORMAT_NAMES), help="The format.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="NAME,...",
        help="Write these columns only, in this order; emotion_* stands for all that begin so. csv, jsonl, arrow.",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="Keep rows such as face_id=2, confidence>=0.5 or emotion!=null (= != < <= > >=). Repeated: all must hold; "
        "of several with = on one column, one.",
    ),
]
Wide = Annotated[
    bool, typer.Option("--wide", help="Landmarks as columns x_0 .. y_0 .. in place of one list. csv, jsonl, arrow.")
]
Output = Annotated[
    str | None,  # a path would lose the slash at the end of results/
    typer.Option(
        "--output", "-o", metavar="OUT", help="File, folder, or - for standard output; by default beside the table."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are already there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Debug = Annotated[bool, typer.Option("--debug", help="Print the log and, after an error, its traceback.")]


def export(
    tables: Tables,
    to: To,
    columns: Columns = None,
    where: Where = None,
    wide: Wide = False,
    output: Output = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write tables in the formats of other programs.

    FILE is a table that `vidfer process` or `vidfer watch` wrote, or a folder of them. NAME.parquet gives NAME.csv,
    NAME.jsonl, NAME.openface.csv, NAME.pyfeat.csv, NAME.mot.txt, NAME.eaf, NAME.srt, NAME.vtt or NAME.arrow.
    """
    from vidfer.output.export.formats import ExportOptions

    names = [name.strip() for given in columns or () for name in given.split(",") if name.strip()]
    options = ExportOptions(to=to, columns=names, where=where or (), wide=wide, overwrite=overwrite)
    with stoppable(), logs_shown(ProgressLine(sys.stderr, live=False), sys.stderr, debug=debug, quiet=quiet):
        if output == _STDOUT:
            _to_stdout(tables, options, sys.stdout.buffer)
        else:
            _to_files(tables, options, output, quiet=quiet, debug=debug)


def _to_stdout(tables: list[Path], options: ExportOptions, out: BinaryIO) -> None:
    from vidfer.output.export.formats import export_to
    from vidfer.output.export.found import check_stdout, find_tables

    found, failed = find_tables(tables)
    if failed:
        raise failed[0][1]
    check_stdout(found, options.to)
    try:
        export_to(found[0][0], out, options)
        out.flush()
    except Stopped as stop:
        raise Interrupted("interrupted: the output is not complete", stop.exit_code) from None


def _to_files(tables: list[Path], options: ExportOptions, output: str | None, *, quiet: bool, debug: bool) -> None:
    from vidfer.cli.process import exit_code
    from vidfer.output.export.formats import export_table
    from vidfer.output.export.found import find_tables, place_exports
    from vidfer.output.files import writing

    found, failed = find_tables(tables)
    places = place_exports(found, options.to, output)
    errors: list[VidferError] = [error for _, error in failed]
    for error in errors:
        _say(error, debug=False)
    done = 0
    for (table, _), place in zip(found, places, strict=True):
        try:
            if output is not None:
                with writing(place):
                    place.parent.mkdir(parents=True, exist_ok=True)
            exported = export_table(table, place, options)
        except Stopped as stop:
            what = f"interrupted: {done} of {len(found)} tables are exported"
            raise Interrupted(what, stop.exit_code) from None
        except VidferError as error:
            errors.append(error)
            _say(error, debug=debug)
            continue
        done += 1
        if not quiet:
            print(f"{place}: {_rows(exported)}")
    raise typer.Exit(exit_code(done, errors))


def _say(error: VidferError, *, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print("vidfer: error:", one_line(error), file=sys.stderr)


def _rows(exported: Exported) -> str:
    if exported.rows_kept == exported.rows:
        return f"{exported.rows} rows"
    return f"{exported.rows_kept} of {exported.rows} rows"
