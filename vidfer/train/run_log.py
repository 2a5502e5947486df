"""What a training run tells while it lasts: a line of JSON each time, and the same to TensorBoard on request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vidfer.errors import UsageError
from vidfer.output.files import write_text, writing

LOG, TENSORBOARD = "log.jsonl", "tensorboard"


class RunLog:
    """The log in a run's folder.

    Args:
        folder: Of the run.
        epoch: What was written from this epoch on is forgotten: it was interrupted, and is trained again.
        step: Steps before that epoch.
        tensorboard: Write files for TensorBoard, too.

    Raises:
        UsageError: TensorBoard is not installed.
        OutputError: The file cannot be written, here or later.
    """

    def __init__(self, folder: Path, *, epoch: int, step: int, tensorboard: bool) -> None:
        self._path = folder / LOG
        self._board = _open_board(folder / TENSORBOARD, step) if tensorboard else None
        if self._path.exists():
            kept = [line for line in self._path.read_text().splitlines() if _is_before(line, epoch)]
            write_text(self._path, "".join(f"{line}\n" for line in kept))

    def write(self, kind: str, values: Mapping[str, Any], *, epoch: int, step: int) -> None:
        """Write what was measured; `step` counts from the start of the run."""
        with writing(self._path), self._path.open("a") as file:
            file.write(json.dumps({"kind": kind, "epoch": epoch, **values}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                if name != "step":
                    self._board.add_scalar(f"{kind}/{name}", value, step)
            self._board.flush()

    def close(self) -> None:
        """End the files."""
        if self._board is not None:
            self._board.close()


def _open_board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        raise UsageError("files for TensorBoard need tensorboard: pip install 'vidfer[tensorboard]'") from error
    return SummaryWriter(folder, purge_step=step + 1)


def _is_before(line: str, epoch: int) -> bool:
    try:
        found: bool = json.loads(line)["epoch"] < epoch
    except (ValueError, KeyError, TypeError):  # cut off when the run was
        return False
    return found
