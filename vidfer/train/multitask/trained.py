"""A finished run: the network with its weights, and the recipe that made it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vidfer.errors import DataError
from vidfer.train.loop import BEST, LAST, read_weights
from vidfer.train.multitask.recipe import Recipe
from vidfer.train.networks.registry import MultiTaskNet, build


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained network.

    Attributes:
        net: With the averaged weights, ready to predict.
        recipe: What it was made from; its table `loop` is complete.
        state: What the loop stored with the weights: epoch, best figures, config, settings.
    """

    net: MultiTaskNet
    recipe: Recipe
    state: dict[str, Any]


def load_trained(run: Path, which: str = "best") -> Trained:
    """Load a run that `vidfer train fit RECIPE.toml` made.

    Args:
        run: Its folder.
        which: "best" for the weights with the highest score, "last" for those of the last epoch.

    Raises:
        DataError: The folder holds no such run.
        VidferError: The checkpoint is damaged, or of another network.
    """
    if not (run / {"best": BEST, "last": LAST}[which]).is_file():
        raise DataError(f"{run} holds no {which} weights of a run: give the folder that `vidfer train fit` wrote to")
    tensors, state = read_weights(run, which)
    stored = state.get("settings", {}).get("recipe")
    if stored is None:
        raise DataError(f"{run} holds a run of {state['task']}, which no recipe made: export and evaluate it by name")
    recipe = Recipe.from_dict({**stored, "loop": state["config"]})
    # Its weights are in the run: the file that it started from may be gone.
    net = build(replace(recipe.network, weights=None), recipe.heads)
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise DataError(f"the weights in {run} are of another network than its recipe: train it again") from error
    return Trained(net=net.eval(), recipe=recipe, state=state)
