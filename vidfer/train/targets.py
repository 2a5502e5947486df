"""What the face network learns from the labels of a row: votes, human labels, and two families of teachers.

Few rows carry human labels of emotions in the wild, and those are one annotator's choice: a network that copies them
learns them by heart (agreement 0.63 on the rows it was trained on, 0.48 on others, where the teachers get 0.63). So
they are mixed with the teachers, and rows on which the teachers agree count most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vidfer.train.mesh import to_face_frame
from vidfer.types import EMOTIONS, F32

if TYPE_CHECKING:
    from vidfer.train.data import FaceRows

# FER2013's own classes have a head of their own: its labels and the FER+ votes on the same pictures agree on 68 %.
LABELS7 = tuple(name for name in EMOTIONS if name != "contempt")
# soft7 comes in the order neutral, happiness, sadness, anger, fear, disgust, surprise.
_SOFT7_TO_8 = [0, 1, 2, 6, 4, 5, 3]
_SHARE_OF_LABEL = {"affectnet": 0.25}  # the rest is the teachers'; of other labelled sets it is _USUAL_SHARE
_USUAL_SHARE = 0.6
# Its classes are balanced, so that rare emotions are learned there; it has 1,400 rows beside 17,000 draws of FER+.
_WEIGHT_OF_SET = {"affectnet": 2.0}
# Sets of faces that move and mostly talk. The teachers learned from pictures in which all classes are equally frequent,
# so they see surprise, fear and contempt in speech. Told instead what people would vote, a head on fixed features calls
# 52 % of such faces neutral, not 31 %, and 1 % contempt, not 5 % (of clips left out: 34 %, not 24 %, and 6 %, not 9 %);
# affectnet 0.533 -> 0.521 (held out). Photographs keep the teachers: there it would cost affectnet 0.06.
_MOVING_SETS = ["video", "ytf"]
_SHARE_OF_RATING = {"affectnet": 0.6}  # of valence and arousal by humans; all of it elsewhere
_SMOOTHING = 0.1  # of FER2013's labels, many of which are wrong
_RIDGE = 10.0
_LEAST_VOTES = 5  # of ten for one of the 8 emotions; else too many raters saw something else
_DECAY = 1e-3


@dataclass(slots=True)
class FaceTargets:
    """Everything the losses want, per row, before augmentation; weight 0 where there is nothing."""

    emotion: F32
    emotion_weight: F32
    teacher: F32  # the teachers' distribution, on rows with votes too: more of what they know about faces
    teacher_weight: F32
    fer2013: F32
    fer2013_weight: F32
    va: F32
    va_weight: F32
    points68: F32  # [N,68,2], face frame; NaN without a mesh
    points68_weight: F32


def make_targets(rows: FaceRows) -> FaceTargets:
    """Turn the labels of training rows into targets and weights."""
    emotion, emotion_weight = emotion_targets(rows)
    fer2013, fer2013_weight = fer2013_targets(rows)
    va, va_weight = va_targets(rows)
    points68, points68_weight = points68_targets(rows)
    known = ~np.isnan(rows.soft8[:, 0])
    return FaceTargets(
        emotion=emotion,
        emotion_weight=emotion_weight,
        teacher=np.nan_to_num(rows.soft8),
        teacher_weight=known.astype(np.float32),
        fer2013=fer2013,
        fer2013_weight=fer2013_weight,
        va=va,
        va_weight=va_weight,
        points68=points68,
        points68_weight=points68_weight,
    )


def emotion_targets(rows: FaceRows) -> tuple[F32, F32]:
    """Target distribution f32[N,8] and weight f32[N] of every row: votes, else label mixed with the teachers."""
    soft7 = soft7_of_8(rows)
    soft = np.where(np.isnan(soft7), rows.soft8, 0.8 * rows.soft8 + 0.2 * soft7)
    agreement = np.nan_to_num(np.minimum(rows.soft8, soft7).sum(1))
    target, weight = soft.copy(), 0.3 + 0.7 * agreement
    moving = np.isin(rows.set_name, _MOVING_SETS)
    target[moving] = as_people_vote(rows)[moving]
    labelled = np.flatnonzero((rows.label >= 0) & np.isnan(rows.votes[:, 0]))
    share = np.array([_SHARE_OF_LABEL.get(name, _USUAL_SHARE) for name in rows.set_name[labelled].tolist()])[:, None]
    target[labelled] = share * np.eye(8)[rows.label[labelled]] + (1 - share) * soft[labelled]
    weight[labelled] = [_WEIGHT_OF_SET.get(name, 1.0) for name in rows.set_name[labelled].tolist()]
    voted = ~np.isnan(rows.votes[:, 0])
    usable = voted & (np.nan_to_num(rows.votes[:, :8]).sum(1) >= _LEAST_VOTES)
    target[usable] = rows.votes[usable, :8]
    weight[voted], weight[usable] = 0.0, 1.0
    target = np.nan_to_num(target, nan=1e-6)
    return (target / target.sum(1, keepdims=True)).astype(np.float32), weight.astype(np.float32)


def as_people_vote(rows: FaceRows) -> F32:
    """The votes f32[N,8] that what the teachers say predicts, by logistic regression on the rows with votes.

    On held-out FER+ rows its largest class is the voters' for 0.86; for the first teacher family alone it is 0.62.
    Where too few rows have votes, it is what the first family says.
    """
    import torch  # here: pictures and labels are read without it
    from torch.nn.functional import cross_entropy, softmax

    inputs = np.concatenate([np.log(rows.soft8 + 1e-3), np.log(rows.soft7 + 1e-3)], 1)
    known = ~np.isnan(inputs).any(1)
    voted = known & (np.nan_to_num(rows.votes[:, :8]).sum(1) >= _LEAST_VOTES)
    if voted.sum() < 10 * inputs.shape[1]:
        return rows.soft8
    scaled = (inputs - inputs[voted].mean(0)) / (inputs[voted].std(0) + 1e-6)
    x = torch.from_numpy(scaled[voted])
    votes = torch.from_numpy(rows.votes[voted, :8] / rows.votes[voted, :8].sum(1, keepdims=True))
    weight, bias = torch.zeros(x.shape[1], 8, requires_grad=True), torch.zeros(8, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(x @ weight + bias, votes) + _DECAY * (weight**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        found = softmax(torch.from_numpy(scaled) @ weight + bias, 1).numpy()
    return np.asarray(np.where(known[:, None], found, rows.soft8), np.float32)


def soft7_of_8(rows: FaceRows) -> F32:
    """The second teacher family's distribution f32[N,8] in the order of the first; contempt, which it lacks, is 0."""
    soft7 = np.zeros_like(rows.soft8)
    soft7[:, _SOFT7_TO_8] = rows.soft7
    return soft7


