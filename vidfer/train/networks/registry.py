"""The networks that can be trained, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch

from vidfer.errors import UsageError
from vidfer.train.model import count_cost
from vidfer.train.networks.fast import FastTrunk
from vidfer.train.networks.mobilenet import MobileNetV2
from vidfer.train.networks.net import Heads, MultiTaskNet
from vidfer.train.networks.resnet import ResNet18
from vidfer.train.networks.separable import Separable
from vidfer.train.networks.trunk import Trunk
from vidfer.train.networks.weights import load_imagenet
from vidfer.vision.geometry import CROP_PX

__all__ = ["NETWORKS", "Cost", "Heads", "MultiTaskNet", "NetworkOptions", "Spec", "build", "describe"]

_LEAST_CELLS, _LARGEST_PX = 2, 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A network.

    Attributes:
        about: What it is, in a few words.
        source: The paper that it is from.
        input_px: Its usual picture.
        trunk: Makes it, from the picture's channels.
        first: The convolution that sees the picture, where layers have torchvision's names.
    """

    about: str
    source: str
    input_px: int
    trunk: Callable[..., Trunk]
    first: str | None = None


NETWORKS: Mapping[str, Spec] = MappingProxyType(
    {
        "fast": Spec(
            about="the trunk of the face network in the package, a plain chain",
            source="Zagoruyko and Komodakis 2017, arXiv:1706.00388",
            input_px=CROP_PX,
            trunk=FastTrunk,
        ),
        "resnet18": Spec(
            about="ResNet-18",
            source="He et al. 2016, arXiv:1512.03385",
            input_px=224,
            trunk=ResNet18,
            first="conv1.weight",
        ),
        "resnet18_small": Spec(
            about="ResNet-18 for pictures of 48 to 96 px",
            source="He et al. 2016, arXiv:1512.03385",
            input_px=48,
            trunk=partial(ResNet18, small=True),
        ),
        "mobilenet_v2": Spec(
            about="MobileNetV2",
            source="Sandler et al. 2018, arXiv:1801.04381",
            input_px=224,
            trunk=MobileNetV2,
            first="features.0.0.weight",
        ),
        "separable": Spec(
            about="depthwise-separable residual network: entry, middle, exit",
            source="Chollet 2017, arXiv:1610.02357",
            input_px=CROP_PX,
            trunk=Separable,
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """Which network, and how it is made.

    Attributes:
        name: Key of `NETWORKS`.
        input_px: Side of its pictures; None takes the usual one.
        grey: Turn pictures grey first.
        channel_attention: Weigh channels (squeeze-and-excitation, Hu et al. 2018).
        dropout: Of the features that emotion, valence and arousal are told from.
        weights: File with weights trained on ImageNet, in torchvision's names; None starts from scratch.
    """

    name: str = "fast"
    input_px: int | None = None
    grey: bool = False
    channel_attention: bool = False
    dropout: float = 0.2
    weights: Path | None = None

    def __post_init__(self) -> None:
        if self.name not in NETWORKS:
            near = get_close_matches(self.name, NETWORKS, 1, 0.0)[0]
            raise UsageError(f"no network is called {self.name!r}: did you mean {near!r}? ({', '.join(NETWORKS)})")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout must be at least 0 and less than 1, got {self.dropout}")
        if self.weights is not None and NETWORKS[self.name].first is None:
            known = " and ".join(name for name, spec in NETWORKS.items() if spec.first)
            raise UsageError(f"{self.name} starts from scratch: weights of ImageNet fit {known} only")

    @property
    def side_px(self) -> int:
        """Side of the pictures."""
        return self.input_px or NETWORKS[self.name].input_px


def build(options: NetworkOptions, heads: Heads) -> MultiTaskNet:
    """Make a network with new weights, or those of a file; `torch.manual_seed` decides the new ones.

    Raises:
        UsageError: Pictures of this size do not fit the network.
        ModelError: The file of weights cannot be read or does not fit.
    """
    spec = NETWORKS[options.name]
    trunk = spec.trunk(1 if options.grey else 3, attention=options.channel_attention)
    side, stride = options.side_px, trunk.stride
    if side % stride or not _LEAST_CELLS * stride <= side <= _LARGEST_PX:
        what = f"a multiple of {stride} from {_LEAST_CELLS * stride} to {_LARGEST_PX}"
        raise UsageError(f"pictures of {options.name} must have a side that is {what}, got {side}")
    if options.weights is not None:
        assert spec.first is not None
        load_imagenet(trunk, options.weights, first=spec.first, name=options.name)
    net = MultiTaskNet(
        trunk,
        heads,
        input_px=side,
        grey=options.grey,
        imagenet=options.weights is not None,
        dropout=options.dropout,
    )
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """How large a network is: its parameters, and 10^9 operations for a picture (2 x multiply-adds)."""

    parameters: int
    gflop: float


def describe(net: MultiTaskNet) -> Cost:
    """What a network costs."""
    was = net.training
    parameters, gflop = count_cost(net, torch.zeros(1, net.input_px, net.input_px, 3, dtype=torch.uint8))
    net.train(was)
    return Cost(parameters=parameters, gflop=gflop)
