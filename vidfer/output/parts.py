"""Closed pieces of a long table: what a killed run keeps, with the state to go on from in the footer of each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vidfer.alive import sign
from vidfer.errors import InputError
from vidfer.output.files import writing
from vidfer.output.parquet import FOOTER_KEY, TableWriter, open_table, restored

_PART = re.compile(r"part-(\d{6,})\.parquet")


class DamagedPartError(InputError):
    """A part can no longer be read as it was written: what it held has to be made again."""


class PartWriter:
    """Writes closed, numbered pieces of a table into a folder, so that a killed run keeps all but the last one.

    Numbers go on after the complete parts that are there already (resume); half-written and damaged ones are removed.

    Args:
        folder: Made when it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            whole = part_paths(folder)
            for left in {*folder.glob("part-*.parquet"), *folder.glob("part-*.parquet.part")} - {*whole}:
                left.unlink()
        self._next = len(whole)

    def write_part(self, table: pa.Table, state: Mapping[str, Any] | None = None) -> Path:
        """Write one part; when this returns, it is safe on the disk under its name.

        Args:
            table: Its rows.
            state: JSON that says where to go on after them.
        """
        path = self._folder / f"part-{self._next:06d}.parquet"
        with TableWriter(path, table.schema) as writer:
            writer.write(table)
            if state is not None:
                writer.set_metadata(state)
        self._next += 1
        return path


def part_paths(folder: Path) -> list[Path]:
    """The complete parts of a folder in their order; damaged ones at the end (a power cut) are left out.

    Raises:
        InputError: One in the middle is missing.
    """
    found = {int(match[1]): path for path in folder.glob("part-*.parquet") if (match := _PART.fullmatch(path.name))}
    while found and not _is_whole(found[max(found)]):
        del found[max(found)]
    lost = [number for number in range(len(found)) if number not in found]
    if lost:
        raise InputError(f"part {lost[0]} of {folder} is missing: remove the folder and run again")
    return [found[number] for number in range(len(found))]


def _is_whole(path: Path) -> bool:
    try:
        pq.read_table(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException):
        return False
    return True


def read_parts(folder: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The complete parts of a folder, one table at a time; only some columns where named.

    Raises:
        DamagedPartError: A disk gave back other bytes than were written (page checksums: 0.3 s more for each GB).
    """
    for path in part_paths(folder):
        yield read_part(path, columns)


def read_part(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """One complete part; only some columns where named.

    Raises:
        DamagedPartError: See `read_parts`.
    """
    sign()
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return restored(file.read(columns=None if columns is None else list(columns), use_threads=False))
    except (OSError, pa.ArrowException) as error:
        raise DamagedPartError(f"{path} is damaged ({str(error).splitlines()[0]})") from error


def last_state(folder: Path) -> dict[str, Any] | None:
    """The state in the last complete part; None where there is no part, or no state in it."""
    paths = part_paths(folder)
    return state_of(paths[-1]) if paths else None


def state_of(path: Path) -> dict[str, Any] | None:
    """The state in a part; None where there is none."""
    with open_table(path) as file:
        text = (file.metadata.metadata or {}).get(FOOTER_KEY.encode())
    return None if text is None else dict(json.loads(text))
