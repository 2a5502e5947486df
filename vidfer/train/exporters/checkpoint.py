"""Weights as safetensors, with the recipe that they belong to: a whole network for torch, and nothing pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save_file

from vidfer.errors import ModelError
from vidfer.train.checkpoint import load_tensors
from vidfer.train.exporters.base import Exporter, Predict, Source
from vidfer.train.multitask.recipe import Recipe
from vidfer.train.networks.registry import MultiTaskNet, build
from vidfer.vision.session import CARD_KEY


class Checkpoint(Exporter):
    """One file that `load_checkpoint` opens."""

    def write(self, source: Source, path: Path) -> None:
        """See `Exporter`."""
        save_file({name: value.contiguous() for name, value in source.net.state_dict().items()}, path)

    def put_card(self, path: Path, card: Mapping[str, Any]) -> None:
        """See `Exporter`."""
        # Read whole: tensors that are mapped from a file must not be written over it.
        save_file(load(path.read_bytes()), path, metadata={CARD_KEY: json.dumps(card)})

    def read_card(self, path: Path) -> dict[str, Any]:
        """See `Exporter`."""
        with safe_open(path, "pt") as file:
            card: dict[str, Any] = json.loads(file.metadata()[CARD_KEY])
        return card

    def load(self, path: Path) -> Predict:
        """See `Exporter`."""
        net = load_checkpoint(path)
        recipe = Recipe.from_dict(self.read_card(path)["recipe"])
        return Source(net=net, recipe=recipe).predict


def load_checkpoint(path: Path) -> MultiTaskNet:
    """The network of an exported checkpoint, ready to predict.

    Raises:
        ModelError: The file is missing or damaged, or no such checkpoint.
    """
    try:
        stored, tensors = Checkpoint().read_card(path)["recipe"], load(path.read_bytes())
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path} is no checkpoint that vidfer train export wrote: {type(error).__name__}: {error}"
        ) from error
    recipe = Recipe.from_dict(stored)
    net = build(replace(recipe.network, weights=None), recipe.heads)
    load_tensors(net, tensors, path)
    return net.eval()
