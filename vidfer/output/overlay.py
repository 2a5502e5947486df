"""Draws results onto pictures: boxes, labels, confidence, valence and arousal, landmarks.

Sizes follow the picture, from 176x144 to 4K. Where labels would lie on each other they move, then shrink.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vidfer.output.canvas import Canvas
from vidfer.output.labels import COLOURS, PANEL, WHITE, Measures, OverlayFace, draw_label, panel_sizes
from vidfer.output.layout import Layout
from vidfer.types import PREDICTED, U8, Colour, ColourSpace

__all__ = ["COLOURS", "Overlay", "OverlayFace", "draw"]

_GONE: Colour = (165, 170, 178)
_ARC_POINTS = 5
_TURN = (np.arange(4)[:, None] + np.linspace(0, 1, _ARC_POINTS)).ravel() * (np.pi / 2)
_ARC = -np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)  # four quarters of a circle, clockwise from the left
_FAR = np.repeat(np.array([[0, 0], [1, 0], [1, 1], [0, 1]], bool), _ARC_POINTS, axis=0)  # of which corner of the box


class Overlay:
    """Draws the frames of one video, one after the other: labels stay where they were as long as that is good.

    Args:
        width: Of the pictures in px.
        height: Of the pictures in px.
        colours: Of the pictures; None for RGB.
    """

    def __init__(self, width: int, height: int, colours: ColourSpace | None = None) -> None:
        self._measures = Measures.of(width, height, colours)
        self._layout = Layout(width, height, self._measures.gap)

    def draw(self, canvas: Canvas, faces: Sequence[OverlayFace]) -> None:
        """Draw faces onto the next picture."""
        m = self._measures
        shown = [face for face in faces if face.status != PREDICTED]
        gone = [face for face in faces if face.status == PREDICTED]
        for face in gone + shown:
            _draw_box(canvas, face, m)
        _draw_landmarks(canvas, shown, m)
        boxes = np.array([face.box_px for face in shown + gone], np.float32).reshape(-1, 4)
        sizes = [panel_sizes(face, m) for face in shown]
        places = self._layout.place([face.face_id for face in shown], boxes, sizes)
        for face, place in zip(shown, places, strict=True):
            draw_label(canvas, face, place, m)


def draw(image: U8, faces: Sequence[OverlayFace]) -> U8:
    """A copy of one RGB picture with faces drawn into it."""
    planes = [np.ascontiguousarray(image[..., channel]) for channel in range(3)]
    Overlay(image.shape[1], image.shape[0]).draw(Canvas(planes), faces)
    return np.dstack(planes)


def _draw_box(canvas: Canvas, face: OverlayFace, m: Measures) -> None:
    """A box, dashed where it is predicted only."""
    outline = _outline(face.box_px, m)
    if face.status == PREDICTED:
        canvas.lines(_dashes(outline, m), m.paint(_GONE), m.line, closed=False)
        return
    if m.line > 1:  # an edge on bright grounds; around a line of one pixel it would be all one sees
        canvas.lines([outline], m.paint(PANEL), m.line + 2, closed=True, fine=True)
    canvas.lines([outline], m.paint(face.colour), m.line, closed=True)


def _outline(box: tuple[float, float, float, float], m: Measures) -> npt.NDArray[np.float64]:
    """Points of a rectangle with round corners, f64[P,2], starting at the top left, clockwise."""
    x0, y0, x1, y1 = box
    radius = max(0.0, min(m.text * 0.7, (x1 - x0) / 4, (y1 - y0) / 4))
    low, high = np.array((x0 + radius, y0 + radius)), np.array((x1 - radius, y1 - radius))
    return np.where(_FAR, high, low) + _ARC * radius


def _dashes(outline: npt.NDArray[np.float64], m: Measures) -> list[npt.NDArray[np.float64]]:
    outline = np.concatenate([outline, outline[:1]])
    length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(outline, axis=0).T))])
    count = max(8, round(length[-1] / (m.text * 1.3)))
    dash = length[-1] / count
    at = np.arange(count)[:, None] * dash + np.linspace(0, dash * 0.45, 4)
    x, y = np.interp(at, length, outline[:, 0]), np.interp(at, length, outline[:, 1])
    return list(np.stack([x, y], axis=2))


def _draw_landmarks(canvas: Canvas, faces: Sequence[OverlayFace], m: Measures) -> None:
    """Soft dots in a light shade of the colour of the emotion."""
    groups = defaultdict(list)
    for face in faces:
        if face.landmarks is not None:
            crowd = math.sqrt(68 / max(len(face.landmarks), 1))
            radius = min(6.0, max(0.45, (face.box_px[2] - face.box_px[0]) * 0.011 * crowd))
            groups[math.ceil(radius)].append((face.landmarks, radius, _light(face.colour, m)))
    for group in groups.values():
        canvas.dots(group)


def _light(colour: Colour, m: Measures) -> Colour:
    red, green, blue = ((one + 2 * white) // 3 for one, white in zip(colour, WHITE, strict=True))
    return m.paint((red, green, blue))
