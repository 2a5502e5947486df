"""What an exported network says of itself."""

from __future__ import annotations

from typing import Any

from vidfer.train.commit import git_sha
from vidfer.train.evaluation.network import RunNetwork
from vidfer.train.exporters.formats import find_format
from vidfer.train.exporters.trace import INPUT
from vidfer.train.networks.registry import Heads
from vidfer.version import __version__

_FIT = "vidfer train fit RECIPE.toml --data TABLE --run RUN"
_PX = "px of the picture"
_POINTS = {
    4: "eyes left and right in the picture, mouth corners left and right (x, y)",
    5: "eyes left and right in the picture, nose tip, mouth corners left and right (x, y)",
    15: "Kaggle facial keypoints (x, y)",
    68: "ibug68 (x, y)",
    478: "mesh478 (x, y, z)",
}


def make_card(network: RunNetwork, name: str, which: str) -> dict[str, Any]:
    """The card of an export, without what comparing it found."""
    about, recipe = network.about, network.trained.recipe
    state = network.trained.state
    best = dict(state["best"] or {})
    # Those of `last` are known only where no earlier ones were better.
    measured = best.pop("epoch", None) == state["epoch"]
    return {
        "name": recipe.name,
        "version": f"{which}, epoch {state['epoch']} of {state['config']['epochs']}",
        "format": name,
        "precision": find_format(name).precision,
        "input": {
            "name": INPUT,
            "dtype": "uint8",
            "shape": [None, about.input_px, about.input_px, 3],
            "colour": "RGB",
        },
        "heads": describe_heads(recipe.heads),
        "recipe": recipe.as_dict(),
        "trained_on": state["settings"].get("data", "not stated"),
        "metrics": {"held_out_train_groups": best if measured else "not measured"},
        "parameters": about.details["parameters"],
        "gflop": about.details["gflop"],
        "licence": "not stated",
        "trained_git_sha": state.get("git_sha", "unknown"),
        "git_sha": git_sha(),
        "vidfer_version": __version__,
        "command": f"{_FIT} && {_export_command(name, which)}",
    }


def _export_command(name: str, which: str) -> str:
    data = " --data TABLE" if find_format(name).precision == "int8" else ""
    return f"vidfer train export RUN --format {name}{data}" + (f" --which {which}" if which != "best" else "")


def describe_heads(heads: Heads) -> list[dict[str, Any]]:
    """Name, kind, labels, unit and range of every output."""
    of_kind: dict[str, dict[str, Any]] = {
        "emotion": {"kind": "logits", "labels": list(heads.emotion), "unit": None, "range": None},
        "valence_arousal": {"kind": "value", "labels": ["valence", "arousal"], "unit": None, "range": [-1, 1]},
        "box": {"kind": "box", "labels": ["x0", "y0", "x1", "y1"], "unit": _PX, "range": None},
    }
    points = {"kind": "points", "labels": _POINTS.get(heads.landmarks or 0), "unit": _PX, "range": None}
    return [{"name": name, **of_kind.get(name, points)} for name in heads.names]
