"""The files of a training run: weights and all that resuming needs, as safetensors; nothing is pickled."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from vidfer.errors import ModelError, VidferError
from vidfer.output.files import written_whole

LAST, BEST, STATE = "last.safetensors", "best.safetensors", "state.json"
_SHOWN = 3


def load_weights(model: nn.Module, run_dir: Path, which: str = "best") -> dict[str, Any]:
    """Load the weights of a run (`best` or `last`) into a model; gives the state they were stored with.

    Raises:
        ModelError: They are of another network.
    """
    tensors, state = read_weights(run_dir, which)
    load_tensors(model, tensors, run_dir)
    return state


def read_weights(run_dir: Path, which: str = "best") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights of a run (`best` or `last`) to predict with, averaged ones if it has those, and their state."""
    tensors, state = read(run_dir / {"best": BEST, "last": LAST}[which])
    if which == "last":
        kinds = split(tensors)
        tensors = kinds.get("ema") or kinds["model"]
    return tensors, state


def load_tensors(model: nn.Module, tensors: Mapping[str, Tensor], place: Path) -> None:
    """Put tensors into a model, or say in one line which of them are another network's."""
    wrong = differences(model.state_dict(), tensors)
    if wrong:
        raise ModelError(f"{place} holds weights of another network: {wrong}")
    model.load_state_dict(tensors)


def differences(own: Mapping[str, Tensor], stored: Mapping[str, Tensor], optional: Container[str] = ()) -> str:
    """In what stored tensors differ from a network's own in name or shape, the first few; empty where in nothing."""
    wrong = []
    for key, value in own.items():
        if key not in stored:
            wrong += [] if key in optional else [f"{key} is missing"]
        elif stored[key].shape != value.shape:
            wrong.append(f"{key} is {_size(stored[key])}, needed is {_size(value)}")
    wrong += [f"{key} is not known" for key in stored if key not in own]
    return "; ".join(wrong[:_SHOWN]) + (f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else "")


def split(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Tensors by the first part of their names: `model`, `ema`, `optimizer`."""
    kinds: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, rest = key.split(".", 1)
        kinds.setdefault(kind, {})[rest] = value
    return kinds


def write(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Store tensors with their state; the file is whole at any time.

    Raises:
        OutputError: The file cannot be written.
    """
    # Clones: tied weights share memory, which safetensors refuses.
    stored = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
    with written_whole(path) as file:
        file.write(save(stored, metadata={"state": json.dumps(state)}))


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write` stored."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not iterable)
            return tensors, json.loads(file.metadata()["state"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise VidferError(f"cannot read the checkpoint {path}: {error}") from error


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"
