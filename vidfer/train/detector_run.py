"""What `vidfer train fit|evaluate|export face_detector` call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vidfer.errors import DataError
from vidfer.media.picture import ArrayPicture
from vidfer.train.average_precision import (
    Found,
    Truth,
    bootstrap_interval,
    counts_at,
    match,
    pooled,
)
from vidfer.train.commit import git_sha
from vidfer.train.detector import DetectorTask, predict, training_scenes
from vidfer.train.detector_net import STRIDES, DetectorNet, Foldable, PixelConv
from vidfer.train.export import export_onnx
from vidfer.train.hard import HARD, LOWEST_SCORE, Place, hard_places, read_places, write_places
from vidfer.train.loop import LoopConfig, TrainingProgress, fit, load_weights
from vidfer.train.metrics import Array, figure, ratio, share
from vidfer.train.paste import load_faces
from vidfer.train.scenes import Scene, held_out, load_scenes
from vidfer.vision.detect import BOX, INPUT, SCORE, FaceDetector
from vidfer.vision.session import ModelCard, Session

VERSION = "3.0"
STEPS_PER_EPOCH = 250
_SEARCH_AFTER, _CALM_AFTER = 0.25, 0.7  # of the epochs
_TRAINED_ON = (
    "split train of scenes.parquet (one in ten held out) and faces.parquet (without the set video), "
    "both without what the split val shows"
)
_LOWEST_SCORE = 0.02  # average precision wants the whole curve
_F1_SLACK = 0.005
_FALSE_SHARE = 0.005
_THRESHOLDS = np.arange(0.2, 0.81, 0.02)
_VERIFIED_SIZES = ((360, 640), (160, 192), (640, 368), (344, 488))


def detector_config(*, epochs: int = 32, seed: int = 0, threads: int = 1, device: str = "cpu") -> LoopConfig:
    """The configuration that trained the detector in the package."""
    return LoopConfig(
        epochs=epochs,
        steps_per_epoch=STEPS_PER_EPOCH,
        learning_rate=3e-3,
        weight_decay=0.02,
        warmup_steps=200,
        ema_decay=0.999,
        bf16=True,
        seed=seed,
        threads=threads,
        device=device,
        evaluate_every=2,
    )


def fit_detector(
    data_dir: Path,
    run_dir: Path,
    config: LoopConfig | None = None,
    *,
    resume: bool = False,
    aside: Callable[[str], bool] = held_out,
    progress: Callable[[TrainingProgress], None] | None = None,
) -> None:
    """Train the detector on `scenes.parquet` and `faces.parquet` in `data_dir`.

    After a quarter of the epochs it looks for what it takes for faces in its own training scenes, and learns more
    from these places until the end.

    Args:
        data_dir: Folder of the training data.
        run_dir: Folder for checkpoints, hard negatives and log.
        config: Defaults to `detector_config()`.
        resume: Go on where an earlier call stopped.
        aside: Which scenes, by name, are not trained on, but choose the best weights.
        progress: Told after every step.
    """
    config = config or detector_config()
    scenes, choosing = training_scenes(load_scenes(data_dir / "scenes.parquet", "train"), aside)
    faces = load_faces(data_dir)
    torch.manual_seed(config.seed)  # of the first weights
    calm_from = round(_CALM_AFTER * config.epochs)
    if not (run_dir / HARD).is_file():
        task = DetectorTask(scenes, choosing, faces, calm_from=calm_from)
        until = max(1, round(_SEARCH_AFTER * config.epochs))
        fit(task, config, run_dir, resume=resume, until=until, progress=progress)
        write_places(run_dir / HARD, _search(run_dir, scenes))
        resume = True
    task = DetectorTask(scenes, choosing, faces, places=read_places(run_dir / HARD), calm_from=calm_from)
    fit(task, config, run_dir, resume=resume, progress=progress)


def _search(run_dir: Path, scenes: Sequence[Scene]) -> list[Place]:
    """What a run's network, as far as it has come, wrongly finds in scenes."""
    network = DetectorNet().eval()
    load_weights(network, run_dir, "last")
    return hard_places(lambda image: predict(network, image, LOWEST_SCORE), scenes)


class _Shipped(nn.Module):
    """The network as it ships: scores in place of logits, plain convolutions in place of what trains better."""

    def __init__(self, network: DetectorNet) -> None:
        super().__init__()
        self.network = network
        first = network.stem[0]
        if isinstance(first, PixelConv):
            network.stem[0] = first.baked()
        for stage in (network.stage8, network.stage16, network.stage32):
            for i, block in enumerate(stage):
                if isinstance(block, Foldable):
                    stage[i] = block.folded()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        box, logit = self.network(image)
        return box, logit.sigmoid()


