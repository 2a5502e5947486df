"""``vidfer train quantize``, and what is the same in all commands of the two packaged networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import click
import typer

from vidfer.cli.train.needs import torch_needed
from vidfer.errors import DataError

DETECTOR, ANALYZER = "face_detector", "face_analyzer"

# What arguments are stands in the docstrings: click 8.5 drops the help that Typer gives them.
Network = Annotated[
    str, typer.Argument(metavar=f"{DETECTOR}|{ANALYZER}", click_type=click.Choice([DETECTOR, ANALYZER]))
]
Data = Annotated[
    Path, typer.Option("--data", metavar="DATA", help="Folder with faces.parquet, scenes.parquet and mesh_basis.npz.")
]
Run = Annotated[Path, typer.Option("--run", metavar="RUN", help="Folder of the run: checkpoints and log.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Decides which rows calibrate.")]
ModelFile = Annotated[
    Path | None, typer.Option("--model", metavar="FILE", help="An exported network; by default the packaged one.")
]
Twin = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="The twin; by default NAME.int8.onnx beside its parent."),
]
Precision = Annotated[
    str,
    typer.Option("--precision", click_type=click.Choice(["float32", "int8"]), help="Which of the packaged networks."),
]


def quantize(network: Network, data: Data, model: ModelFile = None, output: Twin = None, seed: Seed = 0) -> None:
    """Make the int8 twin of an exported network, for fast CPUs.

    It is calibrated on split train and measured against its parent on split val; it becomes the default on CPUs when it
    loses less than half a point of every figure. Prints the card.
    """
    from vidfer.vision.session import model_path

    source = model or model_path(network)
    with torch_needed():
        from vidfer.train.twin import make_twin

        command = f"vidfer train quantize {network} --data DATA --seed {seed}"
        destination = output or source.with_name(f"{source.stem}.int8.onnx")
        card = make_twin(network, source, destination, data_dir=data_folder(data), command=command, seed=seed)
    print(json.dumps(card, indent=2))


def data_folder(data: Path) -> Path:
    """The folder, if it holds the training data of the packaged networks."""
    missing = [name for name in ("faces.parquet", "scenes.parquet", "mesh_basis.npz") if not (data / name).is_file()]
    if missing:
        raise DataError(f"{data} lacks {', '.join(missing)}: give the folder of the training data with --data")
    return data


def fit_command(network: str, run: Path) -> str:
    """The command that made a run, for the card; folders of this machine stay out of it."""
    from vidfer.train.loop import STATE

    try:
        config = json.loads((run / STATE).read_text())["config"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{run} holds no run: give the folder that `vidfer train fit` wrote to with --run") from error
    settings = f"--epochs {config['epochs']} --seed {config['seed']} --threads {config['threads']}"
    return f"vidfer train fit {network} --data DATA --run RUN {settings}"
