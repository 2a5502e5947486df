"""A recipe and its rows as a task of the training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from vidfer.train.data import jittered_boxes
from vidfer.train.multitask.augmentation import Arrays, Source, augmented
from vidfer.train.multitask.crops import crop_boxes
from vidfer.train.multitask.figures import figures_of
from vidfer.train.multitask.losses import balanced_weights, multitask_losses
from vidfer.train.multitask.recipe import Recipe
from vidfer.train.multitask.rows import Prepared
from vidfer.train.multitask.sampling import classes_of, draw, hold_out
from vidfer.train.networks.registry import build
from vidfer.vision.geometry import crop_transform

_CHECK_BATCH = 128


class RecipeTask:
    """What `loop.Task` asks for.

    Args:
        recipe: How to train; the seed of its loop decides about the network's new weights.
        prepared: What to train on.

    Attributes:
        config: How the loop trains it.
        rows: What is learned.
        held: What chooses the best weights.
        evaluated: Told the figures whenever they were found.

    Raises:
        DataError: Nothing can be held out, or what is held out has no label.
    """

    def __init__(self, recipe: Recipe, prepared: Prepared) -> None:
        self.name = recipe.name
        self.evaluated: Callable[[Mapping[str, float]], None] | None = None
        self._recipe = recipe
        self._labels = {n: "landmarks" if n.startswith("landmarks") else n for n in recipe.heads.names}
        held = hold_out(prepared.rows.set_name, prepared.rows.group, recipe.data.held_out)
        self.rows, self.held = prepared.rows.take(~held), prepared.rows.take(held)
        self.config = recipe.loop_config(len(self.rows))
        side = recipe.network.side_px
        self._train, self._check = (
            Source(rows=rows, pictures=prepared.pictures, data=recipe.data, side=side)
            for rows in (self.rows, self.held)
        )
        # Boxes are off as those of detectors are: one in the middle of its crop would be no question.
        boxes = crop_boxes(jittered_boxes(self.held.box_px, seed=0), self.held.size_px, recipe.data)
        self._check_transform = crop_transform(boxes, size=side)
        self._class_weights = None
        if recipe.loss.emotion.class_weights == "balanced" and recipe.heads.emotion:
            self._class_weights = balanced_weights(torch.from_numpy(self.rows.emotion))
        # Whether the figures can be had at all is known before training: of a network that says the truth.
        truth = self._judged(self.held.labels())
        figures_of({name: truth[kind] for name, kind in self._labels.items()}, truth)
        torch.manual_seed(self.config.seed)
        self.net = build(recipe.network, recipe.heads)
        self.model: torch.nn.Module = self.net

    def batches(self, epoch: int, generator_seed: int) -> Iterator[dict[str, Tensor]]:
        """Augmented batches of one epoch; a function of the two numbers alone."""
        rng = np.random.default_rng([generator_seed, epoch])
        data, size = self._recipe.data, self._recipe.data.batch_size
        count = self.config.steps_per_epoch * size
        order = draw(classes_of(self.rows.emotion), count, data.sampling, rng)
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            yield self._as_tensors(augmented(self._train, chosen, self._recipe.augment, rng))

    def loss(self, model: torch.nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weighted parts of `losses.multitask_losses`."""
        weights = self._class_weights
        if weights is not None:
            weights = weights.to(batch["image"].device)
        return multitask_losses(model(batch["image"]), batch, self._recipe.loss, weights)

    @torch.no_grad()
    def evaluate(self, model: torch.nn.Module) -> dict[str, float]:
        """Figures on the held-out rows; a score of NaN alone where the network tells something else than numbers."""
        model.eval()
        device = next(model.parameters()).device
        said: list[Arrays] = []
        truth: list[Arrays] = []
        for start in range(0, len(self.held), _CHECK_BATCH):
            index = np.arange(start, min(start + _CHECK_BATCH, len(self.held)))
            crops = self._check.crops(index, self._check_transform[index])
            heads = model(torch.from_numpy(crops.pop("image")).to(device))
            said.append({name: values.float().cpu().numpy() for name, values in heads.items()})
            truth.append(crops)
        figures, found = {"score": math.nan}, _joined(said)
        if all(np.isfinite(values).all() for values in found.values()):  # the largest of NaN would be a class, too
            figures = figures_of(found, self._judged(_joined(truth)))
        if self.evaluated:
            self.evaluated(figures)
        return figures

    def _judged(self, labels: Arrays) -> Arrays:
        """What is known of the truth: what the teacher says stands in where that is learned and nobody else said it."""
        teacher, found = self._recipe.loss.distillation, dict(labels)
        if teacher.weight:
            found["emotion"] = np.where(np.isnan(labels["emotion"]), labels["teacher"], labels["emotion"])
        if teacher.valence_arousal_weight:
            own = labels["valence_arousal"]
            found["valence_arousal"] = np.where(np.isnan(own), labels["teacher_va"], own)
        return found

    def _as_tensors(self, batch: Arrays) -> dict[str, Tensor]:
        kept = {"image": "image", "teacher": "teacher", "teacher_va": "teacher_va", **self._labels}
        tensors = {name: torch.from_numpy(batch[kind]) for name, kind in kept.items()}
        return {name: t if t.dtype == torch.uint8 else t.float() for name, t in tensors.items()}


def _joined(parts: list[Arrays]) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
