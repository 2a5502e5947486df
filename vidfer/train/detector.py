"""How the face detector learns: assignment of faces to cells, loss, and the task that trains it.

Every cell's score is trained towards the IoU of its box, so that scores rank boxes, as in "Generalized Focal Loss" (Li
et al. 2020). Faces are assigned to cells dynamically by cost, as in YOLOX (Ge et al. 2021), among the cells near their
middle on the levels of their size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vidfer.train.average_precision import Truth, average_precision, false_faces
from vidfer.train.detector_net import STRIDES, DetectorNet, cells
from vidfer.train.hard import Place
from vidfer.train.mosaic import SceneMixer, batches
from vidfer.train.paste import FaceCut
from vidfer.train.scenes import Sample, Scene, held_out, without_copies
from vidfer.types import F32, U8
from vidfer.vision.detect import NMS_IOU, non_maximum_suppression

# Sides (square root of the area, px) that a level learns; they overlap, the cost decides in between.
_SIDES = ((0.0, 56.0), (32.0, 160.0), (96.0, 1e9))
_RADIUS = 1.5  # cells around the middle of a face that may learn it
_CANDIDATES = 10
_BOX_COST, _BOX_WEIGHT = 3.0, 2.0
_MOST_BOXES = 400  # before suppression; an untrained network calls everything a face


def paired_iou(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and DIoU (Zheng et al. 2020) of boxes float[...,4] that broadcast."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    overlap = (high - low).clamp(min=0).prod(-1)
    area = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - overlap
    iou = overlap / area.clamp(min=1e-6)
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    return iou, iou - apart.square().sum(-1) / hull.square().sum(-1).clamp(min=1e-6)


@torch.no_grad()
def assign(box: Tensor, logit: Tensor, truth: Tensor, count: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Which face each cell learns.

    Args:
        box: Predicted, float[B,M,4].
        logit: Predicted, float[B,M].
        truth: Faces, float[B,G,4], padded.
        count: How many faces there are, int[B].
        cell: float[M,3] from `cells`.

    Returns:
        Index of the face or -1, int64[B,M], and IoU of the cell's box with it, float[B,M] (0 where there is none).
    """
    faces = truth.shape[1]
    if faces == 0:
        return torch.full(logit.shape, -1), torch.zeros_like(logit)
    allowed = _allowed(truth, cell) & (torch.arange(faces)[None, :] < count[:, None])[:, :, None]
    picture, face, place = allowed.nonzero(as_tuple=True)
    # Only some ten cells in a thousand are near a face: costs are worked out for those alone.
    pair_iou, _ = paired_iou(box[picture, place], truth[picture, face])
    pair_cost = functional.softplus(-logit[picture, place]) - _BOX_COST * pair_iou.clamp(min=1e-4).log()
    iou = torch.zeros(allowed.shape)
    iou[picture, face, place] = pair_iou
    cost = torch.full(allowed.shape, torch.inf)
    cost[picture, face, place] = pair_cost
    wanted = iou.topk(_CANDIDATES, -1).values.sum(-1).long().clamp(min=1)
    order = cost.topk(_CANDIDATES, -1, largest=False)
    taken = (torch.arange(_CANDIDATES) < wanted[..., None]) & order.values.isfinite()
    chosen = torch.full_like(cost, torch.inf)
    chosen.scatter_(2, order.indices, torch.where(taken, order.values, torch.inf))
    best, owner = chosen.min(1)
    owner = torch.where(best.isfinite(), owner, -1)
    matched = iou.gather(1, owner.clamp(min=0)[:, None])[:, 0]
    return owner, torch.where(owner >= 0, matched, 0)


def _allowed(truth: Tensor, cell: Tensor) -> Tensor:
    """Cells that may learn a face, bool[B,G,M]: of the levels of its size, inside it, near its middle."""
    x, y, stride = cell.unbind(1)
    left, top, right, bottom = (edge[..., None] for edge in truth.unbind(-1))
    size = ((right - left) * (bottom - top)).clamp(min=0).sqrt()
    low = torch.tensor([limits[0] for limits in _SIDES])[(stride / STRIDES[0]).log2().long()]
    high = torch.tensor([limits[1] for limits in _SIDES])[(stride / STRIDES[0]).log2().long()]
    away_x, away_y = (x - (left + right) / 2).abs(), (y - (top + bottom) / 2).abs()
    # A face smaller than a cell may hold no middle of a cell at all: the nearest one (within half a cell) stands in.
    reach_x = torch.maximum((right - left) / 2, stride / 2).minimum(_RADIUS * stride)
    reach_y = torch.maximum((bottom - top) / 2, stride / 2).minimum(_RADIUS * stride)
    return (away_x <= reach_x) & (away_y <= reach_y) & (size >= low) & (size < high)


