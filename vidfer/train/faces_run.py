"""What `vidfer train fit|export face_analyzer` call; `evaluate` is in a module of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F  # noqa: N812

from vidfer.train.commit import git_sha
from vidfer.train.data import FaceRows, held_out, jittered_boxes, read_faces
from vidfer.train.evaluate import evaluate_faces
from vidfer.train.export import export_onnx
from vidfer.train.faces import NAME, FaceTask, predict
from vidfer.train.loop import LoopConfig, TrainingProgress, fit, load_weights
from vidfer.train.mesh import MeshBasis
from vidfer.train.model import OUTPUTS, ExportedFaceNet, FaceNet, count_cost
from vidfer.train.presence import fit_presence
from vidfer.train.targets import LABELS7
from vidfer.types import EMOTIONS
from vidfer.vision.geometry import CROP_PX

VERSION = "2.1"
_VERIFIED_BATCHES = (1, 2, 7)
_TEMPERATURES = np.geomspace(0.4, 2.5, 74)


def fit_faces(
    data_dir: Path,
    run_dir: Path,
    *,
    epochs: int = 48,
    seed: int = 0,
    threads: int = 1,
    resume: bool = False,
    progress: Callable[[TrainingProgress], None] | None = None,
) -> None:
    """Train the default face network; about 115 s an epoch on one core and a fifth of another.

    Args:
        data_dir: Folder with faces.parquet, scenes.parquet and mesh_basis.npz.
        run_dir: Folder for checkpoints and log.
        epochs: Passes over the training faces.
        seed: Decides weights and data.
        threads: Torch threads.
        resume: Go on where an earlier call stopped.
        progress: Told after every step.
    """
    torch.manual_seed(seed)
    task = FaceTask(data_dir, epochs)
    config = LoopConfig(
        epochs=epochs, steps_per_epoch=task.steps_per_epoch, seed=seed, threads=threads, bf16=True, evaluate_every=2
    )
    fit(task, config, run_dir, resume=resume, progress=progress)


def export_faces(
    run_dir: Path, destination: Path, *, data_dir: Path, command: str, which: str = "last"
) -> dict[str, Any]:
    """Write the EMA weights of a run as ONNX: calibrated, verified, with the figures on val in its card.

    Args:
        run_dir: Folder of the run.
        destination: The ONNX file.
        data_dir: Folder of the training data, for the temperature and the figures.
        command: The command that made the run, for the card.
        which: `best` or `last` checkpoint.

    Returns:
        The card.
    """
    net = FaceNet()
    state = load_weights(net, run_dir, which)
    net.eval()
    temperature = fit_temperature(net, data_dir)
    presence = fit_presence(net, data_dir)
    parameters, gflop = count_cost(net, torch.zeros(1, CROP_PX, CROP_PX, 3, dtype=torch.uint8))
    card = {
        "name": NAME,
        "version": VERSION,
        "input": {"name": "image", "dtype": "uint8", "shape": ["B", CROP_PX, CROP_PX, 3], "colour": "RGB"},
        "heads": _heads(),
        "trained_on": (
            "faces.parquet and scenes.parquet, split train: FER+ votes, part of AffectNet's validation set, "
            "DiffusionFER, LFPW and YouTube Faces points, unlabelled faces with soft labels; one group in ten held out"
        ),
        "metrics": {},
        "temperature": temperature,
        "presence_fitted_on": presence,
        "parameters": parameters,
        "gflop": round(gflop, 4),
        "epoch": state["epoch"],
        "config": state["config"],
        "licence": "Apache-2.0",
        "git_sha": git_sha(),
        "command": command,
    }

    def write() -> dict[str, Any]:
        generator = torch.Generator().manual_seed(0)
        shape = (CROP_PX, CROP_PX, 3)
        inputs = [torch.randint(0, 256, (b, *shape), dtype=torch.uint8, generator=generator) for b in _VERIFIED_BATCHES]
        return export_onnx(
            ExportedFaceNet(net, temperature),
            destination,
            example=inputs[1],
            input_name="image",
            output_names=OUTPUTS,
            dynamic_axes={"image": {0: "faces"}, **{name: {0: "faces"} for name in OUTPUTS}},
            card=card,
            verify=inputs,
        )

    # The figures are those of the file itself, so it is written, measured, and written again with them.
    write()
    card["metrics"] = {name: found.as_dict() for name, found in evaluate_faces(destination, data_dir).items()}
    return write()


def fit_temperature(net: FaceNet, data_dir: Path) -> float:
    """One temperature for the emotion logits (Guo et al., 2017) on held-out train groups with a clear label."""
    basis = MeshBasis(data_dir / "mesh_basis.npz")
    rows = read_faces(data_dir, "train", basis)
    rows = rows.take(held_out(rows.group))
    label = clear_labels(rows)
    rows, label = rows.take(label >= 0), label[label >= 0]
    logits = torch.from_numpy(predict(net, rows, jittered_boxes(rows.box_px, seed=0))["emotion"])
    target = torch.from_numpy(label)
    losses = [float(F.cross_entropy(logits / t, target)) for t in _TEMPERATURES]
    return round(float(_TEMPERATURES[int(np.argmin(losses))]), 4)


def clear_labels(rows: FaceRows) -> npt.NDArray[np.int64]:
    """Majority class of FER+ rows, hard label of others, -1 where there is neither."""
    votes = np.nan_to_num(rows.votes[:, :8])
    voted = ~np.isnan(rows.votes[:, 0])
    return np.where(voted, np.where(votes.max(1) > 5, votes.argmax(1), -1), rows.label)


def _heads() -> list[dict[str, Any]]:
    px = "px of the crop"
    return [
        {"name": "emotion", "kind": "logits", "labels": list(EMOTIONS), "unit": None, "range": None},
        {"name": "valence_arousal", "kind": "value", "labels": ["valence", "arousal"], "unit": None, "range": [-1, 1]},
        {"name": "landmarks", "kind": "points", "labels": "mesh478 (x, y, z)", "unit": px, "range": None},
        {"name": "landmarks68", "kind": "points", "labels": "ibug68 (x, y)", "unit": px, "range": None},
        {"name": "box", "kind": "box", "labels": ["x0", "y0", "x1", "y1"], "unit": px, "range": None},
        {"name": "presence", "kind": "probability", "labels": ["face"], "unit": None, "range": [0, 1]},
        {"name": "embedding", "kind": "unit vector", "labels": "128", "unit": None, "range": [-1, 1]},
        {"name": "fer2013", "kind": "logits", "labels": list(LABELS7), "unit": None, "range": None},
    ]
