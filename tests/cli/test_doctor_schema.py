"""`vidfer doctor` and `vidfer schema`."""

import json

import pytest

from vidfer.cli import app as cli


def test_doctor_says_that_all_is_well(capfd):
    assert cli.run(["doctor"]) == 0
    out = capfd.readouterr().out
    assert "face_detector" in out
    assert "face_analyzer" in out
    assert out.splitlines()[-1] == "All is well."


def test_doctor_as_json(capfd):
    assert cli.run(["doctor", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["problems"] == []
    assert [(card["name"], card["precision"]) for card in found["models"]] == [
        (name, precision) for name in ("face_detector", "face_analyzer") for precision in ("float32", "int8")
    ]
    assert all(
        card["licence"] and card["metrics"] and card["command"] and len(card["sha256"]) == 64
        for card in found["models"]
    )
    assert found["inference"]["used"] in ("cpu", "cuda")


@pytest.mark.parametrize(
    ("owners", "words"),
    [
        (
            {"cv2": ["opencv-python-headless", "opencv-contrib-python"]},
            "opencv-contrib-python and opencv-python-headless",
        ),
        ({"onnxruntime": ["onnxruntime", "onnxruntime-gpu"]}, "onnxruntime and onnxruntime-gpu overwrite"),
    ],
)
def test_doctor_warns_of_packages_that_overwrite_each_other(owners, words, monkeypatch, capfd):
    monkeypatch.setattr("importlib.metadata.packages_distributions", lambda: owners)
    assert cli.run(["doctor"]) == 0
    assert words in capfd.readouterr().out


def test_doctor_names_a_missing_network(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("vidfer.vision.session._FOLDER", tmp_path)
    assert cli.run(["doctor"]) == 1
    out = capfd.readouterr().out
    assert out.count("PROBLEM") == 2
    assert "face_analyzer.onnx" in out


@pytest.mark.parametrize("table", ["observations", "tracks", "run", "training_faces", "job"])
def test_schema(table, capfd):
    assert cli.run(["schema", table, "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    names = [column["name"] for column in document.get("columns", ())] or list(document["properties"])
    assert cli.run(["schema", table]) == 0
    described = capfd.readouterr().out
    assert all(f"  {name}" in described for name in names)


def test_schema_without_a_name_is_everything(capfd):
    assert cli.run(["schema", "--json"]) == 0
    assert list(json.loads(capfd.readouterr().out)) == ["observations", "tracks", "run", "training_faces", "job"]
