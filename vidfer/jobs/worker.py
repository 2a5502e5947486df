"""One worker: its networks, loaded once, and what it does with a task. Knows nothing of who gave it."""

from __future__ import annotations

import errno
import gc
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vidfer.errors import InputError, ModelError, OutputError, UsageError, VidferError, one_line
from vidfer.jobs import remote
from vidfer.jobs.dataset import NAME, Dataset
from vidfer.jobs.ledger import LedgerFile
from vidfer.jobs.redact import without_secrets
from vidfer.jobs.scratch import Scratch
from vidfer.jobs.units import ABSENT, DONE, FAILED, REJECTED, SPLIT, Record, Task, unit_of
from vidfer.media.inputs import PHOTO_SUFFIXES, sha256_of
from vidfer.pipeline.options import ProcessOptions, config_hash
from vidfer.pipeline.results import Outputs, ProcessResult

if TYPE_CHECKING:
    from vidfer.pipeline.slices import Slice

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
        slice_s: Longer files are analysed in slices of so many seconds; None for never.
    """

    options: ProcessOptions
    cores: int = 1
    slice_s: float | None = None


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
        self._options, self._slice_s = setup.options, setup.slice_s
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
        self._ledger, self._scratch = LedgerFile(self._dataset.ledger), Scratch()

    def work(self, task: Task) -> Record:
        """Do a task and write down what became of it.

        Raises:
            OutputError: Results cannot be written: no other task would fare better.
            ModelError: Likewise with the networks.
        """
        began = time.perf_counter()
        found: dict[str, Any] = {}
        local, identity = task.source.name, task.source.identity
        try:
            with self._file(task) as path:
                local = str(path)
                self._do(task, path, found)
            state, reason = SPLIT if task.part is None and found.get("parts") else DONE, None
        except (OutputError, ModelError):
            raise
        except Exception as error:  # noqa: BLE001 (a fault of ours in one video is no reason to leave out the others)
            state, reason = _verdict(error)
            if isinstance(error.__cause__, FileNotFoundError):  # it was there: it counts anew when it is back
                identity = ABSENT
            if state == REJECTED and task.part is None and "unit" in found:
                self._dataset.give_up(found["unit"])
        record = Record(
            source=task.source.name,
            identity=identity,
            bytes=task.source.size,
            state=state,
            attempt=task.attempt,
            host=self._host,
            ended=time.time(),
            reason=reason and reason.replace(" ".join(local.split()), task.source.name),
            **{"seconds": round(time.perf_counter() - began, 3), **found},
        )
        if state != SPLIT and (state != DONE or task.part in (None, task.parts)):
            self._ledger.append(record)
        # PyAV holds a frame of each reading in a circle, 1.3 MB at 480p, which Python left for as long as we looked (30
        # files). Looking for it takes up to 80 ms: much of a clip of a second, nothing of a video.
        gc.collect()
        return record

    def close(self) -> None:
        """No more tasks."""
        self._ledger.close()

    @contextmanager
    def _file(self, task: Task) -> Iterator[Path]:
        """The source as a file of this machine, under its own name."""
        name = task.source.name
        if "\0" in name:
            raise InputError(f"{name!r} is no name of a file")
        if Path(name).suffix.lower() in PHOTO_SUFFIXES:
            raise InputError(f"{name} is a photo: `vidfer process` makes one table of many of them")
        if not remote.is_remote(name):
            yield Path(name)
            return
        try:
            yield remote.fetch(name, self._scratch.empty())
        finally:
            self._scratch.remove()

    def _do(self, task: Task, path: Path, found: dict[str, Any]) -> None:
        """Do a task; `found` gets what is known, also when that fails."""
        if task.part is None:
            self._whole(path, found)
        elif task.part == task.parts:
            self._stitch(task, path, found)
        else:
            self._part(task, path, found)

    def _whole(self, path: Path, found: dict[str, Any]) -> None:
        """Make the unit of a file, or find it made, or find that it is long enough to be split."""
        from vidfer.pipeline.run import process_file

        sha256 = sha256_of(path)
        assert sha256 is not None
        unit = unit_of(sha256, self._config)
        found |= {"sha256": sha256, "unit": unit}
        with self._dataset.making(unit):
            report = self._dataset.publish(unit)
            if report is None and (parts := self._split(path, unit)) > 1:
                found["parts"] = parts
                return
            if report is not None:  # a copy: this worker has hardly worked
                found |= {"seconds": _seconds(report)}
            else:
                options = self._dataset.options_for(self._options, unit)
                result = process_file(path, options, name=NAME, models=self._models)
                self._check(path, unit, result, sha256)
                report = self._dataset.publish(unit, result)
        assert report is not None
        found |= _counts(report)

    def _split(self, path: Path, unit: str) -> int:
        """How many parts a file is analysed in: as an earlier run has settled it, or as it is settled now."""
        plan = self._dataset.plan(unit)
        if plan is not None:
            return len(plan)
        if self._slice_s is None:
            return 1
        from vidfer.media.file import VideoFile
        from vidfer.pipeline.slices import plan_slices

        with VideoFile(path, stream=self._options.stream) as video:  # planning reads all packets
            if video.info.duration_s is not None and video.info.duration_s <= self._slice_s:
                return 1
        slices = plan_slices(path, self._options, self._slice_s)
        if len(slices) > 1:
            self._dataset.write_plan(unit, [part.as_dict() for part in slices])
        return len(slices)

    def _slices(self, unit: str) -> list[Slice]:
        from vidfer.pipeline.slices import Slice

        plan = self._dataset.plan(unit)
        if plan is None:
            raise VidferError("the plan of its slices is gone: run again")
        return [Slice.from_dict(part) for part in plan]

    def _part(self, task: Task, path: Path, found: dict[str, Any]) -> None:
        """Analyse a slice."""
        from vidfer.pipeline.slices import analyse_slice

        unit, part = cast(str, task.unit), cast(int, task.part)
        found |= {"unit": unit, "parts": task.parts}
        with self._dataset.making(unit, part):
            if not self._dataset.report(unit).exists():  # else somebody else was faster
                folder = self._dataset.slice(unit, part)
                analyse_slice(path, self._options, self._slices(unit)[part], folder, self._models)

    def _stitch(self, task: Task, path: Path, found: dict[str, Any]) -> None:
        """Make the unit of a file whose slices are analysed."""
        from vidfer.output.parts import DamagedPartError
        from vidfer.pipeline.stitch import stitch

        unit = cast(str, task.unit)
        found |= {"unit": unit, "parts": task.parts}
        with self._dataset.making(unit):
            report = self._dataset.publish(unit)
            if report is None:
                slices = self._slices(unit)
                folders = [self._dataset.slice(unit, part.number) for part in slices]
                options = self._dataset.options_for(self._options, unit)
                outputs = Outputs.of(options.output_dir, NAME)
                try:
                    result = stitch(path, options, slices, folders, outputs, self._models)
                except (UsageError, DamagedPartError) as error:  # the file is not to blame
                    if isinstance(error, DamagedPartError):
                        self._dataset.give_up(unit)
                    raise VidferError(str(error)) from error
                self._check(path, unit, result, slices[0].source["sha256"])
                report = self._dataset.publish(unit, result)
        assert report is not None
        found |= {**_counts(report), "sha256": report["source"]["sha256"]}
        found |= {"seconds": _seconds(report)}  # of all parts

    def _check(self, path: Path, unit: str, result: ProcessResult, sha256: str) -> None:
        if result.report["source"]["sha256"] != sha256:
            self._dataset.give_up(unit)
            raise VidferError(f"{path} changed while it was read: run again when it is complete")


def _seconds(report: dict[str, Any]) -> float:
    return float(report.get("timings", {}).get("wall_s", 0.0))


def _counts(report: dict[str, Any]) -> dict[str, Any]:
    """What a report says of a unit that is done."""
    counts = report["counts"]
    return {
        "frames": counts["analysed"],
        "faces": counts["faces"],
        "tracks": counts["tracks"],
        "duration_s": report["source"]["duration_s"],
        "resumed_frames": report.get("timings", {}).get("resumed_frames", 0),
    }


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
