"""Which of the packaged networks is loaded, and whether it can be trusted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vidfer.errors import ModelError, UsageError
from vidfer.pipeline.options import ProcessOptions
from vidfer.vision import session

TWINS = [name for name in session.MODELS if session.has_twin(name)]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sessions that load nothing: what works on this machine, and whether the twins passed, is up to the test."""

    def prepare(*, vnni: bool = True, listed: bool = False, works: bool = False, passed: bool = True) -> None:
        class Fake:
            def __init__(self, path: Any, *, device: str = "auto", threads: int = 1) -> None:
                self.name = path.name
                self.provider = "cuda" if device != "cpu" and works else "cpu"
                self.card = SimpleNamespace(details={"default": passed})

        monkeypatch.setattr(session, "Session", Fake)
        monkeypatch.setattr(session, "has_vnni", lambda: vnni)
        monkeypatch.setattr(session, "has_twin", lambda name: True)
        monkeypatch.setattr(session, "available_providers", lambda: ["cuda", "cpu"] if listed else ["cpu"])

    return prepare


@pytest.mark.parametrize(
    ("machine", "asked", "loaded"),
    [
        ({}, {}, "face_detector.int8.onnx"),
        ({}, {"device": "cpu"}, "face_detector.int8.onnx"),
        ({"passed": False}, {}, "face_detector.onnx"),
        ({"passed": False}, {"precision": "int8"}, "face_detector.int8.onnx"),
        ({"vnni": False}, {}, "face_detector.onnx"),
        ({"vnni": False}, {"precision": "int8"}, "face_detector.int8.onnx"),
        ({}, {"precision": "float32"}, "face_detector.onnx"),
        ({"listed": True, "works": True}, {}, "face_detector.onnx"),
        ({"listed": True, "works": True}, {"device": "cpu"}, "face_detector.int8.onnx"),
        ({"listed": True, "works": True}, {"precision": "int8"}, "face_detector.int8.onnx"),
        ({"listed": True, "works": True}, {"device": "cuda"}, "face_detector.onnx"),
        ({"listed": True, "works": False}, {}, "face_detector.int8.onnx"),
    ],
)
def test_what_is_loaded(loads: Any, machine: dict[str, bool], asked: dict[str, str], loaded: str) -> None:
    loads(**machine)
    found: Any = session.load("face_detector", **asked)
    assert found.name == loaded


def test_int8_is_refused_on_cuda() -> None:
    with pytest.raises(UsageError, match="runs on the CPU"):
        session.load("face_detector", device="cuda", precision="int8")


@pytest.mark.parametrize("precision", ["int4", "", "FLOAT32"])
def test_unknown_precisions_are_refused(precision: str) -> None:
    with pytest.raises(UsageError, match="choose one of auto, float32, int8"):
        session.load("face_detector", precision=precision)
    with pytest.raises(UsageError, match="choose one of auto, float32, int8"):
        ProcessOptions(precision=precision)


def test_precision_is_no_option_that_decides_the_table_but_the_network_is() -> None:
    assert "precision" not in ProcessOptions(precision="int8").deciding()


@pytest.mark.parametrize("name", TWINS)
def test_a_damaged_twin_is_not_run(name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (
        session.model_path(name),
        session.model_path(name, "int8"),
        session.model_path(name).parent / session.SUMS,
    ):
        shutil.copy(path, tmp_path)
    twin = tmp_path / session.model_path(name, "int8").name
    twin.write_bytes(twin.read_bytes()[:-1] + b"?")
    monkeypatch.setattr(session, "_FOLDER", tmp_path)
    with pytest.raises(ModelError, match=r"int8.onnx is damaged: its sha256"):
        session.load(name, precision="int8")


@pytest.mark.parametrize("name", TWINS)
def test_packaged_twins_belong_to_their_parents_and_may_be_the_default(name: str) -> None:
    parent, twin = session.load_card(name), session.load_card(name, "int8")
    assert (parent.precision, twin.precision) == ("float32", "int8")
    assert (twin.name, twin.version) == (parent.name, f"{parent.version}+int8")
    assert twin.details["parent_sha256"] == parent.sha256
    assert set(twin.details["lost"]) <= set(twin.details["metrics"]) == set(parent.details["metrics"])
    assert twin.details["default"] == (max(twin.details["lost"].values()) < 0.005)
    assert twin.details["calibrated_on"]["split"] == "train"
    assert len(json.dumps(twin.details)) < 20000


@pytest.mark.parametrize("precision", ["float32", *(["int8"] if TWINS else [])])
def test_a_face_gets_the_same_whatever_its_batch_and_its_thread(precision: str) -> None:
    network = session.load("face_analyzer", device="cpu", precision=precision)
    crops = np.random.default_rng(0).integers(0, 256, (8, 112, 112, 3), dtype=np.uint8)
    together = network.run({"image": crops})
    found: dict[int, dict[str, Any]] = {}

    def look(start: int) -> None:
        for i in range(start, 8, 2):
            found[i] = network.run({"image": crops[i : i + 1]})

    threads = [threading.Thread(target=look, args=(start,)) for start in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, values in together.items():
        alone = np.concatenate([found[i][name] for i in range(8)])
        # Only the order of a head's float32 sums may differ.
        np.testing.assert_allclose(alone, values, rtol=1e-5, atol=1e-4, err_msg=name)


def test_nothing_is_sent_and_no_id_is_kept(tmp_path: Any) -> None:
    """ONNX Runtime would; under test and in CI it does not, so that this has an environment of its own."""
    code = "from vidfer.vision.session import load; load('face_detector')"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.rglob("*")) == []
