"""The face detector at run time: letterbox, one network call, threshold, non-maximum suppression."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vidfer.errors import ModelError, UsageError
from vidfer.types import F32, Detections, Picture
from vidfer.vision.geometry import letterbox_size
from vidfer.vision.session import ModelCard

INPUT, BOX, SCORE = "image", "box", "score"  # names in the graph
NMS_IOU = 0.45
LONG_SIDE = 640
_MULTIPLE = 32  # of which the sides of the input are, where the card does not say
_MOST_BOXES = 1000  # before suppression, whose cost is quadratic


class Network(Protocol):
    """What `vision.session.Session` offers."""

    card: ModelCard

    def run(self, inputs: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """All outputs by name."""
        ...


class FaceDetector:
    """Finds faces in one picture at a time (a batch is no faster on a CPU).

    Args:
        network: uint8[1,H,W,3] RGB `image` -> float32[1,M,4] `box` (xyxy, px of the input) and float32[1,M] `score`.
        long_side: The picture is shrunk until its longer side is this many px; never enlarged.
        threshold: Smallest score; None takes the one in the network's card.

    Raises:
        UsageError: An argument is out of range.
        ModelError: The card holds no threshold.
    """

    def __init__(self, network: Network, *, long_side: int = LONG_SIDE, threshold: float | None = None) -> None:
        if long_side < 32:
            raise UsageError(f"long_side must be at least 32 px, got {long_side}")
        if threshold is None:
            threshold = network.card.details.get("threshold")
        if threshold is None:
            raise ModelError(f"the card of {network.card.name} has no threshold: export the network again")
        if not 0 < threshold <= 1:
            raise UsageError(f"threshold must be above 0 and at most 1, got {threshold}")
        self._network = network
        self._long_side = long_side
        self.threshold = float(threshold)
        self._multiple = int(network.card.details.get("input", {}).get("sides_multiple_of", _MULTIPLE))

    def detect(self, picture: Picture) -> Detections:
        """Faces of a picture, best first; boxes in its px, cut at its border."""
        scaled_w, scaled_h, padded_w, padded_h = letterbox_size(
            picture.width, picture.height, self._long_side, self._multiple
        )
        image = np.zeros((1, padded_h, padded_w, 3), np.uint8)
        image[0, :scaled_h, :scaled_w] = picture.rgb(scaled_w, scaled_h)
        output = self._network.run({INPUT: image})
        score = output[SCORE][0]
        found = np.flatnonzero(score >= self.threshold)
        if not len(found):
            return Detections.empty()
        if len(found) > _MOST_BOXES:
            found = found[np.argsort(-score[found], kind="stable")[:_MOST_BOXES]]
        box, score = output[BOX][0, found], score[found]
        kept = non_maximum_suppression(box, score, NMS_IOU)
        size = np.array([picture.width, picture.height] * 2, np.float32)
        scale = size / np.array([scaled_w, scaled_h] * 2, np.float32)
        in_picture = np.clip(box[kept] * scale, 0, size).astype(np.float32)
        seen = (in_picture[:, 2:] - in_picture[:, :2]).min(1) >= 1  # not a box in the padding
        return Detections(box_px=in_picture[seen], score=score[kept][seen].astype(np.float32))


def non_maximum_suppression(box_px: F32, score: F32, overlap: float) -> npt.NDArray[np.intp]:
    """Indices of the boxes to keep, best first: a box goes when a better one that stays overlaps it by more (IoU)."""
    order = np.argsort(-score, kind="stable")
    box = box_px[order]
    low = np.maximum(box[:, None, :2], box[None, :, :2])
    high = np.minimum(box[:, None, 2:], box[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(2)
    area = (box[:, 2:] - box[:, :2]).prod(1)
    clash = common > overlap * (area[:, None] + area[None, :] - common)
    gone = np.zeros(len(box), bool)
    for row in range(len(box)):
        if not gone[row]:
            gone[row + 1 :] |= clash[row, row + 1 :]
    return order[~gone]
