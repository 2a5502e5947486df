"""The colours of the panel, and the line that says what they mean."""

from __future__ import annotations

import numpy as np

from vidfer.output.labels import COLOURS, Measures
from vidfer.output.sprites import Sprite, rounded_mask, text_mask
from vidfer.types import EMOTIONS, Colour

DIM: Colour = (140, 148, 160)
VALENCE: Colour = (240, 243, 248)
AROUSAL: Colour = (255, 150, 60)
# Neutral is what is left over: as bright as the others it would be all one sees.
FILL: dict[str, Colour] = {**COLOURS, "neutral": (62, 69, 81)}


def legend(width: int, m: Measures) -> list[Sprite]:
    """What the colours mean, in as few lines as they fit into."""
    names = [*((name, FILL[name]) for name in EMOTIONS), ("valence", VALENCE), ("arousal", AROUSAL)]
    swatch, height = m.text, round(m.text * 1.9)
    lines: list[list[tuple[int, str, Colour]]] = [[]]
    x = 0
    for name, colour in names:
        wide = swatch + m.text // 2 + text_mask(name, m.text).shape[1]
        if x and x + wide > width:
            lines.append([])
            x = 0
        lines[-1].append((x, name, colour))
        x += wide + m.text
    return [_legend_line(line, width, height, m) for line in lines]


def _legend_line(line: list[tuple[int, str, Colour]], width: int, height: int, m: Measures) -> Sprite:
    layers = []
    top = (height - m.text) // 2
    for x, name, colour in line:
        swatch = rounded_mask(m.text, m.text if name in EMOTIONS else max(2, m.line), m.text * 0.25)
        text = text_mask(name, m.text)
        for mask, hue, left, y in (
            (swatch, colour, x, top + (m.text - swatch.shape[0]) // 2),
            (text, DIM, x + m.text + m.text // 2, top),
        ):
            layer = np.zeros((height, width), np.float32)
            part = mask[: height - y, : max(0, width - left)]
            layer[y : y + part.shape[0], left : left + part.shape[1]] = part
            layers.append((m.paint(hue), layer))
    return Sprite.of(layers)
