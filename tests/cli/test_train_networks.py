"""`vidfer train networks` says what the networks cost, and so does the documentation."""

import json
import re
from pathlib import Path

import pytest

from vidfer.cli import app as cli

DOCUMENTATION = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


def test_the_table_is_that_of_the_documentation(capsys):
    pytest.importorskip("torch", reason="COSTS OF NETWORKS ARE NOT COUNTED: no torch")
    assert cli.run(["train", "networks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["network", "px", "parameters"]
    told = [line.split()[:5] for line in lines[1:]]
    section = DOCUMENTATION.split("\n## Networks")[1].split("\n## ")[0]
    documented = [[cell.strip("` ") for cell in row.split("|")[1:6]] for row in re.findall(r"^\| `.*$", section, re.M)]
    assert told == documented


def test_json_has_the_same_networks(capsys):
    registry = pytest.importorskip("vidfer.train.networks.registry", reason="NETWORKS ARE NOT TESTED: no torch")
    assert cli.run(["train", "networks", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(registry.NETWORKS)
    assert [row["name"] for row in rows if row["imagenet_weights"]] == ["resnet18", "mobilenet_v2"]
    assert all(row["parameters"] < row["parameters_with_attention"] for row in rows)
    assert all("arXiv" in row["source"] and row["about"] for row in rows)


def test_every_key_of_the_loop_is_documented():
    loop_config = pytest.importorskip("vidfer.train.loop_config")
    section = DOCUMENTATION.split("\n## The loop")[1]
    missing = [name for name in loop_config.LoopConfig.__dataclass_fields__ if f"`{name}`" not in section]
    assert missing == []
