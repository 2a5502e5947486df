"""``vidfer train``: the commands that make networks; a module per group of them."""

from __future__ import annotations

import typer

from vidfer.cli.train import dataset, evaluate, export, fit, label, networks, packaged

app = typer.Typer(help="Train networks on data of your own, or the packaged ones again.", no_args_is_help=True)

for command in (
    networks.networks,
    dataset.dataset,
    label.label,
    fit.fit,
    evaluate.evaluate,
    export.export,
    packaged.quantize,
):
    app.command(command.__name__)(command)
