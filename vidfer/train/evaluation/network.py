"""One door to whatever is evaluated: an ONNX file with its card, or the folder of a run.

What a network sees is said by its recipe, which a card holds, too: a square around its box, or the whole picture.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from vidfer.errors import DataError, InputError, ModelError
from vidfer.types import F32, I64, U8
from vidfer.vision.geometry import CROP_SCALE
from vidfer.vision.session import ModelCard, Session

if TYPE_CHECKING:
    from vidfer.train.multitask.trained import Trained

POINT_HEADS = {"landmarks4": 4, "landmarks5": 5, "landmarks15": 15, "landmarks68": 68, "landmarks": 478}
_JUDGED = ("emotion", "valence_arousal", "box", *POINT_HEADS)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a network is.

    Attributes:
        label: How it is called beside others: the name of its file or folder.
        name: As its card or recipe says.
        kind: "onnx" or "run".
        input_px: Side of its square pictures.
        heads: Those that can be judged.
        emotions: Its classes in the order of its logits.
        crop: "box" or "none", see `multitask.options.DataOptions`.
        margin: Side of the crop / longer side of the box.
        sha256: Of the file; of a run, of its weights.
        details: Its card, or what the run stored.
    """

    label: str
    name: str
    kind: str
    input_px: int
    heads: tuple[str, ...]
    emotions: tuple[str, ...]
    crop: Literal["box", "none"] = "box"
    margin: float = CROP_SCALE
    sha256: str
    details: Mapping[str, Any] = field(default_factory=dict)


class Network(Protocol):
    """A network that can be evaluated."""

    about: About

    def run(self, crops: U8) -> dict[str, F32]:
        """Its heads for pictures uint8[B,S,S,3]; positions in px of these."""

    def maps(self, crops: U8, classes: I64) -> F32 | None:
        """Where each picture speaks for a class (an index into `emotions`), f32[B,S,S]; None where nobody can tell."""

    def history(self) -> list[dict[str, Any]]:
        """The lines of its training's log; none where there is no log."""


