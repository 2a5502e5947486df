"""The folder of a job: where everything lies, and how whole results appear in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import filelock

from vidfer.alive import sign
from vidfer.errors import OutputError, UsageError
from vidfer.output.files import put_in_place, write_text, writing
from vidfer.pipeline.options import ProcessOptions
from vidfer.pipeline.results import Outputs, ProcessResult

NAME = "part"  # of the results of one unit, while they are made
_READY, _PLAN = "ready.json", "slices.json"
_LOOK_S = 1.0
_TABLES = ("observations", "tracks")


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set of many units.

    `observations/unit=U/part.parquet`, `tracks/unit=U/part.parquet`, `reports/U.run.json`, `videos/U.annotated.mp4`,
    `manifest.parquet`, `ledger/`, and `.work/U/` for what is being made. A unit counts when its report is there: that
    comes last.
    """

    folder: Path

    @property
    def ledger(self) -> Path:
        """Folder of what became of every source."""
        return self.folder / "ledger"

    @property
    def manifest(self) -> Path:
        """One row per unit."""
        return self.folder / "manifest.parquet"

    def table(self, kind: str, unit: str) -> Path:
        """One of the tables of a unit."""
        return self.folder / kind / f"unit={unit}" / f"{NAME}.parquet"

    def report(self, unit: str) -> Path:
        """The report of a unit."""
        return self.folder / "reports" / f"{unit}.run.json"

    def video(self, unit: str) -> Path:
        """The annotated video of a unit."""
        return self.folder / "videos" / f"{unit}.annotated.mp4"

    def work(self, unit: str) -> Path:
        """Where a unit is made."""
        return self.folder / ".work" / unit

    def agree_on(self, name: str, value: Mapping[str, Any]) -> None:
        """Write down what decides all results, or compare it with what was written down before.

        Args:
            name: "options" or "models".
            value: As JSON.

        Raises:
            UsageError: It was another one: one data set holds results that were made alike.
        """
        path = self.folder / f"{name}.json"
        wanted = dict(value)
        known = _read(path)
        if known is None:
            with writing(path):
                self.folder.mkdir(parents=True, exist_ok=True)
            with _locked(self.folder / f".{name}.lock"):
                known = _read(path)
                if known is None:
                    write_text(path, json.dumps(wanted, indent=1) + "\n")
                    return
        differing = [key for key in sorted({*wanted, *known}) if wanted.get(key) != known.get(key)]
        if differing:
            words = ", ".join(f"{key}={known.get(key)!r} and not {wanted.get(key)!r}" for key in differing)
            raise UsageError(
                f"{self.folder} holds results of other {name}: {words}; name another output.folder, or go on with the "
                f"{name} of before"
            )

    def summing_up(self) -> AbstractContextManager[None]:
        """Have the manifest for oneself: of two that write it, that which reads the ledger later comes later."""
        return _locked(self.folder / ".manifest.lock")

    def is_begun(self) -> bool:
        """Whether a driver has prepared the folder: a worker elsewhere that sees no such file sees another folder."""
        return (self.folder / "options.json").exists()

    def slice(self, unit: str, part: int) -> Path:
        """Where a part of a unit is analysed."""
        return self.work(unit) / f"slice-{part}"

    def making(self, unit: str, part: int | None = None) -> AbstractContextManager[None]:
        """Have a unit, or a part of it, for oneself, waiting for whoever makes it."""
        name = unit if part is None else f"{unit}.{part}"
        return _locked(self.work(unit).with_name(f"{name}.lock"))

    def plan(self, unit: str) -> list[dict[str, Any]] | None:
        """The parts that a unit is analysed in; None where it is not split."""
        return (_read(self.work(unit) / _PLAN) or {}).get("slices")

    def write_plan(self, unit: str, slices: list[dict[str, Any]]) -> None:
        """Settle the parts that a unit is analysed in."""
        with writing(self.work(unit)):
            self.work(unit).mkdir(parents=True, exist_ok=True)
        write_text(self.work(unit) / _PLAN, json.dumps({"slices": slices}))

    def options_for(self, options: ProcessOptions, unit: str) -> ProcessOptions:
        """The same options with results where the unit is made."""
        return replace(options, output_dir=self.work(unit))

    def publish(self, unit: str, result: ProcessResult | None = None) -> dict[str, Any] | None:
        """Make the results of a unit appear; interrupted anywhere it can be called again.

        Args:
            unit: Which; for whoever is `making` it.
            result: What was made; None: whatever is ready.

        Returns:
            The report; None where nothing is ready.
        """
        work, report = self.work(unit), self.report(unit)
        if result is not None:
            outputs = [self.table(kind, unit) for kind in _TABLES]
            outputs += [self.video(unit)] if result.video_path else []
            about = {**result.report, "outputs": [path.relative_to(self.folder).as_posix() for path in outputs]}
            write_text(work / _READY, json.dumps(about, indent=1) + "\n")
        if (work / _READY).exists():
            with writing(work):
                self._move(unit, work)
        found = _read(report)
        if found is not None:  # also of a run that was killed before it could tidy up
            shutil.rmtree(work, ignore_errors=True)
        return found

    def _move(self, unit: str, work: Path) -> None:
        made = Outputs.of(work, NAME)
        for kind, path in zip(_TABLES, (made.table, made.tracks), strict=True):
            folder = work / kind
            if path.exists():
                folder.mkdir(exist_ok=True)
                put_in_place(path, folder / f"{NAME}.parquet")
            if folder.exists():  # whole folders move: a partition is never there without its file
                place = self.table(kind, unit).parent
                place.parent.mkdir(parents=True, exist_ok=True)
                if place.exists():  # of a unit whose report somebody removed
                    shutil.rmtree(place)
                put_in_place(folder, place)
        for path, place in ((made.video, self.video(unit)), (work / _READY, self.report(unit))):
            if path.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                put_in_place(path, place)

    def give_up(self, unit: str) -> None:
        """Remove what a unit has left that will never be made."""
        shutil.rmtree(self.work(unit), ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for a lock; its file is removed while it is held, and whoever waits makes another one."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path)
        while not lock.is_locked:
            with suppress(filelock.Timeout):
                lock.acquire(timeout=_LOOK_S)
            sign()  # whoever waits does not hang: whoever has it is watched, too
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        lock.release()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} cannot be read: {error}; restore it or name another output.folder") from error
    return found if isinstance(found, dict) else None
