"""The overlay looks as it did when somebody last looked at it; `make_overlay.py` makes the pictures anew."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

_spec = importlib.util.spec_from_file_location("make_overlay", Path(__file__).with_name("make_overlay.py"))
assert _spec is not None
assert _spec.loader is not None
make_overlay = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_overlay)


@pytest.mark.parametrize("name", ["overlay_176x144", "overlay_400x256"])
def test_overlay_is_the_golden_one(name: str) -> None:
    stored = cv2.imread(str(make_overlay.HERE / f"{name}.png"))
    assert stored is not None
    wanted = cv2.cvtColor(stored, cv2.COLOR_BGR2RGB).astype(int)
    got = make_overlay.pictures()[name].astype(int)
    # Another version of OpenCV may round soft edges otherwise; a moved label or another colour is far beyond this.
    assert np.abs(got - wanted).mean() < 0.3
    assert (np.abs(got - wanted).max(axis=2) > 60).mean() < 0.002
