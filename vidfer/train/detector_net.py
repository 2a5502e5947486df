"""The face detector's network: anchor-free on strides 8, 16 and 32 with dense 3x3 convolutions.

ONNX Runtime runs these much faster than depthwise ones of the same cost. Every cell gives one score and one box.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (8, 16, 32)
_MAX_LOG_SIDE = 8.0  # of half a side in px


class _Block(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
        )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _Block(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Add two convolutions to their input."""
        added: Tensor = self.second(self.first(x))
        return functional.relu(x + added)


class Foldable(nn.Module):
    """Adds one convolution to its input, and ships as one plain convolution (Ding et al. 2021, "RepVGG")."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)  # at first it changes nothing, also in the middle of a trained network

    def forward(self, x: Tensor) -> Tensor:
        """Add a convolution to its input."""
        added: Tensor = self.norm(self.conv(x))
        return functional.relu(x + added)

    @torch.no_grad()
    def folded(self) -> nn.Sequential:
        """The same, in evaluation, as a convolution with a bias and a ReLU."""
        assert self.norm.running_mean is not None
        assert self.norm.running_var is not None
        gain = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
        channels = len(gain)
        plain = nn.Conv2d(channels, channels, 3, 1, 1)
        assert plain.bias is not None
        plain.weight.copy_(
            self.conv.weight * gain[:, None, None, None] + nn.init.dirac_(torch.empty_like(plain.weight))
        )
        plain.bias.copy_(self.norm.bias - self.norm.running_mean * gain)
        return nn.Sequential(plain, nn.ReLU())


class PixelConv(nn.Conv2d):
    """A convolution of pixels 0 ... 255: scaling its few weights is cheaper than scaling the picture."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve pixels 0 ... 255."""
        convolved: Tensor = self._conv_forward(x, self.weight * (1 / 128), self.bias)
        return convolved

    def baked(self) -> nn.Conv2d:
        """The same as an ordinary convolution, which exporters can fuse with the norm behind it."""
        plain = nn.Conv2d(self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding, bias=False)  # type: ignore[arg-type]
        plain.weight.data.copy_(self.weight.data * (1 / 128))
        return plain