def export_detector(
    run_dir: Path,
    destination: Path,
    *,
    data_dir: Path,
    command: str,
    which: str = "best",
    threshold: float | None = None,
) -> dict[str, Any]:
    """Write the EMA weights of a run as ONNX; threshold (split train) and figures (split val) go into its card.

    Args:
        run_dir: Folder of the run.
        destination: The ONNX file.
        data_dir: Folder of the training data, for threshold and figures.
        command: The command that made the run, for the card.
        which: `best` or `last` checkpoint.
        threshold: Score from which a box is a face; None chooses it on scenes of split train.

    Returns:
        The card.
    """
    network = DetectorNet()
    state = load_weights(network, run_dir, which)
    network.eval()
    everything = load_scenes(data_dir / "scenes.parquet", "train")
    if threshold is None:
        threshold = choose_threshold(
            network, [s for s in everything if held_out(s.name)], [s for s in everything if s.negative]
        )
    val = load_scenes(data_dir / "scenes.parquet", "val")
    found = [predict(network, scene.image, _LOWEST_SCORE) for scene in val]
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randint(0, 256, (1, h, w, 3), dtype=torch.uint8, generator=generator) for h, w in _VERIFIED_SIZES]
    card = {
        "name": "face_detector",
        "version": VERSION,
        "input": {
            "name": INPUT,
            "dtype": "uint8",
            "shape": [1, "H", "W", 3],
            "colour": "RGB",
            "sides_multiple_of": STRIDES[0],
        },
        "heads": [
            {"name": BOX, "kind": "box", "labels": ["x0", "y0", "x1", "y1"], "unit": "px of the input", "range": None},
            {"name": SCORE, "kind": "probability", "labels": ["face"], "unit": None, "range": [0, 1]},
        ],
        "trained_on": _TRAINED_ON,
        "metrics": figures(val, found, threshold),
        "threshold": threshold,
        "smallest_face_px": 16,
        "parameters": sum(p.numel() for p in network.parameters()),
        "epoch": state["epoch"],
        "config": state["config"],
        "licence": "Apache-2.0",
        "git_sha": git_sha(),
        "command": command,
    }
    return export_onnx(
        _Shipped(network),
        destination,
        example=inputs[0],
        input_name=INPUT,
        output_names=(BOX, SCORE),
        dynamic_axes={INPUT: {1: "height", 2: "width"}, BOX: {1: "cells"}, SCORE: {1: "cells"}},
        card=card,
        verify=inputs,
    )


def choose_threshold(network: nn.Module, pictures: Sequence[Scene], negatives: Sequence[Scene]) -> float:
    """The score that a face must have.

    On the held-out `pictures`, the highest one whose F1 (faces of 16 px and more) is as good as the best one: the curve
    is flat around its top, and within half a point, fewer false faces are worth more than a few faces found. If at that
    score more than one in 200 of the `negatives` has a false face, the lowest one at which that is not so.
    """
    matches = [
        match(Truth(box_px=p.box_px, valid=p.valid), predict(network, p.image, _LOWEST_SCORE), min_side=16)
        for p in pictures
    ]
    faces = sum(m[2] for m in matches)
    if not faces:
        raise DataError("no face in the held-out scenes: the threshold cannot be chosen")
    score, right = np.concatenate([m[0] for m in matches]), np.concatenate([m[1] for m in matches])
    f1 = np.array([2 * right[score >= c].sum() / (faces + (score >= c).sum()) for c in _THRESHOLDS])
    best = float(_THRESHOLDS[f1 >= f1.max() - _F1_SLACK][-1])
    highest = np.array([predict(network, p.image, _LOWEST_SCORE)[1].max(initial=0) for p in negatives])
    quiet = [c for c in _THRESHOLDS if (highest >= c).sum() <= _FALSE_SHARE * len(negatives)]
    return round(max(best, float(quiet[0]) if quiet else float(_THRESHOLDS[-1])), 2)


def evaluate_detector(onnx_path: Path, data_dir: Path) -> dict[str, Any]:
    """`figures` of a shipped file on the val scenes, at the threshold of its card."""
    _, scenes, found, threshold = find_faces(onnx_path, data_dir)
    return figures(scenes, found, threshold)


def find_faces(onnx_path: Path, data_dir: Path) -> tuple[ModelCard, list[Scene], list[Found], float]:
    """The card of a shipped file, the val scenes, what it finds there by the code of run time, and its threshold."""
    session = Session(onnx_path, device="cpu")
    detector = FaceDetector(session, threshold=_LOWEST_SCORE)
    scenes = load_scenes(data_dir / "scenes.parquet", "val")
    found = []
    for scene in scenes:
        detections = detector.detect(ArrayPicture(scene.image))
        found.append((detections.box_px, detections.score))
    return session.card, scenes, found, float(session.card.details["threshold"])


def figures(pictures: Sequence[Scene], found: Sequence[Found], threshold: float) -> dict[str, Any]:
    """AP at IoU 0.5, recall, precision and false faces at a threshold; 95 % intervals by drawing pictures."""
    truths = [Truth(box_px=p.box_px, valid=p.valid) for p in pictures]
    result: dict[str, Any] = {"pictures": len(pictures)}
    for side in (20, 12):
        matches = [match(t, f, min_side=side) for t, f in zip(truths, found, strict=True)]
        faces, right, sure = counts_at(matches, threshold)
        result |= {
            f"ap50_{side}px": round(pooled(matches), 4),
            f"ap50_{side}px_interval": [round(v, 4) for v in bootstrap_interval(matches)],
            f"faces_{side}px": int(faces.sum()),
            **_with_interval(f"recall_{side}px_at_threshold", right, faces),
            **_with_interval(f"precision_{side}px_at_threshold", right, sure),
        }
    empty = [f for f, p in zip(found, pictures, strict=True) if p.negative]
    if empty:
        false = np.array([(score >= threshold).sum() for _, score in empty])
        result |= _with_interval("false_faces_per_negative_picture", false, np.ones(len(empty)))
        result["negative_pictures_with_false_faces"] = share(int((false > 0).sum()), len(empty)).as_dict()
    return result


def _with_interval(name: str, counts: Array, of: Array) -> dict[str, Any]:
    found = figure(ratio, counts, of)
    return {name: round(found.value, 4), f"{name}_interval": [round(found.low, 4), round(found.high, 4)]}
