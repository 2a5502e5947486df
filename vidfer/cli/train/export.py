"""``vidfer train export``: a trained network as a file for other programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from vidfer.cli.train.needs import torch_needed
from vidfer.cli.train.packaged import ANALYZER, DETECTOR, data_folder, fit_command
from vidfer.errors import DataError, UsageError

ONNX = "onnx"

Model = Annotated[str, typer.Argument(metavar=f"RUN|{DETECTOR}|{ANALYZER}")]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="checkpoint, torchscript, onnx, onnx-fp16, onnx-int8, openvino, tflite or keras.",
    ),
]
Data = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        metavar="TABLE|DATA",
        help="A training table to calibrate onnx-int8 on, repeatable; or the folder DATA of a packaged network.",
    ),
]
Run = Annotated[
    Path | None, typer.Option("--run", metavar="RUN", help="Folder of the run; for packaged networks only.")
]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="The file; by default in RUN.")]
Which = Annotated[
    str | None,
    typer.Option(
        "--which",
        click_type=click.Choice(["best", "last"]),
        help="Which checkpoint of the run; by default best, or as it was for the packaged network.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is already there.")]


def export(
    model: Model,
    data: Data = None,
    run: Run = None,
    output: Output = None,
    format_name: Format = ONNX,
    which: Which = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a trained network as a file for other programs.

    RUN is the folder that vidfer train fit RECIPE.toml wrote to. The file is loaded again and compared with torch
    before it appears; its card says what it is and how close it came. Prints the card.

    face_detector and face_analyzer, with --run RUN and --data DATA (the folder of their training data), are written
    as ONNX, calibrated and measured on DATA.
    """
    packaged = model in (DETECTOR, ANALYZER)
    if packaged:
        card = _packaged(model, data or [], run, output, format_name, which, overwrite)
    else:
        card = _of_recipe(model, data or [], run, output, format_name, which or "best", overwrite)
    print(json.dumps(card, indent=2))


def _of_recipe(
    model: str,
    data: list[Path],
    run: Path | None,
    output: Path | None,
    format_name: str,
    which: str,
    overwrite: bool,
) -> dict[str, Any]:
    from vidfer.train.exporters.formats import FORMATS, find_format

    if run is not None:
        raise UsageError(f"--run is for {DETECTOR} and {ANALYZER}: give the folder of the run alone, as in export RUN")
    folder, wanted = Path(model), find_format(format_name)
    if not folder.is_dir():
        raise DataError(f"there is no run at {model}: give the folder that vidfer train fit wrote to")
    path = output or folder / f"model{wanted.suffix}"
    if path.suffix != wanted.ending:
        kinds = [name for name, known in FORMATS.items() if known.ending == path.suffix]
        other = f"choose --format {kinds[0]}" if kinds else "choose another --format"
        raise UsageError(f"{format_name} is written to *{wanted.ending}, got {path}: {other}, or another file with -o")
    for file in wanted.files(path):
        _refuse_to_replace(file, overwrite)
    with torch_needed():
        from vidfer.train.exporters.run import export_run

        card = export_run(folder, path, format_name=format_name, tables=data, which=which)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {_nearness(card)}", file=sys.stderr)
    return card


def _nearness(card: dict[str, Any]) -> str:
    found = card["verification"]
    if "heads" in found:
        least = min(found["heads"].items(), key=lambda item: item[1]["correlation"])
        return f"correlation with torch at least {least[1]['correlation']:g} ({least[0]})"
    return f"at most {max(found['largest_difference'].values()):.2g} off torch, of the largest value"


def _packaged(
    network: str,
    data: list[Path],
    run: Path | None,
    output: Path | None,
    format_name: str,
    which: str | None,
    overwrite: bool,
) -> dict[str, Any]:
    if format_name != ONNX:
        raise UsageError(f"{network} is exported as onnx, got --format {format_name}; int8: vidfer train quantize")
    if run is None or len(data) != 1:
        raise UsageError(f"{network} is exported with --run RUN and --data DATA, one folder each")
    destination = output or run / f"{network}.onnx"
    _refuse_to_replace(destination, overwrite)
    settings: dict[str, Any] = {"which": which} if which else {}
    with torch_needed():
        settings |= {"data_dir": data_folder(data[0]), "command": fit_command(network, run)}
        if network == DETECTOR:
            from vidfer.train.detector_run import export_detector

            return export_detector(run, destination, **settings)
        from vidfer.train.faces_run import export_faces

        return export_faces(run, destination, **settings)


def _refuse_to_replace(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already: choose --overwrite, or another file with -o")
