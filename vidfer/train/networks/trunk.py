"""What all trunks have in common: three maps of a picture, and the layers that they are made of."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

_LEAST_HIDDEN = 8  # of channel attention: a sixteenth of 64 channels cannot tell much apart
_REDUCTION = 16


class Trunk(nn.Module, ABC):
    """Picture -> maps of features.

    Attributes:
        channels: Of the three maps.
        stride: Pixels of the picture per cell of the last two maps; the first map has half of that.
    """

    channels: tuple[int, int, int]
    stride: int

    @property
    @abstractmethod
    def top(self) -> nn.Module:
        """The layer that gives the last map."""

    @abstractmethod
    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of normalised pictures f32[B,C,S,S]: a fine and a coarse one, which tell places, and one to average."""


def conv_bn(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Convolution and batch normalisation, no activation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


def whole_map(channels: int, outputs: int, cells: int) -> nn.Sequential:
    """What stands at which place of a map [B,channels,cells,cells], f32[B,outputs].

    A matrix over all cells, as a convolution: so its norm is folded into it. Without one, 172 of 224 units died.
    """
    whole = nn.Conv2d(channels, outputs, cells, bias=False)
    return nn.Sequential(whole, nn.BatchNorm2d(outputs), nn.ReLU(), nn.Flatten())


class ChannelAttention(nn.Module):
    """Weighs channels by what the whole picture shows (squeeze-and-excitation, Hu et al., 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(_LEAST_HIDDEN, channels // _REDUCTION)
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of a map [B,C,H,W]."""
        weighed: Tensor = x * self.weigh(x.mean((2, 3), keepdim=True))
        return weighed


def start_convolutions(trunk: nn.Module) -> None:
    """First weights for ReLUs (He et al., 2015), as the networks on ImageNet had them."""
    for layer in trunk.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
