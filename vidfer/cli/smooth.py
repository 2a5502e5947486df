"""``vidfer smooth``: other smoothing for a table, without analysing again."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from vidfer.cli.stopping import Interrupted, Stopped, stoppable
from vidfer.errors import VidferError, one_line

if TYPE_CHECKING:
    from vidfer.pipeline.resmooth import SmoothedTable

_TRACKS = ".tracks.parquet"

Tables = Annotated[list[Path], typer.Argument(metavar="FILE.parquet...")]
Smooth = Annotated[
    str,
    typer.Option(
        "--smooth",
        click_type=click.Choice(["off", "light", "medium", "strong"]),
        help="How strongly; as in `vidfer process`.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Write there; by default the tables are replaced."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Debug = Annotated[bool, typer.Option("--debug", help="After an error, print its traceback.")]


def smooth(
    tables: Tables, smooth: Smooth = "medium", output: Output = None, quiet: Quiet = False, debug: Debug = False
) -> None:
    """Smooth tables again, without analysing again.

    FILE.parquet is what `vidfer process` wrote. Its raw columns stay, so nothing is lost: the same preset gives the
    same values again. The annotated video of `vidfer process`, which shows the former smoothing, is removed when the
    table is replaced. Tables of tracks are left out where their tables are given too (*.parquet).
    """
    from vidfer.cli.process import exit_code

    tables = [table for table in tables if _table_of(table) not in tables]
    errors: list[VidferError] = []
    done: list[SmoothedTable] = []
    try:
        with stoppable():
            from vidfer.pipeline.resmooth import smooth_table

            for table in tables:
                try:
                    done.append(smooth_table(table, smooth, output))
                except VidferError as error:
                    errors.append(error)
                    if debug:
                        traceback.print_exc()
                    print("vidfer: error:", one_line(error), file=sys.stderr)
                else:
                    if not quiet:
                        print(_summary(done[-1], smooth))
    except Stopped as stop:
        what = f"interrupted: {len(done)} of {len(tables)} tables are done; the same command does them all"
        raise Interrupted(what, stop.exit_code) from None
    raise typer.Exit(exit_code(len(done), errors))


def _table_of(path: Path) -> Path | None:
    """The table beside a table of tracks; None for any other file."""
    name = path.name.removesuffix(_TRACKS)
    return None if name == path.name else path.with_name(f"{name}.parquet")


def _summary(done: SmoothedTable, smooth: str) -> str:
    text = f"{done.table}: smoothing {smooth}, {done.footer['counts']['tracks']} face tracks"
    if done.removed:
        text += f"\n  removed {done.removed}, which showed the former smoothing: `vidfer render` draws it again"
    return text
