"""What a format is to write."""

from __future__ import annotations

from dataclasses import dataclass

from vidfer.output.export.reader import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One table to export.

    Attributes:
        reader: The table.
        columns: Names and patterns of the columns to write; all where there are none.
        wide: Landmarks as one column for each number.
    """

    reader: Reader
    columns: tuple[str, ...] = ()
    wide: bool = False
