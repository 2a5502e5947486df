"""A recipe: one TOML file that says which network is trained on which labels, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from vidfer.config import read_toml
from vidfer.errors import UsageError
from vidfer.train.loop import LoopConfig
from vidfer.train.multitask.options import Augment, DataOptions, Losses
from vidfer.train.multitask.tables import as_table, check_keys, read_table
from vidfer.train.networks.registry import Heads, NetworkOptions

_EPOCHS = 30
_MOST_WARMUP_STEPS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything about a training run but its data.

    Attributes:
        name: Of the network, for its card.
        network: Which network.
        heads: What it tells.
        loss: A part of the loss for each head, and for a teacher.
        augment: How training crops are changed.
        data: Crops and how rows are drawn.
        loop: Keys of `loop.LoopConfig` that are not left to their defaults.

    Raises:
        UsageError: A value is not allowed, or does not fit another.
    """

    name: str = "recipe"
    network: NetworkOptions = field(default_factory=NetworkOptions)
    heads: Heads
    loss: Losses = field(default_factory=Losses)
    augment: Augment = field(default_factory=Augment)
    data: DataOptions = field(default_factory=DataOptions)
    loop: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.loop_config(rows=self.data.batch_size)  # checks its values
        affect = bool(self.heads.emotion) or self.heads.valence_arousal
        if (self.augment.mixup or self.augment.cutmix) and not affect:
            raise UsageError("augment.mixup and augment.cutmix mix emotions or valence_arousal: heads has neither")
        teacher = self.loss.distillation
        if teacher.weight and not self.heads.emotion:
            raise UsageError("loss.distillation.weight is of emotions: heads has none")
        if teacher.valence_arousal_weight and not self.heads.valence_arousal:
            raise UsageError("loss.distillation.valence_arousal_weight is of valence_arousal: heads has none")

    def loop_config(self, rows: int) -> LoopConfig:
        """How the loop trains on so many rows: an epoch shows each of them once unless the recipe says otherwise."""
        steps = max(1, -(-rows // self.data.batch_size))
        values = {"epochs": _EPOCHS, "steps_per_epoch": steps, **self.loop}
        # 200 steps are more than all of a short run has. Not a share of the run: then a longer one could not resume it.
        values.setdefault("warmup_steps", min(_MOST_WARMUP_STEPS, steps))
        return read_table(LoopConfig, values, "loop")

    def with_loop(self, **values: Any) -> Recipe:
        """The recipe with other values in its table `loop`; None keeps what is there."""
        return replace(self, loop={**self.loop, **{key: value for key, value in values.items() if value is not None}})

    def as_dict(self) -> dict[str, Any]:
        """As JSON and TOML know it; `from_dict` turns it back."""
        values = as_table(self)
        values["loss"] = {name: table for name, table in values["loss"].items() if self._has(name)}
        return values

    def _has(self, loss: str) -> bool:
        return loss == "distillation" or bool(getattr(self.heads, loss))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """A recipe out of tables, checked.

        Raises:
            UsageError: An unknown key, or a value that is not allowed.
        """
        check_keys(values, [f.name for f in fields(cls)], "")
        if "heads" not in values:
            raise UsageError("heads is missing: say in [heads] what the network tells")
        heads = read_table(Heads, values["heads"], "heads")
        _refuse_losses_without_head(values.get("loss"), heads)
        # Its kind and keys are not in the annotation of `loop`.
        read_table(LoopConfig, {"epochs": 1, "steps_per_epoch": 1, **_mapping(values.get("loop", {}))}, "loop")
        return read_table(cls, values)


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe; a file of weights is looked for beside it.

    Raises:
        InputError: The file cannot be read or is no TOML.
        UsageError: An unknown key, or a value that is not allowed.
    """
    values = read_toml(path)
    try:
        recipe = Recipe.from_dict({"name": path.stem, **values})
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    if recipe.network.weights is None:
        return recipe
    return replace(recipe, network=replace(recipe.network, weights=path.parent / recipe.network.weights))


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"[loop] must be a table, got {value!r}")
    return value


def _refuse_losses_without_head(losses: Any, heads: Heads) -> None:
    """A loss that never counts is a mistake: a head is missing, or the table has another's name."""
    if not isinstance(losses, Mapping):
        return
    missing = [name for name in losses if name != "distillation" and not getattr(heads, name, True)]
    if missing:
        raise UsageError(f"[loss.{missing[0]}] is of a head that [heads] does not ask for: add {missing[0]} there")
