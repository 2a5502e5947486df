"""The tables of the models' README."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("torch")

from vidfer.vision.session import MODELS, load_card

ROOT = Path(__file__).resolve().parents[2]
MODEL_README = ROOT / "vidfer" / "models" / "README.md"


_SPEC = importlib.util.spec_from_file_location("model_figures", ROOT / "benchmarks" / "model_figures.py")
model_figures = sys.modules["model_figures"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(model_figures)


def report(network: str, precision: str) -> dict:
    """What `vidfer train evaluate` prints, as far as the card knows it."""
    found = {
        "network": {"name": network, "precision": precision},
        "figures": load_card(network, precision).details["metrics"],
        "groups": {"turn": {"under 15": {"recall_at_threshold": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 40}}}},
    }
    if network == "face_detector":
        for name, value in list(found["figures"].items()):
            if "threshold" in name and not name.endswith("interval"):
                found["figures"].setdefault(f"{name}_interval", [value, value])
        found["figures"].setdefault(
            "negative_pictures_with_false_faces", {"value": 0.05, "low": 0.01, "high": 0.1, "n": 60}
        )
        return found
    recall = {"neutral": {"value": 0.9, "low": 0.8, "high": 1.0, "n": 9}}
    figure = {"value": 0.25, "low": 0.2, "high": 0.3, "n": 7}
    return (
        found
        | {
            "further": {"affectnet_ece": figure},
            "teachers": {"soft8": {"ferplus_accuracy": figure}, "soft7": {}},
            "labels": {"ferplus_accuracy_of_one_rater": figure, "ferplus_accuracy_of_a_repeat": figure},
            "classes": {"ferplus": {"recall": recall, "labels": ["neutral", "contempt"]}},
        }
        | {"labels": dict.fromkeys([label for of in model_figures._LABELS.values() for label in of], figure)}
    )


def test_every_table_of_the_models_readme_is_made_and_finds_its_place(tmp_path, capsys) -> None:
    speed = {"reference": {}, "networks": {"a": {"network": "n", "input": "i", "precision": "int8"}}}
    speed["networks"]["a"] |= {"gflop": 0.15, "cpu_ms": 0.5, "ratio": 0.4}
    files = []
    for k, content in enumerate([speed, *(report(name, p) for name in MODELS for p in ("float32", "int8"))]):
        files.append(tmp_path / f"{k}.json")
        files[-1].write_text(json.dumps(content))
    readme = tmp_path / "README.md"
    readme.write_text(MODEL_README.read_text())
    model_figures.main([*map(str, files), "--write", str(readme)])
    text = readme.read_text()
    places = re.findall(r"<!-- (\w[\w ]*) -->", MODEL_README.read_text())
    for name in places:
        content = text.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0]
        widths = [line.count("|") for line in content.split("\n\n")[0].strip().splitlines()]
        assert len(widths) >= 3, name
        assert len(set(widths)) == 1, name
    model_figures.main([*map(str, files)])
    assert sorted(re.findall(r"<!-- (\w[\w ]*) -->", capsys.readouterr().out)) == sorted(places)
    assert "| 0.250 |" in text  # the teacher beside the network


def test_a_table_without_a_place_is_refused() -> None:
    with pytest.raises(SystemExit, match="no place for the table 'speed'"):
        model_figures.filled("# Models\n", {"speed": "|"})
    assert model_figures.filled("a\n<!-- t -->\nold\n<!-- /t -->\nb\n", {"t": "new"}) == (
        "a\n<!-- t -->\nnew\n<!-- /t -->\nb\n"
    )
