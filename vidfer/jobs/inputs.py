"""The sources of a job, one after the other: millions of them never stand in memory at once."""

from __future__ import annotations

import csv
import glob
import itertools
import os
from array import array
from collections.abc import Iterator
from pathlib import Path

from vidfer.errors import InputError, UsageError
from vidfer.jobs import remote
from vidfer.jobs.definition import Inputs, located
from vidfer.jobs.units import ABSENT, Source, number_of
from vidfer.media.inputs import DRAWN_SUFFIXES, VIDEO_SUFFIXES

_ROWS = 1024


def find_sources(inputs: Inputs) -> Iterator[Source]:
    """All that a job names, each once.

    Raises:
        InputError: A folder, a manifest or a store cannot be read, or holds no video.
        UsageError: The manifest lacks the column, or holds a name that means nothing.
    """
    seen = _Seen()
    return (source for source in _named(inputs) if seen.add(source.name))


class _Seen:
    """Which names came already: 16 to 32 bytes for each, where a set takes a hundred."""

    def __init__(self) -> None:
        self._slots, self._count = array("Q", bytes(8 * _ROWS)), 0

    def add(self, name: str) -> bool:
        """Whether it comes for the first time."""
        if 2 * self._count >= len(self._slots):
            former, self._slots = self._slots, array("Q", bytes(16 * len(self._slots)))
            for number in filter(None, former):
                self._slots[self._place(number)] = number
        number = number_of(name) or 1  # 0 is an empty slot
        place = self._place(number)
        is_new = not self._slots[place]
        self._slots[place] = number
        self._count += is_new
        return is_new

    def _place(self, number: int) -> int:
        """Where a number stands, or would."""
        place = number % len(self._slots)
        while self._slots[place] not in (0, number):
            place = (place + 1) % len(self._slots)
        return place


def _named(inputs: Inputs) -> Iterator[Source]:
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
    except (OSError, ValueError):  # no name of a file
        return Source(name=path, identity=ABSENT)
    return Source(name=path, identity=f"{stat.st_size}-{stat.st_mtime_ns}", size=stat.st_size)


def _local(path: str) -> Iterator[Source]:
    if Path(path).is_dir():
        yield from (source_of(name) for _, names in _below(path) for name in names if _is_video(name))
    elif glob.has_magic(path) and not Path(path).exists():
        yield from (source_of(name) for name in _fitting(path) if not os.path.isdir(name))  # noqa: PTH112
    elif _is_video(path) or Path(path).exists():  # a folder that is not there is no source to be rejected, but a slip
        yield source_of(path)


def _fitting(pattern: str) -> Iterator[str]:
    """What fits a pattern; `**` stands for folders as `_below` gives them, where glob's own goes round in circles."""
    pattern += f"{os.sep}*" * pattern.endswith(f"{os.sep}**")
    start, stars, rest = pattern.partition(f"{os.sep}**{os.sep}")
    if not stars:
        yield from glob.iglob(pattern)  # noqa: PTH207 (a million of them)
        return
    for top in filter(os.path.isdir, glob.iglob(start or os.sep)):  # noqa: PTH207
        for folder, _ in _below(top):
            yield from _fitting(os.path.join(glob.escape(folder), rest))  # noqa: PTH118


def _below(folder: str, above: frozenset[str] = frozenset()) -> Iterator[tuple[str, list[str]]]:
    """A folder with what is in it beside folders, sorted, and then those likewise; nothing hidden.

    Links are followed, but not back into a folder that they are in. What is called as a video and is none, a pipe or a
    link to nothing, is a source, too: whoever put it there expects a result, or a reason.
    """
    above |= {os.path.realpath(folder)}
    try:
        with os.scandir(folder) as found:
            here = sorted(entry.path for entry in found if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}") from error
    folders = list(filter(os.path.isdir, here))
    yield folder, sorted({*here} - {*folders})
    for path in folders:
        if not os.path.islink(path) or os.path.realpath(path) not in above:  # noqa: PTH114
            yield from _below(path, above)


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
                names = filter(None, batch.column(0).to_pylist())  # bytes where a writer says nothing of text
                yield from (os.fsdecode(name) if isinstance(name, bytes) else str(name) for name in names)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"{manifest} is no Parquet file: {str(error).splitlines()[0]}") from error


def _check_column(manifest: Path, column: str, known: list[str]) -> None:
    if column not in known:
        there = ", ".join(known) or "none"
        raise UsageError(f"{manifest} has no column {column!r}, only {there}: name another one in inputs.column")
