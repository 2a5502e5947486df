"""What parts of the face network's training are worth: short runs without one of them, on held-out train groups.

Every run is the recipe of the package with fewer epochs (the cosine ends with them) and some losses at weight 0, or
without degraded crops. Prints one JSON object per run; rows of split val are not looked at.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from unittest import mock

import torch

from vidfer.train import faces, losses
from vidfer.train.faces import FaceTask
from vidfer.train.loop import LOG, LoopConfig, fit

# Name of a run -> losses that are left out.
RUNS = {
    "all": (),
    "degradation": (),
    "teacher": ("teacher",),
    "fer2013": ("fer2013",),
    "valence_arousal": ("va_ccc", "va_mse"),
    "points": ("mesh", "points68", "box"),
    "identity": ("embedding", "neighbours"),
    "neighbours": ("neighbours",),
    "affect": ("emotion", "teacher", "fer2013", "va_ccc", "va_mse"),
}


def held_out_figures(data: Path, without: str, epochs: int, seed: int) -> dict[str, float]:
    """Figures of a run without something after its last epoch."""
    weights = losses.WEIGHTS | dict.fromkeys(RUNS[without], 0.0)
    plain = 1.0 if without == "degradation" else faces._PLAIN
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(losses.WEIGHTS, weights),
        mock.patch.multiple(faces, _PLAIN=plain, _PLAIN_AT_THE_END=max(plain, faces._PLAIN_AT_THE_END)),
    ):
        torch.manual_seed(seed)
        task = FaceTask(data, epochs)
        config = LoopConfig(epochs=epochs, steps_per_epoch=task.steps_per_epoch, seed=seed, evaluate_every=epochs)
        fit(task, config, Path(folder))
        return dict(json.loads((Path(folder) / LOG).read_text().splitlines()[-1]))


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the training data")
    parser.add_argument("--without", nargs="+", choices=sorted(RUNS), default=list(RUNS), help="which runs")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for name in given.without:
        figures = held_out_figures(given.data, name, given.epochs, given.seed)
        figures = {key: value for key, value in figures.items() if key not in ("kind", "score")}
        print(json.dumps({"without": "nothing" if name == "all" else name, **figures}), flush=True)


if __name__ == "__main__":
    main()
