"""One network for every task: a trunk, and the heads that the data asks for."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

import torch
from torch import Tensor, nn

from vidfer.errors import UsageError
from vidfer.train.networks.trunk import Trunk, conv_bn, whole_map
from vidfer.types import EMOTIONS

_ALIKE = 0.4  # that much of a name makes another likely: "happy", but for "joy" any guess would be odd
POINTS = (4, 5, 15, 68, 478)
_DEEP_POINTS = 478  # they have a depth
_COARSE, _FINE, _UNITS = 32, 24, 224  # of what reads positions
_HIDDEN = 64
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601
# Of ImageNet, in pixel values: what weights from there were trained with.
_IMAGENET_MEAN, _IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """What a network tells of a face; at least one thing.

    Attributes:
        emotion: Its classes, names of `vidfer.types.EMOTIONS`.
        valence_arousal: Both, in [-1, 1].
        landmarks: How many points: 4, 5, 15, 68, or 478 with depth.
        box: Of the face within the picture.
    """

    emotion: tuple[str, ...] = ()
    valence_arousal: bool = False
    landmarks: int | None = None
    box: bool = False

    def __post_init__(self) -> None:
        unknown = [name for name in self.emotion if name not in EMOTIONS]
        if unknown:
            near = get_close_matches(unknown[0], EMOTIONS, 1, _ALIKE)
            meant = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(f"no emotion is called {unknown[0]!r}: {meant}({', '.join(EMOTIONS)})")
        if len(self.emotion) == 1 or len(set(self.emotion)) < len(self.emotion):
            raise UsageError(f"emotions must be two or more different ones, got {', '.join(self.emotion)}")
        if self.landmarks is not None and self.landmarks not in POINTS:
            raise UsageError(f"landmarks must be one of {', '.join(map(str, POINTS))}, got {self.landmarks}")
        if not self.names:
            raise UsageError("a network needs a head: emotion, valence_arousal, landmarks or box")

    @property
    def points_name(self) -> str:
        """Key of the points: `landmarks` have depth, `landmarks68` and others have none."""
        return "landmarks" if self.landmarks == _DEEP_POINTS else f"landmarks{self.landmarks}"

    @property
    def names(self) -> tuple[str, ...]:
        """Keys of what the network gives, in its order."""
        wanted = {
            "emotion": self.emotion,
            "valence_arousal": self.valence_arousal,
            self.points_name: self.landmarks,
            "box": self.box,
        }
        return tuple(name for name, value in wanted.items() if value)


class Pixels(nn.Module):
    """uint8[B,S,S,3] RGB -> normalised f32[B,C,S,S]; what normalises is stored, so that a run knows its own."""

    mean: Tensor
    std: Tensor
    brightness: Tensor

    def __init__(self, *, grey: bool, imagenet: bool) -> None:
        super().__init__()
        mean, std = (_IMAGENET_MEAN, _IMAGENET_STD) if imagenet else ((128.0,) * 3, (64.0,) * 3)
        self.grey = grey
        self.register_buffer("mean", torch.tensor([sum(mean) / 3] if grey else mean))
        self.register_buffer("std", torch.tensor([sum(std) / 3] if grey else std))
        self.register_buffer("brightness", torch.tensor(_GREY), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Normalise pictures; grey where that is wanted."""
        x = image.float()
        if self.grey:
            x = (x * self.brightness).sum(-1, keepdim=True)
        return ((x - self.mean) / self.std).permute(0, 3, 1, 2)


class Places(nn.Module):
    """Two maps -> what stands where, f32[B,units]: points cannot be read from means."""

    def __init__(self, fine: int, coarse: int, cells: int) -> None:
        super().__init__()
        self.coarse = nn.Sequential(conv_bn(coarse, _COARSE), nn.ReLU())
        self.fine = nn.Sequential(conv_bn(fine, _FINE, 2), nn.ReLU())
        self.whole = whole_map(_COARSE + _FINE, _UNITS, cells)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Read both maps."""
        found: Tensor = self.whole(torch.cat([self.coarse(coarse), self.fine(fine)], 1))
        return found


class MultiTaskNet(nn.Module):
    """Pictures uint8[B,S,S,3] RGB -> the heads' values.

    Attributes:
        heads: What it tells.
        input_px: S.
        middle: Of a picture; for points with depth, with the depth that is theirs on average.
    """

    middle: Tensor

    def __init__(
        self, trunk: Trunk, heads: Heads, *, input_px: int, grey: bool, imagenet: bool, dropout: float
    ) -> None:
        super().__init__()
        self.heads, self.input_px = heads, input_px
        self.pixels = Pixels(grey=grey, imagenet=imagenet)
        self.trunk = trunk
        fine, coarse, top = trunk.channels
        self.dropout = nn.Dropout(dropout)
        self.affect = nn.ModuleDict()
        if heads.emotion:
            # The hidden layer tells apart what a label means in one data set and in another, see `model.FaceNet`.
            last = nn.Linear(_HIDDEN, len(heads.emotion))
            self.affect["emotion"] = nn.Sequential(nn.Linear(top, _HIDDEN), nn.ReLU(), last)
        if heads.valence_arousal:
            self.affect["valence_arousal"] = nn.Sequential(nn.Linear(top, 2), nn.Tanh())
        self.positions = nn.ModuleDict()
        deep = heads.landmarks == _DEEP_POINTS
        middle = (input_px - 1) / 2
        self.register_buffer("middle", torch.tensor([middle, middle, 0.0][: 2 + deep]), persistent=False)
        self.shape_of_points = (heads.landmarks or 0, 2 + deep)
        if heads.landmarks or heads.box:
            self.places = Places(fine, coarse, input_px // trunk.stride)
        if heads.landmarks:
            self.positions[heads.points_name] = nn.Linear(_UNITS, heads.landmarks * (2 + deep))
        if heads.box:
            self.positions["box"] = nn.Linear(_UNITS, 4)

    @property
    def features_layer(self) -> nn.Module:
        """The layer whose map [B,C,h,w] is averaged for emotion, valence and arousal: what Grad-CAM reads."""
        return self.trunk.top

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """`heads.names` of pictures: logits, values in [-1, 1], points and boxes (xyxy) in px of the picture."""
        fine, coarse, top = self.trunk.maps(self.pixels(image))
        found: dict[str, Tensor] = {}
        places = self.places(fine, coarse) if self.positions else None
        with torch.autocast(image.device.type, enabled=False):  # in bfloat16 a point could be half a pixel off
            if self.affect:
                mean = self.dropout(_full(top).mean((2, 3)))
                found |= {name: head(mean) for name, head in self.affect.items()}
            if places is not None:
                places = _full(places)
                found |= {name: self._in_px(name, head(places)) for name, head in self.positions.items()}
        return found

    def _in_px(self, name: str, values: Tensor) -> Tensor:
        """From units of the picture's side around its middle."""
        if name == "box":
            return values * self.input_px + (self.input_px - 1) / 2
        return values.reshape(-1, *self.shape_of_points) * self.input_px + self.middle


def _full(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float32 else x.float()  # without a need, an export would hold a cast
