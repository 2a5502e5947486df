"""Runs of recipes are loaded as what they are, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="RUNS OF RECIPES ARE NOT TESTED: no torch")

from vidfer.errors import DataError  # noqa: E402
from vidfer.train import loop  # noqa: E402
from vidfer.train.multitask.recipe import Recipe  # noqa: E402
from vidfer.train.multitask.trained import load_trained  # noqa: E402
from vidfer.train.networks.registry import build  # noqa: E402

RECIPE = Recipe.from_dict(
    {"network": {"name": "fast", "input_px": 32}, "heads": {"emotion": ["neutral", "fear"]}, "loop": {"epochs": 1}}
)


class _Task:
    name = "tiny"

    def __init__(self, recipe: Recipe = RECIPE) -> None:
        torch.manual_seed(0)
        self.model = build(recipe.network, recipe.heads)

    def batches(self, epoch, generator_seed):
        yield torch.zeros(2, 32, 32, 3, dtype=torch.uint8)

    def loss(self, model, batch):
        return {"emotion": model(batch)["emotion"].square().mean()}

    def evaluate(self, model):
        return {"score": 1.0}


def run(folder: Path, recipe: Recipe | None = RECIPE) -> None:
    settings = {"recipe": {k: v for k, v in recipe.as_dict().items() if k != "loop"}} if recipe else None
    loop.fit(_Task(), RECIPE.loop_config(rows=2), folder, settings=settings)


@pytest.mark.parametrize("which", ["best", "last"])
def test_a_run_is_loaded_with_its_recipe(tmp_path, which):
    run(tmp_path)
    trained = load_trained(tmp_path, which)
    assert trained.recipe.heads == RECIPE.heads
    assert trained.recipe.loop["epochs"] == 1
    assert not trained.net.training
    stored, _ = loop.read_weights(tmp_path, which)
    assert all(torch.equal(value, stored[name]) for name, value in trained.net.state_dict().items())


def test_a_folder_without_a_run_of_a_recipe_is_one_line(tmp_path):
    with pytest.raises(DataError, match="holds no best weights of a run"):
        load_trained(tmp_path)
    run(tmp_path, None)
    with pytest.raises(DataError, match="a run of tiny, which no recipe made"):
        load_trained(tmp_path)


def test_weights_of_another_network_are_refused(tmp_path):
    other = Recipe.from_dict({**RECIPE.as_dict(), "heads": {"emotion": ["neutral", "fear", "anger"]}, "loss": {}})
    run(tmp_path, other)
    with pytest.raises(DataError, match="of another network than its recipe"):
        load_trained(tmp_path)
