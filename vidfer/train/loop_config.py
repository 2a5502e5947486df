"""How a network is trained, checked; reading it needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, get_args

from vidfer.errors import UsageError

Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["cosine", "plateau"]
# Adam and SGD take weight decay for a part of the gradient, so they stand less of it.
_WEIGHT_DECAY = {"adamw": 0.02, "adam": 0.0, "sgd": 5e-4}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """How a task is trained.

    Attributes:
        epochs: Passes of `steps_per_epoch` steps; the cosine ends with the last one.
        steps_per_epoch: Optimizer steps between two checkpoints.
        optimizer: "adamw", "adam" or "sgd".
        momentum: Of SGD.
        learning_rate: Peak, after the warm-up.
        schedule: "cosine" falls over all steps; "plateau" falls when the score does not rise.
        final_fraction: Learning rate / peak at the end of the cosine, and the least on plateaus.
        plateau_factor: What the learning rate is multiplied by.
        plateau_patience: Evaluations without a better score before that.
        warmup_steps: Steps of linear warm-up.
        weight_decay: Of matrices and kernels only; None is 0.02 for AdamW, 0.0005 for SGD, none for Adam.
        ema: Average the weights.
        ema_decay: Per step; grows to this value over the first steps.
        clip_norm: Largest norm of the gradient; larger ones are scaled down; 0 lets all be.
        early_stopping: Evaluations without a better score after which training ends; 0 goes on to the last epoch.
        bf16: Run the forward pass in bfloat16 where torch deems it safe; None where the device is faster for it.
        seed: Decides weights' dropout and data; with the same seed and threads a run repeats itself.
        threads: Torch threads.
        evaluate_every: Epochs between evaluations; the last epoch is always evaluated.
        device: Where torch computes.
        tensorboard: Write files for TensorBoard, too.
    """

    epochs: int
    steps_per_epoch: int
    optimizer: Optimizer = "adamw"
    momentum: float = 0.9
    learning_rate: float = 2e-3
    schedule: Schedule = "cosine"
    final_fraction: float = 0.01
    plateau_factor: float = 0.1
    plateau_patience: int = 3
    warmup_steps: int = 200
    weight_decay: float | None = None
    ema: bool = True
    ema_decay: float = 0.999
    clip_norm: float = 10.0
    early_stopping: int = 0
    bf16: bool | None = None
    seed: int = 0
    threads: int = 1
    evaluate_every: int = 1
    device: str = "cpu"
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (("optimizer", get_args(Optimizer)), ("schedule", get_args(Schedule))):
            value = getattr(self, name)
            if value not in allowed:
                near = get_close_matches(str(value), allowed, 1, 0.0)[0]
                raise UsageError(f"{name} must be {' or '.join(allowed)}, got {value!r}: did you mean {near!r}?")
        for name in ("epochs", "steps_per_epoch", "threads", "evaluate_every", "plateau_patience"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.weight_decay is None:
            object.__setattr__(self, "weight_decay", _WEIGHT_DECAY[self.optimizer])
        for name in ("warmup_steps", "early_stopping", "weight_decay", "clip_norm", "final_fraction"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name, most in (("learning_rate", math.inf), ("plateau_factor", 1)):
            if not 0 < getattr(self, name) < most:
                what = "above 0" if most == math.inf else f"between 0 and {most}"
                raise UsageError(f"{name} must be {what}, got {getattr(self, name)}")
        if not 0 <= self.seed < 1 << 32:
            raise UsageError(f"seed must be from 0 to {(1 << 32) - 1}, got {self.seed}")
        for name in ("momentum", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 0 and less than 1, got {getattr(self, name)}")
