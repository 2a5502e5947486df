"""The face network: one backbone, every head in one forward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from vidfer.train.networks.fast import FastTrunk
from vidfer.train.networks.trunk import conv_bn, whole_map
from vidfer.train.targets import LABELS7
from vidfer.vision.geometry import CROP_PX

EMBEDDING = 128
MESH_POINTS = 478
POINTS68 = 68


class FaceNet(FastTrunk):
    """Crop uint8 values [B,S,S,3] -> raw heads.

    What needs positions (points, box, identity) reads the 7x7 map itself, affect reads its mean. The trunk is a base
    and not a part, so that its layers keep the names that they have in stored runs.
    """

    def __init__(
        self,
        stem: int = 16,
        stages: tuple[tuple[int, int], ...] = ((32, 1), (64, 2), (160, 2)),
        features: int = 256,
        looks: int = 32,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(stem=stem, stages=stages, features=features)
        fine, channels, _ = self.channels
        self.places = nn.Sequential(conv_bn(channels, 32), nn.ReLU())
        self.fine_places = nn.Sequential(conv_bn(fine, 24, 2), nn.ReLU())
        self.looks = nn.Sequential(conv_bn(channels, looks), nn.ReLU())
        cells = CROP_PX // self.stride
        self.shape = whole_map(32 + 24, 224, cells)
        self.dropout = nn.Dropout(dropout)
        # What a label means depends on where a picture is from: votes on 48 px grey faces, one annotator on
        # photographs. A hidden layer tells them apart: FER+ 0.877 -> 0.884, DiffusionFER 0.793 -> 0.817 (held out).
        self.emotion = nn.Sequential(nn.Linear(features, 64), nn.ReLU(), nn.Linear(64, 8))
        self.teacher = nn.Linear(features, 8)  # for training only
        self.fer2013 = nn.Linear(features, len(LABELS7))
        self.valence_arousal = nn.Linear(features, 2)
        self.presence = nn.Linear(features, 1)
        self.embedding = nn.Linear(looks * cells**2, EMBEDDING)
        self.mesh = nn.Linear(224, MESH_POINTS * 3)
        self.points68 = nn.Linear(224, POINTS68 * 2)
        self.box = nn.Linear(224, 4)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Heads of crops uint8[B,S,S,3] RGB; positions in units of the crop's side around its middle."""
        fine, x, top = self.maps(_normalised(image))
        mean = self.dropout(top.mean((2, 3)))
        shape = self.shape(torch.cat([self.places(x), self.fine_places(fine)], 1))
        return {
            "emotion": self.emotion(mean),
            "teacher": self.teacher(mean),
            "fer2013": self.fer2013(mean),
            "va": torch.tanh(self.valence_arousal(mean)),
            "embedding": F.normalize(self.embedding(self.looks(x).flatten(1)).float(), dim=1),
            "presence": self.presence(mean)[:, 0],
            "mesh": self.mesh(shape).reshape(-1, MESH_POINTS, 3),
            "points68": self.points68(shape).reshape(-1, POINTS68, 2),
            "box": self.box(shape),
        }

    def features(self, image: Tensor) -> Tensor:
        """What the heads without positions read, f32[B,features]."""
        return self.maps(_normalised(image))[2].mean((2, 3))


def _normalised(image: Tensor) -> Tensor:
    # 128 is an exact 8-bit zero point, so an 8-bit network can take the crop's bytes as they are.
    return ((image.permute(0, 3, 1, 2).float() - 128.0) / 64.0).contiguous(memory_format=torch.channels_last)


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
            heads["fer2013"],
        )


OUTPUTS = ("emotion", "valence_arousal", "landmarks", "landmarks68", "box", "presence", "embedding", "fer2013")


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
