"""Losses of a recipe: a part for each head, over the labels that are there.

A missing label is NaN: a row of classes, one number of valence and arousal, one point. It counts nothing, whatever
stands in the rows beside it, so that sets with different labels mix freely; each part is a mean over the labels of its
kind in the batch, and 0 (with a gradient of 0) where there is none. Points and boxes are compared in shares of the
crop's side, so that weights mean the same for every size of the pictures.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vidfer.train.losses import concordance
from vidfer.train.multitask.options import (
    BoxLoss,
    DistillationLoss,
    EmotionLoss,
    LandmarksLoss,
    Losses,
    ValenceArousalLoss,
)

_DEPTH_SHARE = 0.5  # of the depth of mesh points, which nobody sees in a picture
_LEAST_ROWS_OF_CCC = 2  # one value agrees with nothing
_TINY = 1e-7


def multitask_losses(
    found: dict[str, Tensor], batch: dict[str, Tensor], losses: Losses, class_weights: Tensor | None = None
) -> dict[str, Tensor]:
    """Weighted parts of the loss, by name.

    Args:
        found: What the network gives for `batch["image"]`; positions in px of the crop.
        batch: Labels by the names of the heads, NaN where missing; `teacher` f32[B,C] and `teacher_va` f32[B,2].
        losses: What the recipe says.
        class_weights: f32[C] of the emotions; None for equal ones.
    """
    side = batch["image"].shape[1]
    parts: dict[str, Tensor] = {}
    for name, values in found.items():
        target = batch[name]
        if name == "emotion":
            parts[name] = losses.emotion.weight * emotion_loss(values, target, losses.emotion, class_weights)
        elif name == "valence_arousal":
            options = losses.valence_arousal
            parts |= {key: options.weight * part for key, part in va_losses(values, target, options).items()}
        elif name == "box":
            parts[name] = losses.box.weight * box_loss(values / side, target / side, losses.box)
        else:
            parts[name] = losses.landmarks.weight * landmarks_loss(values / side, target / side, losses.landmarks)
    teacher = losses.distillation
    if teacher.weight:
        parts["teacher"] = teacher.weight * distillation_loss(found["emotion"], batch["teacher"], teacher)
    if teacher.valence_arousal_weight:
        error = (found["valence_arousal"].float() - _filled(batch["teacher_va"])) ** 2
        parts["teacher_va"] = teacher.valence_arousal_weight * _mean(error, ~batch["teacher_va"].isnan())
    return parts


def emotion_loss(logits: Tensor, target: Tensor, options: EmotionLoss, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy or focal loss of distributions f32[B,C]; with one class per row and its weight, torch's own.

    The focal loss (Lin et al., 2017) of a distribution is the sum over the classes of t (1 - p)^gamma (-log p).
    """
    known = ~target.isnan().any(1)
    target = _filled(target)
    weights = target.new_ones(target.shape[1]) if class_weights is None else class_weights
    smoothed = target * (1 - options.label_smoothing) + options.label_smoothing / target.shape[1]
    log_p = F.log_softmax(logits.float(), 1)
    if options.kind == "focal":
        # expm1 keeps 1 - p exact, and its gradient finite, where p is nearly 1.
        miss = -torch.expm1(log_p.clamp_max(-_TINY))
        log_p = log_p * miss**options.focal_gamma
    per_row = -(weights * smoothed * log_p).sum(1)
    return _sum(per_row, known) / _sum((weights * target).sum(1), known).clamp_min(_TINY)


def balanced_weights(target: Tensor) -> Tensor:
    """Weights f32[C] with which all classes of the distributions f32[N,C] count the same in sum; rows may be NaN."""
    counts = _filled(target).sum(0)
    there = counts > 0
    weights = counts.sum() / (there.sum().clamp_min(1) * counts.clamp_min(_TINY))
    return torch.where(there, weights, torch.ones_like(weights))


