"""The face network against its yardstick: every figure with a 95 % interval, on rows that were never trained on.

Protocol: crops by the code of run time, from the mesh box with its corners moved by up to 8 % of the longer side (fixed
seed). A landmark error is the mean distance over the points in units of the distance of the outer eye corners.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vidfer.train import metrics
from vidfer.train.data import FaceRows, crops_of, jittered_boxes, read_faces
from vidfer.train.mesh import MeshBasis
from vidfer.train.metrics import Figure, figure
from vidfer.train.targets import LABELS7
from vidfer.types import EMOTIONS, F32
from vidfer.vision.geometry import apply_transform, crop_transform
from vidfer.vision.session import Session

_SEED = 0
_BATCH = 64
_EYES68 = (36, 45)
_CONTEMPT = EMOTIONS.index("contempt")
Heads = dict[str, npt.NDArray[Any]]


def evaluate_faces(network: Path, data_dir: Path) -> dict[str, Figure]:
    """All figures of a face network on the split `val`.

    Args:
        network: ONNX file.
        data_dir: Folder with faces.parquet and mesh_basis.npz.
    """
    basis = MeshBasis(data_dir / "mesh_basis.npz")
    rows = read_faces(data_dir, "val", basis)
    box = jittered_boxes(rows.box_px, _SEED)
    heads = run_network(Session(network, device="cpu", threads=2), rows, box)
    return affect_figures(rows, heads) | landmark_figures(rows, box, heads, basis) | identity_figures(rows, heads)


def run_network(session: Session, rows: FaceRows, box_px: F32) -> Heads:
    """Heads of plain crops around the boxes."""
    crops = np.stack([image for image, _ in crops_of(rows, box_px)])
    parts = [session.run({"image": crops[i : i + _BATCH]}) for i in range(0, len(crops), _BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def affect_figures(rows: FaceRows, heads: Heads) -> dict[str, Figure]:
    """Emotion and valence/arousal on FER+, AffectNet and DiffusionFER."""
    logits, va = heads["emotion"], heads["valence_arousal"]
    probability = np.exp(logits - logits.max(1, keepdims=True))
    probability /= probability.sum(1, keepdims=True)
    guess, guess7 = probability.argmax(1), np.delete(logits, _CONTEMPT, 1).argmax(1)
    # FER2013's annotators saw other emotions than FER+'s: newer networks have a head for their labels.
    guess_fer2013 = heads["fer2013"].argmax(1) if "fer2013" in heads else guess7
    majority = np.nan_to_num(rows.votes[:, :8]).max(1) > 5
    vote = rows.votes[:, :8].argmax(1)
    codes = {name: i for i, name in enumerate(LABELS7)}
    fer2013 = np.array([codes.get(name, -1) for name in rows.label7.tolist()])
    wild, synthetic = rows.set_name == "affectnet", rows.set_name == "diffusionfer"
    of_fer2013 = (rows.set_name == "ferplus") & (fer2013 >= 0)
    figures = {
        "ferplus_accuracy": figure(metrics.accuracy, guess[majority], vote[majority]),
        "ferplus_macro_f1": figure(metrics.macro_f1, guess[majority], vote[majority]),
        "ferplus_ece": figure(metrics.expected_calibration_error, probability[majority], vote[majority]),
        "fer2013_accuracy_7": figure(metrics.accuracy, guess_fer2013[of_fer2013], fer2013[of_fer2013]),
        "affectnet_accuracy": figure(metrics.accuracy, guess[wild], rows.label[wild]),
        "affectnet_macro_f1": figure(metrics.macro_f1, guess[wild], rows.label[wild]),
        "diffusionfer_accuracy_7": figure(metrics.accuracy, guess7[synthetic], rows.label[synthetic]),
    }
    for name, of_set in (("affectnet", wild), ("diffusionfer", synthetic)):
        for k, dimension in enumerate(("valence", "arousal")):
            human = rows.valence_arousal[of_set, k]
            figures[f"{name}_ccc_{dimension}"] = figure(metrics.ccc, va[of_set, k], human)
    return figures


def landmark_figures(rows: FaceRows, box_px: F32, heads: Heads, basis: MeshBasis) -> dict[str, Figure]:
    """Mesh error over all rows with a mesh and per set; 68 points against annotated ones."""
    transform = crop_transform(box_px)
    meshed = np.flatnonzero(~np.isnan(rows.mesh_frame[:, 0]))
    mesh = basis.points(rows.mesh_coef[meshed], rows.mesh_frame[meshed])[..., :2]
    target = apply_transform(transform[meshed], mesh)
    eyes = np.linalg.norm(target[:, 33] - target[:, 263], axis=1)
    error = metrics.point_errors(heads["landmarks"][meshed][..., :2], target, eyes)
    figures = {"mesh_error": figure(_mean, error)}
    for name in np.unique(rows.set_name[meshed]).tolist():
        figures[f"mesh_error_{name}"] = figure(_mean, error[rows.set_name[meshed] == name])
    for name in ("lfpw", "ytf"):
        of_set = np.flatnonzero(rows.set_name == name)
        target = apply_transform(transform[of_set], rows.points68[of_set].reshape(-1, 68, 2))
        eyes = np.linalg.norm(target[:, _EYES68[0]] - target[:, _EYES68[1]], axis=1)
        error = metrics.point_errors(heads["landmarks68"][of_set], target, eyes)
        figures[f"points68_error_{name}"] = figure(_mean, error)
    return figures


def identity_figures(rows: FaceRows, heads: Heads) -> dict[str, Figure]:
    """Pair AUC of the embedding over all pairs of ytf rows; persons are resampled, since pairs are not independent."""
    of_set = np.flatnonzero(rows.set_name == "ytf")
    embedding, person = heads["embedding"][of_set], rows.group[of_set]
    names = np.unique(person)
    members = [np.flatnonzero(person == name) for name in names]

    def pair_auc(chosen: npt.NDArray[np.int64]) -> float:
        index = np.concatenate([members[i] for i in chosen])
        owner = np.repeat(np.arange(len(chosen)), [len(members[i]) for i in chosen])
        a, b = np.triu_indices(len(index), 1)
        distinct = index[a] != index[b]  # a person drawn twice must not be compared with itself
        a, b = a[distinct], b[distinct]
        same_person = person[index[a]] == person[index[b]]
        counted = ~same_person | (owner[a] == owner[b])
        score = (embedding[index[a]] * embedding[index[b]]).sum(1)
        return metrics.roc_auc(score[counted], same_person[counted])

    return {"identity_pair_auc": figure(pair_auc, np.arange(len(names)), rounds=200)}


def _mean(values: npt.NDArray[Any]) -> float:
    return float(values.mean())


def table(figures: dict[str, Figure]) -> str:
    """The figures for a terminal."""
    width = max(len(name) for name in figures)
    lines = [f"{name:<{width}}  {f.value:7.4f}  [{f.low:7.4f}, {f.high:7.4f}]  n={f.n}" for name, f in figures.items()]
    return "\n".join(lines)
