"""Summaries as files: one for each of their tables, or one JSON file with all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

from vidfer.errors import UsageError
from vidfer.output.files import write_text, writing
from vidfer.output.parquet import TableWriter

_STEM = "summary"


def summary_json(tables: Mapping[str, pa.Table], about: Mapping[str, Any]) -> str:
    """All tables as one JSON object: what `about` says, and rows by table."""
    rows = {name: table.to_pylist() for name, table in tables.items()}
    return json.dumps({**about, **rows}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def summary_files(tables: Mapping[str, Any], kind: str, folder: Path, *, overwrite: bool) -> dict[str, Path]:
    """Where each table goes; all have the same place in JSON.

    Raises:
        UsageError: Something is there already.
    """
    names = {name: f"{_STEM}.json" if kind == "json" else f"{_STEM}.{name}.{kind}" for name in tables}
    paths = {name: folder / file for name, file in names.items()}
    for path in paths.values():
        if path.exists() and not overwrite:
            raise UsageError(f"{path} is there already: choose --overwrite, or another folder with -o")
    return paths


def write_summaries(
    tables: Mapping[str, pa.Table], paths: Mapping[str, Path], kind: str, about: Mapping[str, Any]
) -> None:
    """Write them as "parquet" (with `about` in their footers), "csv" or "json".

    Raises:
        OutputError: They cannot be written.
    """
    for path in set(paths.values()):
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "json":
        write_text(next(iter(paths.values())), summary_json(tables, about))
        return
    for name, path in paths.items():
        if kind == "parquet":
            with TableWriter(path, tables[name].schema) as writer:
                writer.write(tables[name])
                writer.set_metadata(about)
        else:
            lines = pa.BufferOutputStream()
            csv.write_csv(tables[name], lines)
            write_text(path, lines.getvalue().to_pybytes().decode())
