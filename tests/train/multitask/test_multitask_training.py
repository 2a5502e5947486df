"""Recipes trained to the end: every network, mixed sets, exact resuming, and what is refused before it starts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_faces import faces, table, without

torch = pytest.importorskip("torch", reason="TRAINING WITH RECIPES IS NOT TESTED: no torch")

from vidfer.errors import DataError  # noqa: E402
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


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> list[Path]:
    """Three sets, none of which has all labels."""
    folder = tmp_path_factory.mktemp("mixed")
    return [
        table(folder / "emotions.parquet", without(faces(16, set_name="a"), "points", "valence_arousal", "box")),
        table(folder / "affect.parquet", without(faces(8, set_name="b"), "points", "emotion")),
        table(folder / "points.parquet", without(faces(12, set_name="c"), "emotion", "valence_arousal")),
    ]


LEARNING = {
    "network": {"name": "separable"},
    "augment": {"flip": 0, "erase": 0, "low_resolution": 0, "blur": 0, "rotation": 3, "colour": 0, "grey": 0},
    "loop": {"epochs": 6, "steps_per_epoch": 5, "learning_rate": 1.5e-3, "ema_decay": 0.9},
    "loss": {"valence_arousal": {"kind": "mse"}},
    "data": {"batch_size": 16, "held_out": 0.25},
}


def test_sets_with_different_labels_are_learned_together(mixed, tmp_path):
    training = prepare_training(recipe(**LEARNING), mixed)
    assert "labels: emotion 12, valence_arousal 6, landmarks 9, box 15" in training.notes
    training.fit(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / loop.LOG).read_text().splitlines()]
    losses = [line for line in lines if line["kind"] == "epoch"]
    for part in ("emotion", "valence_arousal", "landmarks4", "box"):
        assert losses[-1][part] < 0.8 * losses[0][part], part
    first, last = evaluations(tmp_path)[0], evaluations(tmp_path)[-1]
    assert last["nme"] < first["nme"]
    assert last["iou"] > first["iou"]


def test_a_teacher_is_learned_from_where_nobody_said_anything(tmp_path):
    rows = without(faces(24), "emotion", "valence_arousal", "points", "box")
    teacher = {"weight": 1.0, "valence_arousal_weight": 0.5}
    heads = {"emotion": list(EMOTIONS), "valence_arousal": True}
    short = {**LEARNING["loop"], "epochs": 3}
    taught = recipe(**{**LEARNING, "heads": heads, "loss": {"distillation": teacher}, "loop": short})
    prepare_training(taught, [table(tmp_path / "t.parquet", rows)]).fit(tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / loop.LOG).read_text().splitlines()]
    losses = [line for line in lines if line["kind"] == "epoch"]
    assert losses[-1]["teacher"] < 0.9 * losses[0]["teacher"]
    assert losses[-1]["emotion"] == 0  # there is no label but the teacher's
    assert {"accuracy", "ccc_valence"} <= set(evaluations(tmp_path / "run")[-1])


def test_batches_are_the_same_whatever_is_kept_in_memory(drawn):
    made = []
    for memory in (0, 1000):
        task = prepare_training(recipe(data={"memory_mb": memory, "sampling": "balanced"}), [drawn]).task
        made.append(list(task.batches(3, 11)))
    assert len(made[0]) == 3
    for few, all_ in zip(*made, strict=True):
        assert all(torch.equal(few[name].nan_to_num(), all_[name].nan_to_num()) for name in few)


def test_classes_that_no_row_has_are_named(drawn, tmp_path):
    assert not [note for note in prepare_training(recipe(), [drawn]).notes if "never learned" in note]
    few = table(tmp_path / "t.parquet", faces(24, ("neutral", "fear")))
    (note,) = (note for note in prepare_training(recipe(), [few]).notes if "never learned" in note)
    assert note.endswith("since no row has it: happiness, sadness, surprise, disgust, anger, contempt")


def test_labels_that_the_score_cannot_count_are_named(drawn, tmp_path):
    assert not [note for note in prepare_training(recipe(), [drawn]).notes if "score leaves out" in note]
    rows = faces(24)
    held = prepare_training(recipe(), [drawn]).task.held.group.tolist()
    boxless = [row if row.group not in held else without([row], "box")[0] for row in rows]
    (note,) = (n for n in prepare_training(recipe(), [table(tmp_path / "t.parquet", boxless)]).notes if "leaves" in n)
    assert note == "no held-out row tells box, which the score leaves out then: raise data.held_out"


def test_another_epoch_or_seed_draws_other_batches(drawn):
    task = prepare_training(recipe(), [drawn]).task
    first, epoch, seed = (next(task.batches(*numbers))["image"] for numbers in ((0, 1), (1, 1), (0, 2)))
    assert not torch.equal(first, epoch)
    assert not torch.equal(first, seed)


def test_the_seed_decides_the_first_weights(drawn):
    nets = [prepare_training(recipe(loop={"seed": seed}), [drawn]).task.net.state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(a, b) for a, b in zip(nets[0].values(), nets[1].values(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(nets[0].values(), nets[2].values(), strict=True))


def test_a_run_needs_its_first_weights_no_more(drawn, tmp_path):
    from safetensors.torch import save_file

    from vidfer.train.networks.registry import build

    plain = recipe(network={"name": "mobilenet_v2", "input_px": 64}, loop={"steps_per_epoch": 1, "epochs": 1})
    trunk = build(plain.network, plain.heads).trunk.state_dict()
    path = tmp_path / "imagenet.safetensors"
    save_file({name: value.contiguous() for name, value in trunk.items()}, path)
    begun = replace(plain, network=replace(plain.network, weights=path))
    prepare_training(begun, [drawn]).fit(tmp_path / "run")
    path.unlink()
    trained = load_trained(tmp_path / "run")
    assert trained.recipe.network.weights == Path("imagenet.safetensors")
    assert float(trained.net.pixels.mean[0]) == pytest.approx(123.675)


def test_figures_are_those_of_the_rows_that_have_the_labels(mixed):
    task = prepare_training(recipe(data={"held_out": 0.5}), mixed).task

    class Perfect(torch.nn.Module):
        """Says the truth about the held-out rows, in their order; where there is none, something else."""

        def __init__(self):
            super().__init__()
            self.at = torch.nn.Parameter(torch.zeros(1))
            self.truth = task._check.crops(np.arange(len(task.held)), task._check_transform)

        def forward(self, image):
            assert len(image) == len(task.held)
            names = {"landmarks4": "landmarks"}
            said = {
                name: self.truth[names.get(name, name)] for name in ("emotion", "valence_arousal", "landmarks4", "box")
            }
            return {name: torch.nan_to_num(torch.from_numpy(values), 0.3) for name, values in said.items()}

    figures = task.evaluate(Perfect())
    assert figures["accuracy"] == figures["macro_f1"] == 1
    assert figures["ccc_valence"] == pytest.approx(1)
    assert figures["nme"] == pytest.approx(0, abs=1e-5)
    assert figures["iou"] == pytest.approx(1)
    assert figures["score"] == pytest.approx(1, abs=1e-4)


def test_what_chooses_the_weights_asks_where_the_box_is(drawn):
    task = prepare_training(recipe(heads={"box": True}, data={"held_out": 0.8}), [drawn]).task
    middle = task._check.crops(np.arange(len(task.held)), task._check_transform)["box"].mean(0)

    class Same(torch.nn.Module):
        """Says the same box for every crop."""

        def __init__(self):
            super().__init__()
            self.at = torch.nn.Parameter(torch.from_numpy(middle))

        def forward(self, image):
            return {"box": self.at.expand(len(image), 4)}

    assert task.evaluate(Same())["iou"] < 0.93


def test_nothing_to_choose_the_best_weights_by_is_said_before_training(tmp_path):
    path = table(tmp_path / "t.parquet", faces(3))
    with pytest.raises(DataError, match=r"too few of the held-out rows have labels .* raise data\.held_out"):
        prepare_training(recipe(heads={"valence_arousal": True}), [path])
