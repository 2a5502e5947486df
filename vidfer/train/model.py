"""The face network: one backbone, every head in one forward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from vidfer.vision.geometry import CROP_PX

EMBEDDING = 128
MESH_POINTS = 478
POINTS68 = 68


def conv_bn(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Convolution and batch normalisation, no activation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class ChannelAttention(nn.Module):
    """Squeeze-and-excitation (Hu et al., 2018): scales channels by what the whole picture shows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 4, 1)
        self.excite = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scale f32[B,C,H,W]."""
        scale = x.mean((2, 3), keepdim=True)
        scale = self.excite(F.relu(self.squeeze(scale)))
        return x * torch.sigmoid(scale)


class Residual(nn.Module):
    """Two dense 3x3 convolutions with channel attention and a shortcut (He et al., 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_bn(channels, channels)
        self.second = conv_bn(channels, channels)
        self.attention = ChannelAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map f32[B,C,H,W] to the same shape."""
        return F.relu(x + self.attention(self.second(F.relu(self.first(x)))))


class FaceNet(nn.Module):
    """Crop uint8 values [B,S,S,3] -> raw heads.

    Dense convolutions, since ONNX Runtime runs them several times nearer to the processor's peak than depthwise ones.
    What needs positions (points, box) reads the 7x7 map itself; what does not (affect, identity) reads its mean.
    """

    def __init__(self, widths: tuple[int, ...] = (24, 32, 72, 160), features: int = 256, dropout: float = 0.2) -> None:
        super().__init__()
        stem, *stages = widths
        layers: list[nn.Module] = [conv_bn(3, stem, 2), nn.ReLU()]
        channels = stem
        for width in stages:
            layers += [conv_bn(channels, width, 2), nn.ReLU(), Residual(width)]
            channels = width
        self.backbone = nn.Sequential(*layers)
        self.expand = nn.Sequential(conv_bn(channels, features, kernel=1), nn.ReLU())
        self.places = nn.Sequential(conv_bn(channels, 32, kernel=1), nn.ReLU())
        cells = (CROP_PX // 2 ** len(widths)) ** 2
        self.shape = nn.Sequential(nn.Linear(32 * cells, 192), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.emotion = nn.Linear(features, 8)
        self.valence_arousal = nn.Linear(features, 2)
        self.embedding = nn.Linear(features, EMBEDDING)
        self.presence = nn.Linear(features, 1)
        self.mesh = nn.Linear(192, MESH_POINTS * 3)
        self.points68 = nn.Linear(192, POINTS68 * 2)
        self.box = nn.Linear(192, 4)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Heads of crops uint8[B,S,S,3] RGB; positions in units of the crop's side around its middle."""
        x = self._map(image)
        mean = self.dropout(self.expand(x).mean((2, 3)))
        shape = self.shape(self.places(x).flatten(1))
        return {
            "emotion": self.emotion(mean),
            "va": torch.tanh(self.valence_arousal(mean)),
            "embedding": F.normalize(self.embedding(mean).float(), dim=1),
            "presence": self.presence(mean)[:, 0],
            "mesh": self.mesh(shape).reshape(-1, MESH_POINTS, 3),
            "points68": self.points68(shape).reshape(-1, POINTS68, 2),
            "box": self.box(shape),
        }

    def features(self, image: Tensor) -> Tensor:
        """What the heads without positions read, f32[B,features]."""
        mean: Tensor = self.expand(self._map(image)).mean((2, 3))
        return mean

    def _map(self, image: Tensor) -> Tensor:
        x = (image.permute(0, 3, 1, 2).float() - 127.5) / 64.0
        found: Tensor = self.backbone(x.contiguous(memory_format=torch.channels_last))
        return found


class ExportedFaceNet(nn.Module):
    """`FaceNet` with the outputs of the ONNX file: crop px, calibrated logits, probabilities."""

    def __init__(self, net: FaceNet, temperature: float) -> None:
        super().__init__()
        self.net = net
        self.temperature = temperature

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Outputs in the order of `OUTPUTS` for crops uint8[B,S,S,3]."""
        heads = self.net(image)
        middle = (CROP_PX - 1) / 2
        xy = torch.tensor([middle, middle, 0.0])
        return (
            heads["emotion"] / self.temperature,
            heads["va"],
            heads["mesh"] * CROP_PX + xy,
            heads["points68"] * CROP_PX + middle,
            heads["box"] * CROP_PX + middle,
            torch.sigmoid(heads["presence"])[:, None],
            heads["embedding"],
        )


OUTPUTS = ("emotion", "valence_arousal", "landmarks", "landmarks68", "box", "presence", "embedding")


def count_cost(model: nn.Module, example: Tensor) -> tuple[int, float]:
    """(parameters, GFLOP of one forward pass per row of `example`); 2 x multiply-adds of convolutions and matrices."""
    multiply_adds = 0

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal multiply_adds
        assert isinstance(module, nn.Conv2d | nn.Linear)
        places = output.shape[2] * output.shape[3] if output.dim() == 4 else 1
        multiply_adds += module.weight.numel() * places

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        model.eval()(example)
    for hook in hooks:
        hook.remove()
    return sum(p.numel() for p in model.parameters()), 2 * multiply_adds / 1e9
