"""The rows as they are: CSV, JSON lines and Arrow files."""

from __future__ import annotations

import json
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from vidfer.output.export.columns import Chosen, choose
from vidfer.output.export.job import Job
from vidfer.output.export.reader import Reader
from vidfer.output.export.text import csv_line, csv_lines, json_lines
from vidfer.output.parquet import FOOTER_KEY


def write_csv(job: Job, out: BinaryIO) -> None:
    """CSV as RFC 4180 has it, but with plain line ends; landmarks as a JSON list in one cell."""
    chosen = choose(job.reader, job.columns, wide=job.wide)
    out.write(csv_line([one.name for one in chosen]).encode())
    for batch in job.reader.batches(_needed(chosen)):
        out.write("".join(csv_lines(one.of(batch) for one in chosen)).encode())


def write_jsonl(job: Job, out: BinaryIO) -> None:
    """One JSON object a line."""
    chosen = choose(job.reader, job.columns, wide=job.wide)
    for batch in job.reader.batches(_needed(chosen)):
        out.write("".join(json_lines((one.name, one.of(batch)) for one in chosen)).encode())


def write_arrow(job: Job, out: BinaryIO) -> None:
    """An Arrow IPC file (Feather version 2), with the types and the footer of the table."""
    chosen = choose(job.reader, job.columns, wide=job.wide)
    texts = {one.name: _all_texts(job.reader, one.column) for one in chosen if _is_text(job.reader, one)}
    fields = [_field(job.reader, one) for one in chosen]
    about = {FOOTER_KEY: json.dumps(job.reader.about, ensure_ascii=False)}
    schema = pa.schema(fields, metadata=about)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(out, schema, options=options) as writer:
        for batch in job.reader.batches(_needed(chosen)):
            arrays = [
                _coded(one.of(batch), texts[one.name]) if one.name in texts else one.of(batch).cast(field.type)
                for one, field in zip(chosen, fields, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _needed(chosen: list[Chosen]) -> list[str]:
    return list(dict.fromkeys(one.column for one in chosen))


def _field(reader: Reader, one: Chosen) -> pa.Field:
    field = reader.schema.field(one.column)
    if one.element is not None:
        return pa.field(one.name, pa.float32(), nullable=True)
    return pa.field(one.name, field.type, field.nullable)


def _is_text(reader: Reader, one: Chosen) -> bool:
    return bool(pa.types.is_dictionary(reader.schema.field(one.column).type))


def _all_texts(reader: Reader, name: str) -> pa.Array:
    """Every text that a column can have or has: a dictionary cannot change within an Arrow file."""
    values = reader.contract()[name].values
    return pa.array(values if values is not None else sorted(reader.distinct(name)), pa.string())


def _coded(values: pa.Array, texts: pa.Array) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pc.index_in(values, texts).cast(pa.int32()), texts)
