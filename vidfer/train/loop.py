"""The training loop of all networks: one readable pass from a task to a checkpoint.

AdamW, Adam or SGD without weight decay on norms and biases; linear warm-up, then half a cosine over all steps or less
whenever the score stands still; gradients clipped; an exponential moving average (EMA) of the weights, which is what
gets evaluated and exported; bfloat16 autocast. A run folder holds

    last.safetensors   everything that resuming needs: weights, EMA, optimizer moments; the state in its metadata
    best.safetensors   weights (EMA) of the evaluation with the highest score
    state.json         the state of `last.safetensors`, for people
    log.jsonl          one line of mean losses every few steps, one per epoch, one per evaluation
    tensorboard/       the same for TensorBoard, on request

Nothing is pickled. Resuming is exact at epoch boundaries: every epoch seeds torch from (seed, epoch), and the batches
of a task are a function of the same two numbers, so an interrupted run ends with the weights of an uninterrupted one.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from vidfer.errors import DataError, OutputError, UsageError
from vidfer.output.files import write_text
from vidfer.train import checkpoint
from vidfer.train.checkpoint import BEST, LAST, STATE, load_weights, read_weights
from vidfer.train.commit import git_sha
from vidfer.train.loop_config import LoopConfig
from vidfer.train.optimizing import (
    bfloat16_helps,
    learning_rate,
    make_optimizer,
    moments,
    restore_moments,
    update_ema,
)
from vidfer.train.run_log import LOG, RunLog

__all__ = [
    "BEST", "LAST", "LOG", "STATE", "LoopConfig", "Task", "TrainingProgress", "check_start", "fit", "learning_rate",
    "load_weights", "make_optimizer", "read_weights", "refuse_another", "stored_state", "update_ema",
]  # fmt: skip

_log = logging.getLogger(__name__)

_LOG_STEPS = 20
_EPOCH_STRIDE = 1_000_003  # keeps the seeds of neighbouring runs apart: seed * stride + epoch
# May differ on resuming; `epochs` stretches the cosine.
_CHANGEABLE = {"epochs", "threads", "evaluate_every", "device", "early_stopping", "tensorboard"}


class Task(Protocol):
    """What a network is trained for: its data, its loss and its yardstick.

    `batches` must be a function of its arguments alone (no state carried between epochs); `evaluate` uses train groups
    held out for model choice, never rows of the split `val`, and its key ``score`` is higher for better weights.
    """

    name: str
    model: nn.Module

    def batches(self, epoch: int, generator_seed: int) -> Iterator[Any]:
        """At least `steps_per_epoch` augmented training batches."""

    def loss(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Weighted scalar parts of the loss; the loop adds them up. Runs inside autocast."""

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Figures of the EMA weights; ``score`` chooses the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgress:
    """How far training is.

    Attributes:
        task: Its name.
        stage: "train", or "evaluate" at the end of an epoch.
        epoch: The one that runs, from 1.
        epochs: Of all.
        step: Steps done in this epoch.
        steps: Of an epoch.
        losses: Means of the last steps: `loss` and its parts.
        learning_rate: Of the last step.
        steps_per_second: Since this call of `fit` began, evaluations and all.
        seconds_left: At that speed, without early stopping.
        best_score: Of the evaluations so far.
    """

    task: str
    stage: Literal["train", "evaluate"]
    epoch: int
    epochs: int
    step: int
    steps: int
    losses: Mapping[str, float]
    learning_rate: float
    steps_per_second: float
    seconds_left: float
    best_score: float | None


def fit(
    task: Task,
    config: LoopConfig,
    run_dir: Path,
    *,
    resume: bool = False,
    until: int | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Callable[[TrainingProgress], None] | None = None,
) -> None:
    """Train a task and leave its checkpoints and its log in a folder.

    Stopped at any moment, it loses the epoch that runs and nothing else: `resume` goes on.

    Args:
        task: What to train.
        config: How to train it.
        run_dir: Made where it is missing.
        resume: Go on after the last finished epoch in `run_dir`, or start where there is none.
        until: Stop after this epoch of `config.epochs`, to go on with another task; None goes on to the end.
        settings: What the task was made from, as JSON knows it: kept in the state, and resuming wants the same.
        progress: Told after every step and before every evaluation.

    Raises:
        UsageError: `run_dir` holds a run already and `resume` is off, or resuming with another configuration; the
            device cannot be used, or TensorBoard is wanted and not installed.
        OutputError: `run_dir` cannot be made, or a file in it not be written.
        ModelError: `run_dir` holds a run of another network.
        DataError: The loss is not finite any more, or the task gave too few batches.
    """
    check_start(config, run_dir, resume=resume)
    _prepare(config)
    run = _Run(task, config, run_dir, settings or {}, progress)
    if resume and (run_dir / LAST).exists():
        run.restore()
    try:
        run.start_log()
        while run.state["epoch"] < (config.epochs if until is None else until) and not run.stands_still:
            run.train_epoch()
            if run.state["epoch"] % config.evaluate_every == 0 or run.state["epoch"] == config.epochs:
                run.evaluate()
            run.store()
    finally:
        run.end_log()


