"""The mean mesh that head pose is fitted to, and how rigid each of its points is.

`python -m vidfer.train.mean_mesh DATA vidfer/models/mean_mesh.npz` made the file in the package.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from vidfer.train.data import read_faces
from vidfer.train.mesh import MeshBasis
from vidfer.types import F64

_SHAPES = 6000
_ROUNDS = 5
_SOFTENING = 1e-3  # squared eye distances: no point is perfectly rigid


def fit_mean_mesh(data_dir: Path, destination: Path, seed: int = 0) -> None:
    """Write `mean` f32[478,3] (eye distance 1, symmetric) and `weight` f32[478] (inverse spread after rigid alignment).

    Args:
        data_dir: Folder with faces.parquet and mesh_basis.npz.
        destination: The npz file.
        seed: Which training shapes are taken.
    """
    basis = MeshBasis(data_dir / "mesh_basis.npz")
    rows = read_faces(data_dir, "train", basis)
    known = np.flatnonzero(~np.isnan(rows.mesh_frame[:, 0]))
    chosen = np.random.default_rng(seed).permutation(known)[:_SHAPES]
    mean = (basis.mean + basis.mean[basis.mirror] * (-1, 1, 1)).astype(np.float64) / 2
    weight = _rigidity(basis.shape(rows.mesh_coef[chosen]).astype(np.float64), mean)
    weight = (weight + weight[basis.mirror]) / 2
    np.savez(destination, mean=mean.astype(np.float32), weight=weight.astype(np.float32))


def _rigidity(shapes: F64, mean: F64) -> F64:
    weight = np.full(len(mean), 1 / len(mean))
    for _ in range(_ROUNDS):
        centred_mean = mean - weight @ mean
        centred = shapes - np.einsum("k,nkc->nc", weight, shapes)[:, None]
        covariance = np.einsum("k,nkc,kd->ncd", weight, centred, centred_mean)
        u, singular, vt = np.linalg.svd(covariance)
        sign = np.ones((len(shapes), 3))
        sign[:, 2] = np.linalg.det(u @ vt)
        turn = (u * sign[:, None, :]) @ vt
        scale = (singular * sign).sum(1) / (weight[:, None] * centred_mean**2).sum()
        aligned = np.einsum("nkc,ncd->nkd", centred, turn) / scale[:, None, None]
        spread = ((aligned - centred_mean) ** 2).sum(2).mean(0)
        weight = 1 / (spread + _SOFTENING)
        weight /= weight.sum()
    return weight


if __name__ == "__main__":
    fit_mean_mesh(Path(sys.argv[1]), Path(sys.argv[2]))
