"""All formats, and the way from a table to a file in one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vidfer.errors import InputError, UsageError
from vidfer.output.export import cues, rows, tools
from vidfer.output.export.job import Job
from vidfer.output.export.reader import open_reader
from vidfer.output.export.where import Condition, Where
from vidfer.output.files import written_whole

_SUFFIX = ".parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format to export to.

    Attributes:
        suffix: What the names of its files end with.
        write: Writes a table.
        is_text: It can go to a terminal or another program.
        any_rows: It has the columns that one chooses, of any table; the others have columns of their own.
        names_source: It tells the rows of one photo from those of another.
    """

    suffix: str
    write: Callable[[Job, BinaryIO], None]
    is_text: bool = True
    any_rows: bool = False
    names_source: bool = True


FORMATS = {
    "csv": Format(suffix=".csv", write=rows.write_csv, any_rows=True),
    "jsonl": Format(suffix=".jsonl", write=rows.write_jsonl, any_rows=True),
    "openface": Format(suffix=".openface.csv", write=tools.write_openface, names_source=False),
    "pyfeat": Format(suffix=".pyfeat.csv", write=tools.write_pyfeat),
    "mot": Format(suffix=".mot.txt", write=tools.write_mot, names_source=False),
    "elan": Format(suffix=".eaf", write=cues.write_elan),
    "srt": Format(suffix=".srt", write=cues.write_srt),
    "vtt": Format(suffix=".vtt", write=cues.write_vtt),
    "arrow": Format(suffix=".arrow", write=rows.write_arrow, is_text=False, any_rows=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What to export, and how.

    Attributes:
        to: One of FORMATS.
        columns: Names and patterns of the columns to write (`emotion_*`); all where there are none.
        where: Conditions such as ``face_id=2``.
        wide: Landmarks as one column for each number.
        overwrite: Replace files that are there.

    Raises:
        UsageError: They do not go together.
    """

    to: str
    columns: Sequence[str] = ()
    where: Sequence[str] = ()
    wide: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.to not in FORMATS:
            raise UsageError(f"--to: got {self.to}, allowed are {', '.join(FORMATS)}")
        if not self.format.any_rows and (self.columns or self.wide):
            given = "--columns" if self.columns else "--wide"
            free = ", ".join(name for name, one in FORMATS.items() if one.any_rows)
            raise UsageError(f"{given}: {self.to} has columns of its own, only {free} take it")
        for text in self.where:
            Condition.parse(text)

    @property
    def format(self) -> Format:
        """The format itself."""
        return FORMATS[self.to]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written: rows of the table, and how many of them were kept."""

    rows: int
    rows_kept: int


def export_table(table: Path, destination: Path, options: ExportOptions) -> Exported:
    """Write a table in another format; the file appears whole or not at all.

    Raises:
        InputError: It is no table that can be exported.
        UsageError: The file is there already; a column or a value does not fit to the table.
        OutputError: The file cannot be written.
    """
    if destination.exists() and table.exists() and destination.samefile(table):
        raise UsageError(f"{destination} is the table itself: choose another file with -o")
    if destination.is_dir():
        raise UsageError(f"{destination} is a folder: choose a file with -o")
    if destination.exists() and not options.overwrite:
        raise UsageError(f"{destination} is there already: choose --overwrite, or another file with -o")
    with written_whole(destination) as out:
        return export_to(table, out, options)


def export_to(table: Path, out: BinaryIO, options: ExportOptions) -> Exported:
    """Write a table in another format to an open file.

    Raises:
        InputError: It is no table that can be exported.
        UsageError: A column or a value does not fit to the table.
    """
    where = Where([Condition.parse(text) for text in options.where])
    with open_reader(table, where) as reader:
        if reader.name == "tracks" and not options.format.any_rows:
            raise InputError(f"{table} has one row per track: give the table beside it, NAME.parquet")
        if not options.format.names_source and reader.about["source"].get("container") == "photos":
            raise InputError(f"{table} is of photos, which {options.to} cannot tell apart: export it with --to csv")
        options.format.write(Job(reader=reader, columns=tuple(options.columns), wide=options.wide), out)
        return Exported(rows=reader.rows, rows_kept=reader.rows_kept)


def destination_of(table: Path, to: str) -> Path:
    """What the file for a table is called, beside it."""
    return table.with_name(table.name.removesuffix(_SUFFIX) + FORMATS[to].suffix)
