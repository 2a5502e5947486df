"""The contract of the tables: columns, types, units and meaning, read from ``schemas/*.v1.json``.

Those files are the one place where columns are named; the pyarrow schemas are built from them. A released version of a
table never changes: a new version is a new file.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

SCHEMA_VERSION = 1

TableName = Literal["observations", "tracks", "training_faces"]
LandmarkCount = Literal[68, 478]

_TYPES = {
    "binary": pa.binary(),
    "bool": pa.bool_(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "timestamp[us, UTC]": pa.timestamp("us", tz="UTC"),
    "dictionary<string>": pa.dictionary(pa.int32(), pa.string()),
    "fixed_size_list<float32>[128]": pa.list_(pa.float32(), 128),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        name: Its name, fixed for ever within a version.
        type: Arrow type; in ``fixed_size_list<float32>[2K]`` K is the number of landmarks; ``list<float32>[8]`` is a
            plain list that has 8 values wherever it is not null.
        nullable: Whether it may be null. Missing is null, never 0 and never NaN.
        unit: Unit of the values; None where there is none.
        range: Smallest and largest allowed value, None for a side without a limit; None where there is no order.
        values: All values that a text column may have, where they are fixed.
        when: The option without which the column is absent; None for columns that are always there.
        meaning: What it says.
    """

    name: str
    type: str
    nullable: bool
    unit: str | None
    range: tuple[float | None, float | None] | None
    values: tuple[str, ...] | None
    when: str | None
    meaning: str


@cache
def _text(name: str) -> str:
    file = f"{name}.v{SCHEMA_VERSION}.json"
    here = Path(__file__).parent
    # Inside the wheel they lie in the package; an editable install finds them where they are kept in the repository.
    folders = (here / "schemas", here.parent / "schemas")
    for folder in folders:
        if (folder / file).is_file():
            return (folder / file).read_text(encoding="utf-8")
    raise FileNotFoundError(f"{file} is neither in {folders[0]} nor in {folders[1]}: reinstall vidfer")


def document(name: str) -> dict[str, Any]:
    """The schema file of a table, or of ``run`` (a JSON Schema), as it stands."""
    found: dict[str, Any] = json.loads(_text(name))
    return found


@cache
def _columns(name: str) -> tuple[Column, ...]:
    return tuple(
        Column(
            name=entry["name"],
            type=entry["type"],
            nullable=entry["nullable"],
            unit=entry["unit"],
            range=None if entry["range"] is None else (entry["range"][0], entry["range"][1]),
            values=tuple(entry["values"]) if "values" in entry else None,
            when=entry.get("when"),
            meaning=entry["meaning"],
        )
        for entry in document(name)["columns"]
    )


def columns(name: TableName) -> list[Column]:
    """All columns of a table in their order, the optional ones too."""
    return list(_columns(name))


def arrow_type(column: Column, landmarks: LandmarkCount | None = None) -> pa.DataType:
    """The arrow type of a column; `landmarks` is K of the list columns."""
    if column.type in _TYPES:
        return _TYPES[column.type]
    if column.type.startswith("list<float32>"):
        return pa.list_(pa.float32())
    if landmarks is None:
        raise ValueError(f"column {column.name} needs the number of landmarks, 68 or 478")
    lengths = {"fixed_size_list<float32>[2K]": 2 * landmarks, "fixed_size_list<float32>[K]": landmarks}
    return pa.list_(pa.float32(), lengths[column.type])


def _schema(name: TableName, landmarks: LandmarkCount | None, options: set[str]) -> pa.Schema:
    present = [column for column in _columns(name) if column.when is None or column.when in options]
    return pa.schema([pa.field(c.name, arrow_type(c, landmarks), nullable=c.nullable) for c in present])


def observation_schema(landmarks: LandmarkCount | None = 68, identity: bool = False) -> pa.Schema:
    """The arrow schema of the observations.

    Args:
        landmarks: Points per face; None leaves the columns out, 478 has their depth too.
        identity: With the column ``identity``.
    """
    if landmarks not in (None, 68, 478):
        raise ValueError(f"landmarks must be 68, 478 or None, got {landmarks}")
    options = {"identity"} if identity else set()
    if landmarks is not None:
        options |= {"landmarks", f"landmarks={landmarks}"}
    return _schema("observations", landmarks, options)


def tracks_schema(identity: bool = False, embeddings: bool = False) -> pa.Schema:
    """The arrow schema of the tracks; `identity` and `embeddings`: with those columns."""
    options = {name for name, wanted in (("identity", identity), ("embeddings", embeddings)) if wanted}
    return _schema("tracks", None, options)


def training_schema() -> pa.Schema:
    """The arrow schema of the table that training reads."""
    return _schema("training_faces", None, set())


def list_lengths(name: TableName) -> dict[str, int]:
    """How many values the plain lists of a table have."""
    sized = ((column.name, re.fullmatch(r"list<float32>\[(\d+)]", column.type)) for column in _columns(name))
    return {column: int(found[1]) for column, found in sized if found}
