"""MobileNetV2 (Sandler et al., 2018), with the names of torchvision's layers."""

from __future__ import annotations

from torch import Tensor, nn

from vidfer.train.networks.trunk import ChannelAttention, Trunk, start_convolutions

# Expansion, channels, blocks and first stride of the stages: table 2 of the paper.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_FIRST, _LAST = 32, 1280
_FINE_AT = 13  # the last layer before the last stride
_FINE = 96


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )


class _Block(nn.Module):
    """Widen, convolve every channel for itself, narrow; added to the input where both are of one shape."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int, attention: bool) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = [_conv(inputs, hidden, 1)] if expansion != 1 else []
        layers += [_conv(hidden, hidden, 3, stride, groups=hidden)]
        layers += [nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        # At the end, so that the other layers keep their numbers.
        self.conv = nn.Sequential(*layers, *([ChannelAttention(outputs)] if attention else []))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Convolve a map."""
        found: Tensor = self.conv(x)
        return x + found if self.adds else found


class MobileNetV2(Trunk):
    """MobileNetV2 without its classifier."""

    channels = (_FINE, _STAGES[-1][1], _LAST)
    stride = 32

    def __init__(self, inputs: int = 3, *, attention: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(inputs, _FIRST, stride=2)]
        width = _FIRST
        for expansion, outputs, blocks, stride in _STAGES:
            for i in range(blocks):
                layers.append(_Block(width, outputs, stride if i == 0 else 1, expansion, attention))
                width = outputs
        self.features = nn.Sequential(*layers, _conv(width, _LAST, 1))
        start_convolutions(self)

    @property
    def top(self) -> nn.Module:
        """The layer that gives the last map."""
        return self.features[-1]

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of normalised pictures."""
        fine = coarse = x
        for index, layer in enumerate(self.features):
            coarse, x = x, layer(x)
            if index == _FINE_AT:
                fine = x
        return fine, coarse, x
