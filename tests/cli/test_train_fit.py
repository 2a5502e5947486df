"""`vidfer train fit RECIPE.toml`: a run from tables, gone on with after Ctrl-C, and what is refused."""

from __future__ import annotations

import json
import os
import signal

import pytest
from drawn_faces import faces, table, without

from vidfer.cli import app as cli

torch = pytest.importorskip("torch", reason="TRAINING WITH RECIPES IS NOT TESTED: no torch")

RECIPE = """
[network]
name = "separable"
input_px = 32
[heads]
emotion = ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger"]
landmarks = 4
[augment]
mixup = 0.3
[data]
batch_size = 8
held_out = 0.2
sampling = "balanced"
[loop]
epochs = 3
steps_per_epoch = 2
optimizer = "sgd"
schedule = "plateau"
"""


@pytest.fixture
def folder(tmp_path):
    table(tmp_path / "faces.parquet", faces(24))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def fit(folder, run="run", *options):
    data = ["--data", str(folder / "faces.parquet")]
    return cli.run(["train", "fit", str(folder / "recipe.toml"), *data, "--run", str(folder / run), *options])


def weights(folder, which):
    from safetensors.torch import load_file

    return load_file(folder / f"{which}.safetensors")


def test_a_run_tells_what_it_learns_from_and_what_came_of_it(folder, capfd):
    assert fit(folder) == 0
    out, err = capfd.readouterr()
    best = json.loads(out)["best"]
    assert {"epoch", "score", "accuracy", "macro_f1", "nme"} == set(best)
    assert "learning from" in err
    assert "not learned by 3 rows: emotion: contempt is no class of heads.emotion" in err
    assert err.count("held out: score") == 3
    from vidfer.train.multitask.trained import load_trained

    assert load_trained(folder / "run").recipe.heads.landmarks == 4


def test_quiet_runs_print_their_figures_alone(folder, capfd):
    assert fit(folder, "run", "--quiet", "--epochs", "1", "--seed", "5", "--threads", "1") == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert json.loads(out)["best"]["epoch"] == 1
    config = json.loads((folder / "run" / "state.json").read_text())["config"]
    assert (config["epochs"], config["seed"], config["threads"]) == (1, 5, 1)


