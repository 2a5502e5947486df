"""JOB.toml: which videos, which options, where to, and who does the work."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vidfer.config import read_toml
from vidfer.errors import UsageError
from vidfer.jobs.checks import check
from vidfer.jobs.executor import STALL_S
from vidfer.media.address import redacted
from vidfer.pipeline.options import ProcessOptions
from vidfer.schema import document

STORES = ("s3", "gs", "az")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Which videos.

    Attributes:
        paths: Files, folders and patterns, absolute; the same in object stores, as URLs.
        manifest: A CSV or Parquet file with a video per row.
        column: Its column that names them.
        folder: Where relative names in the manifest start.
    """

    paths: tuple[str, ...] = ()
    manifest: Path | None = None
    column: str = "source"
    folder: Path = Path()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorOptions:
    """Who does the work.

    Attributes:
        kind: "local" or "ray".
        workers: How many at a time; None: as many as cores and memory allow.
        num_cpus: Cores of one worker.
        num_gpus: GPUs of one worker.
        memory_gb: Memory of one worker, 10^9 bytes.
        address: Of the Ray cluster; None: that of RAY_ADDRESS, or one of this machine alone.
        retries: How often a unit is tried again.
        stall_s: A unit that makes no progress for so long has failed.
    """

    kind: str = "local"
    workers: int | None = None
    num_cpus: int = 1
    num_gpus: float = 0.0
    memory_gb: float = 1.0
    address: str | None = None
    retries: int = 2
    stall_s: float = STALL_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A definition, checked.

    Attributes:
        path: The file it stands in.
        inputs: Which videos.
        options: What to do with each; `output_dir` is the folder of the data set.
        executor: Who does it.
        slice_s: Longer files are cut into slices of so many seconds; None for never.
    """

    path: Path
    inputs: Inputs
    options: ProcessOptions
    executor: ExecutorOptions = ExecutorOptions()
    slice_s: float | None = None

    @property
    def folder(self) -> Path:
        """That of the data set."""
        return self.options.output_dir


def read_definition(path: Path) -> Job:
    """Read and check a definition.

    Raises:
        InputError: The file cannot be read or is no TOML.
        UsageError: It says something that is not allowed.
    """
    values = read_toml(path)
    try:
        check(values, document("job"))
        return _job(path, values)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _job(path: Path, values: dict[str, Any]) -> Job:
    base = path.absolute().parent
    executor = ExecutorOptions(**values.get("executor", {}))
    if executor.kind == "local":
        named = [name for name in ("num_gpus", "address") if name in values.get("executor", {})]
        if named:
            raise UsageError(f'executor.{named[0]} is for Ray: leave it out, or write kind = "ray"')
    folder = values["output"]["folder"]
    if _SCHEME.match(folder):
        raise UsageError(f"output.folder is {redacted(folder)}: give a folder on a disk")
    options = ProcessOptions(**{"render": False, **values.get("options", {})})
    return Job(
        path=path,
        inputs=_inputs(base, values["inputs"]),
        options=replace(options, output_dir=Path(os.path.normpath(base / folder))),
        executor=executor,
        slice_s=values.get("slices", {}).get("seconds"),
    )


def _inputs(base: Path, values: dict[str, Any]) -> Inputs:
    manifest = values.get("manifest")
    if manifest is None and not values.get("paths"):
        raise UsageError("[inputs] names no video: give paths or a manifest")
    if manifest is None and "column" in values:
        raise UsageError("inputs.column is for a manifest: give one, or leave it out")
    return Inputs(
        paths=tuple(located(text, base) for text in values.get("paths", [])),
        manifest=None if manifest is None else Path(os.path.normpath(base / manifest)),
        column=values.get("column", "source"),
        folder=base,
    )


def located(text: str, base: Path) -> str:
    """What a name in a definition or manifest stands for: a URL of an object store as it is, a path made absolute.

    Raises:
        UsageError: It is a URL of something else, or one that holds credentials.
    """
    found = _SCHEME.match(text)
    if found is None:
        return os.path.normpath(base / text)
    if found[1] not in STORES:
        known = ", ".join(f"{name}://" for name in STORES)
        raise UsageError(f"{redacted(text)} is no object store: known are {known} and paths")
    bucket, _, place = text[found.end() :].partition("/")
    if "@" in bucket or ("?" in place and "=" in place):
        raise UsageError(f"{redacted(text)} holds credentials: give them in the environment, as the store's tools do")
    if not bucket:
        raise UsageError(f"{text} names no bucket: write it as {found[0]}bucket/folder")
    return text
