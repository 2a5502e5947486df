"""Soft labels by any ONNX network that tells expressions, or valence and arousal, of a picture of a face."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vidfer.errors import DataError, UsageError
from vidfer.train.data import as_rgb
from vidfer.train.datasets.classes import emotion_of
from vidfer.types import EMOTIONS, F32, U8
from vidfer.vision.geometry import CROP_SCALE, crop, crop_transform
from vidfer.vision.session import AnySession, Session, Tensor

# Of ImageNet, which most networks start from.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_USUAL_PX = 224
_ROUNDING = 0.01  # of probabilities as float16
_TYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(float16)": np.float16}
VALENCE, AROUSAL, UNUSED = "valence", "arousal", "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherOptions:
    """What the file of a network does not tell.

    Attributes:
        labels: What its outputs mean, one after the other: expressions, `valence`, `arousal`, `-` for what is not used.
            None: the network is one of ours, and its card tells.
        outputs: Names of the outputs that they are; None: all.
        size: Side of its pictures in px; None: that of the network, or 224.
        mean: Taken off the colours, which are shares of 255, where the input is no uint8: one number, or one a channel.
        std: What is left is divided by.
        bgr: Blue comes first.
        margin: Side of the picture / longer side of the face.
    """

    labels: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None
    size: int | None = None
    mean: tuple[float, ...] = _MEAN
    std: tuple[float, ...] = _STD
    bgr: bool = False
    margin: float = CROP_SCALE

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, 3):
                raise UsageError(f"--teacher-{name} must be one number or three, got {len(getattr(self, name))}")
        if min(self.std) <= 0 or self.margin <= 0:
            raise UsageError("--teacher-std and --teacher-margin must be greater than 0")


class Teacher:
    """A network that says what it sees in faces.

    Raises:
        UsageError: What its outputs mean is not told, or does not fit them.
        DataError: It does not take pictures.
        ModelError: It cannot be loaded.
    """

    def __init__(self, path: Path, options: TeacherOptions, *, device: str = "cpu", threads: int = 1) -> None:
        self._path, self._options = path, options
        self._session = AnySession(path, device=device, threads=threads)
        labels, outputs = options.labels, options.outputs
        if labels is None:
            labels, outputs = _of_card(path, self._session)
        self._outputs = outputs or tuple(self._session.outputs)
        unknown = [name for name in self._outputs if name not in self._session.outputs]
        if unknown:
            raise UsageError(f"{path.name} has no output {unknown[0]}; it has {', '.join(self._session.outputs)}")
        self._labels = _meaning(labels)
        self._tells_logits = False
        if len(self._session.inputs) != 1:
            raise DataError(f"{path.name} has {len(self._session.inputs)} inputs: a teacher has one, the picture")
        self._input = self._session.inputs[0]
        self._channels_last, self._channels, side = _layout(self._input, path)
        self.size = options.size or side or _USUAL_PX

    def label(self, images: Sequence[U8], boxes: F32) -> tuple[F32 | None, F32 | None]:
        """What it sees in faces.

        Args:
            images: Pictures uint8[H,W] or uint8[H,W,3] RGB.
            boxes: f32[N,4], xyxy; NaN takes the whole picture.

        Returns:
            Probabilities f32[N,8] in the order of `EMOTIONS`, and valence and arousal f32[N,2]; None for what it does
            not tell.

        Raises:
            DataError: Its outputs are not as many as labels were told, or no numbers.
        """
        batch = self._prepared([self._face(image, box) for image, box in zip(images, boxes, strict=True)])
        size = len(batch) if self._input.shape[0] is None else self._input.shape[0]
        parts = [self._ask(batch[i : i + size], size) for i in range(0, len(batch), size)]
        return self._sorted(np.concatenate(parts))

    def _face(self, image: U8, box: F32) -> U8:
        if np.isnan(box).any():
            # Averages where it shrinks and keeps the shape of the face where the picture is no square.
            height, width = image.shape[:2]
            box = np.array([0, 0, width, height], np.float32) * (1 / CROP_SCALE)
            box += np.tile([width, height], 2).astype(np.float32) * (1 - 1 / CROP_SCALE) / 2
        else:
            middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * (self._options.margin / CROP_SCALE)
            box = np.concatenate([middle - half, middle + half])
        return as_rgb(crop(image, crop_transform(box, size=self.size)[0], self.size))

    def _prepared(self, faces: Sequence[U8]) -> npt.NDArray[Any]:
        pictures = np.stack(faces)
        if self._channels == 1:
            pictures = np.stack([cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[..., None] for face in faces])
        elif self._options.bgr:
            pictures = pictures[..., ::-1]
        kind = _TYPES[self._input.type]
        if kind != np.uint8:
            mean, std = (np.array(values, np.float32) for values in (self._options.mean, self._options.std))
            if self._channels == 1:
                mean, std = mean.mean(keepdims=True), std.mean(keepdims=True)
            pictures = ((pictures / np.float32(255) - mean) / std).astype(kind)
        return np.ascontiguousarray(pictures if self._channels_last else pictures.transpose(0, 3, 1, 2))

    def _ask(self, batch: npt.NDArray[Any], size: int) -> F32:
        """Outputs f32[n,L] of a batch, which is filled up for a network that takes only so many at a time."""
        n = len(batch)
        filled = np.concatenate([batch, np.repeat(batch[-1:], size - n, 0)]) if n < size else batch
        try:
            found = self._session.run({self._input.name: filled})
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{self._path.name} cannot be run on pictures of {self.size} px: {reason}") from error
        values = [np.asarray(found[name], np.float32).reshape(len(filled), -1)[:n] for name in self._outputs]
        joined = np.concatenate(values, 1)
        if joined.shape[1] != len(self._labels):
            sizes = ", ".join(f"{name}: {v.shape[1]}" for name, v in zip(self._outputs, values, strict=True))
            raise UsageError(
                f"--teacher-labels names {len(self._labels)} values, {self._path.name} gives {joined.shape[1]} "
                f"({sizes}): name all in their order, or choose outputs with --teacher-output"
            )
        if not np.isfinite(joined).all():
            raise DataError(f"{self._path.name} gives NaN or infinity: check --teacher-mean and --teacher-std")
        return joined

    def _sorted(self, values: F32) -> tuple[F32 | None, F32 | None]:
        told = [i for i, name in enumerate(self._labels) if name in EMOTIONS]
        emotions = None
        if told:
            emotions = np.zeros((len(values), len(EMOTIONS)), np.float32)
            for i, share in zip(told, self._shares(values[:, told]).T, strict=True):
                emotions[:, EMOTIONS.index(str(self._labels[i]))] += share
        affect = None
        if VALENCE in self._labels:
            places = [self._labels.index(VALENCE), self._labels.index(AROUSAL)]
            affect = np.clip(values[:, places], -1, 1)
        return emotions, affect

    def _shares(self, values: F32) -> F32:
        """Probabilities as they are, logits by softmax, over the expressions that count.

        Few logits may all lie between 0 and 1 and sum to no more than 1, as those of a last row that is alone: what
        gave logits once always does.
        """
        total = values.sum(1)
        self._tells_logits |= not ((values >= 0).all() and (total > 0).all() and (total <= 1 + _ROUNDING).all())
        powers = np.exp(values - values.max(1, keepdims=True)) if self._tells_logits else values
        return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


def _meaning(labels: Sequence[str]) -> list[str | None]:
    known: list[str | None] = [
        name if name in (VALENCE, AROUSAL) else None if name == UNUSED else emotion_of(name, "--teacher-labels")
        for name in (label.strip().casefold() for label in labels)
    ]
    if (VALENCE in known) != (AROUSAL in known):
        raise UsageError("--teacher-labels must name valence and arousal, or none of them")
    if not any(known):
        raise UsageError(f"--teacher-labels names neither an expression nor valence: choose from {', '.join(EMOTIONS)}")
    return known


def _layout(given: Tensor, path: Path) -> tuple[bool, int, int | None]:
    """(Channels come last, how many they are, side in px) of a network's input."""
    if len(given.shape) != 4 or given.type not in _TYPES:
        raise DataError(f"{path.name} takes no pictures: its input is {given.type}{list(given.shape)}")
    _, a, b, c = given.shape
    last = c in (1, 3) and a not in (1, 3)
    channels, height, width = (c, a, b) if last else (a, b, c)
    if channels not in (1, 3) or height != width:
        raise DataError(f"{path.name} takes no square pictures of 1 or 3 channels: its input is {list(given.shape)}")
    return last, int(channels), height


def _of_card(path: Path, session: AnySession) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not session.has_card:
        raise UsageError(f"say with --teacher-labels what the values of {path.name} are, such as neutral,happiness,...")
    heads = {head["name"]: head for head in Session(path, device="cpu").card.details["heads"]}
    labels: list[str] = []
    outputs = [name for name in ("emotion", "valence_arousal") if name in heads]
    for name in outputs:
        labels += heads[name]["labels"] if name == "emotion" else [VALENCE, AROUSAL]
    if not outputs:
        raise UsageError(f"{path.name} tells neither emotion nor valence_arousal: {json.dumps(sorted(heads))}")
    return tuple(labels), tuple(outputs)
