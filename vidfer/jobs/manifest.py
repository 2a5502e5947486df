"""`manifest.parquet`: one row per unit, made anew from the ledger in flat memory."""

from __future__ import annotations

import itertools
import json
from array import array
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import vidfer
from vidfer.errors import InputError
from vidfer.jobs.dataset import Dataset
from vidfer.jobs.ledger import LedgerFiles, last_of_each, ledger_files, newness, on_newest, rank, units
from vidfer.jobs.units import DONE, number_of
from vidfer.output.parquet import TableWriter, read_footer
from vidfer.vision.session import MODELS

_BATCH = 8192
_LEDGER_BYTES = "ledger_bytes"
_TEXT = pa.dictionary(pa.int32(), pa.string())


def manifest_schema() -> pa.Schema:
    """Its columns."""
    return pa.schema(
        [
            pa.field("unit", pa.string()),
            pa.field("sources", pa.list_(pa.field("element", pa.string(), nullable=False)), nullable=False),
            pa.field("state", _TEXT, nullable=False),
            pa.field("reason", pa.string()),
            pa.field("attempts", pa.int32(), nullable=False),
            pa.field("frames", pa.int64()),
            pa.field("faces", pa.int64()),
            pa.field("tracks", pa.int64()),
            pa.field("duration_s", pa.float64()),
            pa.field("bytes", pa.int64(), nullable=False),
            pa.field("seconds", pa.float64(), nullable=False),
            pa.field("host", _TEXT, nullable=False),
            pa.field("ended", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("sha256", pa.string()),
            *(pa.field(f"{name}_sha256", _TEXT) for name in MODELS),
        ]
    )


def write_manifest(dataset: Dataset) -> int:
    """Write it; gives the number of rows.

    Raises:
        OutputError: It cannot be written.
    """
    with dataset.summing_up():
        return _write(dataset)


def is_current(dataset: Dataset) -> bool:
    """Whether all that the ledger holds is in it: not after a driver was killed."""
    try:
        return bool(read_footer(dataset.manifest).get(_LEDGER_BYTES) == _bytes(ledger_files(dataset.ledger)))
    except InputError:
        return False


def _bytes(files: LedgerFiles) -> int:
    """How much was written; lines are only ever added."""
    return sum(size for _, size in files)


def _write(dataset: Dataset) -> int:
    schema, count, files = manifest_schema(), 0, ledger_files(dataset.ledger)
    models: dict[str, str] = {}
    with suppress(OSError, ValueError):
        models = json.loads((dataset.folder / "models.json").read_text(encoding="utf-8"))
    rows = unit_rows(files)
    with TableWriter(dataset.manifest, schema) as writer:
        while batch := list(itertools.islice(rows, _BATCH)):
            writer.write(pa.Table.from_pylist([_row(entry, models) for entry in batch], schema=schema))
            count += len(batch)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        writer.set_metadata(
            {"vidfer_version": vidfer.__version__, "created_utc": created, _LEDGER_BYTES: _bytes(files)}
        )
    return count


def unit_rows(files: LedgerFiles) -> Iterator[dict[str, Any]]:
    """The line of the ledger that counts for each unit, with its `sources`; a source without a unit has its own.

    What is done of a file that has another content by now has no source.
    """
    chosen, is_now, shared = _chosen(files)
    names: dict[str, set[str]] = defaultdict(set)
    if len(shared):  # few: copies of one file
        wanted = set(shared.tolist())
        for entry, counts in zip(units(files), is_now, strict=True):
            if entry.get("unit") and number_of(entry["unit"]) in wanted:
                names[entry["unit"]] |= {entry["source"]} if counts else set()
    for entry, is_row, counts in zip(units(files), chosen, is_now, strict=True):
        if is_row:
            sources = names.get(entry.get("unit", ""), {entry["source"]} if counts else set())
            if sources or entry["state"] == DONE:
                yield {**entry, "sources": sorted(map(_readable, sources)), "reason": _readable(entry.get("reason"))}


def _readable(text: Any) -> Any:
    """A text as tables take it: names of files may hold bytes that are no text."""
    return text.encode(errors="backslashreplace").decode() if isinstance(text, str) else text


def _chosen(files: LedgerFiles) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.uint64]]:
    """Which lines of the ledger are rows, which are on what a source is now, and the units of several sources."""
    keys, own, ranks, names, new = array("Q"), array("Q"), array("d"), array("Q"), array("d")
    for entry in units(files):
        key = number_of(entry["source"], entry["identity"])
        keys.append(key)
        own.append(number_of(entry["unit"]) if entry.get("unit") else key)
        ranks.append(rank(entry))
        names.append(number_of(entry["source"]))
        new.append(newness(entry))
    chosen = np.zeros(len(keys), bool)
    if not len(keys):
        return chosen, chosen, np.zeros(0, np.uint64)
    is_now = on_newest(np.frombuffer(names, np.uint64), np.frombuffer(keys, np.uint64), np.frombuffer(new))
    by_source = last_of_each(np.frombuffer(keys, np.uint64), np.frombuffer(ranks, np.float64))
    unit = np.frombuffer(own, np.uint64)[by_source]
    chosen[by_source[last_of_each(unit, np.frombuffer(ranks, np.float64)[by_source])]] = True
    known, count = np.unique(unit, return_counts=True)
    return chosen, is_now, known[count > 1]


def _row(entry: dict[str, Any], models: dict[str, str]) -> dict[str, Any]:
    is_done = entry["state"] == DONE
    counts = {name: entry.get(name) if is_done else None for name in ("frames", "faces", "tracks", "duration_s")}
    return {
        **{name: entry.get(name) for name in ("unit", "sources", "state", "reason", "host", "sha256")},
        **counts,
        **{f"{name}_sha256": models.get(name) if is_done else None for name in MODELS},
        "attempts": entry["attempt"],
        "bytes": entry.get("bytes", 0),
        "seconds": entry.get("seconds", 0.0),
        "ended": datetime.fromtimestamp(entry["ended"], UTC),
    }
