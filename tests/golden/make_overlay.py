"""Makes the golden pictures of the overlay; look at them before they are committed.

Run from the repository: ``python tests/golden/make_overlay.py``.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from vidfer.output.overlay import OverlayFace, draw
from vidfer.types import DETECTED, EMOTIONS, PREDICTED, TRACKED, U8

HERE = Path(__file__).parent


def background(width: int, height: int) -> U8:
    """Patches of dark, bright and coloured ground."""
    colours = np.array([(40, 42, 48), (205, 200, 190), (120, 90, 70), (60, 90, 130), (150, 150, 150)], np.uint8)
    y, x = np.mgrid[0:height, 0:width] // 48
    return colours[(x + 2 * y) % len(colours)]


def face(
    face_id: int, box: tuple[float, float, float, float], label: str, sure: float, status: int, dots: bool
) -> OverlayFace:
    """A made-up face; its landmarks lie on a spiral."""
    probabilities = np.full(8, (1 - sure) / 7, np.float32)
    probabilities[EMOTIONS.index(label)] = sure
    turn = np.arange(68) / 68
    spiral = np.stack([np.cos(20 * turn), np.sin(20 * turn)], axis=1) * turn[:, None] * 0.45 + 0.5
    x0, y0, x1, y1 = box
    return OverlayFace(
        face_id=face_id,
        box_px=box,
        status=status,
        label=label,
        probabilities=probabilities,
        valence=float(np.cos(face_id)) * 0.8,
        arousal=float(np.sin(face_id)) * 0.8,
        landmarks=(spiral * (x1 - x0, y1 - y0) + (x0, y0)).astype(np.float32) if dots else None,
    )


def pictures() -> dict[str, U8]:
    """The golden pictures by name."""
    small = [face(0, (62.3, 38.6, 118.2, 108.1), "happiness", 0.87, DETECTED, dots=False)]
    rows = [
        face(0, (30.5, 60.2, 130.8, 190.4), "sadness", 0.62, DETECTED, dots=True),
        face(1, (150.0, 40.0, 215.5, 120.9), "anger", 0.93, TRACKED, dots=False),
        face(12, (205.4, 60.0, 260.2, 130.5), "surprise", 0.41, DETECTED, dots=False),
        face(3, (300.0, 10.0, 372.0, 96.0), "neutral", 0.99, DETECTED, dots=False),
        face(4, (250.0, 150.0, 330.0, 245.0), "fear", 0.5, PREDICTED, dots=False),
        face(105, (340.0, 170.0, 430.0, 260.0), "contempt", 0.34, DETECTED, dots=False),
    ]
    return {
        "overlay_176x144": draw(background(176, 144), small),
        "overlay_400x256": draw(background(400, 256), rows),
    }


if __name__ == "__main__":
    for name, image in pictures().items():
        cv2.imwrite(str(HERE / f"{name}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
