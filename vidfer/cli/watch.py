"""``vidfer watch``: cameras in, tables that grow while it runs."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import click
import typer
from click.core import ParameterSource

from vidfer.cli.process import Debug, Quiet
from vidfer.cli.progress import JsonLines, ProgressLine, is_live, logs_shown
from vidfer.cli.stopping import draining
from vidfer.errors import InputError, UsageError

if TYPE_CHECKING:
    from vidfer.pipeline.board import Board, CameraStatus
    from vidfer.pipeline.models import Models

_log = logging.getLogger("vidfer.watch")

PARTIAL = 4
_SPARSE_S = 60.0

Urls = Annotated[list[str] | None, typer.Argument(metavar="[URL]...", show_default=False)]
Cameras = Annotated[
    list[int] | None,
    typer.Option("--camera", metavar="N", help="A camera of this machine, 0 is the first; repeatable."),
]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="TOML file with cameras and options; see the README.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", show_default="here", help="Folder of the tables; made if missing."),
]
Segment = Annotated[float | None, typer.Option("--segment", metavar="S", help="Close a piece every S seconds; 60.")]
Record = Annotated[bool | None, typer.Option("--record", help="Record annotated videos beside the tables.")]
Blur = Annotated[bool | None, typer.Option("--blur", help="Make faces unrecognisable, in recordings and in the page.")]
KeepDays = Annotated[float | None, typer.Option("--keep-days", metavar="D", help="Remove pieces older than D days.")]
KeepGb = Annotated[
    float | None, typer.Option("--keep-gb", metavar="G", help="Remove the oldest pieces beyond G gigabytes in all.")
]
Landmarks = Annotated[
    str | None,
    typer.Option("--landmarks", click_type=click.Choice(["68", "478", "none"]), help="Points of a face to write; 68."),
]
Smoothing = Annotated[
    str | None,
    typer.Option(
        "--smooth",
        click_type=click.Choice(["off", "light", "medium", "strong"]),
        help="Smoothing over time; raw values are kept beside; medium.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option("--device", click_type=click.Choice(["auto", "cpu", "cuda"]), help="Where the networks run; auto."),
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision", click_type=click.Choice(["auto", "float32", "int8"]), help="Numbers in the networks; auto."
    ),
]
Lag = Annotated[
    float | None, typer.Option("--lag", metavar="S", help="Smooth with S seconds of what follows; 0 waits for nothing.")
]
MaxFps = Annotated[float | None, typer.Option("--max-fps", metavar="F", help="Analyse at most F frames a second.")]
Transport = Annotated[
    str | None, typer.Option("--transport", click_type=click.Choice(["tcp", "udp"]), help="Of RTSP; tcp.")
]
MaxOutage = Annotated[
    float | None, typer.Option("--max-outage", metavar="S", help="Give up a camera that was away for S seconds.")
]
Stall = Annotated[
    float | None, typer.Option("--stall", metavar="S", help="Reconnect when the newest frame is S seconds old; 10.")
]
Serve = Annotated[
    str | None, typer.Option("--serve", metavar="HOST:PORT", help="Show the cameras in a page, and answer over REST.")
]
Token = Annotated[
    str | None,
    typer.Option("--token", metavar="TOKEN", envvar="VIDFER_TOKEN", help="What a browser or program has to know."),
]
LogJson = Annotated[bool, typer.Option("--log-json", help="Log as JSON, one object a line, to stderr.")]


def watch(
    urls: Urls = None,
    camera: Cameras = None,
    config: Config = None,
    output: Output = None,
    segment: Segment = None,
    record: Record = None,
    blur: Blur = None,
    keep_days: KeepDays = None,
    keep_gb: KeepGb = None,
    landmarks: Landmarks = None,
    smooth: Smoothing = None,
    lag: Lag = None,
    max_fps: MaxFps = None,
    transport: Transport = None,
    max_outage: MaxOutage = None,
    stall: Stall = None,
    device: Device = None,
    precision: Precision = None,
    serve: Serve = None,
    token: Token = None,
    log_json: LogJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Analyse cameras, for as long as they run.

    URL is rtsp://, rtsps://, http:// or https:// (HLS, MJPEG), or a video file, watched as if it were a camera. Ctrl-C
    and SIGTERM end it in good order: everything is written.
    """
    given = {
        "output": output,
        "segment": segment,
        "record": record,
        "blur": blur,
        "keep_days": keep_days,
        "keep_gb": keep_gb,
        "landmarks": landmarks,
        "smooth": smooth,
        "lag": lag,
        "max_fps": max_fps,
        "transport": transport,
        "max_outage": max_outage,
        "stall": stall,
        "device": device,
        "precision": precision,
    }
    from vidfer.pipeline.board import Board
    from vidfer.pipeline.watch_options import watch_options

    options = watch_options([*(urls or []), *(f"camera:{number}" for number in camera or [])], config, given)
    if options.blur and not options.record and serve is None:
        raise UsageError("blur hides faces in recordings and in the live page: give --record or --serve too")
    board, shown = Board(), _Shown(sys.stderr, quiet=quiet, as_json=log_json)
    with draining(board.stop_requested), shown.logs(debug=debug), ExitStack() as stack:
        page = _page(serve, token)
        from vidfer.pipeline.models import Models
        from vidfer.pipeline.watch import watch as watch_cameras

        models = Models(options.device, options.precision)
        if page is not None:
            stack.enter_context(page(board, models))
        cameras = watch_cameras(options, board, models=models, tell=shown.update)
    if not quiet:
        print("\n".join(summary(camera) for camera in cameras))
    failed = [camera for camera in cameras if camera.state == "failed"]
    if failed:
        raise typer.Exit(PARTIAL if len(failed) < len(cameras) else InputError.exit_code)


