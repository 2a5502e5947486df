"""Head pose from the mesh: rigid fit to the mean mesh."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from vidfer.types import F32

_MEAN_MESH = Path(__file__).resolve().parent.parent / "models" / "mean_mesh.npz"


@cache
def mean_mesh() -> tuple[F32, F32]:
    """Mean mesh [478,3], symmetric, eye distance 1, around its weighted mean; and how rigid each point is [478]."""
    arrays = np.load(_MEAN_MESH)
    weight = arrays["weight"].astype(np.float64)
    weight /= weight.sum()
    mean = arrays["mean"].astype(np.float64)
    return mean - weight @ mean, weight


def head_pose(mesh: F32) -> F32:
    """Pitch, yaw and roll f32[N,3] in degrees of meshes f32[N,478,3] (x right, y down, z away from the camera).

    Positive pitch looks up, positive yaw turns to the subject's left, positive roll tilts to the subject's right
    shoulder. Weighted Kabsch fit (Kabsch, 1976) of the mean mesh; points that move with expression weigh little. Order
    of turns: pitch, then yaw, then roll in the picture.
    """
    mean, weight = mean_mesh()
    centred = mesh.astype(np.float64) - np.einsum("k,nkc->nc", weight, mesh)[:, None]
    covariance = np.einsum("k,nkc,kd->ncd", weight, centred, mean)
    u, _, vt = np.linalg.svd(covariance)
    sign = np.ones((len(mesh), 3))
    sign[:, 2] = np.linalg.det(u @ vt)
    turn = (u * sign[:, None, :]) @ vt
    pitch = np.arctan2(turn[:, 2, 1], turn[:, 2, 2])
    yaw = np.arcsin(np.clip(-turn[:, 2, 0], -1, 1))
    roll = np.arctan2(turn[:, 1, 0], turn[:, 0, 0])
    return np.asarray(-np.rad2deg(np.stack([pitch, yaw, roll], 1)), np.float32)
