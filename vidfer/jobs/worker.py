"""One worker: its networks, loaded once, and what it does with a task. Knows nothing of who gave it."""

from __future__ import annotations

import errno
import logging
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidfer.errors import InputError, ModelError, OutputError, UsageError, VidferError, one_line
from vidfer.jobs import remote
from vidfer.jobs.dataset import NAME, Dataset
from vidfer.jobs.ledger import LedgerFile
from vidfer.jobs.redact import without_secrets
from vidfer.jobs.units import DONE, FAILED, REJECTED, Record, Task, unit_of
from vidfer.media.inputs import PHOTO_SUFFIXES, sha256_of
from vidfer.pipeline.options import ProcessOptions, config_hash

_log = logging.getLogger(__name__)

# What a disk or a network says that is away for a while; a file is not to blame.
_PASSING = {
    getattr(errno, name)
    for name in ("EIO", "ESTALE", "ETIMEDOUT", "ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH", "ECONNRESET")
    + ("ENOTCONN", "EAGAIN", "EMFILE", "ENFILE", "ENOMEM", "EREMOTEIO")
    if hasattr(errno, name)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What every worker of a job has to know.

    Attributes:
        options: What to do with each source; `output_dir` is the folder of the data set.
        cores: How many each may keep busy.
    """

    options: ProcessOptions
    cores: int = 1


class Worker:
    """Analyses one source after the other.

    Args:
        setup: That of the job.

    Raises:
        VidferError: It cannot work here: the networks, or the folder of the results.
    """

    def __init__(self, setup: Setup) -> None:
        import cv2

        from vidfer.pipeline.models import Models

        cv2.setNumThreads(setup.cores)
        self._options = setup.options
        self._dataset = Dataset(setup.options.output_dir)
        self._host = socket.gethostname()
        if not self._dataset.is_begun():
            raise OutputError(
                f"{self._dataset.folder} on {self._host} is not the folder of the job: name an output.folder that all "
                "machines share"
            )
        self._models = Models(setup.options.device, setup.options.precision)
        self._dataset.agree_on("models", self._models.hashes)
        self._config = config_hash(setup.options.deciding(), self._models.hashes)
        self._ledger = LedgerFile(self._dataset.ledger)

    def work(self, task: Task) -> Record:
        """Do a task and write down what became of it.

        Raises:
            OutputError: Results cannot be written: no other task would fare better.
            ModelError: Likewise with the networks.
        """
        began = time.perf_counter()
        found: dict[str, Any] = {}
        try:
            with self._file(task) as path:
                self._analyse(path, found)
            state, reason = DONE, None
        except (OutputError, ModelError):
            raise
        except Exception as error:  # noqa: BLE001 (a fault of ours in one video is no reason to leave out the others)
            _log.debug("%s failed", task.source.name, exc_info=True)
            state, reason = _verdict(error)
            if state == REJECTED and "unit" in found:
                self._dataset.give_up(found["unit"])
        record = Record(
            source=task.source.name,
            identity=task.source.identity,
            bytes=task.source.size,
            state=state,
            attempt=task.attempt,
            host=self._host,
            ended=time.time(),
            seconds=round(time.perf_counter() - began, 3),
            reason=reason,
            **found,
        )
        self._ledger.append(record)
        return record

    def close(self) -> None:
        """No more tasks."""
        self._ledger.close()

    @contextmanager
    def _file(self, task: Task) -> Iterator[Path]:
        """The source as a file of this machine, under its own name."""
        name = task.source.name
        if Path(name).suffix.lower() in PHOTO_SUFFIXES:
            raise InputError(f"{name} is a photo: `vidfer process` makes one table of many of them")
        if not remote.is_remote(name):
            yield Path(name)
            return
        folder = Path(tempfile.mkdtemp(prefix="vidfer-"))
        try:
            yield remote.fetch(name, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _analyse(self, path: Path, found: dict[str, Any]) -> None:
        """Make the unit of a file, or find it made; `found` gets what is known of it, also when that fails."""
        from vidfer.pipeline.run import process_file

        sha256 = sha256_of(path)
        assert sha256 is not None
        unit = unit_of(sha256, self._config)
        found |= {"sha256": sha256, "unit": unit}
        with self._dataset.making(unit):
            report = self._dataset.publish(unit)
            if report is None:
                result = process_file(
                    path, self._dataset.options_for(self._options, unit), name=NAME, models=self._models
                )
                if result.report["source"]["sha256"] != sha256:
                    self._dataset.give_up(unit)
                    raise VidferError(f"{path} changed while it was read: run again when it is complete")
                report = self._dataset.publish(unit, result)
        assert report is not None
        counts = report["counts"]
        found |= {"frames": counts["analysed"], "faces": counts["faces"], "tracks": counts["tracks"]}
        found |= {"duration_s": report["source"]["duration_s"]}
        found |= {"resumed_frames": report.get("timings", {}).get("resumed_frames", 0)}


def _verdict(error: Exception) -> tuple[str, str]:
    """Whether a source is to blame, and why in one line."""
    if not isinstance(error, VidferError):
        reason = f"{type(error).__name__}: {error} (a fault of vidfer's: report it with what `process --debug` prints)"
        return FAILED, without_secrets(" ".join(reason.split()))
    cause = error.__cause__
    passing = isinstance(cause, OSError) and cause.errno in _PASSING
    rejected = isinstance(error, (InputError, UsageError)) and not passing
    notes = getattr(error, "__notes__", [])
    if notes:  # "the same command goes on": of `process`, which nobody has called
        error.__notes__ = []
    return REJECTED if rejected else FAILED, without_secrets(one_line(error))
