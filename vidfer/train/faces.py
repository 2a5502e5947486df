"""Training of the face network: its task for the loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidfer.train import metrics
from vidfer.train.data import DRAWS, FaceRows, augmented, crops_of, held_out, jittered_boxes, make_targets, read_faces
from vidfer.train.losses import face_losses
from vidfer.train.mesh import MeshBasis
from vidfer.train.model import FaceNet
from vidfer.train.scene_crops import SceneCrops
from vidfer.types import I64
from vidfer.vision.geometry import CROP_PX, apply_transform, crop_transform

NAME = "face_analyzer"
BATCH_FACES, BATCH_SCENE_FACES, BATCH_EMPTY = 108, 8, 12
_CHECK_BATCH = 128


class FaceTask:
    """Multi-task training on `faces.parquet` and crops of `scenes.parquet` (see `loop.Task`)."""

    name = NAME

    def __init__(self, folder: Path) -> None:
        self.model = FaceNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.basis = MeshBasis(folder / "mesh_basis.npz")
        rows = read_faces(folder, "train", self.basis)
        held = held_out(rows.group)
        self.rows, self.held = rows.take(~held), rows.take(held)
        self.targets = make_targets(self.rows, self.basis)
        self.scenes = SceneCrops(folder, "train")

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every row is drawn as often as `DRAWS` says."""
        expected = sum(DRAWS.get(name, 1.0) for name in self.rows.set_name.tolist())
        return int(expected // BATCH_FACES)

    def batches(self, epoch: int, generator_seed: int) -> Iterator[dict[str, Tensor]]:
        """Batches of faces mixed with crops of scenes, without end: how many rows are drawn is random."""
        rng = np.random.default_rng([generator_seed, epoch])
        while True:
            order = self._draw_rows(rng)
            for start in range(0, len(order) - BATCH_FACES + 1, BATCH_FACES):
                faces = augmented(self.rows, self.targets, self.basis, order[start : start + BATCH_FACES], rng)
                scenes = self.scenes.draw(BATCH_SCENE_FACES, BATCH_EMPTY, rng)
                yield join(faces, scenes)

    def _draw_rows(self, rng: np.random.Generator) -> I64:
        share = np.array([DRAWS.get(name, 1.0) for name in self.rows.set_name.tolist()])
        times = np.floor(share).astype(int) + (rng.random(len(share)) < share % 1)
        return rng.permutation(np.repeat(np.arange(len(share)), times))

    def loss(self, model: torch.nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weighted parts of `losses.face_losses`."""
        return face_losses(model(batch["image"]), batch)

    def evaluate(self, model: torch.nn.Module) -> dict[str, float]:
        """Figures on the held-out tenth of the train groups."""
        box = jittered_boxes(self.held.box_px, seed=0)
        heads = predict(model, self.held, box)
        return held_out_figures(self.held, box, heads, self.basis)


def join(faces: dict[str, npt.NDArray[Any]], scenes: dict[str, npt.NDArray[Any]]) -> dict[str, Tensor]:
    """Append scene crops, whose other labels are missing: NaN, or 0 where a weight masks them."""
    n = len(scenes["presence"])
    batch = {}
    for name, values in faces.items():
        masked = name in ("emotion", "va") or name.endswith("_weight")
        filler = np.full((n, *values.shape[1:]), 0.0 if masked else np.nan, np.float32)
        batch[name] = torch.from_numpy(np.concatenate([values, scenes.get(name, filler)]))
    return batch


@torch.no_grad()
def predict(model: torch.nn.Module, rows: FaceRows, box_px: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[Any]]:
    """Heads of plain crops around `box_px`, concatenated over all rows."""
    model.eval()
    crops = np.stack([image for image, _ in crops_of(rows, box_px)])
    parts = [model(torch.from_numpy(crops[i : i + _CHECK_BATCH])) for i in range(0, len(crops), _CHECK_BATCH)]
    return {name: torch.cat([part[name] for part in parts]).float().numpy() for name in parts[0]}


def held_out_figures(
    rows: FaceRows, box_px: npt.NDArray[np.float32], heads: dict[str, npt.NDArray[Any]], basis: MeshBasis
) -> dict[str, float]:
    """Quick figures for choosing a model; `score` adds them up with signs."""
    ferplus = rows.votes[:, :8].max(1) > 5
    label = rows.votes[:, :8].argmax(1)
    wild = rows.set_name == "affectnet"
    guess = heads["emotion"].argmax(1)
    meshed = ~np.isnan(rows.mesh_frame[:, 0])
    mesh = basis.points(rows.mesh_coef[meshed], rows.mesh_frame[meshed])[..., :2]
    transform = crop_transform(box_px[meshed])
    mesh = apply_transform(transform, mesh)
    found = heads["mesh"][meshed][..., :2] * CROP_PX + (CROP_PX - 1) / 2
    eyes = np.linalg.norm(mesh[:, 33] - mesh[:, 263], axis=1)
    known = ~np.isnan(rows.soft_id[:, 0])
    figures = {
        "ferplus": metrics.accuracy(guess[ferplus], label[ferplus]),
        "affectnet": metrics.accuracy(guess[wild], rows.label[wild]),
        "valence": metrics.ccc(heads["va"][wild, 0], rows.valence_arousal[wild, 0]),
        "arousal": metrics.ccc(heads["va"][wild, 1], rows.valence_arousal[wild, 1]),
        "mesh": float(np.mean(metrics.point_errors(found, mesh, eyes))),
        "identity": float((heads["embedding"][known] * rows.soft_id[known]).sum(1).mean()),
    }
    score = sum(figures[k] for k in ("ferplus", "affectnet", "valence", "arousal", "identity")) - 10 * figures["mesh"]
    return {"score": score, **figures}