def fer2013_targets(rows: FaceRows) -> tuple[F32, F32]:
    """Smoothed distribution f32[N,7] over `LABELS7` and weight f32[N] of rows with a label of FER2013."""
    codes = {name: i for i, name in enumerate(LABELS7)}
    label = np.array([codes.get(name, -1) for name in rows.label7.tolist()])
    target = (1 - _SMOOTHING) * np.eye(7)[label] + _SMOOTHING / 7
    return target.astype(np.float32), (label >= 0).astype(np.float32)


def va_targets(rows: FaceRows) -> tuple[F32, F32]:
    """Target f32[N,2] and weight f32[N]: human ratings count twice as much as a recalibrated teacher's.

    The teachers are recalibrated on in-the-wild ratings from all they say, which is worth 0.05 of CCC over their
    valence and arousal alone. Mixing ratings with them narrows the range, so it is widened again.
    """
    human = np.asarray(~np.isnan(rows.valence_arousal).any(1), np.bool_)
    wild = human & (rows.set_name == "affectnet")
    teacher = _recalibrated(rows, wild)
    share = np.array([_SHARE_OF_RATING.get(name, 1.0) for name in rows.set_name.tolist()])[:, None]
    mixed = np.where(share < 1, share * rows.valence_arousal + (1 - share) * teacher, rows.valence_arousal)
    if wild.any():
        mixed[wild] = _with_range(mixed[wild], rows.valence_arousal[wild])
    target = np.where(human[:, None], mixed, np.clip(teacher, -1, 1))
    weight = np.where(human, 1.0, 0.5) * ~np.isnan(target).any(1)
    return np.nan_to_num(target).astype(np.float32), weight.astype(np.float32)


def _recalibrated(rows: FaceRows, on: npt.NDArray[np.bool_]) -> F32:
    """Valence and arousal f32[N,2] by ridge regression from all that the teachers say to the ratings of some rows."""
    inputs = np.concatenate([rows.soft_va, np.log(rows.soft8 + 1e-3), np.log(rows.soft7 + 1e-3)], 1)
    usable = on & ~np.isnan(inputs).any(1)
    if usable.sum() < 2 * inputs.shape[1]:
        return rows.soft_va
    inputs = (inputs - inputs[usable].mean(0)) / (inputs[usable].std(0) + 1e-6)
    x, centre = inputs[usable], rows.valence_arousal[usable].mean(0)
    weight = np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T @ (rows.valence_arousal[usable] - centre))
    found = inputs @ weight + centre
    spread = rows.valence_arousal[usable].std(0) / found[usable].std(0)
    return np.asarray((found - centre) * spread + centre, np.float32)


def _with_range(values: F32, like: F32) -> F32:
    return np.asarray((values - values.mean(0)) * like.std(0) / values.std(0).clip(1e-6) + like.mean(0), np.float32)


def points68_targets(rows: FaceRows) -> tuple[F32, F32]:
    """Points f32[N,68,2] of the face frame and weight f32[N]: by hand, else derived from the mesh."""
    weight, offset = fit_points68(rows)
    points = (rows.mesh_coef @ weight + offset).reshape(-1, 68, 2)
    by_hand = ~np.isnan(rows.points68[:, 0]) & ~np.isnan(rows.mesh_frame[:, 0])
    points[by_hand] = to_face_frame(rows.points68[by_hand].reshape(-1, 68, 2), rows.mesh_frame[by_hand])
    return points.astype(np.float32), np.where(by_hand, 1.0, 0.3).astype(np.float32)


def fit_points68(rows: FaceRows, ridge: float = 30.0) -> tuple[F32, F32]:
    """Linear map from mesh coefficients to the 68 points of the face frame, fitted on annotated rows.

    Returns:
        (weight f32[128,136], offset f32[136]).
    """
    known = ~np.isnan(rows.points68[:, 0]) & ~np.isnan(rows.mesh_frame[:, 0])
    inputs = rows.mesh_coef[known]
    target = to_face_frame(rows.points68[known].reshape(-1, 68, 2), rows.mesh_frame[known]).reshape(-1, 136)
    centre_in, centre_out = inputs.mean(0), target.mean(0)
    x, y = inputs - centre_in, target - centre_out
    weight = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y)
    return weight.astype(np.float32), (centre_out - centre_in @ weight).astype(np.float32)
