"""A network as an ONNX graph."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import torch
from onnx import ModelProto
from torch import Tensor, nn

from vidfer.train.export import write_graph
from vidfer.train.networks.registry import MultiTaskNet

INPUT = "image"


class _InOrder(nn.Module):
    """The heads as a tuple: an ONNX graph has no dict."""

    def __init__(self, net: MultiTaskNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Values in the order of `heads.names`."""
        return tuple(self.net(image).values())


def onnx_graph(net: MultiTaskNet) -> ModelProto:
    """The graph of a network in evaluation mode, for any number of pictures uint8[B,S,S,3]."""
    names = net.heads.names
    example = torch.zeros(2, net.input_px, net.input_px, 3, dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        write_graph(
            _InOrder(net).eval(),
            path,
            example=example,
            input_name=INPUT,
            output_names=names,
            dynamic_axes={name: {0: "faces"} for name in (INPUT, *names)},
        )
        return onnx.load(str(path))
