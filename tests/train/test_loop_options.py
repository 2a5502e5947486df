"""Every optimizer and schedule of the loop: what resuming keeps, when training stops, what is told meanwhile."""

from __future__ import annotations

import json
import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="THE TRAINING LOOP IS NOT TESTED: no torch")

from vidfer.errors import DataError, ModelError, OutputError, UsageError  # noqa: E402
from vidfer.train import checkpoint, loop  # noqa: E402
from vidfer.train.optimizing import bfloat16_helps  # noqa: E402

CONFIG = loop.LoopConfig(
    epochs=5,
    steps_per_epoch=4,
    warmup_steps=4,
    learning_rate=0.01,
    ema_decay=0.9,
    bf16=False,
    plateau_patience=1,
    plateau_factor=0.5,
)


class _Task:
    """Where a picture is bright, through convolutions whose weights lie in memory as those of networks do."""

    name = "tiny pictures"

    def __init__(self, *, stop_in: int | None = None, scores: tuple[float, ...] | None = None, width: int = 8) -> None:
        torch.manual_seed(0)
        layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, width, 3, bias=False),
            torch.nn.BatchNorm2d(width),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.1),
            torch.nn.Conv2d(width, 6, 3, groups=2),
            torch.nn.Flatten(),
            torch.nn.Linear(96, 2),
        )
        self.model = layers.to(memory_format=torch.channels_last)
        self.evaluations = 0
        self._stop_in, self._scores = stop_in, scores

    def batches(self, epoch: int, generator_seed: int) -> Iterator[Any]:
        generator = torch.Generator().manual_seed(generator_seed)
        while epoch != self._stop_in:
            yield torch.rand(6, 8, 8, 3, generator=generator)

    def loss(self, model: Any, batch: Any) -> dict[str, Any]:
        found = model(batch.permute(0, 3, 1, 2))
        return {
            "mean": (found[:, 0] - batch.mean((1, 2, 3))).float().square().mean(),
            "corner": 0.5 * (found[:, 1] - batch[:, 0, 0, 0]).float().abs().mean(),
        }

    def evaluate(self, model: Any) -> dict[str, float]:
        assert not model.training
        self.evaluations += 1
        if self._scores is not None:
            return {"score": self._scores[self.evaluations - 1]}
        with torch.no_grad():
            return {"score": -float(sum(self.loss(model, next(_Task().batches(0, 99))).values()))}


