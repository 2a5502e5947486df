"""The training loop on a task small enough to repeat: same curve, exact resuming, one-line errors."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from vidfer.errors import DataError, UsageError  # noqa: E402
from vidfer.train import checkpoint, loop  # noqa: E402

CONFIG = loop.LoopConfig(epochs=4, steps_per_epoch=20, warmup_steps=8, learning_rate=0.03, ema_decay=0.95, bf16=False)
# Mean loss of each epoch of `_Task` with CONFIG; made by `_curve(tmp_path)` with torch 2.13 on a CPU.
GOLDEN = [2.80565, 0.79772, 0.54819, 0.72911]


class _Task:
    """y = sum of x, through a norm and dropout, so that their state matters too."""

    name = "tiny"

    def __init__(self, stop_in: int | None = None, poison: bool = False) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(4, 8),
            torch.nn.BatchNorm1d(8),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.1),
            torch.nn.Linear(8, 1),
        )
        self._stop_in, self._poison = stop_in, poison

    def batches(self, epoch: int, generator_seed: int) -> Iterator[Any]:
        generator = torch.Generator().manual_seed(generator_seed)
        while epoch != self._stop_in:
            x = torch.randn(16, 4, generator=generator)
            yield {"x": x, "y": x.sum(1, keepdim=True) * (float("nan") if self._poison else 1)}

    def loss(self, model: Any, batch: Any) -> dict[str, Any]:
        return {"mse": (model(batch["x"]) - batch["y"]).float().square().mean()}

    def evaluate(self, model: Any) -> dict[str, float]:
        assert not model.training
        with torch.no_grad():
            return {"score": -float(self.loss(model, next(_Task().batches(0, 99)))["mse"])}


def _curve(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / loop.LOG).read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "epoch"]


def test_loss_curve_is_the_stored_one(tmp_path: Path) -> None:
    loop.fit(_Task(), CONFIG, tmp_path)
    assert _curve(tmp_path) == pytest.approx(GOLDEN, rel=1e-3)


def test_bfloat16_learns_too(tmp_path: Path) -> None:
    loop.fit(_Task(), replace(CONFIG, bf16=True, ema_decay=0.999), tmp_path)
    assert _curve(tmp_path) == pytest.approx(GOLDEN, rel=0.1)


def test_a_run_in_two_parts_is_a_run(tmp_path: Path) -> None:
    loop.fit(_Task(), CONFIG, tmp_path, until=2)
    assert len(_curve(tmp_path)) == 2
    loop.fit(_Task(), CONFIG, tmp_path, resume=True, until=1)  # past it already
    loop.fit(_Task(), CONFIG, tmp_path, resume=True)
    assert _curve(tmp_path) == pytest.approx(GOLDEN, rel=1e-3)


@pytest.mark.parametrize("stop_in", [1, 3])
def test_resuming_ends_with_the_same_weights(tmp_path: Path, stop_in: int) -> None:
    loop.fit(_Task(), CONFIG, tmp_path / "whole")
    with pytest.raises(DataError, match="gave 0 batches"):
        loop.fit(_Task(stop_in=stop_in), CONFIG, tmp_path / "cut")
    loop.fit(_Task(), CONFIG, tmp_path / "cut", resume=True)
    for name in (loop.LAST, loop.BEST):
        whole, _ = checkpoint.read(tmp_path / "whole" / name)
        cut, _ = checkpoint.read(tmp_path / "cut" / name)
        assert whole.keys() == cut.keys()
        assert all(torch.equal(whole[key], cut[key]) for key in whole)
    assert _curve(tmp_path / "whole") == _curve(tmp_path / "cut")


def test_ema_weights_load_into_a_model(tmp_path: Path) -> None:
    loop.fit(_Task(), CONFIG, tmp_path)
    task = _Task()
    state = loop.load_weights(task.model, tmp_path, "best")
    assert task.evaluate(task.model.eval())["score"] == pytest.approx(state["best"]["score"], rel=1e-5)
    assert loop.load_weights(task.model, tmp_path, "last")["epoch"] == CONFIG.epochs


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    loop.fit(_Task(), CONFIG, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {loop.LAST, loop.BEST, loop.STATE, loop.LOG}
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1  # who may read the log may have the weights


def test_a_loss_that_is_not_finite_stops_with_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not finite at step 0") as caught:
        loop.fit(_Task(poison=True), CONFIG, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_run_is_not_overwritten_nor_resumed_differently(tmp_path: Path) -> None:
    loop.fit(_Task(), CONFIG, tmp_path)
    with pytest.raises(UsageError, match="resume"):
        loop.fit(_Task(), CONFIG, tmp_path)
    other = loop.LoopConfig(epochs=4, steps_per_epoch=20, warmup_steps=8, learning_rate=0.5, ema_decay=0.95, bf16=False)
    with pytest.raises(UsageError, match=r"learning_rate=0\.5"):
        loop.fit(_Task(), other, tmp_path, resume=True)


def test_settings_of_the_task_are_kept_and_must_be_the_same(tmp_path: Path) -> None:
    made = {"recipe": {"network": "a"}, "data": {"rows": 3}}
    loop.fit(_Task(), CONFIG, tmp_path, until=1, settings=made)
    assert loop.read_weights(tmp_path, "last")[1]["settings"] == made
    with pytest.raises(UsageError, match="another data:"):
        loop.fit(_Task(), CONFIG, tmp_path, resume=True, settings=made | {"data": {"rows": 4}})
    loop.fit(_Task(), CONFIG, tmp_path, resume=True, until=2, settings=made)


def test_learning_rate_warms_up_and_falls() -> None:
    rates = [loop.learning_rate(step, CONFIG) for step in range(80)]
    assert rates[7] == pytest.approx(CONFIG.learning_rate)
    assert rates[:8] == sorted(rates[:8])
    assert rates[8:] == sorted(rates[8:], reverse=True)
    assert rates[-1] < 0.02 * CONFIG.learning_rate


def test_norms_and_biases_are_not_decayed() -> None:
    decayed, free = loop.make_optimizer(_Task().model, CONFIG).param_groups
    assert decayed["weight_decay"] == CONFIG.weight_decay
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert free["weight_decay"] == 0
    assert len(free["params"]) == 4


def test_batches_are_made_ahead_in_order_and_no_thread_is_left(tmp_path: Path) -> None:
    def numbers() -> Iterator[int]:
        yield from range(5)
        raise DataError("row 5 is broken")

    before, seen = threading.active_count(), []
    with pytest.raises(DataError, match="row 5"):
        seen.extend(loop._ahead(numbers()))
    for number in loop._ahead(numbers()):
        seen.append(number)
        if number == 2:
            break
    assert seen == [0, 1, 2, 3, 4, 0, 1, 2]
    gc.collect()
    assert threading.active_count() <= before
