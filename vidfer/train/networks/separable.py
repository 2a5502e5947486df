"""A residual network of depthwise-separable convolutions: entry, middle, exit (after Chollet, 2017)."""

from __future__ import annotations

from torch import Tensor, nn

from vidfer.train.networks.trunk import ChannelAttention, Trunk, conv_bn, start_convolutions

_SLOPE = 0.1  # of LeakyReLU below zero
_STEM, _ENTRY, _MIDDLE, _EXIT, _TOP = 32, (64, 128), 256, 384, 512
_MIDDLE_BLOCKS = 4


def _separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A convolution of every channel for itself, then one that mixes them."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
        *conv_bn(inputs, outputs, kernel=1),
    )


class _Block(nn.Module):
    """Two separable convolutions, added to their input; with a stride, to a convolution of it."""

    def __init__(self, inputs: int, outputs: int, stride: int, attention: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _separable(inputs, outputs),
            nn.LeakyReLU(_SLOPE),
            _separable(outputs, outputs, stride),
            *([ChannelAttention(outputs)] if attention else []),
        )
        changed = stride != 1 or inputs != outputs
        self.shortcut = conv_bn(inputs, outputs, stride, kernel=1) if changed else nn.Identity()
        self.activation = nn.LeakyReLU(_SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """Add the convolutions to their input."""
        found: Tensor = self.activation(self.layers(x) + self.shortcut(x))
        return found


class Separable(Trunk):
    """Entry (to an eighth of the picture's side), middle (residual, of one width), exit (half of that, wide)."""

    channels = (_MIDDLE, _EXIT, _TOP)
    stride = 16

    def __init__(self, inputs: int = 3, *, attention: bool = False) -> None:
        super().__init__()
        first, second = _ENTRY
        self.entry = nn.Sequential(
            conv_bn(inputs, _STEM, 2),
            nn.LeakyReLU(_SLOPE),
            _Block(_STEM, first, 1, attention),
            _Block(first, second, 2, attention),
            _Block(second, _MIDDLE, 2, attention),
        )
        self.middle = nn.Sequential(*(_Block(_MIDDLE, _MIDDLE, 1, attention) for _ in range(_MIDDLE_BLOCKS)))
        self.exit = _Block(_MIDDLE, _EXIT, 2, attention)
        self.expand = nn.Sequential(_separable(_EXIT, _TOP), nn.LeakyReLU(_SLOPE))
        start_convolutions(self)

    @property
    def top(self) -> nn.Module:
        """The layer that gives the last map."""
        return self.expand

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of normalised pictures."""
        fine = self.middle(self.entry(x))
        coarse = self.exit(fine)
        return fine, coarse, self.expand(coarse)
