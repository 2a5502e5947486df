"""A network with every kind of head learns as it did; `make_loss_curve.py` makes the curve anew."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="THE GOLDEN LOSS CURVE IS NOT COMPARED: no torch")

_spec = importlib.util.spec_from_file_location("make_loss_curve", Path(__file__).with_name("make_loss_curve.py"))
assert _spec is not None
assert _spec.loader is not None
make_loss_curve = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_loss_curve)


def test_the_loss_curve_is_the_golden_one() -> None:
    stored, got = json.loads(make_loss_curve.STORED.read_text()), make_loss_curve.curve()
    assert got.keys() == stored.keys()
    for name, figures in stored.items():
        assert got[name] == pytest.approx(figures, rel=make_loss_curve.TOLERANCE), name
    assert stored["loss"][-1] < 0.8 * stored["loss"][0]