class DetectorNet(nn.Module):
    """uint8[B,H,W,3] RGB, sides multiples of 8 -> boxes float[B,M,4] (xyxy, input px) and score logits float[B,M]."""

    outwards: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Two columns and not three: as bytes, two of its steps read four pixels, which are one of 12 channels.
        first = PixelConv(3, 16, (3, 2), 2, (1, 0), bias=False)
        self.stem = nn.Sequential(first, nn.BatchNorm2d(16), nn.ReLU(inplace=True), _Block(16, 32, 2))
        self.stage8 = nn.Sequential(_Block(32, 32, 2), _Residual(32))
        self.stage16 = nn.Sequential(_Block(32, 64, 2), _Residual(64), Foldable(64))
        self.stage32 = nn.Sequential(_Block(64, 72, 2), _Residual(72))
        self.down32 = nn.Sequential(nn.Conv2d(72, 64, 1, bias=False), nn.BatchNorm2d(64))
        self.down16 = nn.Sequential(nn.Conv2d(64, 32, 1, bias=False), nn.BatchNorm2d(32))
        self.heads = nn.ModuleList([_Block(32, 32), _Block(64, 32), _Block(72, 32)])
        self.outputs = nn.ModuleList([nn.Linear(32, 5) for _ in STRIDES])
        # Half a width and height, what they add to x0, y0, x1, y1.
        self.register_buffer("outwards", torch.tensor([[-1.0, 0, 1, 0], [0, -1, 0, 1]]), persistent=False)
        for layer in self.outputs:
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
            with torch.no_grad():
                layer.bias[0] = -4.6  # a score of 0.01: nearly all cells are background
                layer.bias[3:] = 1.0

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes and score logits of pictures."""
        # No mean is taken off: the first norm does it, and padding with zeros is black in training and at run time.
        fine = self.stage8(self.stem(image.permute(0, 3, 1, 2).float()))
        middle = self.stage16(fine)
        coarse = self.stage32(middle)
        height, width = image.shape[1] // STRIDES[0], image.shape[2] // STRIDES[0]
        middle = functional.relu(middle + _doubled(self.down32(coarse), (height + 1) // 2, (width + 1) // 2))
        fine = functional.relu(fine + _doubled(self.down16(middle), height, width))
        levels = (fine, middle, coarse)
        score, middle_px, half_px = torch.split(self._read(levels), [1, 4, 2], -1)
        with torch.autocast(image.device.type, enabled=False):
            half = half_px.clamp(max=_MAX_LOG_SIDE).exp().reshape(-1, 2)
            # A product that adds, and not four operations on strided views: 13 us in place of 130 in ONNX Runtime.
            box = torch.addmm((middle_px + _corners(image)).reshape(-1, 4), half, self.outwards)
        return box.reshape(int(image.shape[0]), -1, 4), score.reshape(int(image.shape[0]), -1)

    def _read(self, levels: tuple[Tensor, ...]) -> Tensor:
        """Score logit, middle from the cell's corner (twice) and log of half the sides in px, float[B,M,7].

        The layers give middle from the cell's middle and log of the sides, in strides; that they give px goes into
        their weights.
        """
        found = []
        for level, stride, head, output in zip(levels, STRIDES, self.heads, self.outputs, strict=True):
            assert isinstance(output, nn.Linear)
            pixels = head(level).permute(0, 2, 3, 1).reshape(-1, output.in_features)
            with torch.autocast(level.device.type, enabled=False):
                scale = torch.tensor([1.0, stride, stride, 1, 1], device=level.device)
                log = math.log(stride / 2)
                shift = torch.tensor([0.0, stride / 2, stride / 2, log, log], device=level.device)
                weight, bias = output.weight * scale[:, None], output.bias * scale + shift
                twice = [0, 1, 2, 1, 2, 3, 4]
                if pixels.dtype != torch.float32:  # else an export would hold a cast, which cannot be quantised
                    pixels = pixels.float()
                raw = functional.linear(pixels, weight[twice], bias[twice])
            found.append(raw.reshape(int(level.shape[0]), -1, len(twice)))
        return torch.cat(found, 1)


def _doubled(level: Tensor, height: int, width: int) -> Tensor:
    """A map at twice its size, but for a last row and column that the finer map does not have."""
    doubled: Tensor = functional.interpolate(level, scale_factor=2.0)[:, :, :height, :width]
    return doubled


def _corners(image: Tensor) -> Tensor:
    """Upper left corners of the cells, twice (x, y, x, y), float[M,4] px, in the order of the outputs."""
    step = STRIDES[0]
    at_x = torch.arange(image.shape[2] // step, device=image.device)[:, None].float()
    y = torch.arange(image.shape[1] // step, device=image.device)[:, None].float()
    x = (at_x * torch.tensor([step, 0.0, step, 0.0], device=image.device)).reshape(1, -1)
    of_y = (at_x * 0 + torch.tensor([0.0, step, 0.0, step], device=image.device)).reshape(1, -1)
    finest = torch.addmm(x, y, of_y).reshape(-1, image.shape[2] // step, 4)
    return torch.cat([finest[:: s // step, :: s // step].reshape(-1, 4) for s in STRIDES])


def cells(height: int, width: int) -> Tensor:
    """Middles and strides of all cells for an input size, float[M,3] (x, y, stride), in the order of the outputs."""
    levels = []
    for stride in STRIDES:
        y, x = torch.meshgrid(torch.arange(-(-height // stride)), torch.arange(-(-width // stride)), indexing="ij")
        level = torch.stack([x + 0.5, y + 0.5, torch.ones_like(x)], -1).float() * stride
        levels.append(level.flatten(0, 1))
    return torch.cat(levels)
