"""What `vidfer train fit RECIPE.toml` calls: tables in, a run out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vidfer.train.datasets.table import read_pieces
from vidfer.train.loop import TrainingProgress, fit, refuse_another, stored_state
from vidfer.train.multitask.recipe import Recipe
from vidfer.train.multitask.rows import Prepared, prepare, used_labels
from vidfer.train.multitask.sampling import classes_of
from vidfer.train.multitask.task import RecipeTask
from vidfer.train.networks.registry import describe


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Everything that a run needs, checked.

    Attributes:
        task: What the loop trains.
        settings: Recipe and data, kept in the run.
        notes: Lines for people: how much there is to learn from, and what is left out.
    """

    task: RecipeTask
    settings: dict[str, Any]
    notes: tuple[str, ...]

    def fit(
        self,
        run: Path,
        *,
        resume: bool = False,
        progress: Callable[[TrainingProgress], None] | None = None,
        evaluated: Callable[[Mapping[str, float]], None] | None = None,
    ) -> None:
        """Train.

        Args:
            run: Folder of the run.
            resume: Go on after its last finished epoch.
            progress: Told after every step.
            evaluated: Told the figures on held-out rows.

        Raises:
            UsageError, DataError, ModelError: As `loop.fit`.
        """
        self.task.evaluated = evaluated
        fit(self.task, self.task.config, run, resume=resume, progress=progress, settings=self.settings)


def prepare_training(
    recipe: Recipe, tables: Sequence[Path], progress: Callable[[int, int], None] | None = None
) -> Training:
    """Read the rows of split train and make the network; whatever is wrong with them is said here.

    Args:
        recipe: How to train.
        tables: Training tables.
        progress: Told how many of how many pictures were looked at.

    Raises:
        DataError: A table cannot be read, a head has no labels, or nothing can be held out.
        UsageError: The network cannot be made as the recipe says.
        ModelError: The file with its first weights does not fit.
    """
    prepared = prepare(read_pieces(tables, "train"), recipe, progress)
    task = RecipeTask(recipe, prepared)
    return Training(
        task=task,
        settings={"recipe": _stored(recipe), "data": {"rows": len(prepared.rows), "sha256": prepared.sha256}},
        notes=tuple(_notes(recipe, prepared, task)),
    )


def check_resume(recipe: Recipe, run: Path) -> None:
    """Refuse to go on with a run by another recipe, as `Training.fit` does: looking at its pictures may take long.

    Raises:
        UsageError: The recipe, or the seed, is not that of the run.
    """
    stored = stored_state(run)
    if stored is None:
        return
    config = asdict(recipe.loop_config(rows=1))
    of_data = {key: stored["config"][key] for key in ("steps_per_epoch", "warmup_steps") if key not in recipe.loop}
    settings = {**stored["settings"], "recipe": _stored(recipe)}
    refuse_another(run, stored, {"task": recipe.name, "config": config | of_data, "settings": settings})


def _stored(recipe: Recipe) -> dict[str, Any]:
    """The recipe for the run's state, which has the table `loop` already; no folders of this machine are in it."""
    if recipe.network.weights is not None:
        recipe = replace(recipe, network=replace(recipe.network, weights=Path(recipe.network.weights.name)))
    return {name: values for name, values in recipe.as_dict().items() if name != "loop"}


def _notes(recipe: Recipe, prepared: Prepared, task: RecipeTask) -> Iterator[str]:
    cost = describe(task.net)
    side = recipe.network.side_px
    yield (
        f"{recipe.network.name}: {cost.parameters / 1e6:.2f} million parameters, {cost.gflop:.3f} GFLOP a picture of "
        f"{side}x{side} px"
    )
    groups = len(set(task.held.group.tolist()))
    yield f"learning from {len(task.rows)} rows; {len(task.held)} rows ({groups} groups) choose the best weights"
    known = task.rows.known()
    yield "labels: " + ", ".join(f"{kind} {int(known[kind].sum())}" for kind in used_labels(recipe))
    known = task.held.known()
    if lacking := [kind for kind in used_labels(recipe) if not known[kind].any()]:
        yield f"no held-out row tells {' or '.join(lacking)}, which the score leaves out then: raise data.held_out"
    if recipe.heads.emotion:
        classes = classes_of(task.rows.emotion)
        counts = np.bincount(classes[classes >= 0], minlength=len(recipe.heads.emotion)).tolist()
        yield "emotion: " + ", ".join(f"{name} {n}" for name, n in zip(recipe.heads.emotion, counts, strict=True))
        votes = np.nansum(task.rows.emotion, 0).tolist()
        if 0 in votes and not recipe.loss.distillation.weight:
            none = ", ".join(name for name, n in zip(recipe.heads.emotion, votes, strict=True) if not n)
            yield f"never learned, since no row has it: {none}"
    if prepared.pictures.kept < len(prepared.pictures) - len(prepared.pictures.unreadable):
        yield (
            f"{prepared.pictures.kept} of {len(prepared.pictures)} pictures are kept decoded "
            f"({recipe.data.memory_mb} MB), the others are decoded whenever they are drawn"
        )
    yield from (f"left out: {number} rows {why}" for why, number in prepared.left_out.items())
    yield from (f"not learned by {number} rows: {why}" for why, number in prepared.unlearned.items())
