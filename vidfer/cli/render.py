"""``vidfer render``: an annotated, anonymised or extended video from a table, without analysing again."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from vidfer.cli.progress import ProgressLine, is_live, logs_shown
from vidfer.cli.stopping import Interrupted, Stopped, stoppable
from vidfer.errors import InputError, UsageError

_SUFFIX = ".mp4"

Table = Annotated[Path, typer.Argument(metavar="FILE.parquet")]
Video = Annotated[
    Path | None,
    typer.Option("--video", metavar="V", help="The video of the table; by default it is looked for beside it."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="OUT.mp4",
        help="The file to make; by default beside the table NAME.annotated.mp4, NAME.blurred.mp4, NAME.panel.mp4 or "
        "NAME.blurred.panel.mp4.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is already there.")]
Landmarks = Annotated[
    bool | None,
    typer.Option("--landmarks/--no-landmarks", help="Draw landmarks; by default if there are any, with --blur not."),
]
Labels = Annotated[bool, typer.Option("--labels/--no-labels", help="Draw boxes and labels.")]
Blur = Annotated[bool, typer.Option("--blur", help="Make the faces in the table unrecognisable.")]
Panel = Annotated[bool, typer.Option("--panel", help="Add timelines of emotions, valence and arousal.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Debug = Annotated[bool, typer.Option("--debug", help="Print the log and, after an error, its traceback.")]


def render(
    table: Table,
    video: Video = None,
    output: Output = None,
    overwrite: Overwrite = False,
    landmarks: Landmarks = None,
    labels: Labels = True,
    blur: Blur = False,
    panel: Panel = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw a table onto its video, without analysing again.

    FILE.parquet is what `vidfer process` wrote. A video that is not the one it was made from is refused. With --blur
    faces that were not found stay visible: look at the result before you pass it on.
    """
    from vidfer.media.inputs import DRAWN_SUFFIXES
    from vidfer.output.parquet import read_footer
    from vidfer.pipeline import render as drawing
    from vidfer.pipeline.rows import has_landmarks

    source = video or _beside(table, read_footer(table).get("source", {}).get("name"))
    named = table.with_name(f"{table.stem}{DRAWN_SUFFIXES[blur, panel]}")
    destination = _checked(output or named, source, overwrite)
    line = ProgressLine(sys.stderr, live=is_live(sys.stderr))
    with stoppable(), logs_shown(line, sys.stderr, debug=debug, quiet=quiet):
        try:
            drawing.render(
                source,
                table,
                destination,
                landmarks=has_landmarks(table) and labels and not blur if landmarks is None else landmarks,
                labels=labels,
                blur=blur,
                panel=panel,
                progress=None if quiet else partial(line.update, source.name),
            )
        except Stopped as stop:
            raise Interrupted("interrupted: no video was made", stop.exit_code) from None
        finally:
            line.clear()
    if not quiet:
        print(destination)


def _beside(table: Path, name: str | None) -> Path:
    """The video that a table was made from, if it lies beside it."""
    if not name or not (table.parent / name).is_file():
        raise InputError(f"the video of {table} ({name or 'unknown'}) is not beside it: name it with --video")
    return table.parent / name


def _checked(path: Path, video: Path, overwrite: bool) -> Path:
    if path.suffix.lower() != _SUFFIX or path.is_dir():
        raise UsageError(f"--output: got {path}, allowed is the name of a file that ends in {_SUFFIX}")
    if path.exists() and video.exists() and path.samefile(video):
        raise UsageError(f"{path} is the video itself: choose another file with -o")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already: choose --overwrite, or another file with -o")
    return path