@pytest.mark.parametrize("stopped_in", [1, 5])
def test_a_run_that_was_stopped_ends_with_the_weights_of_one_that_was_not(folder, stopped_in, monkeypatch, capfd):
    from vidfer.train.multitask.task import RecipeTask

    assert fit(folder, "whole") == 0
    capfd.readouterr()
    calls, loss = [], RecipeTask.loss

    def interrupted(self, model, batch):
        calls.append(len(batch))
        if len(calls) == stopped_in:
            os.kill(os.getpid(), signal.SIGINT)
        return loss(self, model, batch)

    monkeypatch.setattr(RecipeTask, "loss", interrupted)
    assert fit(folder, "cut") == 130
    epochs = (stopped_in - 1) // 2
    says = f"interrupted after epoch {epochs}: the same command with --resume goes on" if epochs else "before the first"
    assert says in capfd.readouterr().err
    monkeypatch.setattr(RecipeTask, "loss", loss)
    assert fit(folder, "cut", "--resume") == 0
    for which in ("last", "best"):
        whole, cut = weights(folder / "whole", which), weights(folder / "cut", which)
        assert whole.keys() == cut.keys()
        assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_a_run_is_gone_on_with_by_what_it_was_begun_with(folder, capfd):
    assert fit(folder, "run", "--epochs", "1") == 0
    capfd.readouterr()
    (folder / "faces.parquet").rename(folder / "away")  # it is not read before that is known
    assert fit(folder, "run") == 2
    assert "holds a training run already" in capfd.readouterr().err
    assert fit(folder, "run", "--resume", "--seed", "3") == 2
    assert "seed=3 (was 0)" in capfd.readouterr().err
    (folder / "recipe.toml").write_text(RECIPE.replace("mixup = 0.3", "mixup = 0.1"))
    assert fit(folder, "run", "--resume") == 2
    assert "another recipe: give what it had" in capfd.readouterr().err
    (folder / "recipe.toml").write_text(RECIPE.replace("steps_per_epoch = 2", "steps_per_epoch = 3"))
    assert fit(folder, "run", "--resume") == 2
    assert "steps_per_epoch=3 (was 2)" in capfd.readouterr().err
    (folder / "recipe.toml").write_text(RECIPE)
    table(folder / "faces.parquet", faces(25))
    assert fit(folder, "run", "--resume") == 2
    assert "another data: give what it had" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("recipe", "rows", "options", "code", "says"),
    [
        (RECIPE.replace("[loop]", "[loop]\nepoch = 1"), faces(8), (), 2, "did you mean 'loop.epochs'?"),
        (RECIPE, without(faces(8), "points"), (), 3, "heads asks for landmarks, but no row has such a label"),
        (RECIPE.replace("landmarks = 4", "landmarks = 68"), faces(8), (), 3, "8 with 4 points"),
        (RECIPE, faces(8, split="val"), (), 3, "no rows of split train"),
        (RECIPE, faces(1), (), 3, "of too few groups"),
        (RECIPE.replace("input_px = 32", "input_px = 33"), faces(8), (), 2, "multiple of"),
        (RECIPE, faces(8), ("--device", "nowhere"), 2, "device 'nowhere' cannot be used"),
        ("heads = {", faces(8), (), 3, "is no TOML"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_one_line(tmp_path, capfd, recipe, rows, options, code, says):
    table(tmp_path / "faces.parquet", rows)
    (tmp_path / "recipe.toml").write_text(recipe)
    assert fit(tmp_path, "run", "--quiet", *options) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert says in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_run_whose_steps_follow_from_its_rows_is_gone_on_with(folder):
    (folder / "recipe.toml").write_text(RECIPE.replace("steps_per_epoch = 2", ""))
    assert fit(folder, "run", "--epochs", "1", "--quiet") == 0
    assert fit(folder, "run", "--resume", "--epochs", "2", "--quiet") == 0
    assert json.loads((folder / "run" / "state.json").read_text())["epoch"] == 2


def test_a_folder_of_the_user_stays_though_training_cannot_begin(folder):
    (folder / "mine").mkdir()
    (folder / "faces.parquet").write_bytes(b"x")
    assert fit(folder, "mine/run") == 3
    assert list((folder / "mine").iterdir()) == []


def test_a_file_in_place_of_the_folder_of_the_run_is_one_line(folder, capfd):
    assert fit(folder, "recipe.toml") == 1
    assert "cannot make the folder" in capfd.readouterr().err


def test_a_network_that_tells_no_numbers_has_no_best_weights(folder, monkeypatch, capfd):
    from vidfer.train.networks.registry import MultiTaskNet

    forward = MultiTaskNet.forward

    def broken(self, image):
        found = forward(self, image)
        return found if self.training else {name: values * float("nan") for name, values in found.items()}

    monkeypatch.setattr(MultiTaskNet, "forward", broken)
    assert fit(folder, "run", "--epochs", "1") == 3
    err = capfd.readouterr().err
    assert "has no score after epoch 1" in err
    assert err.splitlines()[-1].endswith("was never a number; lower the learning rate")
    assert not (folder / "run" / "best.safetensors").exists()


def test_what_is_no_recipe_is_named(folder, capfd):
    assert cli.run(["train", "fit", "face_analyser", "--data", "x", "--run", "y"]) == 2
    assert "allowed are a recipe (a file that ends in .toml), face_detector and face_analyzer" in capfd.readouterr().err
    assert cli.run(["train", "fit", "none.toml", "--data", "x", "--run", "y"]) == 3
    assert "none.toml cannot be read: No such file" in capfd.readouterr().err


def test_the_packaged_networks_take_one_folder_and_no_device(tmp_path, capfd):
    two = ["--data", str(tmp_path), "--data", str(tmp_path)]
    assert cli.run(["train", "fit", "face_detector", *two, "--run", str(tmp_path / "run")]) == 2
    assert "is trained on one folder" in capfd.readouterr().err
    line = ["--data", str(tmp_path), "--run", str(tmp_path / "run"), "--device", "cuda"]
    assert cli.run(["train", "fit", "face_analyzer", *line]) == 2
    assert "--device is for recipes" in capfd.readouterr().err


def test_a_run_that_stops_early_says_why(folder, monkeypatch, capfd):
    from vidfer.train.multitask.task import RecipeTask

    monkeypatch.setattr(RecipeTask, "evaluate", lambda self, model: {"score": 0.5})
    (folder / "recipe.toml").write_text(RECIPE + "early_stopping = 1\n")
    assert fit(folder) == 0
    out, err = capfd.readouterr()
    assert "stopped early after epoch 2: no better score since epoch 1" in err
    assert json.loads(out)["best"] == {"epoch": 1, "score": 0.5}


def test_the_line_tells_where_it_is_with_every_loss():
    from vidfer.cli.train.fit import describe
    from vidfer.train.loop import TrainingProgress

    now = TrainingProgress(
        task="mine", stage="train", epoch=3, epochs=40, step=12, steps=100,
        losses={"loss": 1.25, "emotion": 1, "box": 0.25}, learning_rate=0.0015,
        steps_per_second=2.5, seconds_left=754.0, best_score=0.51234,
    )  # fmt: skip
    assert describe(now) == (
        "mine: epoch 3/40 step 12/100 · loss 1.25 (emotion 1, box 0.25) · lr 0.0015 · 2.5 steps/s · 12:34 left · "
        "best score 0.5123"
    )


@pytest.mark.parametrize(
    ("network", "function"), [("face_detector", "detector_run.fit_detector"), ("face_analyzer", "faces_run.fit_faces")]
)
def test_the_packaged_networks_are_watched_and_stopped_likewise(network, function, tmp_path, monkeypatch, capfd):
    from vidfer.train.loop import TrainingProgress

    def fit(*args, progress, **kwargs):
        now = TrainingProgress(
            task=network, stage="train", epoch=1, epochs=2, step=1, steps=3, losses={"loss": 0.5}, learning_rate=0.1,
            steps_per_second=1.0, seconds_left=5.0, best_score=None,
        )  # fmt: skip
        progress(now)
        os.kill(os.getpid(), signal.SIGTERM)

    for name in ("faces.parquet", "scenes.parquet", "mesh_basis.npz"):
        (tmp_path / name).touch()
    monkeypatch.setattr(f"vidfer.train.{function}", fit)
    monkeypatch.setattr("vidfer.cli.progress._SPARSE_S", 0.0)
    assert cli.run(["train", "fit", network, "--data", str(tmp_path), "--run", str(tmp_path / "run")]) == 143
    shown, end = capfd.readouterr().err.splitlines()
    assert shown == f"{network}: epoch 1/2 step 1/3 · loss 0.5 · lr 0.1 · 1.0 steps/s · 0:05 left"
    assert end.startswith("vidfer: interrupted before the first epoch ended")
