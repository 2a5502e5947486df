"""``vidfer train evaluate``: how good networks are, on a table or by the protocol of the packaged ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from vidfer.cli.train.counting import counting
from vidfer.cli.train.needs import torch_needed
from vidfer.cli.train.packaged import ANALYZER, DETECTOR, ModelFile, Precision, data_folder
from vidfer.errors import UsageError

_SUFFIXES = (".html", ".htm")
_HEADLINES = ("accuracy", "macro_f1", "ccc_valence", "ccc_arousal", "nme", "iou")

Models = Annotated[list[str], typer.Argument(metavar="MODEL...")]
Data = Annotated[
    list[Path],
    typer.Option("--data", metavar="TABLE|DATA", help="A training table, repeatable; or the folder DATA."),
]
Split = Annotated[
    str, typer.Option("--split", click_type=click.Choice(["train", "val", "test"]), help="Which rows of the tables.")
]
Compare = Annotated[bool, typer.Option("--compare", help="Two or more networks side by side, with their differences.")]

Page = Annotated[Path | None, typer.Option("--report", metavar="FILE.html", help="Also make an HTML page of it.")]
NoThumbnails = Annotated[bool, typer.Option("--no-thumbnails", help="No pictures of faces on the page.")]


def evaluate(
    models: Models,
    data: Data,
    split: Split = "val",
    compare: Compare = False,
    report: Page = None,
    no_thumbnails: NoThumbnails = False,
    model: ModelFile = None,
    precision: Precision = "float32",
) -> None:
    """Measure networks on rows that they were not trained on.

    MODEL is the folder of a run, an ONNX file that vidfer made, or face_analyzer, the packaged network. Prints one JSON
    object: every figure that the labels of the rows allow, with its 95 % interval, over all rows and by data set;
    with --compare also how much better or worse the other networks are than the first, on the same rows. The main
    figures go to stderr, a line for each kind of label.

    face_detector and face_analyzer, with --data DATA (the folder of their training data), are measured by a protocol
    of their own, with figures by turn, size and light of the faces; face_analyzer also by class, on the same faces in
    grey, dark, small, compressed and masked, beside its teachers and how far the labels themselves agree.
    """
    if (model or precision != "float32") and not {DETECTOR, ANALYZER} & set(models):
        raise UsageError(f"--model and --precision are of {DETECTOR} and {ANALYZER}: name one of them")
    if any(path.is_dir() for path in data):
        if compare or report or len(models) > 1 or len(data) > 1:
            raise UsageError(f"{data[0]} is a folder: with one, only {DETECTOR} or {ANALYZER} alone are measured")
        print(json.dumps(_packaged(models[0], data[0], model, precision), indent=2))
        return
    if compare != (len(models) > 1):
        raise UsageError("--compare needs two or more networks" if compare else "two or more networks need --compare")
    if DETECTOR in models:
        raise UsageError(f"{DETECTOR} is measured alone, on the folder of its training data: give that with --data")
    if report is not None and (report.suffix.lower() not in _SUFFIXES or not report.absolute().parent.is_dir()):
        raise UsageError(f"cannot make the page {report}: give a name that ends in .html, in a folder that exists")
    with torch_needed():
        from vidfer.train.datasets.table import read_table
        from vidfer.train.evaluation.evaluate import evaluate as judge
        from vidfer.train.evaluation.network import open_networks
        from vidfer.train.evaluation.plain import as_dict

        networks = open_networks([_path(name, model, precision) for name in models])  # the faster of the two to fail
        found = judge(networks, read_table(data, split), counting("faces"))
        if report is not None:
            from vidfer.train.evaluation.page import write_page

            write_page(report, found, networks, split=split, tables=data, thumbnails=not no_thumbnails)
    told = as_dict(found, split)
    print("\n".join(_headlines(told)), file=sys.stderr)
    print(json.dumps(told, indent=2))


def _headlines(told: Mapping[str, Any]) -> Iterator[str]:
    """What people ask for first, a line for each network and each kind of label."""
    for network in told["networks"]:
        for task, result in network["tasks"].items():
            figures = [_figure(name, result["figures"][name]) for name in _HEADLINES if name in result["figures"]]
            yield f"{network['label']}, {result['rows']} rows with {task}: {', '.join(figures)}"


def _figure(name: str, figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return f"{name} unknown"
    interval = "" if figure["low"] is None else f" [{figure['low']:.3f}, {figure['high']:.3f}]"
    return f"{name} {figure['value']:.3f}{interval}"


def _path(name: str, model: Path | None, precision: str) -> Path:
    from vidfer.vision.session import model_path

    return (model or model_path(name, precision)) if name in (DETECTOR, ANALYZER) else Path(name)


def _packaged(network: str, data: Path, model: Path | None, precision: str) -> dict[str, Any]:
    """By the protocol of the packaged networks."""
    from vidfer.vision.session import model_path

    if network not in (DETECTOR, ANALYZER):
        raise UsageError(f"{data} is a folder: measure {network} on training tables, made by vidfer train dataset")
    path = model or model_path(network, precision)
    with torch_needed():
        from vidfer.train import report

        return (report.report_detector if network == DETECTOR else report.report_faces)(path, data_folder(data))
