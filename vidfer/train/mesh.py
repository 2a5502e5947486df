"""The 478-point mesh of the training tables: PCA coefficients and face frame to px, and who mirrors whom."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vidfer.types import F32, I64

# Left-right partners of the iBUG-68 points.
MIRROR68 = np.array(
    [
        *range(16, -1, -1),
        *range(26, 16, -1),
        27,
        28,
        29,
        30,
        35,
        34,
        33,
        32,
        31,
        45,
        44,
        43,
        42,
        47,
        46,
        39,
        38,
        37,
        36,
        41,
    ]
    + [40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)


class MeshBasis:
    """The 478-point mesh: PCA coefficients to px, and the left-right partner of every point."""

    def __init__(self, path: Path) -> None:
        arrays = np.load(path)
        self.mean: F32 = arrays["mean"].astype(np.float32)
        self.basis: F32 = arrays["basis"].astype(np.float32)
        self.mirror = self._partners()

    def _partners(self) -> I64:
        from scipy.optimize import linear_sum_assignment

        mirrored = self.mean * (-1, 1, 1)
        distance = np.linalg.norm(mirrored[:, None] - self.mean[None], axis=2)
        return np.asarray(linear_sum_assignment(distance)[1], np.int64)

    def shape(self, coefficients: F32) -> F32:
        """Mesh f32[N,478,3] in the face frame (eye distance 1, level) of coefficients f32[N,128]."""
        flat = coefficients.astype(np.float32) @ self.basis.reshape(len(self.basis), -1)
        return self.mean + flat.reshape(-1, *self.mean.shape)

    def points(self, coefficients: F32, frame: F32) -> F32:
        """Mesh f32[N,478,3] in px of the stored picture; `frame` is f32[N,4]: cx, cy, scale, angle (radians)."""
        return to_picture(self.shape(coefficients), frame)


def to_picture(shape: F32, frame: F32) -> F32:
    """Points f32[N,K,2 or 3] of the face frame to px, by f32[N,4]: cx, cy, scale, angle."""
    cx, cy, scale, angle = (column[:, None] for column in frame.T)
    cos, sin = np.cos(angle), np.sin(angle)
    out = shape * scale[:, :, None]
    x, y = out[..., 0].copy(), out[..., 1].copy()
    out[..., 0] = x * cos - y * sin + cx
    out[..., 1] = x * sin + y * cos + cy
    return np.asarray(out, np.float32)


def to_face_frame(points: F32, frame: F32) -> F32:
    """Inverse of `to_picture` for points f32[N,K,2]."""
    cx, cy, scale, angle = (column[:, None] for column in frame.T)
    x, y = points[..., 0] - cx, points[..., 1] - cy
    cos, sin = np.cos(angle), np.sin(angle)
    out: F32 = np.stack([x * cos + y * sin, -x * sin + y * cos], -1) / scale[:, :, None]
    return out
