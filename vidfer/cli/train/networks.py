"""``vidfer train networks``: what can be trained."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from vidfer.cli.train.needs import torch_needed

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_COLUMNS = {
    "name": "network",
    "input_px": "px",
    "parameters": "parameters",
    "parameters_with_attention": "with attention",
    "gflop": "GFLOP",
    "imagenet_weights": "ImageNet",
    "about": "what",
    "source": "from",
}
_NUMBERS = ("input_px", "parameters", "parameters_with_attention", "gflop")


def networks(as_json: Json = False) -> None:
    """List the networks that can be trained, and what they cost.

    Parameters and operations (2 x multiply-adds) are those of a network of its usual size with 8 emotions, valence and
    arousal, 68 points and a box; ImageNet says whether it can start from weights of torchvision's layout.
    """
    with torch_needed():
        rows = _rows()
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = [list(_COLUMNS.values()), *([_text(row[key]) for key in _COLUMNS] for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(_COLUMNS))]
    right = [key in _NUMBERS for key in _COLUMNS]
    for line in table:
        cells = (text.rjust(w) if r else text.ljust(w) for text, w, r in zip(line, widths, right, strict=True))
        print("  ".join(cells).rstrip())


def _rows() -> list[dict[str, Any]]:
    from vidfer.train.networks.registry import NETWORKS, Heads, NetworkOptions, build, describe
    from vidfer.types import EMOTIONS

    heads = Heads(emotion=EMOTIONS, valence_arousal=True, landmarks=68, box=True)
    rows = []
    for name, spec in NETWORKS.items():
        cost = describe(build(NetworkOptions(name=name), heads))
        attentive = describe(build(NetworkOptions(name=name, channel_attention=True), heads))
        rows.append(
            {
                "name": name,
                "about": spec.about,
                "source": spec.source,
                "input_px": spec.input_px,
                "imagenet_weights": spec.first is not None,
                "parameters": cost.parameters,
                "parameters_with_attention": attentive.parameters,
                "gflop": round(cost.gflop, 4),
            }
        )
    return rows


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "-"
    return f"{value:.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
