"""Weights that networks start from: a user's file with the names of torchvision's layers."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vidfer.errors import ModelError, UsageError
from vidfer.train.checkpoint import differences
from vidfer.train.networks.trunk import ChannelAttention, Trunk

_log = logging.getLogger(__name__)

_CLASSIFIERS = ("fc.", "classifier.")


def load_imagenet(trunk: Trunk, path: Path, *, first: str, name: str) -> None:
    """Start a trunk from weights trained on ImageNet; channel attention, which those do not know, stays as it is.

    Args:
        trunk: Whose layers have torchvision's names.
        path: .safetensors, or .pth or .pt with tensors alone.
        first: The convolution that sees the picture; for grey pictures, its weights for colours are added up.
        name: The network's, for errors.

    Raises:
        ModelError: The file cannot be read, or does not fit.
    """
    stored = read_tensors(path)
    ignored = sorted(key for key in stored if key.startswith(_CLASSIFIERS))
    stored = {key: value for key, value in stored.items() if key not in ignored}
    own = trunk.state_dict()
    if first in stored and own[first].shape[1] == 1:
        stored[first] = stored[first].sum(1, keepdim=True)
    new = _attention(trunk) | {key for key in own if key.endswith("num_batches_tracked")}  # older files lack the latter
    if wrong := differences(own, stored, optional=new):
        raise ModelError(f"{path} does not fit {name}: {wrong}")
    trunk.load_state_dict({**own, **stored})
    if ignored:
        _log.warning("%s: %s ignored: they tell ImageNet's classes", path, " and ".join(ignored))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name."""
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise UsageError(f"weights come from .safetensors, .pth or .pt files, got {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's of damaged files, which are refused
            if path.suffix == ".safetensors":
                tensors = load_file(path)
            else:
                tensors = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"cannot read the weights {path}: {error.strerror or error}") from error
    except Exception as error:  # of damaged files torch raises KeyError, struct.error, AssertionError and more
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"cannot read the weights {path}: {reason}") from error
    if not isinstance(tensors, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in tensors.items()
    ):
        raise ModelError(f"{path} holds no weights: needed are tensors by name, as torchvision's files have them")
    return tensors


def _attention(trunk: nn.Module) -> set[str]:
    layers = [name for name, layer in trunk.named_modules() if isinstance(layer, ChannelAttention)]
    return {key for key in trunk.state_dict() if any(key.startswith(f"{name}.") for name in layers)}
