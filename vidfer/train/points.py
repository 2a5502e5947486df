"""Points of faces: their names and order, who mirrors whom, and which of the mesh's points are fewer.

Left means left in the picture, but in Kaggle's names, where it is the left of the person shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from vidfer.train.mesh import MIRROR68
from vidfer.types import F32, I64
from vidfer.vision.pose import mean_mesh

NAMES4 = ("left_eye", "right_eye", "left_mouth_corner", "right_mouth_corner")
NAMES5 = ("left_eye", "right_eye", "nose_tip", "left_mouth_corner", "right_mouth_corner")
NAMES15 = (
    "left_eye_center",
    "right_eye_center",
    "left_eye_inner_corner",
    "left_eye_outer_corner",
    "right_eye_inner_corner",
    "right_eye_outer_corner",
    "left_eyebrow_inner_end",
    "left_eyebrow_outer_end",
    "right_eyebrow_inner_end",
    "right_eyebrow_outer_end",
    "nose_tip",
    "mouth_left_corner",
    "mouth_right_corner",
    "mouth_center_top_lip",
    "mouth_center_bottom_lip",
)

_LEFT_EYE68, _RIGHT_EYE68 = tuple(range(36, 42)), tuple(range(42, 48))
# Fewer points out of more: (of how many, to how many) -> for each point those whose mean it is. The mesh's are the ones
# that lie nearest to hand-made points of 300-W (3 to 6 % of the distance of the outer eye corners off in the mean).
_PARTS: dict[tuple[int, int], tuple[tuple[int, ...], ...]] = {
    (478, 4): ((468,), (473,), (61,), (291,)),
    (478, 5): ((468,), (473,), (4,), (61,), (291,)),
    (478, 15): (
        *((473,), (468,), (362,), (263,), (133,), (33,)),
        *((285, 336), (300,), (55, 107), (70,)),
        *((4,), (291,), (61,), (0,), (17,)),
    ),
    (68, 4): (_LEFT_EYE68, _RIGHT_EYE68, (48,), (54,)),
    (68, 5): (_LEFT_EYE68, _RIGHT_EYE68, (30,), (48,), (54,)),
    (68, 15): (
        *(_RIGHT_EYE68, _LEFT_EYE68, (42,), (45,), (39,), (36,)),
        *((22,), (26,), (21,), (17,)),
        *((30,), (54,), (48,), (51,), (57,)),
    ),
    (15, 4): ((1,), (0,), (12,), (11,)),
    (15, 5): ((1,), (0,), (10,), (12,), (11,)),
    (5, 4): ((0,), (1,), (3,), (4,)),
}
_MIRRORS = {
    4: np.array([1, 0, 3, 2]),
    5: np.array([1, 0, 2, 4, 3]),
    15: np.array([1, 0, 4, 5, 2, 3, 8, 9, 6, 7, 10, 12, 11, 13, 14]),
    68: MIRROR68,
}


@cache
def mirror(count: int) -> I64:
    """Left-right partner i64[count] of every one of 4, 5, 15, 68 or 478 points."""
    if count in _MIRRORS:
        return _MIRRORS[count]
    # The packaged mean mesh is symmetric to the last bit: a point's partner lies where the point is mirrored.
    mean, _ = mean_mesh()
    distance = np.linalg.norm((mean * (-1, 1, 1))[:, None] - mean[None], axis=2)
    return np.asarray(distance.argmin(1), np.int64)


def flipped(points: F32, width: int) -> F32:
    """Points f32[...,K,2 or 3] of a picture of `width` px after it was mirrored; each keeps its meaning."""
    moved = points[..., mirror(points.shape[-2]), :].copy()
    moved[..., 0] = width - 1 - moved[..., 0]
    return moved


def reduced(points: F32, count: int) -> F32:
    """Fewer points f32[...,count,2] out of more f32[...,K,2 or 3]; NaN where one of their parts is missing."""
    parts = _PARTS[points.shape[-2], count]
    return np.stack([points[..., list(part), :2].mean(-2) for part in parts], -2).astype(np.float32)


def filled(points: Mapping[int, F32], count: int) -> F32 | None:
    """`count` points f32[N,count,...] of every row, where missing out of those of them that are more.

    Args:
        points: By their number, f32[N,K,2 or 3]; NaN where a row has none.
        count: How many are wanted.

    Returns:
        None if no row can have them.
    """
    found = points[count].copy() if count in points else None
    for more in sorted(points, reverse=True):
        if (more, count) not in _PARTS:
            continue
        other = reduced(points[more], count)
        if found is None:
            found = other
        lacking = np.isnan(found).all((1, 2))
        found[lacking] = other[lacking]
    return found


def box_around(points: F32) -> tuple[float, float, float, float]:
    """x, y, w, h of the box around points f32[K,2 or 3]; edges lie between pixels, points on their centres."""
    low, high = (f(points[:, :2], axis=0) for f in (np.nanmin, np.nanmax))
    return float(low[0]) + 0.5, float(low[1]) + 0.5, float(high[0] - low[0]), float(high[1] - low[1])
