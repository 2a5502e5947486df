"""What the teachers' columns get on the yardstick by the same code, and how far its labels agree with themselves."""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from vidfer.train import metrics
from vidfer.train.data import FaceRows, read_faces
from vidfer.train.evaluate import (
    Yardstick,
    emotion_measures,
    emotion_tasks,
    further_emotion_measures,
    further_va_measures,
    identity_figures,
    point_measures,
    va_measures,
)
from vidfer.train.mesh import to_picture
from vidfer.train.metrics import Array, Figure, Measure, figure
from vidfer.train.targets import LABELS7, fit_points68, soft7_of_8
from vidfer.types import F32
from vidfer.vision.geometry import apply_transform, crop_transform

_POINT_SETS = ("lfpw", "ytf")
_MAJORITY = 5  # of ten votes; a majority has more

Figures = dict[str, Figure]


def teacher_figures(yardstick: Yardstick, data_dir: Path) -> dict[str, Figures]:
    """Figures of every teacher's column on the rows of val.

    `mesh` is the mesh of the table itself, turned into 68 points by the linear map that is fitted on train rows with
    annotated points: what a network that copies the mesh without fault would get.
    """
    rows = yardstick.rows
    return {
        "soft8": _of(_emotions(rows, rows.soft8)),
        "soft7": _of(_emotions(rows, soft7_of_8(rows))),
        "soft_va": _of([*va_measures(rows, rows.soft_va), *further_va_measures(rows, rows.soft_va)]),
        "mesh": _of(point_measures(yardstick, _points_of_mesh(yardstick, data_dir))),
        "soft_id": identity_figures(rows, {"embedding": rows.soft_id}),
    }


def _of(measures: list[Measure]) -> Figures:
    return {measure.name: measure.figure() for measure in measures}


def _emotions(rows: FaceRows, probability: F32) -> list[Measure]:
    tasks = emotion_tasks(rows, {"emotion": np.log(np.maximum(probability, 1e-12))})
    return [*emotion_measures(tasks), *further_emotion_measures(tasks)]


def _points_of_mesh(yardstick: Yardstick, data_dir: Path) -> F32:
    """68 points f32[N,68,2] in px of the crop, from the mesh of the table."""
    weight, offset = fit_points68(read_faces(data_dir, "train", yardstick.basis, _POINT_SETS))
    rows = yardstick.rows
    points = (rows.mesh_coef @ weight + offset).reshape(-1, 68, 2)
    return apply_transform(crop_transform(yardstick.box_px), to_picture(points, rows.mesh_frame))


def label_figures(yardstick: Yardstick, data_dir: Path) -> Figures:
    """How far labels agree with other labels of the same pictures: nobody can be expected to do much better.

    * `fer2013_accuracy_7`, `fer2013_macro_f1_7`: what FER+ votes, without contempt, say of FER2013's labels.
    * `ferplus_accuracy_of_one_rater`: one of ten raters against the majority of the other nine, over all raters of
      pictures with a majority.
    * `ferplus_accuracy_of_a_repeat`: many pictures are in FER2013 several times, byte by byte, and were voted on each
      time; the majority of one vote against that of another (both splits, since the labels alone are compared).

    Nothing in the data tells how far AffectNet's labels (one rater) or DiffusionFER's agree with themselves.
    """
    rows = yardstick.rows
    voted = (rows.label7 != "") & (np.nan_to_num(rows.votes[:, :7]).sum(1) > 0)
    codes = {name: i for i, name in enumerate(LABELS7)}
    label7 = np.array([codes[name] for name in rows.label7[voted].tolist()])
    by_vote = rows.votes[voted, :7].argmax(1)
    hits, raters = one_rater(rows.votes[np.nan_to_num(rows.votes[:, :8]).max(1) > _MAJORITY])
    same, pairs = repeats(data_dir)
    return {
        "fer2013_accuracy_7": figure(metrics.accuracy, by_vote, label7),
        "fer2013_macro_f1_7": figure(metrics.macro_f1, by_vote, label7),
        "ferplus_accuracy_of_one_rater": figure(metrics.ratio, hits, raters),
        "ferplus_accuracy_of_a_repeat": figure(metrics.ratio, same, pairs),
    }


def one_rater(votes: F32) -> tuple[Array, Array]:
    """Raters of each picture who agree with the majority of the others, and raters; votes f32[N,10]."""
    hits = np.zeros(len(votes))
    for choice in range(votes.shape[1]):
        others = votes.copy()
        others[:, choice] -= 1
        hits += np.where(others[:, :8].argmax(1) == choice, votes[:, choice], 0)
    return hits, votes.sum(1)


def repeats(data_dir: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For every picture that FER+ holds several times: pairs of votes with the same majority, and pairs."""
    table = pq.read_table(data_dir / "faces.parquet", columns=["image", "votes"], filters=[("set", "==", "ferplus")])
    majority = defaultdict(list)
    for image, votes in zip(table["image"].to_pylist(), table["votes"].to_pylist(), strict=True):
        if votes is not None and max(votes[:8]) > _MAJORITY:
            majority[sha256(image).digest()].append(int(np.argmax(votes[:8])))
    same, pairs = [], []
    for found in majority.values():
        if len(found) > 1:
            counts = np.bincount(found)
            same.append(int((counts * (counts - 1) // 2).sum()))
            pairs.append(len(found) * (len(found) - 1) // 2)
    return np.array(same, np.int64), np.array(pairs, np.int64)
