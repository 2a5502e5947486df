"""Draws results onto pictures: boxes, labels, confidence, valence and arousal, landmarks.

Sizes follow the picture, from 176x144 to 4K. Where labels would lie on each other they move, then shrink.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from vidfer.output.canvas import Canvas, Colour, RgbCanvas
from vidfer.output.labels import COLOURS, PANEL, SHIFT, WHITE, Measures, OverlayFace, draw_label, panel_sizes
from vidfer.output.layout import Layout
from vidfer.types import F32, I64, PREDICTED, U8, ColourSpace

__all__ = ["COLOURS", "Overlay", "OverlayFace", "draw"]

_GONE: Colour = (165, 170, 178)
_DOT_OPACITY = 0.9
_PARTS = 8  # of a pixel in each direction: dots glide in steps of an eighth
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
            _draw_face(canvas, face, m)
        boxes = np.array([face.box_px for face in shown + gone], np.float32).reshape(-1, 4)
        sizes = [panel_sizes(face, m) for face in shown]
        places = self._layout.place([face.face_id for face in shown], boxes, sizes)
        for face, place in zip(shown, places, strict=True):
            draw_label(canvas, face, place, m)


def draw(image: U8, faces: Sequence[OverlayFace]) -> U8:
    """A copy of one RGB picture with faces drawn into it."""
    drawn = image.copy()
    Overlay(image.shape[1], image.shape[0]).draw(RgbCanvas(drawn), faces)
    return drawn


def _draw_face(canvas: Canvas, face: OverlayFace, m: Measures) -> None:
    """Its box, dashed where it is predicted only, and its landmarks."""
    outer = np.array([face.box_px]).reshape(2, 2)
    reach = m.line + 3.0
    points = None if face.landmarks is None or face.status == PREDICTED else np.asarray(face.landmarks, np.float32)
    radius = 0.0 if points is None else _dot_radius(face, len(points))
    if points is not None:
        outer = np.concatenate([outer, points])
        reach = max(reach, radius + 2)
    for image, x, y in canvas.part(*(outer.min(axis=0) - reach), *(outer.max(axis=0) + reach)):
        x0, y0, x1, y1 = face.box_px
        box = (x0 - x, y0 - y, x1 - x, y1 - y)
        if face.status == PREDICTED:
            _dashed_box(image, box, m)
            continue
        _box(image, box, face.colour, m)
        if points is not None:
            _landmarks(image, points - np.array((x, y), np.float32), radius, face.colour, m)


def _outline(box: tuple[float, float, float, float], m: Measures) -> npt.NDArray[np.float64]:
    """Points of a rectangle with round corners, f64[P,2], starting at the top left, clockwise."""
    x0, y0, x1, y1 = box
    radius = max(0.0, min(m.text * 0.7, (x1 - x0) / 4, (y1 - y0) / 4))
    low, high = np.array((x0 + radius, y0 + radius)), np.array((x1 - radius, y1 - radius))
    # Boxes count edges between pixels, OpenCV counts pixel centres.
    return np.where(_FAR, high, low) + _ARC * radius - 0.5


def _fixed(points: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    return np.round(points * (1 << SHIFT)).astype(np.int32)


def _box(image: U8, box: tuple[float, float, float, float], colour: Colour, m: Measures) -> None:
    points = [_fixed(_outline(box, m))]
    if m.line > 1:  # an edge on bright grounds; around a line of one pixel it would be all one sees
        cv2.polylines(image, points, True, m.paint(PANEL), m.line + 2, cv2.LINE_AA, SHIFT)
    cv2.polylines(image, points, True, m.paint(colour), m.line, cv2.LINE_AA, SHIFT)


def _dashed_box(image: U8, box: tuple[float, float, float, float], m: Measures) -> None:
    outline = _outline(box, m)
    outline = np.concatenate([outline, outline[:1]])
    length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(outline, axis=0).T))])
    count = max(8, round(length[-1] / (m.text * 1.3)))
    dash = length[-1] / count
    at = np.arange(count)[:, None] * dash + np.linspace(0, dash * 0.45, 4)
    x, y = np.interp(at, length, outline[:, 0]), np.interp(at, length, outline[:, 1])
    dashes = list(_fixed(np.stack([x, y], axis=2)))
    cv2.polylines(image, dashes, False, m.paint(_GONE), m.line, cv2.LINE_AA, SHIFT)


def _dot_radius(face: OverlayFace, points: int) -> float:
    x0, _, x1, _ = face.box_px
    crowd = math.sqrt(68 / max(points, 1))
    return min(6.0, max(0.45, (x1 - x0) * 0.011 * crowd))


@lru_cache(maxsize=128)
def _dot(radius: float) -> tuple[I64, F32]:
    """The pixels (y, x) around a dot, i64[2,P,1], and how much it covers of them at each part of a pixel, f32[P,64].

    From the rim inwards: where dots touch, the stronger is last.
    """
    reach = math.ceil(radius)
    around = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    around = around[:, np.argsort(-np.hypot(*around), kind="stable")]
    part = (np.arange(_PARTS) - _PARTS // 2) / _PARTS
    dy, dx = around[0][:, None, None] - part[:, None], around[1][:, None, None] - part
    opacity = np.clip(radius + 0.5 - np.hypot(dy, dx), 0, 1).reshape(-1, _PARTS**2) * _DOT_OPACITY
    return around[:, :, None], opacity.astype(np.float32)


def _landmarks(image: U8, points: F32, radius: float, colour: Colour, m: Measures) -> None:
    """Soft dots; numpy and a table, since 478 circles of OpenCV take 1 ms."""
    (dy, dx), opacity = _dot(round(radius * _PARTS) / _PARTS)
    fine = np.rint(points * _PARTS).astype(np.int64)
    centre = (fine + _PARTS // 2) // _PARTS
    part = fine - centre * _PARTS + _PARTS // 2
    y, x = centre[:, 1] + dy, centre[:, 0] + dx
    alpha = opacity[:, part[:, 1] * _PARTS + part[:, 0]]
    if min(x.min(), y.min()) < 0 or x.max() >= image.shape[1] or y.max() >= image.shape[0]:
        inside = (x >= 0) & (y >= 0) & (x < image.shape[1]) & (y < image.shape[0])
        y, x, alpha = y[inside], x[inside], alpha[inside]
    red, green, blue = ((one + 2 * white) // 3 for one, white in zip(colour, WHITE, strict=True))
    dot = np.array(m.paint((red, green, blue)), np.float32)
    below = image[y, x].astype(np.float32)
    image[y, x] = (below + (dot - below) * alpha[..., None] + 0.5).astype(np.uint8)
