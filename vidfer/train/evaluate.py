"""The face network against its yardstick: every figure with a 95 % interval, on rows that were never trained on.

Protocol: crops by the code of run time, from the mesh box with its corners moved by up to 8 % of the longer side (fixed
seed). A landmark error is the mean distance over the points in units of the distance of the outer eye corners.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vidfer.train import metrics
from vidfer.train.data import FaceRows, crops_of, jittered_boxes, read_faces
from vidfer.train.keypoints import keypoint_measures
from vidfer.train.mesh import MeshBasis
from vidfer.train.metrics import Array, Figure, Measure, figure
from vidfer.train.targets import LABELS7
from vidfer.types import EMOTIONS, F32, I64
from vidfer.vision.geometry import apply_transform, crop_transform
from vidfer.vision.session import Session

_SEED = 0
_BATCH = 64
_CONTEMPT = EMOTIONS.index("contempt")
_CODES7 = {name: i for i, name in enumerate(LABELS7)}
Heads = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardstick:
    """The rows of split `val`, and the boxes f32[N,4] that their crops are made from."""

    rows: FaceRows
    box_px: F32
    basis: MeshBasis


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What one set of labels asks for: probability f[N,K] of its classes and label i64[N] of some rows."""

    rows: I64
    probability: Array
    label: I64
    labels: tuple[str, ...]

    @property
    def guess(self) -> Array:
        """The most probable class."""
        return np.asarray(self.probability.argmax(1))


def read_yardstick(data_dir: Path) -> Yardstick:
    """The rows of split `val` in a folder with faces.parquet and mesh_basis.npz."""
    basis = MeshBasis(data_dir / "mesh_basis.npz")
    rows = read_faces(data_dir, "val", basis)
    return Yardstick(rows=rows, box_px=jittered_boxes(rows.box_px, _SEED), basis=basis)


def evaluate_faces(network: Path, data_dir: Path) -> dict[str, Figure]:
    """The figures of a face network for its card, which decide about its twin, too.

    Args:
        network: ONNX file.
        data_dir: Folder with faces.parquet and mesh_basis.npz.
    """
    yardstick = read_yardstick(data_dir)
    return figures(yardstick, run_network(Session(network, device="cpu"), yardstick))


