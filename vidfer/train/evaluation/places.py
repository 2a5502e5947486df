"""Where things are: points (NME, px, failures, the curve of errors) and boxes (IoU).

Errors are taken in px of the stored picture. NME: mean distance over a row's points in units of the distance of the
eyes: outer corners (68 and 478 points), centres (4, 5 and 15). Errors in px are those in a picture brought to 96 px, as
usual for 15 points: the whole picture, or where the face has a box the square that run time would cut out. The curve of
errors (CED) says what share of rows is below an error.
"""

from __future__ import annotations

import numpy as np

from vidfer.train.evaluation.scores import Judged, Score, column_share
from vidfer.train.metrics import divided, point_errors
from vidfer.types import F32, F64, I64
from vidfer.vision.geometry import iou

FAILURES = (0.08, 0.10)
CURVE_PX = 96
CURVE_TO = 0.10
_CURVE_STEPS = 50


def judge_points(guess: F32, truth: F32, side: F32, rows: I64, groups: I64) -> Judged | None:
    """Judge points f[N, K, 2] in px of the picture; None where no row can be judged.

    Args:
        guess: What the network says.
        truth: NaN where a point is missing.
        side: Side f[N], px, of the square that counts as `CURVE_PX`.
        rows: Which rows of the table they are.
        groups: The group of each.
    """
    error = point_errors(guess, truth)
    judged = np.flatnonzero(~np.isnan(error))
    if not len(judged):
        return None
    error, n = error[judged], len(judged)
    off = (guess[judged] - truth[judged]).astype(np.float64) * (CURVE_PX / side[judged, None, None])
    there = ~np.isnan(off)
    off = np.nan_to_num(off)
    failed = [error > limit for limit in FAILURES]
    area = np.clip(1 - error / CURVE_TO, 0, None)  # its mean is the area under the curve up to CURVE_TO
    sums = [(off**2).sum((1, 2)), np.abs(off).sum((1, 2)), there.sum((1, 2))]
    unit = f"px at {CURVE_PX}x{CURVE_PX}"
    scores = {
        "nme": Score(of=column_share(0), n=n, higher=False),
        "rmse_px": Score(of=lambda m: np.sqrt(divided(m[..., 4], m[..., 6])), n=n, higher=False, unit=unit),
        "mae_px": Score(of=lambda m: divided(m[..., 5], m[..., 6]), n=n, higher=False, unit=unit),
        "failures_above_0.08": Score(of=column_share(1), n=n, higher=False, is_share=True),
        "failures_above_0.10": Score(of=column_share(2), n=n, higher=False, is_share=True),
        "ced_area_to_0.10": Score(of=column_share(3), n=n, higher=True),
    }
    outer = truth.shape[1] in (68, 478)
    return Judged(
        rows=rows[judged],
        groups=groups[judged],
        columns=np.column_stack([error, *failed, area, *sums]),
        scores=scores,
        badness=error,
        facts={
            "rows": n,
            "without_eyes": len(guess) - n,
            "eye_distance": "outer eye corners" if outer else "eye centres",
            "ced": _curve(error),
        },
    )


def _curve(error: F64) -> dict[str, list[float]]:
    """Share of rows up to an error."""
    at = np.linspace(0, CURVE_TO, _CURVE_STEPS + 1)
    below = np.searchsorted(np.sort(error), at, side="right") / len(error)
    return {"error": np.round(at, 6).tolist(), "share": np.round(below, 4).tolist()}


def box_overlaps(guess: F32, truth: F32) -> F64:
    """IoU f64[N] of boxes f[N, 4] (xyxy), row by row."""
    pairs = [float(iou(a[None], b[None])[0, 0]) for a, b in zip(guess, truth, strict=True)]
    return np.array(pairs, np.float64)


def judge_boxes(guess: F32, truth: F32, rows: I64, groups: I64) -> Judged:
    """Judge boxes f[N, 4], xyxy."""
    overlap, n = box_overlaps(guess, truth), len(rows)
    return Judged(
        rows=rows,
        groups=groups,
        columns=np.column_stack([overlap, overlap >= 0.5, overlap >= 0.75]),
        scores={
            "iou": Score(of=column_share(0), n=n, higher=True),
            "iou_from_0.50": Score(of=column_share(1), n=n, higher=True, is_share=True),
            "iou_from_0.75": Score(of=column_share(2), n=n, higher=True, is_share=True),
        },
        badness=1 - overlap,
        facts={"rows": n},
    )
