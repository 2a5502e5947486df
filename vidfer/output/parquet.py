"""Parquet files: written whole or not at all, with the encodings that make them small.

A Parquet file that was not closed cannot be read: every file is written under ``NAME.part`` and renamed when complete.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vidfer.errors import InputError
from vidfer.output.files import put_in_place, writing
from vidfer.schema import SCHEMA_VERSION

FOOTER_KEY = "vidfer"
ROW_GROUP_ROWS = 65_536
# Rows with 478 landmarks take 6 kB each: without this limit a row group of them would hold 390 MB in memory; at 16 MB
# finishing would take 25 MB more than at 4, for files of the same size.
ROW_GROUP_BYTES = 4 << 20
# Arrow before version 26 cannot read nulls in fixed size lists (apache/arrow issues 24425 and 35692): plain ones are
# stored, the same bytes, with their length in the metadata of the field.
_SIZE_KEY = b"fixed_size"


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind))


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Dictionary for texts, byte stream split for floats, delta for whole numbers."""
    texts, plain = [], {}
    for field in schema:
        if pa.types.is_dictionary(field.type) or pa.types.is_string(field.type):
            texts.append(field.name)
        elif pa.types.is_floating(field.type):
            plain[field.name] = "BYTE_STREAM_SPLIT"
        elif pa.types.is_integer(field.type):
            plain[field.name] = "DELTA_BINARY_PACKED"
        elif _is_list(field.type) and pa.types.is_floating(field.type.value_type):
            # The path of the leaf: the plain name of a list column is silently ignored.
            plain[f"{field.name}.list.element"] = "BYTE_STREAM_SPLIT"
    return {"use_dictionary": texts, "column_encoding": plain}


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """The types in the file: those of the schema, but plain lists for fixed size lists."""
    for i, field in enumerate(schema):
        if pa.types.is_fixed_size_list(field.type):
            size = {_SIZE_KEY: str(field.type.list_size)}
            schema = schema.set(i, pa.field(field.name, pa.list_(field.type.value_type), field.nullable, size))
    return schema


def restored(table: pa.Table) -> pa.Table:
    """With the fixed size lists that `stored_schema` took away."""
    schema = table.schema
    for i, field in enumerate(schema):
        size = (field.metadata or {}).get(_SIZE_KEY)
        if size is not None:
            kind = pa.list_(field.type.value_type, int(size))
            schema = schema.set(i, pa.field(field.name, kind, field.nullable))
    return table.cast(schema)


