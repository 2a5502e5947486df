"""What every format has: how it is written, where its card goes, and how it is run again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from onnx import ModelProto

from vidfer.train.exporters.trace import onnx_graph
from vidfer.train.multitask.recipe import Recipe
from vidfer.train.networks.registry import MultiTaskNet
from vidfer.types import F32, U8

# Pictures uint8[B,S,S,3] -> values by the names of the heads.
Predict = Callable[[U8], Mapping[str, F32]]


@dataclass(kw_only=True)
class Source:
    """A trained network, and what a format may want of it.

    Attributes:
        net: In evaluation mode.
        recipe: What it was made from.
        calibration: Batches uint8[B,S,S,3] of pictures of the kind that it will see; only int8 needs them.
    """

    net: MultiTaskNet
    recipe: Recipe
    calibration: Sequence[U8] = ()

    @cached_property
    def onnx(self) -> ModelProto:
        """Its ONNX graph; not to be changed."""
        return onnx_graph(self.net)

    def predict(self, pictures: U8) -> dict[str, F32]:
        """What torch says."""
        with torch.no_grad():
            return {name: values.numpy() for name, values in self.net(torch.from_numpy(pictures)).items()}


class Exporter(ABC):
    """A format. Making one imports what it needs."""

    @abstractmethod
    def write(self, source: Source, path: Path) -> None:
        """Write a network, without its card."""

    @abstractmethod
    def put_card(self, path: Path, card: Mapping[str, Any]) -> None:
        """Store a card in a file in place of the one that it has."""

    @abstractmethod
    def read_card(self, path: Path) -> dict[str, Any]:
        """The card of a file."""

    @abstractmethod
    def load(self, path: Path) -> Predict:
        """Open a file with the format's own program."""
