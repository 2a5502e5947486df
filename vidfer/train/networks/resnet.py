"""ResNet-18 (He et al., 2016), with the names of torchvision's layers, and a version for small pictures."""

from __future__ import annotations

from torch import Tensor, nn

from vidfer.train.networks.trunk import ChannelAttention, Trunk, start_convolutions


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, attention: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.attention = ChannelAttention(outputs) if attention else nn.Identity()
        self.downsample = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Add two convolutions to their input."""
        added = self.attention(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))
        found: Tensor = self.relu(added + self.downsample(x))
        return found


class ResNet18(Trunk):
    """ResNet-18 without its classifier.

    With `small`, the first layer keeps every pixel: of a face of 48 px, two strides at once would leave too little.
    """

    def __init__(self, inputs: int = 3, *, small: bool = False, attention: bool = False) -> None:
        super().__init__()
        kernel, stride = (3, 1) if small else (7, 2)
        self.conv1 = nn.Conv2d(inputs, 64, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _stage(64, 64, 1, attention)
        self.layer2 = _stage(64, 128, 2, attention)
        self.layer3 = _stage(128, 256, 2, attention)
        self.layer4 = _stage(256, 512, 2, attention)
        self.channels = (256, 512, 512)
        self.stride = 16 * stride
        start_convolutions(self)

    @property
    def top(self) -> nn.Module:
        """The layer that gives the last map."""
        return self.layer4

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of normalised pictures."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        fine = self.layer3(self.layer2(self.layer1(x)))
        coarse = self.layer4(fine)
        return fine, coarse, coarse


def _stage(inputs: int, outputs: int, stride: int, attention: bool) -> nn.Sequential:
    return nn.Sequential(_Block(inputs, outputs, stride, attention), _Block(outputs, outputs, 1, attention))
