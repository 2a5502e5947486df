"""The face detector: network, assignment of faces to cells, loss, and the task that trains it.

Anchor-free on strides 8, 16 and 32 with dense 3x3 convolutions, which ONNX Runtime runs much faster than depthwise
ones of the same cost. Every cell gives one score (trained towards the IoU of its box, so that scores rank boxes, as in
"Generalized Focal Loss", Li et al. 2020) and one box. Faces are assigned to cells dynamically by cost, as in YOLOX (Ge
et al. 2021), among the cells near their middle on the levels of their size.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vidfer.train.average_precision import Truth, average_precision, false_faces
from vidfer.train.mosaic import SceneMixer, batches
from vidfer.train.paste import load_faces
from vidfer.train.scenes import Sample, Scene, held_out, load_scenes
from vidfer.types import F32, U8
from vidfer.vision.detect import NMS_IOU, non_maximum_suppression

STRIDES = (8, 16, 32)
# Sides (square root of the area, px) that a level learns; they overlap, the cost decides in between.
_SIDES = ((0.0, 56.0), (32.0, 160.0), (96.0, 1e9))
_RADIUS = 1.5  # cells around the middle of a face that may learn it
_CANDIDATES = 10
_BOX_COST, _BOX_WEIGHT = 3.0, 2.0
_MAX_LOG_SIDE = 5.0
_MOST_BOXES = 400  # before suppression; an untrained network calls everything a face


class _Block(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
        )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _Block(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Add two convolutions to their input."""
        added: Tensor = self.second(self.first(x))
        return functional.relu(x + added)


class PixelConv(nn.Conv2d):
    """A convolution of pixels 0 ... 255: scaling its few weights is cheaper than scaling the picture."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve pixels 0 ... 255."""
        convolved: Tensor = self._conv_forward(x, self.weight * (1 / 128), self.bias)
        return convolved

    def baked(self) -> nn.Conv2d:
        """The same as an ordinary convolution, which exporters can fuse with the norm behind it."""
        plain = nn.Conv2d(self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding, bias=False)  # type: ignore[arg-type]
        plain.weight.data.copy_(self.weight.data * (1 / 128))
        return plain


class DetectorNet(nn.Module):
    """uint8[B,H,W,3] RGB, sides multiples of 32 -> boxes float[B,M,4] (xyxy, input px) and score logits float[B,M]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(PixelConv(3, 16, 3, 2, 1, bias=False), *list(_Block(3, 16, 2))[1:], _Block(16, 24, 2))
        self.stage8 = nn.Sequential(_Block(24, 32, 2), _Residual(32))
        self.stage16 = nn.Sequential(_Block(32, 64, 2), _Residual(64))
        self.stage32 = nn.Sequential(_Block(64, 80, 2), _Residual(80))
        self.down32 = nn.Sequential(nn.Conv2d(80, 64, 1, bias=False), nn.BatchNorm2d(64))
        self.down16 = nn.Sequential(nn.Conv2d(64, 32, 1, bias=False), nn.BatchNorm2d(32))
        self.heads = nn.ModuleList([_Block(32, 32), _Block(64, 32), _Block(80, 32)])
        self.outputs = nn.ModuleList([nn.Conv2d(32, 5, 1) for _ in STRIDES])
        for layer in self.outputs:
            assert isinstance(layer, nn.Conv2d)
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
            with torch.no_grad():
                layer.bias[0] = -4.6  # type: ignore[index]  # a score of 0.01: nearly all cells are background
                layer.bias[3:] = 1.0  # type: ignore[index]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes and score logits of pictures."""
        # No mean is taken off: the first norm does it, and padding with zeros is black in training and at run time.
        fine = self.stage8(self.stem(image.permute(0, 3, 1, 2).float()))
        middle = self.stage16(fine)
        coarse = self.stage32(middle)
        middle = functional.relu(middle + functional.interpolate(self.down32(coarse), scale_factor=2.0))
        fine = functional.relu(fine + functional.interpolate(self.down16(middle), scale_factor=2.0))
        boxes, logits = [], []
        for level, stride, head, output in zip((fine, middle, coarse), STRIDES, self.heads, self.outputs, strict=True):
            raw = output(head(level)).float()
            boxes.append(_decode(raw[:, 1:], stride))
            logits.append(raw[:, 0].flatten(1))
        return torch.cat(boxes, 1), torch.cat(logits, 1)


def _decode(raw: Tensor, stride: int) -> Tensor:
    """Boxes float[B,h*w,4] in px from a level's dx, dy, log w, log h float[B,4,h,w], all in units of the stride."""
    height, width = raw.shape[2:]
    y = torch.arange(height, device=raw.device, dtype=raw.dtype)[:, None] + 0.5
    x = torch.arange(width, device=raw.device, dtype=raw.dtype)[None, :] + 0.5
    centre_x, centre_y = raw[:, 0] + x, raw[:, 1] + y
    half = raw[:, 2:].clamp(max=_MAX_LOG_SIDE).exp() / 2
    box = torch.stack([centre_x - half[:, 0], centre_y - half[:, 1], centre_x + half[:, 0], centre_y + half[:, 1]], -1)
    return box.flatten(1, 2) * stride


def cells(height: int, width: int) -> Tensor:
    """Middles and strides of all cells for an input size, float[M,3] (x, y, stride), in the order of the outputs."""
    levels = []
    for stride in STRIDES:
        y, x = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        level = torch.stack([x + 0.5, y + 0.5, torch.ones_like(x)], -1).float() * stride
        levels.append(level.flatten(0, 1))
    return torch.cat(levels)


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
    padded = np.zeros((1, -(-height // 32) * 32, -(-width // 32) * 32, 3), np.uint8)
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


class DetectorTask:
    """Training of the detector on scenes and faces; see `loop.Task`."""

    name = "face_detector"

    def __init__(self, data_dir: Path, *, size: int = 320, batch_size: int = 16, face_limit: int | None = None) -> None:
        cv2.setNumThreads(1)
        everything = load_scenes(data_dir / "scenes.parquet", "train")
        self._held_out = [s for s in everything if held_out(s.name)]
        train = [s for s in everything if not held_out(s.name)]
        self._mixer = SceneMixer(train, load_faces(data_dir, face_limit))
        self._size, self._batch_size = size, batch_size
        self.model = DetectorNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def batches(self, epoch: int, generator_seed: int) -> Iterator[Any]:
        """Images uint8[B,S,S,3], truth float[B,G,4] with faces before ignore regions, and their counts."""
        for images, samples in batches(self._mixer, generator_seed, self._size, self._batch_size):
            yield collate(images, samples)

    def loss(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Score and box loss."""
        image = batch["image"]
        box, logit = model(image)
        return detector_loss(box, logit, batch, cells(*image.shape[1:3]))

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """AP on the held-out tenth; the score is the mean of both sizes."""
        figures = evaluate_on(lambda image: predict(model, image), self._held_out)
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
