"""Crops of whole pictures for the face network: faces with only a box (masked, tiny), and places without a face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from vidfer.errors import DataError
from vidfer.train.augment import degrade
from vidfer.train.data import as_rgb, decode_image, random_boxes
from vidfer.types import F32, U8
from vidfer.vision.geometry import CROP_PX, apply_transform, crop, crop_transform, iou

_SMALLEST_FACE_PX = 12
_MOST_OVERLAP = 0.1


class SceneCrops:
    """Draws labelled crops from `scenes.parquet`: presence and, for faces, the box."""

    def __init__(self, folder: Path, split: str) -> None:
        path = folder / "scenes.parquet"
        if not path.is_file():
            raise DataError(f"no training scenes at {path}; give the folder that holds scenes.parquet with --data")
        table = pq.read_table(path, filters=[("split", "==", split)])
        self.images = [decode_image(data) for data in table["image"].to_pylist()]
        self.boxes: list[F32] = [_xyxy(boxes) for boxes in table["boxes"].to_pylist()]
        self.faces: list[tuple[int, F32]] = []
        for i, (boxes, valid) in enumerate(zip(self.boxes, table["valid"].to_pylist(), strict=True)):
            large = (boxes[:, 2:] - boxes[:, :2]).min(1) >= _SMALLEST_FACE_PX if len(boxes) else []
            self.faces += [(i, b) for b, v, big in zip(boxes, valid, large, strict=True) if v == 1 and big]
        self.negatives = np.flatnonzero(table["negative"].to_numpy(zero_copy_only=False))

    def draw(self, n_faces: int, n_empty: int, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        """Crops uint8[n,S,S,3], presence f32[n] and box f32[n,4] in crop px (NaN where there is no face)."""
        images, boxes = [], []
        for k in rng.integers(0, len(self.faces), n_faces):
            which, box = self.faces[k]
            image, transform = self._crop(which, box, rng)
            corners = box[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(1, 4, 2)
            moved = apply_transform(transform[None], corners)[0]
            images.append(image)
            # The ellipse that touches the box, turned with the picture, touches this box.
            middle, turn = moved.mean(0), transform[:, :2].astype(np.float64)
            half = np.sqrt((turn**2) @ (((box[2:] - box[:2]) / 2).astype(np.float64) ** 2))
            boxes.append(np.concatenate([middle - half, middle + half]))
        for _ in range(n_empty):
            images.append(self._empty(rng))
            boxes.append(np.full(4, np.nan))
        presence = np.repeat(np.array([1, 0], np.float32), [n_faces, n_empty])
        return {"image": np.stack(images), "presence": presence, "box": np.stack(boxes).astype(np.float32)}

    def _crop(self, which: int, box: F32, rng: np.random.Generator) -> tuple[U8, F32]:
        jittered, roll = random_boxes(box[None], rng)
        transform = crop_transform(jittered, roll)[0]
        return degrade(as_rgb(crop(self.images[which], transform, CROP_PX)), rng), transform

    def _empty(self, rng: np.random.Generator) -> U8:
        """A square of a picture that overlaps no face; half of them from pictures without any."""
        for _ in range(20):
            which = int(rng.choice(self.negatives) if rng.random() < 0.5 else rng.integers(len(self.images)))
            height, width = self.images[which].shape[:2]
            side = np.exp(rng.uniform(np.log(16), np.log(min(height, width))))
            x, y = rng.uniform(0, width - side), rng.uniform(0, height - side)
            box = np.array([x, y, x + side, y + side * rng.uniform(1.0, 1.3)], np.float32)
            if not len(self.boxes[which]) or iou(box[None], self.boxes[which]).max() < _MOST_OVERLAP:
                return self._crop(which, box, rng)[0]
        return self._crop(int(rng.choice(self.negatives)), np.array([0, 0, 40, 40], np.float32), rng)[0]


def _xyxy(boxes: list[list[float]]) -> F32:
    xywh = np.array(boxes, np.float32).reshape(-1, 4)
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
