"""What `vidfer train fit|evaluate|export face_detector` call."""

from __future__ import annotations

from pathlib import Path

from vidfer.train.detector import DetectorTask
from vidfer.train.loop import LoopConfig, fit

STEPS_PER_EPOCH = 250


def detector_config(*, epochs: int = 50, seed: int = 0, threads: int = 1, device: str = "cpu") -> LoopConfig:
    """The configuration that trained the detector in the package."""
    return LoopConfig(
        epochs=epochs,
        steps_per_epoch=STEPS_PER_EPOCH,
        learning_rate=3e-3,
        weight_decay=0.02,
        warmup_steps=200,
        ema_decay=0.998,
        seed=seed,
        threads=threads,
        device=device,
        evaluate_every=2,
    )


def fit_detector(data_dir: Path, run_dir: Path, config: LoopConfig | None = None, *, resume: bool = False) -> None:
    """Train the detector on `scenes.parquet` and `faces.parquet` in `data_dir`.

    Args:
        data_dir: Folder of the training data.
        run_dir: Folder for checkpoints and log.
        config: Defaults to `detector_config()`.
        resume: Go on where an earlier call stopped.
    """
    fit(DetectorTask(data_dir), config or detector_config(), run_dir, resume=resume)
