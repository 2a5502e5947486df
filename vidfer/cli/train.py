"""``vidfer train``: fit, evaluate and export the two networks."""

import typer

app = typer.Typer(help="Train the networks.")
