"""``vidfer report``: one page about a result that opens anywhere, without a network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vidfer.cli.progress import ProgressLine, logs_shown
from vidfer.cli.stopping import Interrupted, Stopped, stoppable
from vidfer.errors import UsageError

_SUFFIXES = (".html", ".htm")

Table = Annotated[Path, typer.Argument(metavar="FILE.parquet")]
Video = Annotated[
    Path | None,
    typer.Option("--video", metavar="V", help="The video of the table; by default it is looked for beside it."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="OUT.html", help="The page to make; by default NAME.report.html beside the table."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a page that is already there.")]
NoThumbnails = Annotated[bool, typer.Option("--no-thumbnails", help="No pictures of faces: the page shows nobody.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Debug = Annotated[bool, typer.Option("--debug", help="Print the log and, after an error, its traceback.")]


def report(
    table: Table,
    video: Video = None,
    output: Output = None,
    overwrite: Overwrite = False,
    no_thumbnails: NoThumbnails = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make one HTML page about a result: faces, timelines, quality, frames, networks, the command.

    FILE.parquet is what `vidfer process` wrote, with its other files beside it. The page holds all it needs and asks
    for nothing from any network. Without its video it has no pictures of faces; another video is refused.
    """
    destination = _checked(output or table.with_name(f"{table.stem}.report.html"), overwrite)
    line = ProgressLine(sys.stderr, live=False)
    with stoppable(), logs_shown(line, sys.stderr, debug=debug, quiet=quiet):
        try:
            from vidfer.report.build import make_report

            make_report(table, destination, video=video, thumbnails=not no_thumbnails)
        except Stopped as stop:
            raise Interrupted("interrupted: no page was made", stop.exit_code) from None
    if not quiet:
        print(destination)


def _checked(path: Path, overwrite: bool) -> Path:
    if path.suffix.lower() not in _SUFFIXES or path.is_dir():
        raise UsageError(f"--output: got {path}, allowed is the name of a file that ends in {_SUFFIXES[0]}")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already: choose --overwrite, or another file with -o")
    return path
