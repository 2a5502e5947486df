"""The training loop of both networks: one readable pass from a task to a checkpoint.

AdamW without weight decay on norms and biases, linear warm-up then cosine over all steps, an exponential moving average
(EMA) of the weights, which is what gets evaluated and exported, and bfloat16 autocast. A run folder holds

    last.safetensors   everything that resuming needs: weights, EMA, optimizer moments; the state in its metadata
    best.safetensors   EMA weights of the evaluation with the highest score
    state.json         the state of `last.safetensors`, for people
    log.jsonl          one line of mean losses every few steps, one per epoch, one per evaluation

Nothing is pickled. Resuming is exact at epoch boundaries: every epoch seeds torch from (seed, epoch), and the batches
of a task are a function of the same two numbers, so an interrupted run ends with the weights of an uninterrupted one.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vidfer.errors import DataError, UsageError, VidferError

_log = logging.getLogger(__name__)

LAST, BEST, STATE, LOG = "last.safetensors", "best.safetensors", "state.json", "log.jsonl"
_LOG_STEPS = 20
_EPOCH_STRIDE = 1_000_003  # keeps the seeds of neighbouring runs apart: seed * stride + epoch
# May differ on resuming; `epochs` stretches the schedule.
_CHANGEABLE = {"epochs", "threads", "evaluate_every", "device"}


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
class LoopConfig:
    """How a task is trained.

    Attributes:
        epochs: Passes of `steps_per_epoch` steps; the cosine ends with the last one.
        steps_per_epoch: Optimizer steps between two checkpoints.
        learning_rate: Peak, after the warm-up.
        final_fraction: Learning rate at the end of the cosine / peak.
        weight_decay: Of matrices and kernels only.
        warmup_steps: Steps of linear warm-up.
        ema_decay: Per step; grows to this value over the first steps.
        clip_norm: Largest norm of the gradient; larger ones are scaled down.
        bf16: Run the forward pass in bfloat16 where torch deems it safe.
        seed: Decides weights' dropout and data; with the same seed and threads a run repeats itself.
        threads: Torch threads.
        evaluate_every: Epochs between evaluations; the last epoch is always evaluated.
        device: Where torch computes.
    """

    epochs: int
    steps_per_epoch: int
    learning_rate: float = 2e-3
    final_fraction: float = 0.01
    weight_decay: float = 0.02
    warmup_steps: int = 200
    ema_decay: float = 0.999
    clip_norm: float = 10.0
    bf16: bool = True
    seed: int = 0
    threads: int = 1
    evaluate_every: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("epochs", "steps_per_epoch", "threads", "evaluate_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}")


def learning_rate(step: int, config: LoopConfig) -> float:
    """Learning rate of a 0-based step: linear warm-up, then half a cosine down to `final_fraction` of the peak."""
    total = config.epochs * config.steps_per_epoch
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, total - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return config.learning_rate * (config.final_fraction + (1 - config.final_fraction) * cosine)


def make_optimizer(model: nn.Module, config: LoopConfig) -> torch.optim.AdamW:
    """AdamW that decays matrices and kernels only: decayed norms and biases only lose accuracy."""
    trained = [p for p in model.parameters() if p.requires_grad]
    decayed = {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay}
    free = {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0}
    return torch.optim.AdamW([decayed, free], lr=config.learning_rate)


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the EMA towards the model, statistics of norms included; early steps count more, against a random start."""
    decay = min(decay, (1 + step) / (10 + step))
    for averaged, current in zip(ema.state_dict().values(), model.state_dict().values(), strict=True):
        if averaged.is_floating_point():
            averaged.lerp_(current.to(averaged.dtype), 1 - decay)
        else:
            averaged.copy_(current)


def load_weights(model: nn.Module, run_dir: Path, which: str = "best") -> dict[str, Any]:
    """Load the EMA weights of a run (`best` or `last`) into a model; gives the state they were stored with."""
    tensors, state = read_weights(run_dir, which)
    model.load_state_dict(tensors)
    return state