def run_network(session: Session, yardstick: Yardstick) -> Heads:
    """Heads of plain crops of all rows."""
    crops = np.stack([image for image, _ in crops_of(yardstick.rows, yardstick.box_px)])
    parts = [session.run({"image": crops[i : i + _BATCH]}) for i in range(0, len(crops), _BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def figures(yardstick: Yardstick, heads: Heads) -> dict[str, Figure]:
    """What goes into a card."""
    found = {measure.name: measure.figure() for measure in measures(yardstick, heads)}
    return found | identity_figures(yardstick.rows, heads)


def measures(yardstick: Yardstick, heads: Heads) -> list[Measure]:
    """What goes into a card, as far as it is known row by row."""
    return [
        *emotion_measures(emotion_tasks(yardstick.rows, heads)),
        *va_measures(yardstick.rows, heads["valence_arousal"]),
        *mesh_measures(yardstick, heads["landmarks"]),
        *point_measures(yardstick, heads["landmarks68"]),
    ]


def emotion_tasks(rows: FaceRows, heads: Heads) -> dict[str, Task]:
    """Emotions by label set; of seven classes, contempt is left out before the best one is chosen."""
    logits = heads["emotion"]
    probability, without_contempt = metrics.softmax(logits), metrics.softmax(np.delete(logits, _CONTEMPT, 1))
    # FER2013's annotators saw other emotions than FER+'s: newer networks have a head for their labels.
    of_fer2013 = metrics.softmax(heads["fer2013"]) if "fer2013" in heads else without_contempt
    label7 = np.array([_CODES7.get(name, -1) for name in rows.label7.tolist()])
    wild, synthetic = rows.set_name == "affectnet", rows.set_name == "diffusionfer"

    def task(of_set: npt.NDArray[np.bool_], values: Array, label: I64, labels: tuple[str, ...]) -> Task:
        index = np.flatnonzero(of_set)
        return Task(rows=index, probability=values[index], label=label[index], labels=labels)

    return {
        "ferplus": task(
            np.nan_to_num(rows.votes[:, :8]).max(1) > 5, probability, rows.votes[:, :8].argmax(1), EMOTIONS
        ),
        "fer2013": task((rows.set_name == "ferplus") & (label7 >= 0), of_fer2013, label7, LABELS7),
        "affectnet": task(wild, probability, rows.label, EMOTIONS),
        "affectnet_7": task(wild & (rows.label != _CONTEMPT), without_contempt, rows.label, LABELS7),
        "diffusionfer": task(synthetic, without_contempt, rows.label, LABELS7),
    }


def _measure(name: str, metric: Any, task: Task) -> Measure:
    first = task.probability if metric is metrics.expected_calibration_error else task.guess
    return Measure(name=name, metric=metric, rows=task.rows, columns=(first, task.label))


def emotion_measures(tasks: Mapping[str, Task]) -> list[Measure]:
    """Emotion on FER+, FER2013, AffectNet and DiffusionFER."""
    return [
        _measure("ferplus_accuracy", metrics.accuracy, tasks["ferplus"]),
        _measure("ferplus_macro_f1", metrics.macro_f1, tasks["ferplus"]),
        _measure("ferplus_ece", metrics.expected_calibration_error, tasks["ferplus"]),
        _measure("fer2013_accuracy_7", metrics.accuracy, tasks["fer2013"]),
        _measure("affectnet_accuracy", metrics.accuracy, tasks["affectnet"]),
        _measure("affectnet_macro_f1", metrics.macro_f1, tasks["affectnet"]),
        _measure("diffusionfer_accuracy_7", metrics.accuracy, tasks["diffusionfer"]),
    ]


def further_emotion_measures(tasks: Mapping[str, Task]) -> list[Measure]:
    """What cards leave out: on so few rows of some classes it would decide about a twin by chance."""
    return [
        _measure("fer2013_macro_f1_7", metrics.macro_f1, tasks["fer2013"]),
        _measure("affectnet_accuracy_7", metrics.accuracy, tasks["affectnet_7"]),
        _measure("affectnet_ece", metrics.expected_calibration_error, tasks["affectnet"]),
        _measure("diffusionfer_macro_f1_7", metrics.macro_f1, tasks["diffusionfer"]),
    ]


def va_measures(rows: FaceRows, va: Array) -> list[Measure]:
    """Concordance with the ratings of AffectNet and DiffusionFER."""
    return _va_measures(rows, va, "ccc", metrics.ccc)


def further_va_measures(rows: FaceRows, va: Array) -> list[Measure]:
    """Mean squared error of the same."""
    return _va_measures(rows, va, "mse", metrics.mean_square)


def _va_measures(rows: FaceRows, va: Array, kind: str, metric: Any) -> list[Measure]:
    found = []
    for name in ("affectnet", "diffusionfer"):
        index = np.flatnonzero(rows.set_name == name)
        for k, dimension in enumerate(("valence", "arousal")):
            columns = (va[index, k], rows.valence_arousal[index, k])
            found.append(Measure(name=f"{name}_{kind}_{dimension}", metric=metric, rows=index, columns=columns))
    return found


def mesh_measures(yardstick: Yardstick, landmarks: Array) -> list[Measure]:
    """Mesh error over all rows with a mesh and per set; landmarks f32[N,478,2 or 3] in px of the crop."""
    rows, transform = yardstick.rows, crop_transform(yardstick.box_px)
    meshed = np.flatnonzero(~np.isnan(rows.mesh_frame[:, 0]))
    mesh = yardstick.basis.points(rows.mesh_coef[meshed], rows.mesh_frame[meshed])[..., :2]
    target = apply_transform(transform[meshed], mesh)
    error = metrics.point_errors(landmarks[meshed][..., :2], target)
    found = Measure(name="mesh_error", metric=metrics.mean, rows=meshed, columns=(error,))
    of_set = {f"mesh_error_{name}": found.within(rows.set_name == name) for name in np.unique(rows.set_name[meshed])}
    return [found, *(Measure(name=n, metric=m.metric, rows=m.rows, columns=m.columns) for n, m in of_set.items())]


def point_measures(yardstick: Yardstick, points68: Array) -> list[Measure]:
    """Points f32[N,68,2] in px of the crop against annotated ones; 4 and 15 points by the protocols of others."""
    rows, found = yardstick.rows, []
    for name in ("lfpw", "ytf"):
        index = np.flatnonzero(rows.set_name == name)
        transform = crop_transform(yardstick.box_px[index])
        target = apply_transform(transform, rows.points68[index].reshape(-1, 68, 2))
        error = metrics.point_errors(points68[index], target)
        found.append(Measure(name=f"points68_error_{name}", metric=metrics.mean, rows=index, columns=(error,)))
        if name == "lfpw":
            side = (rows.box_px[index, 2:] - rows.box_px[index, :2]).max(1)
            scale = np.hypot(transform[:, 0, 0], transform[:, 1, 0])
            others = keypoint_measures(index, points68[index], target, side * scale)
    return [*found, *others]


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
