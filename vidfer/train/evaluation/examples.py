"""Faces to look at: the worst of every task, with the label, what the network says, and what the network looks at."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vidfer.output.page import picture_address
from vidfer.output.words import percent, plain, signed
from vidfer.train.datasets.table import TrainingFaces
from vidfer.train.evaluation.emotion import probabilities
from vidfer.train.evaluation.evaluate import Evaluation, Result, labels
from vidfer.train.evaluation.network import Network
from vidfer.train.evaluation.predict import Said
from vidfer.train.multitask.crops import seen
from vidfer.train.points import filled
from vidfer.types import EMOTIONS, F32, F64, I64, U8
from vidfer.vision.geometry import apply_transform

_WORST = 8
_SHOWN_PX = 128
_MAP_SHARE = 0.45  # of the map's colours in a picture with one


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A face of the page.

    Attributes:
        image: What the network saw, as the address of an image.
        map: The same with the places that speak for the guess; None where nobody can tell.
        truth: The label.
        guess: What the network says.
        note: How far off it is, or how sure.
        where: Set and group of the row.
        truth_path: Its points or box in a picture of 100 x 100, as a path of SVG.
        guess_path: Those of the network.
    """

    image: str
    truth: str
    guess: str
    note: str
    where: str
    map: str | None = None
    truth_path: str = ""
    guess_path: str = ""


def worst(evaluation: Evaluation, network: int, task: str, door: Network) -> list[Example]:
    """The rows of a task that a network is worst at, the worst first.

    Args:
        evaluation: What was found.
        network: Number of the network in it.
        task: Which.
        door: The network, for its maps.
    """
    result, said = evaluation.results[network][task], evaluation.said[network]
    order = np.argsort(-result.judged.badness, kind="stable")[:_WORST]
    if task == "emotion":
        return _emotions(evaluation.rows, said, result, order, door)
    return [_other(evaluation.rows, said, result, int(k), task) for k in order]


def surest(evaluation: Evaluation, network: int, door: Network) -> list[Example]:
    """Of every class the face that the network is most sure of and right about."""
    result, said = evaluation.results[network]["emotion"], evaluation.said[network]
    truth = labels(evaluation.rows)[result.judged.rows]
    classes = result.judged.facts["classes"]
    guess = _probability(said, result).argmax(1)
    best = []
    for k, name in enumerate(classes):
        right = np.flatnonzero((truth == EMOTIONS.index(name)) & (guess == k))
        best += right[np.argsort(result.judged.badness[right], kind="stable")[:1]].tolist()
    return _emotions(evaluation.rows, said, result, np.array(best, np.int64), door)


def _probability(said: Said, result: Result) -> F64:
    logits = said.heads["emotion"][result.judged.rows]
    return probabilities(logits, said.about.emotions, result.judged.facts["classes"])


def _emotions(rows: TrainingFaces, said: Said, result: Result, order: I64, door: Network) -> list[Example]:
    if not len(order):
        return []
    classes, judged = result.judged.facts["classes"], result.judged.rows[order]
    probability, truth = _probability(said, result)[order], labels(rows)[judged]
    guess = probability.argmax(1)
    crops = np.stack([_crop(rows, said, int(row))[0] for row in judged])
    maps = door.maps(crops, np.array([said.about.emotions.index(classes[k]) for k in guess]))
    return [
        Example(
            image=_address(crops[k]),
            map=None if maps is None else _address(_heated(crops[k], maps[k])),
            truth=EMOTIONS[truth[k]],
            guess=classes[guess[k]],
            note=f"{percent(float(probability[k, guess[k]]))} sure",
            where=_where(rows, int(judged[k])),
        )
        for k in range(len(order))
    ]


def _other(rows: TrainingFaces, said: Said, result: Result, place: int, task: str) -> Example:
    row, badness = int(result.judged.rows[place]), float(result.judged.badness[place])
    image, transform = _crop(rows, said, row)
    shown = {"image": _address(image), "where": _where(rows, row)}
    if task == "valence_arousal":
        texts = [
            f"{signed(float(v))}, {signed(float(a))}"
            for v, a in (rows.valence_arousal[row], said.heads["valence_arousal"][row])
        ]
        return Example(**shown, truth=texts[0], guess=texts[1], note=f"{plain(badness)} apart")
    scale = 100 / image.shape[0]
    if task == "box":
        assert said.box_px is not None
        paths = [_box_path(box, transform, scale) for box in (rows.box_px[row], said.box_px[row])]
        return Example(**shown, truth="", guess="", note=f"IoU {plain(1 - badness)}", truth_path=paths[0],
                       guess_path=paths[1])  # fmt: skip
    count = int(task.removeprefix("points"))
    truth = filled({k: values[row : row + 1] for k, values in rows.points.items()}, count)
    assert truth is not None
    paths = [_points_path(points, transform, scale) for points in (truth[0, :, :2], said.points[count][row])]
    return Example(**shown, truth="", guess="", note=f"{plain(badness * 100, 1)} % off", truth_path=paths[0],
                   guess_path=paths[1])  # fmt: skip


def _crop(rows: TrainingFaces, said: Said, row: int) -> tuple[U8, F32]:
    """What the network saw of a row, and the transform to it."""
    transform = said.transform[row]
    return seen(rows.picture(row), transform, said.about.input_px), transform


def _points_path(points: F32, transform: F32, scale: float) -> str:
    known = points[~np.isnan(points).any(1)]
    placed = (apply_transform(transform[None], known[None])[0] + 0.5) * scale
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in placed.tolist())


def _box_path(box: F32, transform: F32, scale: float) -> str:
    # A box counts from the edge of the first pixel, as the path does.
    corners = apply_transform(transform[None], box.reshape(1, 2, 2) - 0.5)[0] + 0.5
    (x0, y0), (x1, y1) = (corners * scale).tolist()
    return f"M{x0:.1f} {y0:.1f}H{x1:.1f}V{y1:.1f}H{x0:.1f}z"


def _heated(image: U8, heat: F32) -> U8:
    colours = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return np.asarray(np.rint(image * (1 - _MAP_SHARE) + colours * _MAP_SHARE), np.uint8)


def _address(image: U8) -> str:
    how = cv2.INTER_AREA if image.shape[0] > _SHOWN_PX else cv2.INTER_CUBIC
    return picture_address(np.asarray(cv2.resize(image, (_SHOWN_PX, _SHOWN_PX), interpolation=how), np.uint8))


def _where(rows: TrainingFaces, row: int) -> str:
    return f"{rows.set_name[row]}: {rows.group[row]}"
