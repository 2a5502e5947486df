"""Recipes trained to the end: every network, mixed sets, exact resuming, and what is refused before it starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_faces import faces, table

torch = pytest.importorskip("torch", reason="TRAINING WITH RECIPES IS NOT TESTED: no torch")

from vidfer.train import loop  # noqa: E402
from vidfer.train.multitask.recipe import Recipe  # noqa: E402
from vidfer.train.multitask.trained import load_trained  # noqa: E402
from vidfer.train.multitask.training import prepare_training  # noqa: E402
from vidfer.train.networks.registry import NETWORKS  # noqa: E402
from vidfer.types import EMOTIONS  # noqa: E402

HEADS = {"emotion": list(EMOTIONS), "valence_arousal": True, "landmarks": 4, "box": True}
SMALL = {"input_px": 32}


def recipe(**tables: Any) -> Recipe:
    loop_table = {"epochs": 2, "bf16": False, **tables.pop("loop", {})}
    data = {"batch_size": 8, "held_out": 0.2, **tables.pop("data", {})}
    network = {**SMALL, **tables.pop("network", {})}
    return Recipe.from_dict({"heads": HEADS, "network": network, "data": data, "loop": loop_table, **tables})


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    return table(tmp_path_factory.mktemp("data") / "faces.parquet", faces(24))


def evaluations(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / loop.LOG).read_text().splitlines()]
    return [line for line in lines if line["kind"] == "evaluation"]


@pytest.mark.parametrize("name", NETWORKS)
def test_two_epochs_of_every_network(drawn, tmp_path, name):
    side = {"input_px": 64} if name in ("resnet18", "mobilenet_v2") else {}
    training = prepare_training(recipe(network={"name": name, **side}, loop={"steps_per_epoch": 1}), [drawn])
    training.fit(tmp_path)
    for figures in evaluations(tmp_path):
        assert {"score", "accuracy", "macro_f1", "ccc_valence", "ccc_arousal", "nme", "iou"} <= set(figures)
        assert all(np.isfinite(value) for key, value in figures.items() if key != "kind")
    trained = load_trained(tmp_path)
    side = trained.net.input_px
    found = trained.net(torch.zeros(3, side, side, 3, dtype=torch.uint8))
    assert {key: tuple(value.shape) for key, value in found.items()} == {
        "emotion": (3, 8),
        "valence_arousal": (3, 2),
        "landmarks4": (3, 4, 2),
        "box": (3, 4),
    }