def read_weights(run_dir: Path, which: str = "best") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The EMA weights of a run (`best` or `last`) and the state they were stored with."""
    tensors, state = _read(run_dir / {"best": BEST, "last": LAST}[which])
    if which == "last":
        tensors = {name.removeprefix("ema."): value for name, value in tensors.items() if name.startswith("ema.")}
    return tensors, state


def fit(
    task: Task,
    config: LoopConfig,
    run_dir: Path,
    *,
    resume: bool = False,
    until: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Train a task and leave its checkpoints and its log in a folder.

    Args:
        task: What to train.
        config: How to train it.
        run_dir: Made where it is missing.
        resume: Go on after the last finished epoch in `run_dir`, or start where there is none.
        until: Stop after this epoch of `config.epochs`, to go on with another task; None goes on to the end.
        settings: What the task was made from, as JSON knows it: kept in the state, and resuming wants the same.

    Raises:
        UsageError: `run_dir` holds a run already and `resume` is off, or resuming with another configuration.
        DataError: The loss is not finite any more, or the task gave too few batches.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    if not resume and (run_dir / LAST).exists():
        raise UsageError(f"{run_dir} holds a training run already: resume it, or choose another folder")
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    run = _Run(task, config, run_dir, settings or {})
    if resume and (run_dir / LAST).exists():
        run.restore()
    _forget_after(run_dir / LOG, run.state["epoch"])
    for epoch in range(run.state["epoch"], config.epochs if until is None else until):
        began = time.monotonic()
        means = run.train_epoch(epoch)
        seconds = round(time.monotonic() - began, 1)
        run.state |= {"epoch": epoch + 1, "seconds": round(run.state["seconds"] + seconds, 1)}
        _append(run_dir / LOG, {"kind": "epoch", "epoch": epoch, "seconds": seconds, **means})
        if (epoch + 1) % config.evaluate_every == 0 or epoch + 1 == config.epochs:
            run.evaluate()
        run.store()


class _Run:
    """A task with its weights, their average, the optimizer, and where it stands."""

    def __init__(self, task: Task, config: LoopConfig, folder: Path, settings: Mapping[str, Any]) -> None:
        self.task, self.config, self.folder = task, config, folder
        self.model = task.model.to(config.device)
        self.ema = deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = make_optimizer(self.model, config)
        self.state: dict[str, Any] = {"task": task.name, "epoch": 0, "seconds": 0.0, "best": None}
        self.state |= {"config": asdict(config), "settings": dict(settings)}

    def train_epoch(self, epoch: int) -> dict[str, float]:
        config, name = self.config, self.task.name
        seed = config.seed * _EPOCH_STRIDE + epoch
        torch.manual_seed(seed)
        self.model.train()
        taken: list[dict[str, float]] = []
        for batch in _ahead(islice(self.task.batches(epoch, seed), config.steps_per_epoch)):
            step = epoch * config.steps_per_epoch + len(taken)
            taken.append(self._step(_to_device(batch, config.device), step))
            update_ema(self.ema, self.model, config.ema_decay, step)
            if len(taken) % _LOG_STEPS == 0:
                means = _means(taken[-_LOG_STEPS:])
                _append(self.folder / LOG, {"kind": "steps", "epoch": epoch, "step": step + 1, **means})
                _log.info("%s epoch %d/%d step %d: %s", name, epoch + 1, config.epochs, step + 1, means)
        if len(taken) < config.steps_per_epoch:
            raise DataError(f"{name} gave {len(taken)} batches in epoch {epoch}, needed are {config.steps_per_epoch}")
        return _means(taken)

    def _step(self, batch: Any, step: int) -> dict[str, float]:
        rate = learning_rate(step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(torch.device(self.config.device).type, torch.bfloat16, enabled=self.config.bf16):
            parts = self.task.loss(self.model, batch)
        total = torch.stack([part.float() for part in parts.values()]).sum()
        losses = {"loss": float(total.detach()), **{name: float(part.detach()) for name, part in parts.items()}}
        if not math.isfinite(losses["loss"]):
            bad = ", ".join(f"{name}={value}" for name, value in losses.items() if not math.isfinite(value))
            what = f"loss of {self.task.name} is not finite at step {step} ({bad})"
            raise DataError(f"{what}: lower the learning rate, check the data")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        return {**losses, "lr": rate}

    def evaluate(self) -> None:
        figures = self.task.evaluate(self.ema)
        epoch, best = self.state["epoch"], self.state["best"]
        _append(self.folder / LOG, {"kind": "evaluation", "epoch": epoch - 1, **figures})
        _log.info("%s after epoch %d: %s", self.task.name, epoch, figures)
        if best is None or figures["score"] > best["score"]:
            self.state["best"] = {"epoch": epoch, **figures}
            _write(self.folder / BEST, self.ema.state_dict(), self.state)

    def store(self) -> None:
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"ema.{name}": value for name, value in self.ema.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
        _write(self.folder / LAST, tensors, self.state)
        (self.folder / STATE).write_text(json.dumps(self.state, indent=1) + "\n")

    def restore(self) -> None:
        tensors, state = _read(self.folder / LAST)
        now, before = self.state["config"], state["config"]
        made, was_made = self.state["settings"], state.get("settings", {})
        if other := sorted(key for key in made.keys() | was_made.keys() if made.get(key) != was_made.get(key)):
            another = " and another ".join(other)
            raise UsageError(f"cannot resume {self.folder} with another {another}: keep it, or take another folder")
        changed = [k for k, v in before.items() if k not in _CHANGEABLE and now.get(k) != v]
        if state["task"] != self.task.name or changed:
            different = [f"{k}={now.get(k)} (was {before[k]})" for k in changed] or [f"task {self.task.name}"]
            raise UsageError(
                f"cannot resume {self.folder} with {', '.join(different)}: keep it, or take another folder"
            )
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "optimizer": {}}
        for key, value in tensors.items():
            kind, rest = key.split(".", 1)
            groups[kind][rest] = value
        self.model.load_state_dict(groups["model"])
        self.ema.load_state_dict(groups["ema"])
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in groups["optimizer"].items():
            index, moment = key.split(".", 1)
            moments.setdefault(int(index), {})[moment] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        self.state = {**state, "config": now}


def _ahead(batches: Iterator[Any]) -> Iterator[Any]:
    """The same batches, made by a thread while the one before is learned: a quarter faster with a core idle."""
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = maker.submit(next, batches, None)
            yield batch


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(sum(row[name] for row in rows) / len(rows), 6) for name in rows[0]}


def _write(path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    temporary = path.with_name(f"{path.name}.part")
    # Clones: tied weights share memory, which safetensors refuses.
    stored = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
    save_file(stored, temporary, metadata={"state": json.dumps(state)})
    temporary.replace(path)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not iterable)
            return tensors, json.loads(file.metadata()["state"])
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise VidferError(f"cannot read the checkpoint {path}: {error}") from error


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def _forget_after(path: Path, epoch: int) -> None:
    """Drop the log lines of an unfinished epoch: it is trained again."""
    if path.exists():
        kept = [line for line in path.read_text().splitlines() if json.loads(line)["epoch"] < epoch]
        path.write_text("".join(f"{line}\n" for line in kept))


def _to_device(batch: Any, device: str) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {name: _to_device(value, device) for name, value in batch.items()}
    return [_to_device(value, device) for value in batch] if isinstance(batch, (list, tuple)) else batch
