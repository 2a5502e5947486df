"""The sources of a job, one after the other: millions of them never stand in memory at once."""

from __future__ import annotations

import csv
import glob
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from vidfer.errors import InputError, UsageError
from vidfer.jobs import remote
from vidfer.jobs.definition import Inputs, located
from vidfer.jobs.units import ABSENT, Source
from vidfer.media.inputs import DRAWN_SUFFIXES, VIDEO_SUFFIXES

_ROWS = 1024


def find_sources(inputs: Inputs) -> Iterator[Source]:
    """All that a job names; a file that two entries name comes twice.

    Raises:
        InputError: A folder, a manifest or a store cannot be read, or holds no video.
        UsageError: The manifest lacks the column, or holds a name that means nothing.
    """
    for path in inputs.paths:
        found = False
        for source in remote.find(path) if remote.is_remote(path) else _local(path):
            found = True
            yield source
        if not found:
            raise InputError(f"{path} holds no video, or is not there: correct inputs.paths")
    if inputs.manifest is not None:
        names = (located(name, inputs.folder) for name in _names(inputs.manifest, inputs.column))
        while rows := list(itertools.islice(names, _ROWS)):
            away = {source.name: source for source in remote.describe(sorted({r for r in rows if remote.is_remote(r)}))}
            yield from (away.get(name) or source_of(name) for name in rows)


def source_of(path: str) -> Source:
    """A file of this machine, there or not."""
    try:
        stat = os.stat(path)  # noqa: PTH116 (a million of them)
    except OSError:
        return Source(name=path, identity=ABSENT)
    return Source(name=path, identity=f"{stat.st_size}-{stat.st_mtime_ns}", size=stat.st_size)


def _local(path: str) -> Iterator[Source]:
    if Path(path).is_dir():
        yield from _walk(path)
    elif glob.has_magic(path) and not Path(path).exists():
        found = glob.iglob(path, recursive=True)  # noqa: PTH207 (a million of them)
        yield from (source_of(name) for name in found if Path(name).is_file())
    else:
        yield source_of(path)


def _walk(folder: str) -> Iterator[Source]:
    """The videos below a folder, sorted within each folder; hidden ones and annotated videos are left out."""
    try:
        with os.scandir(folder) as found:
            here = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}") from error
    for entry in here:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry.path)
        elif _is_video(entry.name) and entry.is_file():
            yield source_of(entry.path)


def _is_video(name: str) -> bool:
    return name.lower().endswith(VIDEO_SUFFIXES) and not name.endswith(DRAWN_SUFFIXES[False, False])


def _names(manifest: Path, column: str) -> Iterator[str]:
    """The column of a manifest that names the videos; empty ones are left out."""
    try:
        read = _parquet if manifest.suffix.lower() in (".parquet", ".pq") else _csv
        yield from (name for name in read(manifest, column) if name)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{manifest} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _csv(manifest: Path, column: str) -> Iterator[str]:
    with manifest.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        _check_column(manifest, column, list(rows.fieldnames or []))
        yield from (row[column] or "" for row in rows)


def _parquet(manifest: Path, column: str) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(manifest) as file:
            _check_column(manifest, column, file.schema_arrow.names)
            for batch in file.iter_batches(_ROWS, columns=[column], use_threads=False):
                yield from (str(name) for name in batch.column(0).to_pylist() if name is not None)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"{manifest} is no Parquet file: {str(error).splitlines()[0]}") from error


def _check_column(manifest: Path, column: str, known: list[str]) -> None:
    if column not in known:
        there = ", ".join(known) or "none"
        raise UsageError(f"{manifest} has no column {column!r}, only {there}: name another one in inputs.column")
