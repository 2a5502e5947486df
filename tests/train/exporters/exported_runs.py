"""Tiny runs of recipes to export, and a training table to calibrate on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import torch

from vidfer.train import loop
from vidfer.train.datasets.rows import Face, Labels
from vidfer.train.datasets.table import write_table
from vidfer.train.exporters.compare import pictures
from vidfer.train.multitask.recipe import Recipe
from vidfer.train.networks.registry import build

SIDE = 32


def recipe(
    name: str, *, attention: bool = False, grey: bool = False, landmarks: int = 68, side: int = SIDE, epochs: int = 1
) -> Recipe:
    return Recipe.from_dict(
        {
            "name": f"tiny_{name}",
            "network": {"name": name, "input_px": side, "channel_attention": attention, "grey": grey},
            "heads": {
                "emotion": ["neutral", "happiness", "anger"],
                "valence_arousal": True,
                "landmarks": landmarks,
                "box": True,
            },
            "loop": {"epochs": epochs},
        }
    )


class _Task:
    """A network that has learned nothing, but whose norms know what pictures are like."""

    name = "tiny"

    def __init__(self, made: Recipe) -> None:
        torch.manual_seed(1)
        self.model = build(made.network, made.heads)
        norms = [layer for layer in self.model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = None  # the mean over all batches
        self.model.train()
        with torch.no_grad():
            for seed in range(2):
                self.model(torch.from_numpy(pictures(4, self.model.input_px, 100 + seed)))

    def batches(self, epoch: int, generator_seed: int):
        yield torch.from_numpy(pictures(2, self.model.input_px, 0))

    def loss(self, model, batch):
        return {"emotion": 0 * model(batch)["emotion"].square().mean()}

    def evaluate(self, model):
        return {"score": 0.5}


def make_run(folder: Path, made: Recipe) -> Path:
    """The folder of a run."""
    settings = {"recipe": {key: value for key, value in made.as_dict().items() if key != "loop"}}
    config = replace(made.loop_config(rows=2), steps_per_epoch=1, threads=torch.get_num_threads())
    loop.fit(_Task(made), config, folder, settings=settings)
    return folder


def make_table(path: Path, rows: int = 24) -> Path:
    """A training table of pictures with boxes."""
    faces = []
    for k, picture in enumerate(pictures(rows, 40, 7)):
        _, encoded = cv2.imencode(".png", picture[..., ::-1])
        labels = Labels(emotion="anger", box=(4.0, 4.0, 30.0, 30.0))
        faces.append(
            Face(image=encoded.tobytes(), size=(40, 40), set_name="m", split="train", group=str(k), labels=labels)
        )
    write_table(path, faces)
    return path
