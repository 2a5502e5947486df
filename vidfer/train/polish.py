"""The heads for points and box, fitted once more on a frozen backbone.

Training shows every face under conditions that are rare at run time (turned far, degraded). Once the backbone has
learned from that, the heads that read positions are fitted to what is usual: jittered boxes, one crop in three
degraded.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import torch

from vidfer.train.data import FaceRows, augmented, held_out, make_targets, read_faces
from vidfer.train.faces import join
from vidfer.train.losses import WEIGHTS, face_losses
from vidfer.train.mesh import MeshBasis
from vidfer.train.model import FaceNet
from vidfer.train.scene_crops import SceneCrops

_log = logging.getLogger(__name__)

_BATCH, _SCENE_FACES = 112, 16
_LEARNING_RATE = 1e-3
_DEGRADED = 0.33
_USUAL_TURN = 0.3  # of the turns in training
_PARTS = ("mesh", "points68", "box")


def polish_points(net: FaceNet, data_dir: Path, epochs: int = 1, seed: int = 0) -> None:
    """Fit `shape`, `mesh`, `points68` and `box` of a trained network; nothing else changes.

    Args:
        net: In evaluation mode.
        data_dir: Folder with faces.parquet, scenes.parquet and mesh_basis.npz.
        epochs: Passes over the training faces that have a mesh.
        seed: Decides order and augmentation.
    """
    basis = MeshBasis(data_dir / "mesh_basis.npz")
    rows = _with_mesh(read_faces(data_dir, "train", basis))
    targets = make_targets(rows, basis)
    scenes = SceneCrops(data_dir, "train")  # boxes of masked and tiny faces
    heads = [net.shape, net.mesh, net.points68, net.box]
    net.requires_grad_(False)
    parameters = [p.requires_grad_() for head in heads for p in head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=_LEARNING_RATE)
    rng = np.random.default_rng(seed)
    steps = len(rows) // _BATCH
    for epoch in range(epochs):
        order = rng.permutation(len(rows))
        total = 0.0
        for step in range(steps):
            done = (epoch * steps + step) / (epochs * steps)
            optimizer.param_groups[0]["lr"] = _LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * done))
            index = order[step * _BATCH : (step + 1) * _BATCH]
            arrays = augmented(rows, targets, basis, index, rng, degraded=_DEGRADED, turned=_USUAL_TURN)
            batch = join(arrays, scenes.draw(_SCENE_FACES, 0, rng))
            losses = face_losses(net(batch["image"]), batch)
            loss = torch.stack([losses[name] for name in _PARTS]).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += float(losses["mesh"].detach()) / WEIGHTS["mesh"]
        _log.info("points, epoch %d/%d: mesh loss %.5f", epoch + 1, epochs, total / steps)


def _with_mesh(rows: FaceRows) -> FaceRows:
    return rows.take(~held_out(rows.group) & ~np.isnan(rows.mesh_frame[:, 0]))
