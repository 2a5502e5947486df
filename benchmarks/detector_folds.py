"""False faces of the detector's recipe on pictures without a face that its networks never saw: cross-validation.

The scenes of split train are dealt into folds. For each of them a network is trained as the packaged one was, on those
scenes of the other folds that show nothing of its own, and searches its own. Prints one JSON object: figures over all
folds at the threshold of the packaged network, and pictures with false faces at others.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

from vidfer.train.average_precision import Found
from vidfer.train.detector import predict
from vidfer.train.detector_net import DetectorNet
from vidfer.train.detector_run import detector_config, figures, fit_detector
from vidfer.train.loop import load_weights
from vidfer.train.scenes import HELD_OUT_ONE_IN, Scene, load_scenes
from vidfer.vision.session import load_card

_LOWEST_SCORE = 0.02
_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)


def fold_of(name: str, folds: int) -> int:
    """The fold of a scene; it has nothing to do with whether the scene is held out of the packaged network."""
    return crc32(name.encode()) // HELD_OUT_ONE_IN % folds


def in_fold(fold: int, folds: int) -> Callable[[str], bool]:
    """Whether a scene belongs to a fold, by its name."""
    return lambda name: fold_of(name, folds) == fold


def train(data: Path, run: Path, aside: Callable[[str], bool], epochs: int) -> DetectorNet:
    """The network of a fold, after its last epoch: the fold's own scenes must choose nothing."""
    fit_detector(data, run, replace(detector_config(epochs=epochs), evaluate_every=epochs), resume=True, aside=aside)
    network = DetectorNet().eval()
    load_weights(network, run, "last")
    return network


def summary(scenes: list[Scene], found: list[Found], threshold: float) -> dict[str, Any]:
    """Figures of all folds at the threshold, and pictures with false faces at others."""
    empty = [score.max(initial=0) for (_, score), scene in zip(found, scenes, strict=True) if scene.negative]
    return {
        "threshold": threshold,
        "negatives": len(empty),
        "figures": figures(scenes, found, threshold),
        "pictures_with_false_faces_at": {str(t): int(sum(score >= t for score in empty)) for t in _THRESHOLDS},
        "highest_scores_on_negatives": [round(float(score), 3) for score in sorted(empty, reverse=True)[:10]],
    }


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the training data")
    parser.add_argument("--run", type=Path, required=True, help="folder for the runs; goes on where it was stopped")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=32, help="of each fold")
    given = parser.parse_args()
    scenes = load_scenes(given.data / "scenes.parquet", "train")
    seen: list[Scene] = []
    found: list[Found] = []
    for fold in range(given.folds):
        aside = in_fold(fold, given.folds)
        network = train(given.data, given.run / f"fold{fold}", aside, given.epochs)
        own = [s for s in scenes if aside(s.name)]
        seen += own
        found += [predict(network, s.image, _LOWEST_SCORE) for s in own]
    threshold = float(load_card("face_detector").details["threshold"])
    print(json.dumps({"folds": given.folds, "epochs": given.epochs, **summary(seen, found, threshold)}, indent=1))


if __name__ == "__main__":
    main()
