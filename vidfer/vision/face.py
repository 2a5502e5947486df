"""The face network at run time: from boxes in pictures to heads in px of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from vidfer.types import F32, U8, Picture
from vidfer.vision.geometry import CROP_PX, apply_transform, crop_part, crop_transform, invert_transform
from vidfer.vision.pose import head_pose

# On CPU batching gains at most 10 % and hurts past 8.
_MICRO_BATCH = 8
# A face turned further than this in the picture is cropped again, level: the network is at its best there.
_TURNED_DEG = 20.0
_RIGHT_EYE, _LEFT_EYE = 33, 263  # outer corners in the mesh, of the subject
_SHARP = 0.2  # spread of the Laplacian / spread of the grey values, of a sharp crop
HEADS = ("emotion", "valence_arousal", "landmarks", "landmarks68", "presence", "embedding", "pose", "quality", "box")


class Network(Protocol):
    """What `FaceNetwork` needs of a session."""

    def run(self, inputs: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """All outputs by name."""
        ...


class FaceNetwork:
    """Runs the face network on all faces of several pictures together.

    What a face gets depends on its picture and its box alone: not on its neighbours, the batch, or earlier frames.
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    def analyse(self, pictures: Sequence[Picture], boxes_px: Sequence[F32]) -> list[dict[str, F32]]:
        """Heads of the faces of every picture.

        Args:
            pictures: Only the parts around the faces are converted.
            boxes_px: f32[N,4] (xyxy) for each picture.

        Returns:
            For each picture head name -> f32[N,C] (`HEADS`; positions in px of the picture, see `types.Faces`).
        """
        counts = [len(boxes) for boxes in boxes_px]
        which = np.repeat(np.arange(len(pictures)), counts)
        boxes = np.concatenate([np.zeros((0, 4), np.float32), *boxes_px])
        heads = self._look(pictures, which, boxes, np.zeros(len(boxes), np.float32))
        roll = _eye_line_deg(heads["landmarks"])
        turned = np.flatnonzero(np.abs(roll) > _TURNED_DEG)
        if len(turned):
            again = self._look(pictures, which[turned], boxes[turned], roll[turned])
            for name, values in again.items():
                heads[name][turned] = values
        ends = np.cumsum(counts)
        return [{n: v[end - count : end] for n, v in heads.items()} for end, count in zip(ends, counts, strict=True)]

    def _look(
        self, pictures: Sequence[Picture], which: npt.NDArray[np.int64], boxes: F32, roll_deg: F32
    ) -> dict[str, F32]:
        transform = crop_transform(boxes, roll_deg)
        back = invert_transform(transform)
        crops = np.empty((len(boxes), CROP_PX, CROP_PX, 3), np.uint8)
        for i, picture in enumerate(pictures[k] for k in which):
            crops[i] = crop_part(picture.part, picture.width, picture.height, transform[i], back[i])
        starts = range(0, len(crops), _MICRO_BATCH)
        parts = [self._network.run({"image": crops[i : i + _MICRO_BATCH]}) for i in starts]
        if not parts:
            parts = [_NOTHING]
        raw = {name: np.concatenate([part[name] for part in parts]).astype(np.float32) for name in parts[0]}
        return _to_picture(raw, crops, back)


def _to_picture(raw: dict[str, F32], crops: U8, back: F32) -> dict[str, F32]:
    """Heads in units of the crop to units of the picture, to which `back` leads; pose and quality added."""
    scale = np.hypot(back[:, 0, 0], back[:, 1, 0])
    xy = apply_transform(back, raw["landmarks"][..., :2])
    mesh = np.concatenate([xy, raw["landmarks"][..., 2:] * scale[:, None, None]], 2)
    points68 = apply_transform(back, raw["landmarks68"])
    pose = head_pose(mesh)
    return {
        "emotion": raw["emotion"],
        "valence_arousal": raw["valence_arousal"],
        "landmarks": mesh.reshape(len(mesh), 3 * mesh.shape[1]),
        "landmarks68": points68.reshape(len(mesh), 2 * points68.shape[1]),
        "presence": raw["presence"],
        "embedding": raw["embedding"],
        "pose": pose,
        "quality": _quality(crops, scale, pose),
        "box": _turned_box(raw["box"], back),
    }


def _turned_box(box: F32, back: F32) -> F32:
    """Boxes of the crop in the picture: those around the ellipse inside, since faces are no rectangles."""
    middle = np.asarray((box[:, None, :2] + box[:, None, 2:]) / 2, np.float32)
    centre = apply_transform(back, middle)[:, 0]
    half = np.sqrt(np.einsum("nij,nj->ni", back[:, :, :2] ** 2, ((box[:, 2:] - box[:, :2]) / 2) ** 2))
    # Pixel centres are whole numbers: the outer edge of a box is half a pixel further.
    return np.concatenate([centre - half, centre + half], 1).astype(np.float32) + np.float32(0.5)


def _eye_line_deg(landmarks: F32) -> F32:
    points = landmarks.reshape(len(landmarks), landmarks.shape[1] // 3, 3)
    line = points[:, _LEFT_EYE] - points[:, _RIGHT_EYE]
    return np.asarray(np.rad2deg(np.arctan2(line[:, 1], line[:, 0])), np.float32)


def _quality(crops: U8, scale: F32, pose: F32) -> F32:
    """0-1: size x sharpness x frontality, f32[N,1].

    Size: px of the picture per px of the crop, at most 1. Sharpness: spread of the Laplacian over the spread of the
    grey values (variance of the Laplacian, Pech-Pacheco et al., 2000, made independent of contrast). Frontality: cosine
    of pitch times cosine of yaw.
    """
    sharpness = np.empty(len(crops), np.float64)
    for i, image in enumerate(crops):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        sharpness[i] = _spread(cv2.Laplacian(grey, cv2.CV_16S)) / (_spread(grey) + 1.0)
    turn = np.deg2rad(pose[:, :2])
    frontal = np.clip(np.cos(turn), 0, 1).prod(1)
    quality = np.minimum(scale, 1) * np.minimum(sharpness / _SHARP, 1) * frontal
    return np.asarray(quality[:, None], np.float32)


def _spread(values: npt.NDArray[Any]) -> float:
    return float(cv2.meanStdDev(values)[1][0, 0])  # five times as fast as numpy's


_NOTHING = {
    "emotion": np.zeros((0, 8), np.float32),
    "valence_arousal": np.zeros((0, 2), np.float32),
    "landmarks": np.zeros((0, 478, 3), np.float32),
    "landmarks68": np.zeros((0, 68, 2), np.float32),
    "box": np.zeros((0, 4), np.float32),
    "presence": np.zeros((0, 1), np.float32),
    "embedding": np.zeros((0, 128), np.float32),
}
