"""Figures by what the data tell of a picture without anybody judging persons: turn, size, light, mask, class.

Brightness is that of the pixels of the face: lamp, camera and make-up decide about it as much as skin does, so it is
NOT skin tone. The sets differ in several of these at once, so compare figures of one set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vidfer.train import metrics
from vidfer.train.average_precision import Found, Truth, match
from vidfer.train.data import as_rgb
from vidfer.train.evaluate import Task, Yardstick
from vidfer.train.metrics import Array, Figure, Measure, figure
from vidfer.train.scenes import Scene
from vidfer.types import F32, F64, U8, Bool
from vidfer.vision.pose import head_pose

_FEWEST = 30  # rows of a group: less tell nothing
_LUMA = np.array([0.299, 0.587, 0.114])
_SMALLEST_FACE_PX = 12
_YAW_DEG = (15, 30)
_FACE_PX = (40, 64, 112)
_SCENE_FACE_PX = (20, 32, 64)
_BRIGHTNESS = (100, 150)  # of 255

Groups = dict[str, dict[str, npt.NDArray[np.bool_]]]
GroupFigures = dict[str, dict[str, dict[str, Figure]]]  # variable -> group -> figure


def face_groups(yardstick: Yardstick) -> Groups:
    """Masks of the rows of val by what is seen."""
    rows = yardstick.rows
    yaw = np.full(len(rows), np.nan)
    meshed = np.flatnonzero(~np.isnan(rows.mesh_frame[:, 0]))
    yaw[meshed] = np.abs(head_pose(yardstick.basis.points(rows.mesh_coef[meshed], rows.mesh_frame[meshed]))[:, 1])
    bright = np.array([brightness(image, box) for image, box in zip(rows.images, rows.box_px, strict=True)])
    return {
        "head turned by, degrees": _bins(yaw, _YAW_DEG),
        "longer side of the face, px": _bins((rows.box_px[:, 2:] - rows.box_px[:, :2]).max(1), _FACE_PX),
        "mean brightness of the face, of 255": _bins(bright, _BRIGHTNESS),
    }


def _bins(values: Array, edges: Sequence[int]) -> dict[str, npt.NDArray[np.bool_]]:
    """Masks between edges; NaN is in none of them."""
    found = {f"under {edges[0]}": values < edges[0]}
    for low, high in pairwise(edges):
        found[f"{low} to {high}"] = (values >= low) & (values < high)
    return found | {f"{edges[-1]} and more": values >= edges[-1]}


def brightness(image: U8, box_px: F32) -> float:
    """Mean luma of a picture uint8[H,W] or uint8[H,W,3] within a box f32[4]; NaN where that is outside."""
    height, width = image.shape[:2]
    x0, y0 = np.clip(np.floor(box_px[:2]).astype(int), 0, (width, height))
    x1, y1 = np.clip(np.ceil(box_px[2:]).astype(int), 0, (width, height))
    region = image[y0:y1, x0:x1]
    return float((as_rgb(region).reshape(-1, 3).mean(0) * _LUMA).sum()) if region.size else float("nan")


def figures_by_group(measures: Sequence[Measure], groups: Groups) -> GroupFigures:
    """Figures of every group with enough rows; none where all rows that count are in one group."""
    return {variable: _of_variable(measures, masks) for variable, masks in groups.items()}


def _of_variable(
    measures: Sequence[Measure], masks: Mapping[str, npt.NDArray[np.bool_]]
) -> dict[str, dict[str, Figure]]:
    found: dict[str, dict[str, Figure]] = {name: {} for name in masks}
    for measure in measures:
        parts = {name: measure.within(mask) for name, mask in masks.items()}
        enough = {name: part for name, part in parts.items() if len(part.rows) >= _FEWEST}
        if len(enough) > 1:
            for name, part in enough.items():
                found[name][measure.name] = part.figure()
    return found


def class_figures(task: Task) -> dict[str, object]:
    """Share of every class that is found, and how many rows of a class (line) are taken for which (column)."""
    confusion = metrics.confusion(task.guess, task.label, len(task.labels)).astype(int)
    recall = {
        name: metrics.share(int(line[k]), int(line.sum())).as_dict()
        for k, (name, line) in enumerate(zip(task.labels, confusion, strict=True))
        if line.any()
    }
    return {"recall": recall, "labels": list(task.labels), "confusion": confusion.tolist()}


def recall_by_group(scenes: Sequence[Scene], found: Sequence[Found], threshold: float) -> GroupFigures:
    """Share of the faces of 12 px and more that the detector finds at a threshold; pictures are resampled."""
    sure = [(box[score >= threshold], score[score >= threshold]) for box, score in found]
    result: GroupFigures = {}
    for variable, name, masks in scene_groups(scenes):
        counted = [_found_of(scene, of, mask) for scene, of, mask in zip(scenes, sure, masks, strict=True)]
        right, faces = np.array(counted).T
        if faces.sum() >= _FEWEST:
            within = figure(metrics.ratio, right, faces)
            n = int(faces.sum())
            result.setdefault(variable, {})[name] = {
                "recall_at_threshold": Figure(value=within.value, low=within.low, high=within.high, n=n)
            }
    return result


def _found_of(scene: Scene, found: Found, wanted: Bool) -> tuple[int, int]:
    truth = Truth(box_px=scene.box_px, valid=scene.valid & wanted)
    _, right, faces = match(truth, found, min_side=_SMALLEST_FACE_PX)
    return int(right.sum()), faces


def scene_groups(scenes: Sequence[Scene]) -> Iterator[tuple[str, str, list[Bool]]]:
    """(variable, group, mask of the boxes of every scene)."""
    yield "mask", "masked", [scene.masked for scene in scenes]
    yield "mask", "bare", [~scene.masked for scene in scenes]
    side: list[F64] = [(s.box_px[:, 2:] - s.box_px[:, :2]).min(1).astype(np.float64) for s in scenes]
    light: list[F64] = [np.array([brightness(s.image, box) for box in s.box_px]) for s in scenes]
    for variable, values, edges in (
        ("shorter side of the face, px", side, _SCENE_FACE_PX),
        ("mean brightness of the face, of 255", light, _BRIGHTNESS),
    ):
        masks = [_bins(of_scene, edges) for of_scene in values]
        for name in masks[0] if masks else ():
            yield variable, name, [of_scene[name] for of_scene in masks]
