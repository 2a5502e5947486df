"""Where the labels of a picture go: inside it, off the faces and off each other, and where they were a frame ago."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vidfer.types import F32

# What a place costs, in units of "one smaller label". Touching another label is the worst, since neither can be read.
_ON_LABEL = 30.0
_TOUCHES_LABEL = 2.0
_ON_OTHER_FACE = 12.0
_ON_OWN_FACE = 2.5
_WIDER_THAN_FACE = 0.7
_PLACE = (0.0, 0.3, 0.6, 0.6, 0.9)  # above, below, right, left, inside
_MOVED = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a label goes: its top left corner, which of the offered sizes, and which side of the face."""

    x: int
    y: int
    size: int
    side: int


def _inside(boxes: F32, width: int, height: int, margin: int) -> F32:
    """Boxes moved into the picture."""
    size = boxes[:, 2:] - boxes[:, :2]
    limit = np.maximum(np.array([width, height], np.float32) - margin - size, 0)
    corner = np.clip(boxes[:, :2], np.minimum(margin, limit), limit)
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


def _covered(boxes: F32, others: F32) -> F32:
    """How much of each box others lie on, as a sum of parts of its area."""
    if not len(others):
        return np.zeros(len(boxes), np.float32)
    x0, y0, x1, y1 = boxes.T[:, :, None]
    left, top, right, bottom = others.T[:, None]
    wide = np.minimum(x1, right) - np.maximum(x0, left)
    high = np.minimum(y1, bottom) - np.maximum(y0, top)
    overlap = (np.maximum(wide, 0) * np.maximum(high, 0)).sum(axis=1)
    part: F32 = overlap / np.maximum((x1 - x0) * (y1 - y0), 1)[:, 0]
    return part


class Layout:
    """Places the labels of the frames of one video, one frame after the other.

    Args:
        width: Of the picture in px.
        height: Of the picture in px.
        gap: Between a label and its box, and between a label and the border, in px.
    """

    def __init__(self, width: int, height: int, gap: int) -> None:
        self._width, self._height, self._gap = width, height, gap
        self._last: dict[int, Place] = {}

    def place(self, ids: Sequence[int], faces: F32, sizes: Sequence[Sequence[tuple[int, int]]]) -> list[Place]:
        """Places for one label per face.

        Args:
            ids: Face ids, N of them; a label stays where it was for the same id as long as that is good.
            faces: f32[M,4] xyxy, M >= N; the first N have labels.
            sizes: For each of the N labels the (width, height) it may have, the best first.
        """
        taken = np.zeros((0, 4), np.float32)
        places: dict[int, Place] = {}
        known = faces.tolist()
        # In the order of ids and not of size or place, so that small movements do not turn everything around.
        for row in sorted(range(len(ids)), key=lambda row: ids[row]):
            free = self._still_free(ids[row], known, row, sizes[row][0], taken)
            if free is not None:
                places[ids[row]] = free
                width, height = sizes[row][0]
                box = np.array([[free.x, free.y, free.x + width, free.y + height]], np.float32)
                taken = np.concatenate([taken, box])
                continue
            boxes, choices = self._candidates(faces[row], sizes[row])
            cost = self._cost(boxes, choices, faces, row, taken, self._last.get(ids[row]))
            best = int(cost.argmin())
            size, side = choices[best]
            box = boxes[best]
            places[ids[row]] = Place(x=int(box[0]), y=int(box[1]), size=size, side=side)
            taken = np.concatenate([taken, box[None]])
        self._last = places
        return [places[face_id] for face_id in ids]

    def _still_free(
        self, face_id: int, faces: list[list[float]], row: int, size: tuple[int, int], taken: F32
    ) -> Place | None:
        """The best of all places, where it costs nothing and the label is there already: the usual case, made fast."""
        last = self._last.get(face_id)
        if last is None or (last.size, last.side) != (0, 0):
            return None
        width, height = size
        x0, y0, x1, _ = faces[row]
        if width > 2 * max(x1 - x0, 1.0):
            return None
        margin = self._gap // 2
        limit = max(self._width - margin - width, 0)
        x, y = min(max(round(x0), min(margin, limit)), limit), round(y0) - self._gap - height
        if not margin <= y <= self._height - margin - height:
            return None
        for left, top, right, bottom in faces + taken.tolist():
            if left < x + width and right > x and top < y + height and bottom > y:
                return None
        return Place(x=x, y=y, size=0, side=0)

    def _candidates(self, face: F32, sizes: Sequence[tuple[int, int]]) -> tuple[F32, list[tuple[int, int]]]:
        x0, y0, x1, y1 = (round(value) for value in face.tolist())
        gap = self._gap
        boxes = [
            (x, y, x + w, y + h)
            for w, h in sizes
            for x, y in ((x0, y0 - gap - h), (x0, y1 + gap), (x1 + gap, y0), (x0 - gap - w, y0), (x0 + gap, y0 + gap))
        ]
        choices = [(size, side) for size in range(len(sizes)) for side in range(len(_PLACE))]
        return _inside(np.array(boxes, np.float32), self._width, self._height, gap // 2), choices

    def _cost(
        self,
        boxes: F32,
        choices: list[tuple[int, int]],
        faces: F32,
        row: int,
        taken: F32,
        last: Place | None,
    ) -> F32:
        size = np.array([choice[0] for choice in choices], np.float32)
        cost: F32 = size + np.array([_PLACE[choice[1]] for choice in choices], np.float32)
        on_label = _covered(boxes, taken)
        cost += _ON_LABEL * on_label + _TOUCHES_LABEL * (on_label > 0)
        own = _covered(boxes, faces[row : row + 1])
        cost += _ON_OTHER_FACE * (_covered(boxes, faces) - own) + _ON_OWN_FACE * own
        face_width = max(float(faces[row, 2] - faces[row, 0]), 1.0)
        cost += _WIDER_THAN_FACE * np.maximum((boxes[:, 2] - boxes[:, 0]) / face_width - 2, 0)
        if last is not None:
            same = [choice == (last.size, last.side) for choice in choices]
            cost += np.where(same, 0, _MOVED)
        return cost
