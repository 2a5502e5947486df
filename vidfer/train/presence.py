"""The presence head, fitted last: to tell the detector's false alarms from its faces.

Random places without a face are too easy: a head trained on them lets through what fools the detector. So the packaged
detector is run on the training scenes with a low threshold, and the head's last layer is fitted on what it finds there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vidfer.errors import DataError
from vidfer.media.picture import ArrayPicture
from vidfer.train.model import FaceNet
from vidfer.train.scenes import Scene, load_scenes
from vidfer.types import F32, U8
from vidfer.vision.detect import FaceDetector
from vidfer.vision.geometry import crop, crop_transform, iou
from vidfer.vision.session import load

_LOWEST_SCORE = 0.3
_SMALLEST_PX = 12
_FALSE_BELOW_IOU, _FACE_ABOVE_IOU = 0.15, 0.5
_MOST_OF_A_KIND = 6000
_WEIGHT_DECAY = 1e-4
_BATCH = 64


def fit_presence(net: FaceNet, data_dir: Path, seed: int = 0) -> dict[str, int]:
    """Replace the presence layer of a trained network; nothing else changes.

    Args:
        net: In evaluation mode.
        data_dir: Folder with scenes.parquet.
        seed: Which finds are taken where there are more than needed.

    Returns:
        How many finds were faces and how many false alarms.

    Raises:
        DataError: The detector finds only faces, or none, in the scenes.
    """
    detector = FaceDetector(load("face_detector", device="cpu"), threshold=_LOWEST_SCORE)
    crops: dict[bool, list[U8]] = {True: [], False: []}
    for scene in load_scenes(data_dir / "scenes.parquet", "train"):
        for image, is_face in _finds(detector, scene):
            crops[is_face].append(image)
    if not crops[True] or not crops[False]:
        raise DataError(
            f"the detector finds {len(crops[True])} faces and {len(crops[False])} false alarms: both are needed"
        )
    rng = np.random.default_rng(seed)
    chosen = {kind: rng.permutation(len(found))[:_MOST_OF_A_KIND] for kind, found in crops.items()}
    features = torch.cat([_features(net, [crops[kind][i] for i in chosen[kind]]) for kind in (True, False)])
    target = torch.repeat_interleave(torch.tensor([1.0, 0.0]), torch.tensor([len(chosen[True]), len(chosen[False])]))
    _fit_layer(net.presence, features, target)
    return {"faces": len(chosen[True]), "false_alarms": len(chosen[False])}


def _finds(detector: FaceDetector, scene: Scene) -> list[tuple[U8, bool]]:
    """Crops of what the detector finds, and whether it is a face; doubtful overlaps and ignore regions are left out."""
    found = detector.detect(ArrayPicture(scene.image)).box_px
    found = found[(found[:, 2:] - found[:, :2]).min(1, initial=np.inf) >= _SMALLEST_PX]
    overlap = iou(found, scene.box_px.astype(np.float32))
    best = overlap.max(1, initial=0)
    valid = scene.valid[overlap.argmax(1)] == 1 if len(scene.box_px) else np.zeros(len(found), bool)
    is_face, is_false = (best > _FACE_ABOVE_IOU) & valid, best < _FALSE_BELOW_IOU
    return [
        (_cut(scene.image, box), bool(face))
        for box, face in zip(found[is_face | is_false], is_face[is_face | is_false], strict=True)
    ]


def _cut(image: U8, box_px: F32) -> U8:
    return crop(image, crop_transform(box_px[None])[0])


@torch.no_grad()
def _features(net: FaceNet, crops: list[U8]) -> Tensor:
    parts = [torch.from_numpy(np.stack(crops[i : i + _BATCH])) for i in range(0, len(crops), _BATCH)]
    return torch.cat([net.features(part) for part in parts])


def _fit_layer(layer: nn.Linear, features: Tensor, target: Tensor) -> None:
    """Logistic regression with weight decay, to convergence."""
    weight = torch.zeros_like(layer.weight, requires_grad=True)
    bias = torch.zeros_like(layer.bias, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        logit = (features @ weight.T + bias)[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(logit, target) + _WEIGHT_DECAY * (weight**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
