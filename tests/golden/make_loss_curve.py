"""Makes the golden loss curve: a tiny run of a network with every kind of head on drawn pictures.

Run from the repository: ``PYTHONPATH=. python tests/golden/make_loss_curve.py``. The stored curve is from torch 2.13 on
one thread of a processor with AVX-512; with two threads, with AVX2 alone and with SSE alone no figure differs by more
than 0.9 %.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from vidfer.train.loop import LOG, LoopConfig, fit
from vidfer.train.networks.registry import Heads, NetworkOptions, build

STORED = Path(__file__).with_name("loss_curve.json")
TOLERANCE = 0.02  # relative
SIDE = 32
# Small steps of SGD: Adam makes a full one out of a gradient that is nothing but rounding, and after 24 steps losses of
# runs with one thread and with two are 20 % apart.
CONFIG = LoopConfig(
    epochs=4,
    steps_per_epoch=6,
    optimizer="sgd",
    momentum=0.0,
    learning_rate=0.05,
    clip_norm=1.0,
    warmup_steps=6,
    ema_decay=0.9,
    bf16=False,
)
HEADS = Heads(emotion=("neutral", "happiness", "anger"), valence_arousal=True, landmarks=5, box=True)


def drawn(generator: torch.Generator, count: int = 16) -> dict[str, torch.Tensor]:
    """Bright boxes on noise: their place, size, brightness and colour are what is learned."""
    middle = 8 + 16 * torch.rand(count, 2, generator=generator)
    half = 3 + 4 * torch.rand(count, 1, generator=generator)
    light = torch.rand(count, generator=generator)
    colour = torch.randint(0, 3, (count,), generator=generator)
    image = 60 * torch.rand(count, SIDE, SIDE, 3, generator=generator)
    place = torch.arange(SIDE).float()
    inside = [(place[None] - middle[:, axis, None]).abs() <= half for axis in (0, 1)]
    mask = inside[1][:, :, None, None] & inside[0][:, None, :, None]
    bright = 120 + 100 * light[:, None] + 35 * functional.one_hot(colour, 3)
    image = torch.where(mask, bright[:, None, None], image)
    corners = torch.tensor([[-1.0, -1], [1, -1], [0, 0], [-1, 1], [1, 1]])
    return {
        "image": image.to(torch.uint8),
        "emotion": colour,
        "valence_arousal": torch.stack([2 * light - 1, (half[:, 0] - 5) / 2], 1),
        "landmarks5": middle[:, None] + half[:, None] * corners,
        "box": torch.cat([middle - half, middle + half], 1),
    }


class Boxes:
    """See `loop.Task`."""

    name = "boxes"

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = build(NetworkOptions(input_px=SIDE), HEADS)

    def batches(self, epoch: int, generator_seed: int) -> Iterator[Any]:
        generator = torch.Generator().manual_seed(generator_seed)
        while True:
            yield drawn(generator)

    def loss(self, model: Any, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        found = model(batch["image"])
        return {
            "emotion": functional.cross_entropy(found["emotion"], batch["emotion"]),
            "valence_arousal": functional.mse_loss(found["valence_arousal"], batch["valence_arousal"]),
            "landmarks5": 10 * functional.mse_loss(found["landmarks5"], batch["landmarks5"]) / SIDE**2,
            "box": functional.smooth_l1_loss(found["box"], batch["box"]) / SIDE,
        }

    @torch.no_grad()
    def evaluate(self, model: Any) -> dict[str, float]:
        parts = self.loss(model, drawn(torch.Generator().manual_seed(99), 64))
        return {"score": -float(sum(parts.values()))}


def curve() -> dict[str, list[float]]:
    """Means of every loss in every epoch, and the scores."""
    with tempfile.TemporaryDirectory() as folder:
        fit(Boxes(), CONFIG, Path(folder))
        lines = [json.loads(line) for line in (Path(folder) / LOG).read_text().splitlines()]
    epochs = [line for line in lines if line["kind"] == "epoch"]
    losses = {name: [line[name] for line in epochs] for name in ("loss", *HEADS.names)}
    return losses | {"score": [line["score"] for line in lines if line["kind"] == "evaluation"]}


if __name__ == "__main__":
    STORED.write_text(json.dumps(curve(), indent=1) + "\n")
