"""Hiding faces: nothing of them is left, wherever they are, and nothing else changes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vidfer.output.mosaic import hide_all, hide_faces, without_faces


def planes(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return (
        random.integers(0, 256, (144, 176), np.uint8),
        random.integers(0, 256, (72, 88), np.uint8),
        random.integers(0, 256, (72, 88), np.uint8),
    )


@given(st.floats(-60, 180), st.floats(-60, 150), st.floats(1, 200), st.floats(1, 200), st.integers(0, 99))
def test_the_whole_box_becomes_a_few_shades(x: float, y: float, wide: float, high: float, seed: int) -> None:
    before, after = planes(seed), planes(seed)
    hide_faces(after, [(x, y, x + wide, y + high)])
    for old, new, scale in zip(before, after, (1.0, 0.5, 0.5), strict=True):
        height, width = new.shape
        left, top = max(0, int(np.ceil(x * scale))), max(0, int(np.ceil(y * scale)))
        right, bottom = min(width, int((x + wide) * scale)), min(height, int((y + high) * scale))
        box = new[top:bottom, left:right] if right > left and bottom > top else new[:0, :0]
        # Shades are the same for all that looks alike from afar: no pixel of the noise is left.
        assert ((box % 8 == 0) | (box == 255)).all()
        if min(box.shape) >= 12:
            rows = (np.diff(box.astype(int), axis=0) != 0).any(axis=1).sum()
            columns = (np.diff(box.astype(int), axis=1) != 0).any(axis=0).sum()
            cells = 6 * max(wide, high) / min(wide, high) + 6
            assert rows <= cells
            assert columns <= cells
        far_y, far_x = np.ogrid[:height, :width]
        reach_x, reach_y = max(wide * 0.9, 14) * scale + 2, max(high * 0.9, 14) * scale + 2
        outside = (np.abs(far_x - (x + wide / 2) * scale) > reach_x) | (
            np.abs(far_y - (y + high / 2) * scale) > reach_y
        )
        assert (old[outside] == new[outside]).all()


def test_pictures_in_rgb_are_copied_and_hidden_in_all_their_colours() -> None:
    image = np.random.default_rng(0).integers(0, 256, (144, 176, 3), np.uint8)
    before = image.copy()
    hidden = without_faces(image, [(40, 30, 90, 100), (100, 20, 130, 60)])
    assert (image == before).all()
    assert not hidden.flags.writeable
    for box in (hidden[30:100, 40:90], hidden[20:60, 100:130]):
        assert ((box % 8 == 0) | (box == 255)).all()
    assert (hidden[:, :20] == image[:, :20]).all()


def test_hiding_twice_and_hiding_all() -> None:
    picture = planes(0)
    hide_all(picture)
    for plane in picture:
        assert len(np.unique(plane)) <= 42
        assert (np.diff(plane.astype(int), axis=1) != 0).any(axis=0).sum() <= 8