def lines(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [line for text in (folder / loop.LOG).read_text().splitlines() if (line := json.loads(text))["kind"] == kind]


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_resuming_is_exact_to_the_bit(tmp_path, optimizer, schedule):
    config = replace(CONFIG, optimizer=optimizer, schedule=schedule, ema=optimizer != "adam")
    loop.fit(_Task(), config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        loop.fit(_Task(), config, tmp_path / "cut", progress=stop_in_epoch(4))
    loop.fit(_Task(), config, tmp_path / "cut", resume=True)
    for name in (loop.LAST, loop.BEST):
        whole, state = checkpoint.read(tmp_path / "whole" / name)
        cut, of_cut = checkpoint.read(tmp_path / "cut" / name)
        assert whole.keys() == cut.keys()
        assert [key for key in whole if not torch.equal(whole[key], cut[key])] == []
        same = {"best", "epoch", "stale", "waited", "reductions", "config"}
        assert {key: state[key] for key in same} == {key: of_cut[key] for key in same}
    assert [line["lr"] for line in lines(tmp_path / "whole", "epoch")] == [
        line["lr"] for line in lines(tmp_path / "cut", "epoch")
    ]


def stop_in_epoch(epoch):
    def progress(told):
        if told.epoch == epoch and told.step == 3:
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_run_has_lost_its_epoch_and_nothing_else(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        loop.fit(_Task(), CONFIG, tmp_path, progress=stop_in_epoch(4))
    assert json.loads((tmp_path / loop.STATE).read_text())["epoch"] == 3
    assert checkpoint.read(tmp_path / loop.LAST)[1]["epoch"] == 3
    with (tmp_path / loop.LOG).open("a") as file:
        file.write('{"kind": "steps", "epo')  # cut off by kill -9
    loop.fit(_Task(), CONFIG, tmp_path, resume=True)
    assert [line["epoch"] for line in lines(tmp_path, "epoch")] == [0, 1, 2, 3, 4]
    assert all("seconds" in line for line in lines(tmp_path, "epoch"))


@contextmanager
def no_room_beyond(size):
    """Files cannot grow past `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(tmp_path):
    loop.fit(_Task(), CONFIG, tmp_path / "whole")
    loop.fit(_Task(), CONFIG, tmp_path / "cut", until=2)
    log = tmp_path / "cut" / loop.LOG
    room = {loop.LOG: log.stat().st_size + 5, loop.LAST: (tmp_path / "cut" / loop.BEST).stat().st_size + 500}
    for name, size in room.items():
        says = rf"cannot write \S*{name}: File too large; free the disk"
        with pytest.raises(OutputError, match=says) as caught, no_room_beyond(size):
            loop.fit(_Task(), CONFIG, tmp_path / "cut", resume=True)
        assert "\n" not in str(caught.value)
        assert {path.name for path in log.parent.iterdir()} == {loop.LAST, loop.BEST, loop.STATE, loop.LOG}
    loop.fit(_Task(), CONFIG, tmp_path / "cut", resume=True)
    whole, cut = (checkpoint.read(tmp_path / name / loop.LAST)[0] for name in ("whole", "cut"))
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_every_optimizer_learns(tmp_path, optimizer):
    loop.fit(_Task(), replace(CONFIG, optimizer=optimizer, epochs=12, learning_rate=0.05), tmp_path)
    curve = [line["loss"] for line in lines(tmp_path, "epoch")]
    assert min(curve[-3:]) < 0.75 * curve[0]


def test_weight_decay_follows_the_optimizer_and_spares_norms():
    for optimizer, decay in (("adamw", 0.02), ("adam", 0.0), ("sgd", 0.0005)):
        config = replace(CONFIG, optimizer=optimizer, weight_decay=None)
        decayed, free = loop.make_optimizer(_Task().model, config).param_groups
        assert decayed["weight_decay"] == config.weight_decay == decay
        assert free["weight_decay"] == 0
        assert {p.ndim for p in free["params"]} == {1}
        assert {p.ndim for p in decayed["params"]} == {2, 4}


def test_the_learning_rate_falls_when_the_score_stands_still(tmp_path):
    scores = (0.1, 0.2, 0.2, 0.15, 0.1, 0.3, 0.2, 0.2)
    config = replace(CONFIG, schedule="plateau", plateau_patience=2, epochs=8, final_fraction=0.3, warmup_steps=0)
    loop.fit(_Task(scores=scores), config, tmp_path)
    rates = [line["lr"] / config.learning_rate for line in lines(tmp_path, "epoch")]
    # Two evaluations after the best, 0.2, it halves; the best, 0.3, starts the count anew; two after that it is at the
    # least, but the run is over.
    assert rates == pytest.approx([1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5], rel=1e-4)
    assert loop.learning_rate(99, config, reductions=2) == pytest.approx(0.3 * config.learning_rate)
    assert loop.read_weights(tmp_path, "last")[1]["reductions"] == 2


def test_training_stops_when_the_score_stands_still_and_stays_so(tmp_path):
    scores = (0.1, 0.4, 0.3, 0.4, 0.9)
    config = replace(CONFIG, early_stopping=2, epochs=5)
    task = _Task(scores=scores)
    loop.fit(task, config, tmp_path)
    assert task.evaluations == 4
    assert loop.read_weights(tmp_path, "best")[1]["best"] == {"epoch": 2, "score": 0.4}
    again = _Task(scores=scores)
    loop.fit(again, config, tmp_path, resume=True)
    assert again.evaluations == 0
    loop.fit(_Task(scores=scores[4:]), replace(config, early_stopping=3), tmp_path, resume=True)
    assert loop.read_weights(tmp_path, "best")[1]["best"] == {"epoch": 5, "score": 0.9}


def test_a_score_that_is_not_a_number_is_no_better(tmp_path, caplog):
    loop.fit(_Task(scores=(math.nan, 0.2, math.nan)), replace(CONFIG, epochs=3), tmp_path)
    assert loop.read_weights(tmp_path, "best")[1]["best"] == {"epoch": 2, "score": 0.2}
    assert caplog.text.count("no score after epoch") == 2


@pytest.mark.parametrize("clip_norm", [10.0, 0.0])
def test_a_gradient_that_is_not_finite_never_gets_into_the_weights(tmp_path, clip_norm):
    class Steep(_Task):
        def loss(self, model: Any, batch: Any) -> dict[str, Any]:
            nothing = (0 * model(batch.permute(0, 3, 1, 2))).square().sum()
            return {"root": nothing.sqrt()}  # 0, and infinitely steep there

    task = Steep()
    before = {key: value.clone() for key, value in task.model.named_parameters()}
    with pytest.raises(DataError, match="gradient of tiny pictures is not finite at step 0"):
        loop.fit(task, replace(CONFIG, clip_norm=clip_norm), tmp_path)
    assert all(torch.equal(value, before[key]) for key, value in task.model.named_parameters())


def test_weights_without_average_are_those_of_the_last_step(tmp_path):
    task = _Task()
    loop.fit(task, replace(CONFIG, ema=False, epochs=1), tmp_path)
    for which in ("best", "last"):
        weights, _ = loop.read_weights(tmp_path, which)
        assert all(torch.equal(value, weights[key]) for key, value in task.model.state_dict().items())


def test_every_loss_is_told_while_it_lasts(tmp_path):
    told = []
    loop.fit(_Task(), replace(CONFIG, epochs=2), tmp_path, progress=told.append)
    assert [(t.stage, t.epoch, t.step) for t in told] == [
        (stage, epoch, step)
        for epoch in (1, 2)
        for stage, step in (*(("train", k) for k in range(1, 5)), ("evaluate", 4))
    ]
    first, last = told[0], told[-1]
    assert (first.task, first.epochs, first.steps) == ("tiny pictures", 2, 4)
    assert set(first.losses) == {"loss", "mean", "corner"}
    assert first.losses["loss"] == pytest.approx(first.losses["mean"] + first.losses["corner"], abs=1e-5)
    assert first.learning_rate == pytest.approx(CONFIG.learning_rate / 4)
    assert first.best_score is None
    assert last.best_score == pytest.approx(lines(tmp_path, "evaluation")[0]["score"])
    assert all(t.steps_per_second > 0 for t in told)
    assert first.seconds_left > 0 == last.seconds_left


def test_a_run_says_what_made_it(tmp_path):
    loop.fit(_Task(), replace(CONFIG, epochs=1), tmp_path)
    state = json.loads((tmp_path / loop.STATE).read_text())
    assert state["config"] == {**state["config"], "optimizer": "adamw", "seed": 0, "weight_decay": 0.02}
    assert state["git_sha"] == checkpoint.read(tmp_path / loop.BEST)[1]["git_sha"]
    assert state["git_sha"] == "unknown" or len(state["git_sha"].rstrip("+")) == 40


def test_bfloat16_is_decided_once(tmp_path, monkeypatch):
    undecided = replace(CONFIG, bf16=None, epochs=2)
    monkeypatch.setattr(loop, "bfloat16_helps", lambda device: True)
    loop.fit(_Task(), undecided, tmp_path, until=1)
    monkeypatch.setattr(loop, "bfloat16_helps", lambda device: False)  # resumed on another machine
    loop.fit(_Task(), undecided, tmp_path, resume=True)
    assert loop.read_weights(tmp_path, "last")[1]["config"]["bf16"] is True
    with pytest.raises(UsageError, match="bf16=False"):
        loop.fit(_Task(), replace(undecided, bf16=False), tmp_path, resume=True)
    assert bfloat16_helps("cpu") in (True, False)


def test_a_run_of_an_older_version_is_resumed_with_what_it_did_without_knowing(tmp_path):
    loop.fit(_Task(), CONFIG, tmp_path / "new")
    loop.fit(_Task(), CONFIG, tmp_path / "old", until=2)
    tensors, state = checkpoint.read(tmp_path / "old" / loop.LAST)
    for key in ("stale", "waited", "reductions", "git_sha", "settings"):
        del state[key]
    for key in ("optimizer", "momentum", "schedule", "ema", "early_stopping", "tensorboard"):
        del state["config"][key]
    for key in ("plateau_factor", "plateau_patience"):
        state["config"].pop(key)
    checkpoint.write(tmp_path / "old" / loop.LAST, tensors, state)
    with pytest.raises(UsageError, match="optimizer=sgd"):
        loop.fit(_Task(), replace(CONFIG, optimizer="sgd"), tmp_path / "old", resume=True)
    usual = replace(CONFIG, plateau_patience=3, plateau_factor=0.1)
    loop.fit(_Task(), usual, tmp_path / "old", resume=True)
    new, old = (checkpoint.read(tmp_path / name / loop.LAST)[0] for name in ("new", "old"))
    assert all(torch.equal(new[key], old[key]) for key in new)


def test_a_checkpoint_of_another_network_is_refused_in_one_line(tmp_path):
    loop.fit(_Task(), CONFIG, tmp_path, until=1)
    with pytest.raises(ModelError, match=r"another network: 0.weight is 8x3x3x3, needed is 4x3x3x3; ") as caught:
        loop.fit(_Task(width=4), CONFIG, tmp_path, resume=True)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="another network"):
        loop.load_weights(torch.nn.Linear(2, 2), tmp_path, "best")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"optimizer": "adm"}, "adamw or adam or sgd, got 'adm': did you mean 'adam'"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0, got nan"),
        ({"momentum": 1.0}, "momentum must be"),
        ({"plateau_factor": 1.5}, "between 0 and 1"),
        ({"early_stopping": -1}, "early_stopping must be at least 0"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"seed": -1}, "seed must be from 0 to 4294967295, got -1"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(change, says):
    with pytest.raises(UsageError, match=says):
        replace(CONFIG, **change)


def test_a_device_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match="device 'warp' cannot be used") as caught:
        loop.fit(_Task(), replace(CONFIG, device="warp"), tmp_path)
    assert "\n" not in str(caught.value)


def test_tensorboard_gets_what_the_log_gets(tmp_path):
    pytest.importorskip("tensorboard", reason="FILES FOR TENSORBOARD ARE NOT TESTED: no tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = replace(CONFIG, epochs=3, tensorboard=True)
    with pytest.raises(KeyboardInterrupt):
        loop.fit(_Task(), config, tmp_path, progress=stop_in_epoch(2))
    loop.fit(_Task(), config, tmp_path, resume=True)
    written = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for kind, name in (("epoch", "loss"), ("epoch", "corner"), ("epoch", "lr"), ("evaluation", "score")):
        points = written.Scalars(f"{kind}/{name}")
        assert [point.step for point in points] == [4, 8, 12]
        assert [point.value for point in points] == pytest.approx([line[name] for line in lines(tmp_path, kind)])


def test_tensorboard_that_is_missing_is_named_before_training(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    task = _Task()
    with pytest.raises(UsageError, match=r"pip install 'vidfer\[tensorboard\]'"):
        loop.fit(task, replace(CONFIG, tensorboard=True), tmp_path)
    assert not (tmp_path / loop.LAST).exists()