def _page(serve: str | None, token: str | None) -> Callable[[Board, Models], AbstractContextManager[object]] | None:
    """What starts the live page; a wrong address shows before the networks are loaded."""
    if serve is None:
        source = click.get_current_context().get_parameter_source("token")
        if token is not None and source == ParameterSource.COMMANDLINE:  # in the environment it may be for others
            raise UsageError("--token is for the live page: give --serve HOST:PORT too")
        return None
    from vidfer.serve.server import parse_address
    from vidfer.serve.server import serve as start

    address = parse_address(serve)

    def open_page(board: Board, models: Models) -> AbstractContextManager[object]:
        from vidfer.pipeline.looks import Looker
        from vidfer.pipeline.still import still_analysis

        analyze = still_analysis(Looker(models.detector, models.network))
        server = start(board, address.host, address.port, token=token, analyze=analyze)
        _log.info("live page: %s", server.url, extra={"event": "live page"})
        if server.generated:  # shown once, to whoever started this, and never logged
            print("vidfer: live page:", server.link, file=sys.stderr)
        return server

    return open_page


def summary(camera: CameraStatus) -> str:
    """One camera in one line."""
    words = [f"{camera.frames} frames", f"{camera.faces} faces", f"{camera.dropped} dropped"]
    words += [f"{camera.reconnects} reconnects"] if camera.reconnects else []
    if camera.latency_p50_ms is not None and camera.latency_p95_ms is not None:
        words.append(f"latency {camera.latency_p50_ms:.0f} ms, p95 {camera.latency_p95_ms:.0f} ms")
    words += [camera.writing] if camera.writing.startswith("paused") else []
    words += [camera.last_error] if camera.last_error and camera.state not in ("live", "paused", "ended") else []
    return f"{camera.name}: {camera.state}: " + ", ".join(words)


class _Shown:
    """What a person, or a collector of logs, sees while it runs."""

    def __init__(self, stream: TextIO, *, quiet: bool, as_json: bool) -> None:
        self._stream, self._quiet, self._as_json = stream, quiet, as_json
        self._line = ProgressLine(stream, live=is_live(stream) and not as_json)
        self._due = time.monotonic() + _SPARSE_S

    def logs(self, *, debug: bool) -> AbstractContextManager[None]:
        """Show the log within the block."""
        handler = JsonLines(self._stream) if self._as_json else None
        return logs_shown(self._line, self._stream, debug=debug, quiet=self._quiet, usual=logging.INFO, handler=handler)

    def update(self, cameras: Sequence[CameraStatus]) -> None:
        """Show how the cameras are doing: always on a terminal, else every minute in the log."""
        if self._quiet:
            return
        if self._line.live:
            self._line.write(" · ".join(_short(camera) for camera in cameras))
        elif time.monotonic() >= self._due:
            self._due = time.monotonic() + _SPARSE_S
            for camera in cameras:
                _log.info("%s", summary(camera), extra={"camera": camera.name, "event": "status"})


def _short(camera: CameraStatus) -> str:
    if camera.state != "live":
        return f"{camera.name} {camera.state}"
    words = f"{camera.name} {camera.fps:.0f} fps {camera.latency_p95_ms or 0:.0f} ms"
    return words if camera.writing == "on" else f"{words} NOT WRITING"
