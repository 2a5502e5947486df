"""Losses of the face network; rows without a label (NaN or weight 0) count nothing."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vidfer.vision.geometry import CROP_PX

WEIGHTS = {
    "emotion": 1.0,
    "teacher": 0.5,
    "fer2013": 0.75,
    "va_ccc": 0.5,
    "va_mse": 1.0,
    "mesh": 20.0,
    "points68": 10.0,
    "box": 4.0,
    "presence": 0.5,
    "embedding": 1.5,
    "neighbours": 0.25,
}
_MIDDLE = (CROP_PX - 1) / 2
_SHARPNESS = 0.07  # of the similarities to other faces, as a temperature
_SMOOTH = 0.01  # of the eye distance: below it the points' loss is quadratic


def soft_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy with a target distribution f32[B,C], weighted mean over rows."""
    loss = -(target * F.log_softmax(logits.float(), 1)).sum(1)
    return (loss * weight).sum() / weight.sum().clamp_min(1.0)


def concordance(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted concordance correlation coefficient (Lin, 1989) per column of f32[B,C]."""
    w = (weight / weight.sum().clamp_min(1e-6))[:, None]
    mean_p, mean_t = (w * prediction).sum(0), (w * target).sum(0)
    p, t = prediction - mean_p, target - mean_t
    covariance = (w * p * t).sum(0)
    spread = (w * p * p).sum(0) + (w * t * t).sum(0) + (mean_p - mean_t) ** 2
    return 2 * covariance / spread.clamp_min(1e-6)


def points_loss(prediction: Tensor, target: Tensor, eye_distance: Tensor, weight: Tensor | None = None) -> Tensor:
    """Smooth L1 of points f32[B,K,D] in units of the eye distance; depth counts half; rows with NaN count nothing."""
    known = ~target.isnan().any(2).any(1)
    if not known.any():
        return prediction.sum() * 0
    error = (prediction[known].float() - target[known]) / eye_distance[known][:, None, None]
    loss = F.smooth_l1_loss(error, torch.zeros_like(error), beta=_SMOOTH, reduction="none")
    if loss.shape[2] == 3:
        loss = loss * loss.new_tensor([1.0, 1.0, 0.5])
    per_row = loss.mean((1, 2)).clamp_max(0.5)  # a few meshes are wrong: they must not shout
    w = torch.ones_like(per_row) if weight is None else weight[known]
    return (per_row * w).sum() / w.sum().clamp_min(1e-6)


def face_losses(heads: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weighted parts of the loss; targets are in crop px, heads in units of the crop's side around its middle."""
    target_mesh, target68 = batch["mesh"], batch["points68"]
    eyes = (target_mesh[:, 33, :2] - target_mesh[:, 263, :2]).norm(dim=1) / CROP_PX
    # On profiles the eyes come close in the picture: the box keeps the unit sensible.
    box = (batch["box"] - _MIDDLE) / CROP_PX
    side = (box[:, 2:] - box[:, :2]).amax(1)
    unit = torch.maximum(eyes, 0.3 * side)
    middle = target_mesh.new_tensor([_MIDDLE, _MIDDLE, 0.0])
    has_box = ~box.isnan().any(1)
    has_identity = ~batch["embedding"].isnan().any(1)
    va, va_weight = heads["va"].float(), batch["va_weight"]
    parts = {
        **{
            name: soft_cross_entropy(heads[name], batch[name], batch[f"{name}_weight"])
            for name in ("emotion", "teacher", "fer2013")
        },
        "va_ccc": 1 - concordance(va, batch["va"], va_weight).mean(),
        "va_mse": (((va - batch["va"]) ** 2).mean(1) * va_weight).sum() / va_weight.sum().clamp_min(1e-6),
        "mesh": points_loss(heads["mesh"], (target_mesh - middle) / CROP_PX, unit),
        "points68": points_loss(heads["points68"], (target68 - _MIDDLE) / CROP_PX, unit, batch["points68_weight"]),
        "box": F.smooth_l1_loss(heads["box"].float()[has_box], box[has_box], beta=0.02),
        "presence": F.binary_cross_entropy_with_logits(heads["presence"].float(), batch["presence"]),
        **identity_losses(heads["embedding"][has_identity], batch["embedding"][has_identity], batch["bank"]),
    }
    return {name: WEIGHTS[name] * loss for name, loss in parts.items()}


def identity_losses(student: Tensor, teacher: Tensor, bank: Tensor) -> dict[str, Tensor]:
    """Copy the teacher's embeddings f32[B,128], and whom the teacher finds similar (Fang et al., 2021, "SEED").

    Copying alone spends itself on directions in which all faces are alike. What tells people apart is how a face ranks
    others: those of the batch and of a bank f32[K,128] of the teacher's embeddings of other training faces.
    """
    if not len(student):
        zero = student.sum() * 0
        return {"embedding": zero, "neighbours": zero}
    teacher = F.normalize(teacher, dim=1)
    others = torch.cat([teacher, F.normalize(bank, dim=1)])
    target = (teacher @ others.T / _SHARPNESS).softmax(1)
    found = F.log_softmax(student @ others.T / _SHARPNESS, 1)
    return {
        "embedding": (1 - (student * teacher).sum(1)).mean(),
        "neighbours": F.kl_div(found, target, reduction="batchmean"),
    }
