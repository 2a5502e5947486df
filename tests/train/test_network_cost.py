"""What the benchmark of the networks counts."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

from vidfer.vision.session import load_card, model_path

_PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "networks.py"
_SPEC = importlib.util.spec_from_file_location("networks", _PATH)
networks = sys.modules["networks"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(networks)


def test_the_work_of_a_network_is_that_of_its_card() -> None:
    crops = np.zeros((1, 112, 112, 3), np.uint8)
    of_card = load_card("face_analyzer").details["gflop"]
    one = networks.gflop(model_path("face_analyzer"), crops)
    assert one == pytest.approx(of_card, rel=0.01)
    assert networks.gflop(model_path("face_analyzer"), np.repeat(crops, 3, 0)) == pytest.approx(3 * one)


def test_a_twin_counts_what_its_parent_does() -> None:
    measured = networks.run([model_path("face_analyzer"), model_path("face_analyzer", "int8")], 1)
    found = {name: entry["gflop"] for name, entry in measured["networks"].items()}
    assert found["face_analyzer 8 faces"] == found["face_analyzer.int8 8 faces"]
    for entry in measured["networks"].values():
        reference = measured["reference"]["cpu_ms"] / measured["reference"]["gflop"]
        assert entry["ratio"] == pytest.approx(entry["cpu_ms"] / (entry["gflop"] * reference))
