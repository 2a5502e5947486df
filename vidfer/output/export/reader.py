"""A finished table, checked against the contract and read in pieces of some megabytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vidfer.errors import InputError
from vidfer.output.export.where import Where
from vidfer.output.parquet import FOOTER_KEY, batches, check_version, footer_of, open_table, restored
from vidfer.schema import Column, TableName, columns

_MOST_ROWS = 8192
# Text takes some times the bytes of its numbers, and as much again in Python: 4 MB took 80 MB more, and as long.
_BATCH_BYTES = 1 << 20
_POINTS_68 = 2 * 68


class Reader:
    """One table; rows that the conditions do not keep are left out.

    Attributes:
        path: The file.
        name: Which table it is.
        about: Its footer.
        schema: Its columns, with fixed size lists.
        rows: In the file.
        rows_kept: Given out so far.
    """

    def __init__(self, path: Path, file: pq.ParquetFile, where: Where) -> None:
        self.path, self._file = path, file
        self.about = _footer(path, file)
        self.schema: pa.Schema = restored(file.schema_arrow.empty_table()).schema
        self.name: TableName = "tracks" if "first_frame" in self.schema.names else "observations"
        self.rows: int = file.metadata.num_rows
        self.rows_kept = 0
        _check(self)
        self._where = where.bound(self.schema, self.contract())

    def contract(self) -> dict[str, Column]:
        """What the contract says about the columns that are there."""
        return {column.name: column for column in columns(self.name) if column.name in self.schema.names}

    @property
    def points(self) -> int:
        """Landmarks of a face; 0 where there are none."""
        return self.schema.field("landmarks").type.list_size // 2 if "landmarks" in self.schema.names else 0

    def batches(self, wanted: Iterable[str]) -> Iterator[pa.RecordBatch]:
        """The kept rows, with these columns and in this order."""
        names = list(wanted)
        for batch, keep in self.marked_batches(names):
            yield batch if keep is None else batch.filter(keep)

    def marked_batches(self, wanted: Iterable[str]) -> Iterator[tuple[pa.RecordBatch, pa.Array | None]]:
        """All rows, and which of them are kept; None where all are."""
        names = list(wanted)
        needed = [*names, *(name for name in self._where.columns if name not in names)]
        for batch in self._read(needed):
            keep = self._where.keep(batch)
            self.rows_kept += batch.num_rows if keep is None else int(pc.sum(keep).as_py() or 0)
            yield batch.select(names), keep

    def distinct(self, name: str) -> set[str]:
        """All texts in a column, of rows that are not kept, too."""
        return {text for batch in self._read([name]) for text in batch[name].unique().to_pylist() if text is not None}

    def _read(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        row_bytes = 4 * sum(getattr(self.schema.field(name).type, "list_size", 1) for name in names)
        rows = max(1, min(_MOST_ROWS, _BATCH_BYTES // row_bytes))
        try:
            for batch in batches(self._file, rows, names):
                yield batch.select(names)
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{self.path} is damaged ({reason}): make it again with `vidfer process`") from error


@contextmanager
def open_reader(path: Path, where: Where) -> Iterator[Reader]:
    """A table for reading.

    Raises:
        InputError: It is missing, damaged, empty, of another version, or no table of ours.
        UsageError: A condition does not fit to its columns.
    """
    with open_table(path) as file:
        yield Reader(path, file, where)


def _footer(path: Path, file: pq.ParquetFile) -> dict[str, Any]:
    about = footer_of(file)
    if about is None:
        raise InputError(
            f"{path} has no key `{FOOTER_KEY}` in its footer: other programs drop it when they rewrite a table; "
            "export the one that vidfer wrote"
        )
    check_version(path, about)
    return about


def _check(reader: Reader) -> None:
    names = set(reader.schema.names)
    lacking = [c.name for c in columns(reader.name) if c.when is None and c.name not in names]
    if lacking:
        raise InputError(f"{reader.path} lacks the column {lacking[0]}: give a table made by `vidfer process`")
    if reader.rows == 0:
        raise InputError(f"{reader.path} is empty: no frame was analysed, see the report NAME.run.json beside it")


def has_68_points(reader: Reader) -> bool:
    """Whether the landmarks are the 68 that other programs know."""
    return reader.points * 2 == _POINTS_68
