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
from vidfer.train.data import DRAWS, PERSON_SETS, FaceRows, augmented, crops_of, held_out, jittered_boxes, read_faces
from vidfer.train.losses import face_losses
from vidfer.train.mesh import MeshBasis
from vidfer.train.model import FaceNet
from vidfer.train.scene_crops import SceneCrops
from vidfer.train.targets import LABELS7, make_targets
from vidfer.types import I64
from vidfer.vision.geometry import CROP_PX, apply_transform, crop_transform

NAME = "face_analyzer"
BATCH_FACES, BATCH_SCENE_FACES, BATCH_EMPTY = 108, 8, 12
_BANK = 2048  # of the teacher's embeddings that a batch is compared with
_CHECK_BATCH = 128
# Share of faces that are not degraded, and in the last fifth of a run: videos are mostly better than the augmentation.
_PLAIN, _PLAIN_AT_THE_END, _END = 0.3, 0.7, 0.8


class FaceTask:
    """Multi-task training on `faces.parquet` and crops of `scenes.parquet` (see `loop.Task`)."""

    name = NAME

    def __init__(self, folder: Path, epochs: int) -> None:
        self.epochs = epochs
        self.model = FaceNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.basis = MeshBasis(folder / "mesh_basis.npz")
        rows = read_faces(folder, "train", self.basis)
        held = held_out(rows.group)
        self.rows, self.held = rows.take(~held), rows.take(held)
        self.targets = make_targets(self.rows)
        self.known = self.rows.soft_id[~np.isnan(self.rows.soft_id[:, 0])]
        self.scenes = SceneCrops(folder, "train")

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every row is drawn as often as `DRAWS` says."""
        expected = sum(DRAWS.get(name, 1.0) for name in self.rows.set_name.tolist())
        return int(expected // BATCH_FACES)

    def batches(self, epoch: int, generator_seed: int) -> Iterator[dict[str, Tensor]]:
        """Batches of faces mixed with crops of scenes, without end: how many rows are drawn is random."""
        rng = np.random.default_rng([generator_seed, epoch])
        plain = _PLAIN if epoch < _END * self.epochs else _PLAIN_AT_THE_END
        while True:
            order = self._draw_rows(rng)
            for start in range(0, len(order) - BATCH_FACES + 1, BATCH_FACES):
                chosen = order[start : start + BATCH_FACES]
                faces = augmented(self.rows, self.targets, self.basis, chosen, rng, plain)
                scenes = self.scenes.draw(BATCH_SCENE_FACES, BATCH_EMPTY, rng)
                bank = self.known[rng.integers(0, len(self.known), _BANK)]
                yield join(faces, scenes) | {"bank": torch.from_numpy(bank)}

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
        masked = name in ("emotion", "teacher", "fer2013", "va") or name.endswith("_weight")
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
    codes = {name: i for i, name in enumerate(LABELS7)}
    label7 = np.array([codes.get(name, -1) for name in rows.label7.tolist()])
    figures = {
        "ferplus": metrics.accuracy(guess[ferplus], label[ferplus]),
        "fer2013": metrics.accuracy(heads["fer2013"].argmax(1)[label7 >= 0], label7[label7 >= 0]),
        "affectnet": metrics.accuracy(guess[wild], rows.label[wild]),
        "valence": metrics.ccc(heads["va"][wild, 0], rows.valence_arousal[wild, 0]),
        "arousal": metrics.ccc(heads["va"][wild, 1], rows.valence_arousal[wild, 1]),
        "identity": _identity_auc(rows, heads["embedding"]),
    }
    errors = _landmark_errors(rows, box_px, heads, basis)
    return {"score": sum(figures.values()) - 10 * sum(errors.values()), **figures, **errors}


def _landmark_errors(
    rows: FaceRows, box_px: npt.NDArray[np.float32], heads: dict[str, npt.NDArray[Any]], basis: MeshBasis
) -> dict[str, float]:
    """Mean distance in units of the outer eye corners' distance: to the mesh, and to points set by hand (LFPW)."""
    meshed = np.flatnonzero(~np.isnan(rows.mesh_frame[:, 0]))
    mesh = basis.points(rows.mesh_coef[meshed], rows.mesh_frame[meshed])[..., :2]
    hand = np.flatnonzero((rows.set_name == "lfpw") & ~np.isnan(rows.points68[:, 0]))
    errors = {}
    for name, index, points in (("mesh", meshed, mesh), ("points68", hand, rows.points68[hand].reshape(-1, 68, 2))):
        target = apply_transform(crop_transform(box_px[index]), points)
        found = heads[name][index][..., :2] * CROP_PX + (CROP_PX - 1) / 2
        errors[name] = float(metrics.point_errors(found, target).mean())
    return errors


def _identity_auc(rows: FaceRows, embedding: npt.NDArray[np.float32]) -> float:
    """Area under the ROC curve over all pairs of pictures whose person is known."""
    known = np.flatnonzero(np.isin(rows.set_name, PERSON_SETS) & ~np.isnan(rows.soft_id[:, 0]))
    person, similarity = rows.group[known], embedding[known] @ embedding[known].T
    a, b = np.triu_indices(len(known), 1)
    return metrics.roc_auc(similarity[a, b], person[a] == person[b])
