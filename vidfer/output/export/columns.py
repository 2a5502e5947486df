"""Which columns to write, by name, and landmarks as one column for each number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import pyarrow as pa
import pyarrow.compute as pc

from vidfer.errors import UsageError
from vidfer.output.export.reader import Reader
from vidfer.output.export.where import unknown_column

_LISTS = {"landmarks": "xy", "landmarks_z": "z"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A column to write: one of the table, or one number of its lists.

    Attributes:
        name: In the result.
        column: In the table.
        element: Which number of the list; None for the column as it is.
    """

    name: str
    column: str
    element: int | None = None

    def of(self, batch: pa.RecordBatch) -> pa.Array:
        """Its values; dictionaries as text."""
        values = batch[self.column]
        if self.element is not None:
            return pc.list_element(values, self.element)
        return values.cast(pa.string()) if pa.types.is_dictionary(values.type) else values


def choose(reader: Reader, patterns: Sequence[str], *, wide: bool) -> list[Chosen]:
    """The columns that patterns such as ``frame`` and ``emotion_*`` name, in their order, each once; all without any.

    Raises:
        UsageError: A name fits none; landmarks are to be spread, and there are none.
    """
    if wide and not reader.points:
        raise UsageError(
            f"{reader.path} has no landmarks to spread: process with --landmarks 68 or 478, or export without --wide"
        )
    known = {one.name: one for name in reader.schema.names for one in _spread(reader, name, wide=wide)}
    chosen: dict[str, Chosen] = {}
    for pattern in patterns or reader.schema.names:
        found = _fitting(pattern, known, wide=wide)
        if not found:
            raise unknown_column("--columns", pattern, known)
        chosen |= {one.name: one for one in found if one.name not in chosen}
    return list(chosen.values())


def _fitting(pattern: str, known: dict[str, Chosen], *, wide: bool) -> list[Chosen]:
    if pattern in known:
        return [known[pattern]]
    if wide and pattern in _LISTS:
        return [one for one in known.values() if one.column == pattern]
    return [one for name, one in known.items() if "*" in pattern and fnmatchcase(name, pattern)]


def _spread(reader: Reader, name: str, *, wide: bool) -> Iterator[Chosen]:
    if not wide or name not in _LISTS:
        yield Chosen(name=name, column=name)
        return
    axes = _LISTS[name]
    for offset, axis in enumerate(axes):
        for i in range(reader.points):
            yield Chosen(name=f"{axis}_{i}", column=name, element=i * len(axes) + offset)