def check_start(config: LoopConfig, run_dir: Path, *, resume: bool) -> None:
    """Make the folder of a run, and refuse what cannot begin, as `fit` does: reading the data may take long.

    Raises:
        UsageError: `run_dir` holds a run already and `resume` is off, or the device cannot be used.
        OutputError: The folder cannot be made.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {run_dir} of the run: {error.strerror}; choose another") from error
    if not resume and (run_dir / LAST).exists():
        raise UsageError(f"{run_dir} holds a training run already: go on with it by --resume, or choose another folder")
    try:
        torch.empty(0, device=config.device)
    except (AssertionError, RuntimeError) as error:
        reason = str(error).split("\n", 1)[0]
        raise UsageError(f"device {config.device!r} cannot be used: {reason}") from error


def _prepare(config: LoopConfig) -> None:
    if config.device.startswith("cuda"):
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)


class _Run:
    """A task with its weights, their average, the optimizer, and where it stands."""

    def __init__(
        self,
        task: Task,
        config: LoopConfig,
        folder: Path,
        settings: Mapping[str, Any],
        progress: Callable[[TrainingProgress], None] | None,
    ) -> None:
        self.asked = asdict(config)
        if config.bf16 is None:
            config = replace(config, bf16=bfloat16_helps(config.device))
        self.task, self.config, self.folder, self.progress = task, config, folder, progress
        self.model = task.model.to(config.device)
        self.ema = deepcopy(self.model).eval().requires_grad_(False) if config.ema else None
        self.optimizer = make_optimizer(self.model, config)
        self.log: RunLog | None = None
        self.steps_done, self.began = 0, time.monotonic()
        self.state: dict[str, Any] = {"task": task.name, "epoch": 0, "seconds": 0.0, "best": None}
        # Evaluations without a better score: in a row, and since the learning rate fell; how often it did.
        self.state |= {"stale": 0, "waited": 0, "reductions": 0}
        self.state |= {"config": asdict(config), "settings": dict(settings), "git_sha": git_sha()}

    @property
    def stands_still(self) -> bool:
        """Whether early stopping ends the run."""
        return 0 < self.config.early_stopping <= int(self.state["stale"])

    def start_log(self) -> None:
        epoch, config = self.state["epoch"], self.config
        step = epoch * config.steps_per_epoch
        self.log = RunLog(self.folder, epoch=epoch, step=step, tensorboard=config.tensorboard)

    def end_log(self) -> None:
        if self.log is not None:
            self.log.close()

    def train_epoch(self) -> None:
        config, name, epoch = self.config, self.task.name, self.state["epoch"]
        began = time.monotonic()
        seed = config.seed * _EPOCH_STRIDE + epoch
        torch.manual_seed(seed)
        self.model.train()
        taken: list[dict[str, float]] = []
        for batch in _ahead(islice(self.task.batches(epoch, seed), config.steps_per_epoch)):
            step = epoch * config.steps_per_epoch + len(taken)
            taken.append(self._step(_to_device(batch, config.device), step))
            if self.ema is not None:
                update_ema(self.ema, self.model, config.ema_decay, step)
            self._tell("train", taken)
            if len(taken) % _LOG_STEPS == 0:
                self._note("steps", {"step": step + 1, **_means(taken[-_LOG_STEPS:])}, step + 1)
        if len(taken) < config.steps_per_epoch:
            raise DataError(f"{name} gave {len(taken)} batches in epoch {epoch}, needed are {config.steps_per_epoch}")
        seconds = round(time.monotonic() - began, 1)
        self._note("epoch", {"seconds": seconds, **_means(taken)}, (epoch + 1) * config.steps_per_epoch)
        self._tell("evaluate", taken)
        self.state |= {"epoch": epoch + 1, "seconds": round(self.state["seconds"] + seconds, 1)}

    def _step(self, batch: Any, step: int) -> dict[str, float]:
        rate = learning_rate(step, self.config, self.state["reductions"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(torch.device(self.config.device).type, torch.bfloat16, enabled=bool(self.config.bf16)):
            parts = self.task.loss(self.model, batch)
        total = torch.stack([part.float() for part in parts.values()]).sum()
        losses = {"loss": float(total.detach()), **{name: float(part.detach()) for name, part in parts.items()}}
        self._refuse_not_finite("loss", losses, step)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm or math.inf)
        self._refuse_not_finite("gradient", {"norm": float(norm)}, step)  # before it gets into weights that are kept
        self.optimizer.step()
        self.steps_done += 1
        return {**losses, "lr": rate}

    def _refuse_not_finite(self, what: str, values: Mapping[str, float], step: int) -> None:
        if bad := ", ".join(f"{name}={value}" for name, value in values.items() if not math.isfinite(value)):
            where = f"{what} of {self.task.name} is not finite at step {step} ({bad})"
            raise DataError(f"{where}: lower the learning rate, check the data")

    def _tell(self, stage: Literal["train", "evaluate"], taken: list[dict[str, float]]) -> None:
        if self.progress is None:
            return
        config, state = self.config, self.state
        means = _means(taken[-_LOG_STEPS:])
        speed = self.steps_done / max(time.monotonic() - self.began, 1e-9)
        told = TrainingProgress(
            task=self.task.name,
            stage=stage,
            epoch=state["epoch"] + 1,
            epochs=config.epochs,
            step=len(taken),
            steps=config.steps_per_epoch,
            losses={name: value for name, value in means.items() if name != "lr"},
            learning_rate=taken[-1]["lr"],
            steps_per_second=speed,
            seconds_left=((config.epochs - state["epoch"]) * config.steps_per_epoch - len(taken)) / speed,
            best_score=state["best"] and state["best"]["score"],
        )
        self.progress(told)

    def _note(self, kind: str, values: Mapping[str, Any], step: int) -> None:
        assert self.log is not None
        self.log.write(kind, values, epoch=(step - 1) // self.config.steps_per_epoch, step=step)
        _log.info("%s step %d, %s: %s", self.task.name, step, kind, values)

    def evaluate(self) -> None:
        config, state = self.config, self.state
        averaged = self.model.eval() if self.ema is None else self.ema
        figures = self.task.evaluate(averaged)
        self._note("evaluation", figures, state["epoch"] * config.steps_per_epoch)
        if math.isnan(figures["score"]):
            _log.warning("%s has no score after epoch %d (NaN): it counts as no better", self.task.name, state["epoch"])
        if figures["score"] > (-math.inf if state["best"] is None else state["best"]["score"]):
            state |= {"best": {"epoch": state["epoch"], **figures}, "stale": 0, "waited": 0}
            checkpoint.write(self.folder / BEST, averaged.state_dict(), state)
            return
        state |= {"stale": state["stale"] + 1, "waited": state["waited"] + 1}
        if config.schedule == "plateau" and state["waited"] >= config.plateau_patience:
            state |= {"reductions": state["reductions"] + 1, "waited": 0}

    def store(self) -> None:
        kinds = {"model": self.model.state_dict(), "optimizer": moments(self.optimizer)}
        kinds |= {"ema": self.ema.state_dict()} if self.ema is not None else {}
        tensors = {f"{kind}.{name}": value for kind, values in kinds.items() for name, value in values.items()}
        checkpoint.write(self.folder / LAST, tensors, self.state)
        write_text(self.folder / STATE, json.dumps(self.state, indent=1) + "\n")

    def restore(self) -> None:
        tensors, stored = checkpoint.read(self.folder / LAST)
        state = self.state | _completed(stored)
        refuse_another(self.folder, state, self.state | {"config": self.asked})
        kinds = {"optimizer": {}, **checkpoint.split(tensors)}
        checkpoint.load_tensors(self.model, kinds["model"], self.folder)
        if self.ema is not None:
            checkpoint.load_tensors(self.ema, kinds["ema"], self.folder)
        restore_moments(self.optimizer, kinds["optimizer"])
        self.config = replace(self.config, bf16=state["config"]["bf16"])
        self.state = state | {"config": asdict(self.config), "git_sha": self.state["git_sha"]}


def stored_state(run_dir: Path) -> dict[str, Any] | None:
    """Where the run in a folder stands; None where there is none.

    Raises:
        VidferError: Its checkpoint cannot be read.
    """
    return _completed(checkpoint.read(run_dir / LAST)[1]) if (run_dir / LAST).exists() else None


def _completed(stored: Mapping[str, Any]) -> dict[str, Any]:
    """With what runs of older versions lack, since it was not yet known."""
    defaults = asdict(LoopConfig(epochs=1, steps_per_epoch=1)) | {"bf16": True}
    return {"settings": {}, **stored, "config": defaults | stored["config"]}


def refuse_another(run_dir: Path, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse to go on with a run by another `task`, `config` or `settings` than it has stored.

    Raises:
        UsageError: One of them differs.
    """
    made, was_made = asked["settings"], stored["settings"]
    if other := sorted(key for key in made.keys() | was_made.keys() if made.get(key) != was_made.get(key)):
        another = " and another ".join(other)
        raise UsageError(f"cannot resume {run_dir} with another {another}: give what it had, or another folder")
    config, before = asked["config"], stored["config"]
    free = _CHANGEABLE | ({"bf16"} if config["bf16"] is None else set())  # decided once, at the start
    changed = [f"{k}={v} (was {before[k]})" for k, v in config.items() if k not in free and v != before[k]]
    if stored["task"] != asked["task"] or changed:
        different = ", ".join(changed) or f"task {asked['task']}"
        raise UsageError(f"cannot resume {run_dir} with {different}: give what it had, or another folder")


def _ahead(batches: Iterator[Any]) -> Iterator[Any]:
    """The same batches, made by a thread while the one before is learned: a quarter faster with a core idle."""
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = maker.submit(next, batches, None)
            yield batch


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(sum(row[name] for row in rows) / len(rows), 6) for name in rows[0]}


def _to_device(batch: Any, device: str) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {name: _to_device(value, device) for name, value in batch.items()}
    return [_to_device(value, device) for value in batch] if isinstance(batch, (list, tuple)) else batch