def detector_loss(box: Tensor, logit: Tensor, batch: dict[str, Tensor], cell: Tensor) -> dict[str, Tensor]:
    """Score and box parts of the loss.

    Args:
        box: Predicted, float[B,M,4].
        logit: Predicted, float[B,M].
        batch: ``truth`` float[B,G,4] and ``count`` int[B]: faces; ``ignored`` float[B,I,4]: ignore regions, padded.
        cell: float[M,3] from `cells`.
    """
    truth = batch["truth"]
    face, iou = assign(box.detach(), logit.detach(), truth, batch["count"], cell)
    positive = face >= 0
    left, top, right, bottom = (edge[..., None] for edge in batch["ignored"].unbind(-1))
    x, y = cell[:, 0], cell[:, 1]
    quiet = ((x >= left) & (x <= right) & (y >= top) & (y <= bottom)).any(1) & ~positive
    # A floor keeps the first steps, when no box fits yet, from teaching that nothing is a face.
    target = torch.where(positive, iou.clamp(min=0.3), 0.0)
    score = logit.sigmoid()
    weight = torch.where(positive, 1.0, score.detach().square()) * ~quiet
    total = target.sum().clamp(min=1.0)
    score_loss = (functional.binary_cross_entropy_with_logits(logit, target, reduction="none") * weight).sum() / total
    if not bool(positive.any()):
        return {"score": score_loss, "box": box.sum() * 0}
    wanted = truth.gather(1, face.clamp(min=0)[..., None].expand(-1, -1, 4))[positive]
    _, diou = paired_iou(box[positive], wanted)
    box_loss = ((1 - diou) * target[positive]).sum() / total
    return {"score": score_loss, "box": _BOX_WEIGHT * box_loss}


@torch.no_grad()
def predict(model: nn.Module, image: U8, floor: float = 0.02) -> tuple[F32, F32]:
    """Boxes f32[N,4] and scores f32[N] of one picture, best first, after non-maximum suppression."""
    height, width = image.shape[:2]
    cell = STRIDES[0]
    padded = np.zeros((1, -(-height // cell) * cell, -(-width // cell) * cell, 3), np.uint8)
    padded[0, :height, :width] = image
    box, logit = model(torch.from_numpy(padded))
    return suppress(box[0].numpy(), logit[0].sigmoid().numpy(), floor)


def suppress(box: F32, score: F32, floor: float) -> tuple[F32, F32]:
    """The best boxes with a score of at least `floor`, best first."""
    found = np.argsort(-score)[:_MOST_BOXES]
    found = found[score[found] >= floor]
    box, score = box[found], score[found]
    kept = non_maximum_suppression(box, score, NMS_IOU)
    return box[kept], score[kept]


def evaluate_on(finder: Any, pictures: list[Scene]) -> dict[str, float]:
    """AP at IoU 0.5 and false faces of a function image -> (boxes, scores)."""
    truths, found = [], []
    for scene in pictures:
        truths.append(Truth(box_px=scene.box_px, valid=scene.valid))
        found.append(finder(scene.image))
    return {
        "ap50_20px": average_precision(truths, found, min_side=20),
        "ap50_12px": average_precision(truths, found, min_side=12),
        "false_per_negative_at_0.5": false_faces([f for f, s in zip(found, pictures, strict=True) if s.negative], 0.5),
        "false_per_negative_at_0.3": false_faces([f for f, s in zip(found, pictures, strict=True) if s.negative], 0.3),
    }


def training_scenes(
    scenes: Sequence[Scene], aside: Callable[[str], bool] = held_out
) -> tuple[list[Scene], list[Scene]]:
    """Scenes to train on, none of which shows what one of the others does, and those whose names are set aside."""
    kept = [s for s in scenes if aside(s.name)]
    return without_copies([s for s in scenes if not aside(s.name)], kept), kept


class DetectorTask:
    """Training of the detector on scenes and faces; see `loop.Task`.

    Args:
        scenes: To train on.
        aside: Scenes that choose the best weights.
        faces: To paste on scenes.
        places: Hard negatives in `scenes`.
        calm_from: Epoch from which training pictures are nearer to what the detector will see.
        size: Side of the training pictures.
        batch_size: How many of them a step takes.
    """

    name = "face_detector"

    def __init__(
        self,
        scenes: list[Scene],
        aside: list[Scene],
        faces: list[FaceCut],
        *,
        places: Sequence[Place] = (),
        calm_from: int | None = None,
        size: int = 320,
        batch_size: int = 16,
    ) -> None:
        cv2.setNumThreads(1)
        self._aside = aside
        self._mixer = SceneMixer(scenes, faces, places)
        self._size, self._batch_size, self._calm_from = size, batch_size, calm_from
        self.model: nn.Module = DetectorNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def batches(self, epoch: int, generator_seed: int) -> Iterator[Any]:
        """Images uint8[B,S,S,3], truth float[B,G,4] with faces before ignore regions, and their counts."""
        calm = self._calm_from is not None and epoch >= self._calm_from
        for images, samples in batches(self._mixer, generator_seed, self._size, self._batch_size, calm=calm):
            yield collate(images, samples)

    def loss(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Score and box loss."""
        image = batch["image"]
        box, logit = model(image)
        return detector_loss(box, logit, batch, cells(*image.shape[1:3]))

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """AP on the scenes set aside; the score is the mean of both sizes."""
        figures = evaluate_on(lambda image: predict(model, image), self._aside)
        return {"score": (figures["ap50_20px"] + figures["ap50_12px"]) / 2, **figures}


def collate(images: U8, samples: list[Sample]) -> dict[str, Tensor]:
    """A batch of tensors; boxes are padded with zeros."""
    count = torch.tensor([int(s.valid.sum()) for s in samples])
    return {
        "image": torch.from_numpy(images),
        "truth": _padded([s.box_px[s.valid] for s in samples]),
        "ignored": _padded([s.box_px[~s.valid] for s in samples]),
        "count": count,
    }


def _padded(boxes: list[F32]) -> Tensor:
    table = np.zeros((len(boxes), max(len(b) for b in boxes), 4), np.float32)
    for row, box in zip(table, boxes, strict=True):
        row[: len(box)] = box
    return torch.from_numpy(table)
