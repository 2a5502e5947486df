"""The label of a face: id, emotion, confidence, and a disc with valence and arousal; in four sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vidfer.output.canvas import Canvas, painted
from vidfer.output.layout import Place
from vidfer.output.sprites import Sprite, Stamp, placed, ring_mask, rounded_mask, text_mask
from vidfer.types import EMOTIONS, F32, Colour, ColourSpace

# Told apart on skin, on dark and on bright; also by most people who see colours differently, together with the text.
COLOURS: dict[str, Colour] = {
    "neutral": (203, 210, 220),
    "happiness": (255, 205, 60),
    "sadness": (90, 160, 255),
    "surprise": (45, 215, 205),
    "fear": (190, 130, 255),
    "disgust": (135, 210, 85),
    "anger": (255, 95, 85),
    "contempt": (255, 140, 195),
}
_NO_EMOTION: Colour = (170, 178, 188)
PANEL: Colour = (16, 19, 24)
_INK: Colour = (20, 22, 26)
WHITE: Colour = (245, 247, 250)
_GREY: Colour = (178, 186, 196)
_PANEL_OPACITY = 0.74
_SHORT = {name: name[:3] for name in EMOTIONS}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OverlayFace:
    """One face as it is to be drawn.

    Attributes:
        face_id: Track id.
        box_px: x0, y0, x1, y1.
        status: DETECTED, TRACKED or PREDICTED; predicted ones are dashed and have no label.
        label: Name of the (smoothed) emotion; None where there is none.
        probabilities: f32[8] in the order of EMOTIONS, or None.
        valence: In [-1, 1], or None.
        arousal: In [-1, 1], or None.
        measured: Valence and arousal of this frame alone, before smoothing, or None.
        landmarks: f32[K,2] px, or None.
    """

    face_id: int
    box_px: tuple[float, float, float, float]
    status: int
    label: str | None = None
    probabilities: F32 | None = None
    valence: float | None = None
    arousal: float | None = None
    measured: tuple[float, float] | None = None
    landmarks: F32 | None = None

    @property
    def colour(self) -> Colour:
        """Colour of its emotion."""
        return _colour(self.label)

    @property
    def confidence(self) -> float | None:
        """Probability of the label."""
        if self.label is None or self.probabilities is None:
            return None
        return float(self.probabilities[EMOTIONS.index(self.label)])


def _colour(label: str | None) -> Colour:
    return COLOURS[label] if label is not None else _NO_EMOTION


@dataclass(frozen=True, slots=True)
class Measures:
    """Sizes in px for a picture, readable from 176x144 on, and how its colours are written."""

    text: int  # height of a capital letter
    line: int
    pad: int
    bar: int
    gap: int
    colours: ColourSpace | None

    @classmethod
    def of(cls, width: int, height: int, colours: ColourSpace | None = None) -> Measures:
        """For pictures of a size, in RGB unless told otherwise."""
        short = min(width, height)
        text = max(6, round(3 + short * 0.0105))
        return cls(
            text=text,
            line=max(1, round(text * 0.17)),
            pad=max(2, round(text * 0.5)),
            bar=max(1, round(text * 0.2)),
            gap=max(2, round(text * 0.4)),
            colours=colours,
        )

    def paint(self, colour: Colour) -> Colour:
        """An RGB colour in the numbers of the pictures."""
        return painted(colour, self.colours)

    @property
    def panel_height(self) -> int:
        """Of a label with a bar or a disc."""
        return self.text + 2 * self.pad + self.bar + max(1, self.pad // 3)


def panel_sizes(face: OverlayFace, m: Measures) -> tuple[tuple[int, int], ...]:
    """(width, height) in px of the labels that a face may have, the best first."""
    sure, affect = face.probabilities is not None, face.valence is not None and face.arousal is not None
    return _sizes(str(face.face_id), face.label, sure, affect, m)


@lru_cache(maxsize=256)
def _sizes(face_id: str, label: str | None, sure: bool, affect: bool, m: Measures) -> tuple[tuple[int, int], ...]:
    sizes = range(4) if label is not None else range(1)
    sprites = [_panel(face_id, label, size, sure, affect, m).sprite for size in sizes]
    return tuple((sprite.width, sprite.height) for sprite in sprites)


@dataclass(frozen=True, slots=True)
class _Panel:
    """The parts of a label that stay, and where in it the others go."""

    sprite: Sprite
    percent_right: int
    bar: tuple[int, int, int]  # x, y, width
    disc_x: int


@lru_cache(maxsize=256)
def _panel(face_id: str, emotion: str | None, size: int, sure: bool, affect: bool, m: Measures) -> _Panel:
    label, percent, bar, disc = "", "", False, False
    if emotion is not None:
        label = (emotion, _SHORT[emotion], _SHORT[emotion], "")[size]
        percent = "88%" if size < 2 and sure else ""  # the widest
        bar, disc = sure, size < 2 and affect
    colour = _colour(emotion)
    height = m.panel_height if bar or disc else m.text + 2 * m.pad
    number = text_mask(face_id, m.text)
    name = text_mask(label, m.text) if label else np.zeros((1, 0), np.float32)
    chip = number.shape[1] + 2 * m.pad
    name_x = chip + m.pad
    percent_right = name_x + name.shape[1] + (m.pad + text_mask(percent, m.text).shape[1] if percent else 0)
    body_right = percent_right + m.pad if label else chip
    width = body_right + (height if disc else 0)
    radius = m.text * 0.45
    chip_mask = rounded_mask(chip + height, height, radius)[:, :chip] if label else rounded_mask(chip, height, radius)
    text_y = m.pad
    layers = [
        (PANEL, rounded_mask(width, height, radius) * _PANEL_OPACITY),
        (colour, placed(chip_mask, width, height, 0, 0)),
        (_INK, placed(number, width, height, m.pad, (height - m.text) // 2)),
    ]
    if label:
        layers.append((WHITE, placed(name, width, height, name_x, text_y)))
    bar_y = height - m.bar - max(1, m.pad // 2)
    bar_at = (name_x, bar_y, percent_right - name_x) if label else (m.pad, bar_y, chip - 2 * m.pad)
    if disc:
        layers += _disc_layers(width, height, body_right, m)
    return _Panel(Sprite.of([(m.paint(hue), mask) for hue, mask in layers]), percent_right, bar_at, body_right)


def _disc_layers(width: int, height: int, x: int, m: Measures) -> list[tuple[Colour, F32]]:
    radius = _disc_radius(height, m)
    ring = ring_mask(height, radius, max(1.0, m.line * 0.7))
    cross = np.zeros((height, height), np.float32)
    middle, reach = (height - 1) / 2, int(radius)
    for row in {int(np.floor(middle)), int(np.ceil(middle))}:
        part = 1.0 if middle == int(middle) else 0.5
        cross[row, int(middle) - reach + 1 : int(middle) + reach + 1] = part
        cross[int(middle) - reach + 1 : int(middle) + reach + 1, row] = part
    return [
        (_GREY, placed(cross * 0.35, width, height, x, 0)),
        (_GREY, placed(ring * 0.85, width, height, x, 0)),
    ]


def _disc_radius(height: int, m: Measures) -> float:
    return height / 2 - max(1.5, m.pad * 0.45)


@lru_cache(maxsize=256)
def _bar(width: int, filled: int, colour: Colour, m: Measures) -> Sprite:
    track = rounded_mask(width, m.bar, m.bar / 2)
    level = np.where(np.arange(width)[None, :] < filled, track, 0).astype(np.float32)
    return Sprite.of([(m.paint(_GREY), track * 0.35), (m.paint(colour), level)])


@lru_cache(maxsize=256)
def text_sprite(text: str, colour: Colour, m: Measures) -> Sprite:
    """A line of text."""
    return Sprite.of([(m.paint(colour), text_mask(text, m.text))])


@lru_cache(maxsize=256)
def _stamp(face_id: str, label: str | None, size: int, percent: int | None, affect: bool, m: Measures) -> Stamp:
    """A panel with its bar and its percentage: these change so slowly that most frames find it here."""
    panel = _panel(face_id, label, size, percent is not None, affect, m)
    sprite = panel.sprite
    if percent is not None:
        x, y, width = panel.bar
        colour = _colour(label) if size < 3 else _INK  # the smallest label is all chip
        sprite = sprite.with_another(_bar(width, round(width * percent / 100), colour, m), x, y)
    if percent is not None and size < 2:
        text = text_sprite(f"{percent}%", _GREY, m)
        sprite = sprite.with_another(text, panel.percent_right - text.width, m.pad)
    return sprite.stamp(1 if m.colours is None else 2)


def draw_label(canvas: Canvas, face: OverlayFace, place: Place, m: Measures) -> None:
    """Draw a label at its place."""
    confidence, valence, arousal = face.confidence, face.valence, face.arousal
    # "100%" would be wider than all others, and the network is never that sure.
    percent = None if confidence is None else min(99, round(confidence * 100))
    affect = valence is not None and arousal is not None
    canvas.paste(_stamp(str(face.face_id), face.label, place.size, percent, affect, m), place.x, place.y)
    if face.label is not None and place.size < 2 and valence is not None and arousal is not None:
        panel = _panel(str(face.face_id), face.label, place.size, percent is not None, affect, m)
        _dot(canvas, valence, arousal, face.colour, place.x + panel.disc_x, place.y, panel.sprite.height, m)


def _dot(
    canvas: Canvas, valence: float, arousal: float, colour: Colour, x: int, y: int, size: int, m: Measures
) -> None:
    """The point of valence (to the right) and arousal (up) in the disc; kept inside it."""
    reach = _disc_radius(size, m) / max(1.0, math.hypot(valence, arousal))
    x_px, y_px = x + size / 2 + valence * reach, y + size / 2 - arousal * reach
    dot = max(1.3, m.text * 0.24)
    canvas.circle(x_px, y_px, dot + max(0.7, m.line * 0.5), m.paint(PANEL))
    canvas.circle(x_px, y_px, dot, m.paint(colour))
