"""The recipes in examples/training: each can be read, makes its network, and does what the system it stands for did."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="READY RECIPES ARE NOT TESTED: no torch")

from vidfer.train.multitask.recipe import read_recipe  # noqa: E402
from vidfer.train.networks.registry import build  # noqa: E402

FOLDER = Path(__file__).parents[2] / "examples" / "training"
RECIPES = {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


@pytest.mark.parametrize("name", RECIPES)
def test_a_ready_recipe_makes_its_network(name):
    recipe = read_recipe(RECIPES[name])
    net = build(recipe.network, recipe.heads).eval()
    with torch.no_grad():
        heads = net(torch.zeros(1, net.input_px, net.input_px, 3, dtype=torch.uint8))
    assert set(heads) == set(recipe.heads.names)


def test_they_are_the_earlier_systems():
    read = {name: read_recipe(path) for name, path in RECIPES.items()}
    a, b, c, d, e = (read[f"system_{x}"] for x in ("a", "b", "c", "d_resnet18", "e"))
    assert (len(a.heads.emotion), a.heads.landmarks, a.heads.box) == (7, 478, True)
    assert (a.loop["schedule"], a.loss.landmarks.kind, a.loss.box.kind) == ("plateau", "mse", "smooth_l1")
    assert a.loop["early_stopping"] > 0
    assert (b.network.name, b.network.grey, b.heads.landmarks) == ("separable", True, 68)
    assert (b.loop["optimizer"], b.loop["learning_rate"], b.loop["epochs"]) == ("adam", 7.5e-4, 30)
    assert (b.data.batch_size, b.loss.landmarks.kind) == (32, "mse")
    plain = read["system_c_no_attention"]
    assert (c.network.channel_attention, plain.network.channel_attention) == (True, False)
    assert c.with_loop().as_dict() | {"name": "", "network": {}} == plain.as_dict() | {"name": "", "network": {}}
    assert (c.heads.landmarks, c.loss.emotion.class_weights) == (4, "balanced")
    assert (d.loss.emotion.weight, d.loss.valence_arousal.weight, d.loss.valence_arousal.kind) == (1.0, 0.5, "mse")
    assert (len(d.heads.emotion), read["system_d_mobilenet"].network.name) == (8, "mobilenet_v2")
    assert (len(e.heads.emotion), e.heads.landmarks, e.network.side_px) == (5, 15, 96)


def test_every_recipe_stands_in_the_readme():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}.toml`" in text for name in RECIPES)
