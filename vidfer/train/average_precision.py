"""Average precision of a detector, with ignore regions and a smallest size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidfer.types import F32, F64, I64, Bool
from vidfer.vision.geometry import iou


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is in one picture: box_px f32[N,4], valid bool[N] (else an ignore region)."""

    box_px: F32
    valid: Bool


Found = tuple[F32, F32]  # boxes f32[N,4], scores f32[N]


def match(truth: Truth, found: Found, *, min_side: float = 0.0, min_iou: float = 0.5) -> tuple[F32, Bool, int]:
    """Match one picture's detections to its faces, best score first, every face once.

    Detections that belong to a face smaller than `min_side` (shorter side) or to an ignore region don't count; neither
    do those that lie mostly inside an ignore region, nor those smaller than `min_side` themselves that match nothing.

    Returns:
        Scores of the detections that count, whether each one is right, and the number of faces that count.
    """
    box, score = found
    side = (truth.box_px[:, 2:] - truth.box_px[:, :2]).min(1) if len(truth.box_px) else np.zeros(0, np.float32)
    counts = truth.valid & (side >= min_side)
    order = np.argsort(-score, kind="stable")
    overlap = iou(box, truth.box_px)
    inside = _share_inside(box, truth.box_px[~truth.valid])
    taken = np.zeros(len(counts), bool)
    scores, right = [], []
    for row in order:
        free = np.where(counts & ~taken, overlap[row], -1)
        best = int(free.argmax()) if len(free) else -1
        if best >= 0 and free[best] >= min_iou:
            taken[best] = True
            scores.append(score[row])
            right.append(True)
            continue
        if (
            (overlap[row][~counts] >= min_iou).any()
            or inside[row] > 0.5
            or (box[row, 2:] - box[row, :2]).min() < min_side
        ):
            continue
        scores.append(score[row])
        right.append(False)
    return np.asarray(scores, np.float32), np.asarray(right, bool), int(counts.sum())


def _share_inside(box: F32, regions: F32) -> F64:
    """Largest share of each box inside one of the regions."""
    if not len(regions) or not len(box):
        return np.zeros(len(box))
    low = np.maximum(box[:, None, :2], regions[None, :, :2])
    high = np.minimum(box[:, None, 2:], regions[None, :, 2:])
    area = np.maximum((box[:, 2:] - box[:, :2]).prod(1), 1e-6)
    return np.asarray((np.clip(high - low, 0, None).prod(2) / area[:, None]).max(1), np.float64)


def average_precision(
    truths: Sequence[Truth], found: Sequence[Found], *, min_side: float = 0.0, min_iou: float = 0.5
) -> float:
    """Area under the precision-recall curve (all points, as PASCAL VOC 2010) over all pictures; NaN without faces."""
    return pooled([match(t, f, min_side=min_side, min_iou=min_iou) for t, f in zip(truths, found, strict=True)])


def pooled(matches: Sequence[tuple[F32, Bool, int]]) -> float:
    """Average precision from the matches of single pictures."""
    faces = sum(count for _, _, count in matches)
    if not faces:
        return float("nan")
    score = np.concatenate([m[0] for m in matches])
    right = np.concatenate([m[1] for m in matches])[np.argsort(-score, kind="stable")]
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(precision[right].sum() / faces)


def bootstrap_interval(
    matches: Sequence[tuple[F32, Bool, int]], *, rounds: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the average precision, pictures drawn with replacement."""
    rng = np.random.default_rng(seed)
    values = [pooled([matches[i] for i in rng.integers(0, len(matches), len(matches))]) for _ in range(rounds)]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def counts_at(matches: Sequence[tuple[F32, Bool, int]], threshold: float) -> tuple[I64, I64, I64]:
    """Per picture: faces that count, those found with at least a score, and detections with it that count."""
    faces = np.array([count for _, _, count in matches], np.int64)
    right = np.array([right[score >= threshold].sum() for score, right, _ in matches], np.int64)
    sure = np.array([(score >= threshold).sum() for score, _, _ in matches], np.int64)
    return faces, right, sure


def false_faces(found: Sequence[Found], threshold: float) -> float:
    """Detections at or above a threshold per picture without a face; NaN without pictures."""
    return sum(int((score >= threshold).sum()) for _, score in found) / len(found) if found else float("nan")