class OnnxNetwork:
    """A network out of an ONNX file.

    Raises:
        DataError: The file is no network with a card, or tells nothing that can be judged.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._session = Session(path, device="cpu")
        except ModelError as error:
            raise DataError(str(error)) from error
        self.about = _described(path, self._session.card)
        self._input = str(self.about.details["input"].get("name", "image"))
        self._try()

    def run(self, crops: U8) -> dict[str, F32]:
        """See `Network`."""
        found = self._session.run({self._input: crops})
        return {name: np.asarray(found[name], np.float32) for name in self.about.heads}

    def maps(self, crops: U8, classes: I64) -> F32 | None:
        """None: an ONNX file does not give gradients."""

    def history(self) -> list[dict[str, Any]]:
        """None: a file does not tell."""
        return []

    def _try(self) -> None:
        """Refuse a file that is not what its card says, before hours are spent on it."""
        label, side, n = self.about.label, self.about.input_px, 2
        try:
            found = self._session.run({self._input: np.zeros((n, side, side, 3), np.uint8)})
        except Exception as error:  # whatever ONNX Runtime does not like about the input
            what = str(error).splitlines()[0]
            raise DataError(f"{label} does not take pictures uint8 [{n}, {side}, {side}, 3]: {what}") from error
        for name in self.about.heads:
            wanted = [n, *_shape(name, self.about.emotions)]
            got = list(found[name].shape) if name in found else "nothing"
            if got != wanted:
                raise DataError(f"{label} gives {got} as {name} where its card says {wanted}: export it again")


class RunNetwork:
    """The network of a run that `vidfer train fit RECIPE.toml` made.

    Raises:
        DataError: The folder holds no such run.
    """

    def __init__(self, folder: Path, which: str = "best") -> None:
        from vidfer.train.multitask.trained import load_trained
        from vidfer.train.networks.registry import describe

        self._folder = folder
        self.trained: Trained = load_trained(folder, which)
        recipe, cost = self.trained.recipe, describe(self.trained.net)
        details = {
            **self.trained.state,
            "recipe": recipe.as_dict(),
            "parameters": cost.parameters,
            "gflop": round(cost.gflop, 4),
        }
        self.about = About(
            label=folder.resolve().name,
            name=recipe.name,
            kind="run",
            input_px=self.trained.net.input_px,
            heads=recipe.heads.names,
            emotions=recipe.heads.emotion,
            crop=recipe.data.crop,
            margin=recipe.data.margin,
            sha256=hashlib.sha256((folder / f"{which}.safetensors").read_bytes()).hexdigest(),
            details=details,
        )

    def run(self, crops: U8) -> dict[str, F32]:
        """See `Network`."""
        import torch

        with torch.no_grad():
            found = self.trained.net(torch.from_numpy(crops))
        return {name: values.float().numpy() for name, values in found.items()}

    def maps(self, crops: U8, classes: I64) -> F32 | None:
        """See `Network`."""
        from vidfer.train.evaluation.gradcam import grad_cam

        return grad_cam(self.trained.net, crops, classes) if self.about.emotions else None

    def history(self) -> list[dict[str, Any]]:
        """See `Network`."""
        from vidfer.train.loop import LOG

        log, found = self._folder / LOG, []
        for line in log.read_text(errors="replace").splitlines() if log.is_file() else ():
            with suppress(ValueError):  # the last line of a run that goes on may be half there
                found.append(json.loads(line))
        return found


def open_networks(models: Sequence[Path]) -> list[Network]:
    """Networks of files or folders, each with a label of its own.

    Raises:
        InputError: There is nothing.
        DataError: It is no network that can be evaluated.
    """
    networks = [_open(model) for model in models]
    names = [network.about.label for network in networks]
    for model, network in zip(models, networks, strict=True):
        if names.count(network.about.label) > 1:
            network.about = replace(network.about, label=f"{model.resolve().parent.name}/{network.about.label}")
    return networks


def _open(model: Path) -> Network:
    if model.is_dir():
        return RunNetwork(model)
    if not model.is_file():
        raise InputError(
            f"there is no network at {model}: give an ONNX file that vidfer made, the folder of a run, or face_analyzer"
        )
    return OnnxNetwork(model)


def _described(path: Path, card: ModelCard) -> About:
    """What a card says of a network.

    Raises:
        DataError: It does not say what has to be known, or tells of no network for faces.
    """
    details = card.details
    try:
        shape = list(details["input"]["shape"])
        labels = {str(head["name"]): head.get("labels") for head in details["heads"]}
        seen = details.get("recipe", {}).get("data", {})
        crop, margin = seen.get("crop", "box"), float(seen.get("margin", CROP_SCALE))
        emotions = tuple(str(name) for name in labels.get("emotion") or ())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"the card of {path.name} does not tell of a network for faces: export it again with vidfer train export"
        ) from error
    heads = tuple(name for name in labels if name in _JUDGED)
    if not heads:
        raise DataError(f"{path.name} tells {', '.join(labels)}: what can be judged is one of {', '.join(_JUDGED)}")
    if not (len(shape) == 4 and isinstance(shape[1], int) and shape[1] == shape[2]):
        raise DataError(
            f"{path.name} takes pictures {shape}: a face network takes squares [B, S, S, 3] of a fixed size"
        )
    return About(
        label=path.name,
        name=card.name,
        kind="onnx",
        input_px=shape[1],
        heads=heads,
        emotions=emotions,
        crop="none" if crop == "none" else "box",
        margin=margin,
        sha256=card.sha256,
        details=details,
    )


def _shape(head: str, emotions: tuple[str, ...]) -> tuple[int, ...]:
    """Of a head for one picture."""
    if head in POINT_HEADS:
        return POINT_HEADS[head], 3 if head == "landmarks" else 2
    return {"emotion": (len(emotions),), "valence_arousal": (2,), "box": (4,)}[head]