def va_losses(found: Tensor, target: Tensor, options: ValenceArousalLoss) -> dict[str, Tensor]:
    """Parts of f32[B,2]; the concordance is that of the batch, each of the two over the rows that have it."""
    known = ~target.isnan()
    error = found.float() - _filled(target)
    if options.kind != "ccc_mse":
        distance = _distance(error, options.kind, options.threshold)
        return {"valence_arousal": _mean(distance, known)}
    lacks = [_disagreement(found[:, i].float(), target[:, i], known[:, i]) for i in range(found.shape[1])]
    return {"va_ccc": torch.stack(lacks).mean(), "va_mse": _mean(error**2, known)}


def _disagreement(found: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """1 - concordance of f32[B]."""
    if known.sum() < _LEAST_ROWS_OF_CCC:
        return found.sum() * 0
    return 1 - concordance(found[:, None], _filled(target)[:, None], known.float())[0]


def landmarks_loss(found: Tensor, target: Tensor, options: LandmarksLoss) -> Tensor:
    """Of points f32[B,K,2 or 3] in shares of the crop's side; every row with points counts the same."""
    known = ~target.isnan().any(2, keepdim=True)
    error = found.float() - _filled(target)
    if options.kind == "wing":
        distance = _wing(error, options.wing_width, options.wing_curvature)
    else:
        distance = _distance(error, options.kind, options.threshold)
    if distance.shape[2] == 3:
        distance = distance * distance.new_tensor([1.0, 1.0, _DEPTH_SHARE])
    distance = torch.where(known, distance, 0.0)
    points = known.sum((1, 2))
    per_row = distance.sum((1, 2)) / (points * distance.shape[2]).clamp_min(1)
    return _mean(per_row, points > 0)


def box_loss(found: Tensor, target: Tensor, options: BoxLoss) -> Tensor:
    """Of boxes f32[B,4] in shares of the crop's side."""
    error = found.float() - _filled(target)
    return _mean(_distance(error, options.kind, options.threshold), ~target.isnan().any(1, keepdim=True))


def distillation_loss(logits: Tensor, teacher: Tensor, options: DistillationLoss) -> Tensor:
    """Divergence from the teacher's distribution f32[B,C], both softened (Hinton et al., 2015); 0 where they agree.

    The teacher's distribution is softened as its logits would be: p^(1/T), scaled to sum to 1.
    """
    known = ~teacher.isnan().any(1)
    temperature = options.temperature
    softened = _filled(teacher, 1.0).clamp_min(_TINY).log().div(temperature).log_softmax(1)
    student = F.log_softmax(logits.float() / temperature, 1)
    divergence = (softened.exp() * (softened - student)).sum(1)
    return temperature**2 * _mean(divergence, known)


def _filled(target: Tensor, value: float = 0.0) -> Tensor:
    """Labels without NaN: those have to be gone before they meet what has a gradient."""
    return torch.where(target.isnan(), value, target)


def _sum(values: Tensor, known: Tensor) -> Tensor:
    return torch.where(known, values, 0.0).sum()


def _mean(values: Tensor, known: Tensor) -> Tensor:
    known = known.expand_as(values)
    return _sum(values, known) / known.sum().clamp_min(1)


def _distance(error: Tensor, kind: str, threshold: float) -> Tensor:
    if kind == "mse":
        return error**2
    zero = torch.zeros_like(error)
    if kind == "huber":
        return F.huber_loss(error, zero, delta=threshold, reduction="none")
    return F.smooth_l1_loss(error, zero, beta=threshold, reduction="none")


def _wing(error: Tensor, width: float, curvature: float) -> Tensor:
    """Wing loss: w ln(1 + |x| / e) up to w, then a line that goes on where that ends (Feng et al., 2018)."""
    size = error.abs()
    shift = width - width * math.log1p(width / curvature)
    return torch.where(size < width, width * torch.log1p(size / curvature), size - shift)
