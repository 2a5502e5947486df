"""Hard negatives: places of the training scenes where a detector sees a face and there is none.

Wheels, sleeves, hands, letters, animals: a detector that has seen every scene many times still gives a few thousand of
them scores above 0.25. Nearly all places without a face are easy, so that drawn at random these come up too seldom.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vidfer.train.scenes import Scene, as_f32
from vidfer.types import F32, U8
from vidfer.vision.geometry import iou

HARD = "hard.npz"  # in the folder of a run
LOWEST_SCORE = 0.25
_MOST_A_SCENE = 8
_TOUCHING = 0.05  # IoU with a label from which a find is part of a face, or a badly placed box
_SMALLEST_BESIDE_FACES_PX = 14  # smaller finds in pictures with people are now and then faces that nobody labelled
_PATCH_SIDES = (1.15, 2.0)  # of a patch / of the place in it

Finder = Callable[[U8], tuple[F32, F32]]  # picture -> boxes (xyxy px) and scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place without a face that passes for one: the number of the scene, box_px f32[4] in it."""

    scene: int
    box_px: F32


def hard_places(find: Finder, scenes: Sequence[Scene]) -> list[Place]:
    """What a detector wrongly finds in scenes, the best of each; those without faces are searched at half size, too."""
    places = []
    for number, scene in enumerate(scenes):
        finds = [find(scene.image)]
        if scene.negative:
            box, score = find(np.asarray(cv2.resize(scene.image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)))
            finds.append((box * 2, score))
        box, score = np.concatenate([f[0] for f in finds]), np.concatenate([f[1] for f in finds])
        wrong = (score >= LOWEST_SCORE) & (iou(box, scene.box_px).max(1, initial=0) < _TOUCHING)
        if not scene.negative:
            wrong &= (box[:, 2:] - box[:, :2]).min(1, initial=np.inf) >= _SMALLEST_BESIDE_FACES_PX
        best = np.flatnonzero(wrong)[np.argsort(-score[wrong], kind="stable")][:_MOST_A_SCENE]
        places += [Place(scene=number, box_px=as_f32(box[i])) for i in best]
    return places


def write_places(path: Path, places: Sequence[Place]) -> None:
    """Keep places in a file."""
    box_px = np.reshape([place.box_px for place in places], (-1, 4))
    np.savez(path, scene=np.array([place.scene for place in places], np.int64), box_px=as_f32(box_px))


def read_places(path: Path) -> list[Place]:
    """Places from a file."""
    with np.load(path) as stored:
        return [Place(scene=int(i), box_px=box) for i, box in zip(stored["scene"], stored["box_px"], strict=True)]


def cut_patch(image: U8, place: Place, side: int, rng: np.random.Generator) -> U8:
    """A square patch uint8[side,side,3] around a place of a scene."""
    box = place.box_px
    reach = float((box[2:] - box[:2]).max()) * rng.uniform(*_PATCH_SIDES)
    scale = side / reach
    corner = (box[:2] + box[2:]) / 2 - reach / 2
    if scale < 0.6:
        image, scale, corner = np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5), np.uint8), scale * 2, corner / 2
    matrix = as_f32([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    patch = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(patch[:, ::-1] if rng.random() < 0.5 else patch, np.uint8)
