"""``vidfer process``: videos in, tables and annotated videos out."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from vidfer.cli.outcome import as_dict, error_as_dict, of_many, of_one
from vidfer.cli.progress import ProgressLine, is_live, logs_shown
from vidfer.cli.stopping import Interrupted, stoppable
from vidfer.errors import VidferError, one_line

if TYPE_CHECKING:
    from vidfer.pipeline.options import ProcessOptions
    from vidfer.pipeline.results import ProcessResult

PARTIAL, INTERRUPTED = 4, 130

# What arguments are stands in the docstring: click 8.5 drops the help that Typer gives them.
Inputs = Annotated[list[Path], typer.Argument(metavar="INPUT...")]
Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="DIR", show_default="here", help="Where results go; made if it does not exist."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that are already there.")]
NoRender = Annotated[bool, typer.Option("--no-render", help="Tables only, no annotated video.")]
Landmarks = Annotated[
    str,
    typer.Option(
        "--landmarks", click_type=click.Choice(["68", "478", "none"]), help="Points of a face to write and draw."
    ),
]
Start = Annotated[
    str | None,
    typer.Option("--start", metavar="TIME", help="First moment to analyse: 90, 1:30, 00:01:30.5 or a frame, 120f."),
]
End = Annotated[str | None, typer.Option("--end", metavar="TIME", help="Where to stop, written as --start.")]
Fps = Annotated[float | None, typer.Option("--fps", metavar="F", help="Analyse F frames a second of video.")]
Stride = Annotated[int | None, typer.Option("--stride", metavar="N", help="Analyse every Nth frame.")]
SequenceFps = Annotated[
    float | None,
    typer.Option("--sequence-fps", metavar="F", help="Numbered pictures in a folder are a video with F a second."),
]
Stream = Annotated[int, typer.Option("--stream", metavar="N", help="Which video stream of the file, 0 is the first.")]
DetectEvery = Annotated[
    str,
    typer.Option(
        "--detect-every", metavar="auto|N", help="Search for new faces every N frames; auto: at least 5 times a second."
    ),
]
Smooth = Annotated[
    str,
    typer.Option(
        "--smooth",
        click_type=click.Choice(["off", "light", "medium", "strong"]),
        help="Smoothing over time; raw values are kept beside.",
    ),
]
Identity = Annotated[
    bool, typer.Option("--identity", help="Say which tracks are the same person: a column identity in both tables.")
]
Embeddings = Annotated[
    bool,
    typer.Option("--embeddings", help="Keep the appearance of each track (biometric data) in the table of tracks."),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        click_type=click.Choice(["auto", "cpu", "cuda"]),
        help="Where the networks run; auto: CUDA if it works.",
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        click_type=click.Choice(["auto", "float32", "int8"]),
        help="Numbers in the networks; auto: int8 on CPUs with VNNI, which is faster and as good, else float32.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object with the reports to stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Debug = Annotated[bool, typer.Option("--debug", help="Print the log and, after an error, its traceback.")]


def process(
    inputs: Inputs,
    output: Output = Path(),
    overwrite: Overwrite = False,
    no_render: NoRender = False,
    landmarks: Landmarks = "68",
    start: Start = None,
    end: End = None,
    fps: Fps = None,
    stride: Stride = None,
    sequence_fps: SequenceFps = None,
    stream: Stream = 0,
    detect_every: DetectEvery = "auto",
    smooth: Smooth = "medium",
    identity: Identity = False,
    embeddings: Embeddings = False,
    device: Device = "auto",
    precision: Precision = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Analyse videos and photos: faces, emotions, landmarks.

    INPUT is a video file, a photo, or a folder, which is searched for videos, or, where it holds none, for photos.
    NAME.mp4 gives NAME.parquet with one row per face per frame, NAME.tracks.parquet with one row per face track,
    NAME.run.json with the report, and NAME.annotated.mp4; photos give one table, and NAME.annotated/ with copies.
    """
    from vidfer.pipeline.options import ProcessOptions

    options = ProcessOptions(
        output_dir=output,
        overwrite=overwrite,
        render=not no_render,
        landmarks=landmarks,  # type: ignore[arg-type]
        start=start,
        end=end,
        fps=fps,
        stride=stride,
        sequence_fps=sequence_fps,
        stream=stream,
        detect_every=detect_every,  # type: ignore[arg-type]  # "auto" and "3": read there
        smooth=smooth,
        identity=identity,
        embeddings=embeddings,
        device=device,
        precision=precision,
    )
    outcomes: list[ProcessResult | tuple[Path, VidferError]] = []
    try:
        _process(inputs, options, outcomes, quiet=quiet, debug=debug)
    except KeyboardInterrupt as stop:
        if outcomes:
            _say(outcomes, as_json=as_json, quiet=quiet, many=True)
        kept = " ".join(["interrupted", *getattr(stop, "__notes__", [])])
        raise Interrupted(kept, getattr(stop, "exit_code", INTERRUPTED)) from None
    _say(outcomes, as_json=as_json, quiet=quiet, many=len(outcomes) > 1)
    failed = [outcome[1] for outcome in outcomes if isinstance(outcome, tuple)]
    raise typer.Exit(_some_unread(outcomes) or exit_code(len(outcomes) - len(failed), failed))


def _process(
    inputs: Sequence[Path],
    options: ProcessOptions,
    outcomes: list[ProcessResult | tuple[Path, VidferError]],
    *,
    quiet: bool,
    debug: bool,
) -> None:
    """Append each outcome as soon as it is known, so that an interruption leaves those before it."""
    with stoppable():
        from vidfer.pipeline.batch import process_many

        line = ProgressLine(sys.stderr, live=is_live(sys.stderr))
        with logs_shown(line, sys.stderr, debug=debug, quiet=quiet):
            try:
                for outcome in process_many(inputs, options, None if quiet else line.update):
                    outcomes.append(outcome)  # noqa: PERF402 (a stop must leave those before it)
            finally:
                line.clear()


def _say(
    outcomes: Sequence[ProcessResult | tuple[Path, VidferError]], *, as_json: bool, quiet: bool, many: bool
) -> None:
    done = [outcome for outcome in outcomes if not isinstance(outcome, tuple)]
    failed = [outcome for outcome in outcomes if isinstance(outcome, tuple)]
    if as_json:
        results, errors = [as_dict(r) for r in done], [error_as_dict(*f) for f in failed]
        print(json.dumps({"results": results, "errors": errors}, indent=2))
    elif many and not quiet:
        print(of_many(outcomes))
    elif done and not quiet:
        print(of_one(done[0]))
    for _, error in failed:
        print("vidfer: error:", one_line(error), file=sys.stderr)
    if quiet:  # else they are among the warnings
        for photo in [photo for result in done for photo in result.report.get("unreadable", [])]:
            print(f"vidfer: error: {photo['source']} cannot be read: {photo['reason']}", file=sys.stderr)


def _some_unread(outcomes: Sequence[ProcessResult | tuple[Path, VidferError]]) -> int:
    """4 when there is a table of photos that lacks some of them, as where some videos fail; else 0."""
    lacking = any(not isinstance(one, tuple) and one.report.get("unreadable") for one in outcomes)
    return PARTIAL if lacking else 0


def exit_code(done: int, errors: Sequence[VidferError]) -> int:
    """0 when all went well, 4 when only some did; else what the errors have in common, or 1."""
    if not errors:
        return 0
    if done:
        return PARTIAL
    codes = {error.exit_code for error in errors}
    return codes.pop() if len(codes) == 1 else 1