class TableWriter:
    """Writes one Parquet file; a context manager.

    Leaving it normally makes the file appear under its name (replacing an older one); leaving it by an exception leaves
    nothing behind.

    Args:
        path: The file; its folder must exist.
        schema: What every table written must have.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._schema, self._stored = schema, stored_schema(schema)
        self._waiting: list[pa.Table] = []
        self._rows = self._bytes = 0
        self._metadata: dict[str, Any] | None = None
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        with writing(self._path):
            options = _encodings(self._stored)
            try:
                self._writer = pq.ParquetWriter(
                    self._part, self._stored, compression="zstd", write_page_checksum=True, **options
                )
            except BaseException:
                self._discard()  # the first bytes are written here: on a full disk the file is there, and empty
                raise
        return self

    def write(self, table: pa.Table | pa.RecordBatch) -> None:
        """Append rows; small pieces are collected into row groups.

        Raises:
            ValueError: The table has other columns or types than the schema, or holds a NaN.
            OutputError: The file cannot be written.
        """
        if isinstance(table, pa.RecordBatch):
            table = pa.Table.from_batches([table])
        _check(table, self._schema)
        self._waiting.append(table)
        self._rows += table.num_rows
        self._bytes += table.nbytes
        if self._rows >= ROW_GROUP_ROWS or self._bytes >= ROW_GROUP_BYTES:
            self._flush()

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """The JSON that goes into the footer; may be called until the file is left, the last one counts."""
        self._metadata = dict(metadata)

    def _flush(self) -> None:
        if self._writer is not None and self._rows:
            with writing(self._path):
                rows = pa.concat_tables(self._waiting).cast(self._stored)
                self._writer.write_table(rows, row_group_size=self._group_rows())
        self._waiting, self._rows, self._bytes = [], 0, 0

    def _group_rows(self) -> int:
        """Rows per group such that both limits hold."""
        return max(1, min(ROW_GROUP_ROWS, int(ROW_GROUP_BYTES / max(1.0, self._bytes / self._rows))))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._discard()

    def _finish(self) -> None:
        assert self._writer is not None
        self._flush()
        with writing(self._path):
            if self._metadata is not None:
                text = json.dumps(self._metadata, ensure_ascii=False, allow_nan=False)
                self._writer.add_key_value_metadata({FOOTER_KEY: text})
            self._writer.close()
            self._writer = None
            put_in_place(self._part, self._path)

    def _discard(self) -> None:
        """Close and remove what is not finished; does nothing after `_finish`."""
        if self._writer is not None:
            with suppress(OSError):  # a full disk: the error that brought us here says so
                self._writer.close()
            self._writer = None
        with suppress(OSError):
            self._part.unlink(missing_ok=True)


def _check(table: pa.Table, schema: pa.Schema) -> None:
    if not table.schema.equals(schema):
        wanted = {f"{f.name}: {f.type}" for f in schema}
        got = {f"{f.name}: {f.type}" for f in table.schema}
        difference = f"missing {sorted(wanted - got)}, unknown {sorted(got - wanted)}"
        raise ValueError(
            f"the table does not have the columns of the schema in their order and nullability: {difference}"
        )
    for name, column in zip(table.column_names, table.columns, strict=True):
        for chunk in column.chunks:
            values = chunk.flatten() if _is_list(chunk.type) else chunk
            if pa.types.is_floating(values.type) and pc.any(pc.is_nan(values)).as_py():
                raise ValueError(f"column {name} holds a NaN: missing must be null")


@contextmanager
def open_table(path: Path) -> Iterator[pq.ParquetFile]:
    """A Parquet file for reading in pieces.

    Raises:
        InputError: It is missing, or not a complete Parquet file.
    """
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(_unreadable(path, error)) from error
    with file:
        try:
            yield file
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    if not path.exists():
        return f"{path} does not exist: give a table made by `vidfer process`"
    if path.is_dir():
        return f"{path} is a folder: give a table made by `vidfer process`"
    reason = str(error).splitlines()[0]
    return f"{path} is not a complete Parquet file ({reason}): give a table made by `vidfer process`"


def read_footer(path: Path) -> dict[str, Any]:
    """The JSON under the key ``vidfer`` in the footer.

    Raises:
        InputError: Not a Parquet file, or none of ours.
    """
    with open_table(path) as file:
        found = footer_of(file)
    if found is None:
        raise InputError(f"{path} has no key `{FOOTER_KEY}` in its footer: pandas drops it when it rewrites a table")
    return found


def check_version(path: Path, about: Mapping[str, Any]) -> None:
    """Check that a table is of this version of the schema.

    Args:
        path: The table.
        about: Its footer.

    Raises:
        InputError: It is of another one.
    """
    version = about.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path} has schema version {version}, this vidfer reads version {SCHEMA_VERSION}: use the vidfer that "
            f"wrote it ({about.get('vidfer_version', 'unknown')}), or run `vidfer process` again"
        )


def batches(file: pq.ParquetFile, rows: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of an open file in pieces of at most so many.

    Row group by row group: one iterator over a whole file keeps about 0.5 kB for each row that it has read.
    """
    for group in range(file.num_row_groups):
        yield from file.iter_batches(rows, row_groups=[group], columns=list(columns), use_threads=False)


def footer_of(file: pq.ParquetFile) -> dict[str, Any] | None:
    """The JSON under the key ``vidfer`` of an open file; None where it has none."""
    text = (file.metadata.metadata or {}).get(FOOTER_KEY.encode())
    if text is None:
        return None
    found: dict[str, Any] = json.loads(text)
    return found
