"""``vidfer probe``: what a video holds, what is wrong with it, and what ``vidfer process`` would do."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidfer.cli.process import exit_code
from vidfer.errors import VidferError, one_line

if TYPE_CHECKING:
    from vidfer.media.probe import Probe
    from vidfer.pipeline.results import Outputs

_CLOCK_RATE = 240  # what is above is the tick of a container without a frame rate

Inputs = Annotated[list[Path], typer.Argument(metavar="INPUT...")]
Output = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="DIR", show_default="here", help="Where process would put its results."),
]
Full = Annotated[bool, typer.Option("--full", help="Decode everything: finds all damage, and takes its time.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")]


def probe(inputs: Inputs, output: Output = Path(), full: Full = False, as_json: Json = False) -> None:
    """Say what videos hold, what is wrong with them, and what process would do.

    INPUT is a video file or a folder, which is searched for videos. Headers, packets and the first frames are read.
    """
    from vidfer.media.inputs import find_videos
    from vidfer.media.probe import probe as look
    from vidfer.pipeline.results import Outputs, result_names

    logging.getLogger("vidfer").addHandler(logging.NullHandler())  # what it warns of stands in the answer
    found: list[dict[str, Any]] = []
    failed: list[tuple[Path, VidferError]] = []
    videos, without = find_videos(inputs)
    failed += without
    for path, name in zip(videos, result_names(videos, output), strict=True):
        try:
            seen = look(path, full=full)
        except VidferError as error:
            failed.append((path, error))
            continue
        found.append(_as_dict(path, seen, Outputs.of(output, name)))
        if not as_json:
            print("\n".join(describe(found[-1])))
    if as_json:
        errors = [{"source": str(path), "error": str(e), "exit_code": e.exit_code} for path, e in failed]
        print(json.dumps({"results": found, "errors": errors}, indent=2))
    for _, problem in failed:
        print("vidfer: error:", one_line(problem), file=sys.stderr)
    raise typer.Exit(exit_code(len(found), [error for _, error in failed]))


def _as_dict(path: Path, seen: Probe, outputs: Outputs) -> dict[str, Any]:
    entries = {key: value for key, value in asdict(seen.info).items() if key not in ("path", "name", "size_bytes")}
    written = [outputs.table, outputs.tracks, outputs.report, outputs.video]
    there = [str(file) for file in written if file.exists()]
    return {
        "source": str(path),
        "size": seen.info.size_bytes,
        **{k: f"{v.numerator}/{v.denominator}" if isinstance(v, Fraction) else v for k, v in entries.items()},
        "pixel_format": seen.pixel_format,
        "interlaced": seen.interlaced,
        "streams": [asdict(stream) for stream in seen.streams],
        "stamps": {"read": seen.stamps, "all": seen.complete},
        "counts": asdict(seen.counts) if seen.counts else None,
        "warnings": list(seen.warnings),
        "process": {
            "stream": seen.info.stream,
            "frames": seen.frames_expected,
            "results": [str(file) for file in written],
            "there": there,
            "unfinished": outputs.parts.exists(),
        },
    }


def describe(about: dict[str, Any]) -> Iterator[str]:
    """One video for a person."""
    duration = about["duration_s"]
    length = "duration unknown" if duration is None else _clock(duration)
    container = "mp4/mov" if "mp4" in about["container"] else about["container"].split(",")[0]
    yield f"{about['source']}: {container}, {_size(about['size'])}, {length}"
    for stream in about["streams"]:
        chosen = stream["kind"] == "video" and stream["number"] == about["stream"]
        text = _video(about) if chosen else _other(stream)
        yield f"  {stream['kind'] + ' ' + str(stream['number']):<11}{text}"
    if shape := _shape(about):
        yield f"  {'stored':<11}{shape}"
    yield f"  {'frames':<11}{_frames(about)}"
    for text in about["warnings"]:
        yield f"  {'WARNING':<11}{text}"
    if not about["warnings"]:
        seen = "the whole file" if about["counts"] else "headers, packets and first frames (--full decodes all)"
        yield f"  {'damage':<11}none seen in {seen}"
    yield f"  {'process':<11}{_plan(about)}"


def _video(about: dict[str, Any]) -> str:
    rate = Fraction(about["average_frame_rate"] or 0)
    speed = f"{float(rate):.5g} frames/s" if 0 < rate <= _CLOCK_RATE else "unknown frame rate"
    how = ", variable" if about["variable_frame_rate"] else ""
    lines = ", interlaced" if about["interlaced"] else ""
    return f"{about['codec']}, {about['width']}x{about['height']} upright, {speed}{how}, {about['pixel_format']}{lines}"


def _other(stream: dict[str, Any]) -> str:
    parts = [stream["codec"] or "nothing here decodes it"]
    if stream["width"]:
        parts.append(f"{stream['width']}x{stream['height']}")
    if stream["kind"] == "video":
        parts.append(f"process takes it with --stream {stream['number']}")
    if stream["sample_rate"]:
        parts += [f"{stream['sample_rate']} Hz", f"{stream['channels']} channels"]
    if stream["language"] not in (None, "und"):
        parts.append(stream["language"])
    return ", ".join(parts)


def _shape(about: dict[str, Any]) -> str:
    """How the stored picture differs from the upright one; empty where it does not."""
    parts = [f"{about['coded_width']}x{about['coded_height']}"]
    if about["rotation"]:
        parts.append(f"to be turned by {about['rotation']} degrees clockwise")
    if about["sample_aspect_ratio"] != "1/1":
        parts.append(f"pixels {about['sample_aspect_ratio'].replace('/', ':')}")
    same = (about["coded_width"], about["coded_height"]) == (about["width"], about["height"])
    return "" if same and len(parts) == 1 else ", ".join(parts)


def _frames(about: dict[str, Any]) -> str:
    declared, counts = about["frames_declared"], about["counts"]
    text = f"{declared} declared" if declared else "none declared"
    if counts:
        loss = f"{counts['corrupt']} of them corrupt, {counts['undecodable']} packets without a frame"
        return f"{text}, {counts['decoded']} decoded, {loss}"
    if about["stamps"]["all"]:
        return f"{text}, {about['process']['frames']} in the file"
    return text


def _plan(about: dict[str, Any]) -> str:
    plan = about["process"]
    about_frames = "all frames" if plan["frames"] is None else f"about {plan['frames']} frames"
    text = f"would analyse {about_frames} of video {plan['stream']} and write {plan['results'][0]} and more"
    if plan["unfinished"]:
        return f"was interrupted: the same command goes on, with {about_frames} in all"
    if plan["there"]:
        return f"has been here: {', '.join(plan['there'])}"
    return text


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{int(minutes // 60)}:{int(minutes % 60):02d}:{rest:04.1f}"


def _size(size: int) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"
