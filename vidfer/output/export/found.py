"""Which tables the user means, and where their exports go."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from vidfer.errors import InputError, UsageError
from vidfer.output.export.formats import FORMATS, destination_of
from vidfer.output.parquet import footer_of, open_table

_TABLES, _TRACKS = ".parquet", ".tracks.parquet"


def find_tables(inputs: Iterable[Path]) -> tuple[list[tuple[Path, Path]], list[tuple[Path, InputError]]]:
    """The tables that files and folders stand for, each once, in their order.

    Folders are searched to the bottom for tables of faces; hidden ones, tables of tracks and files of other programs
    are left out. Among several files tables of tracks are left out where their tables are given too (`*.parquet`).

    Returns:
        Tables, each with its place below the folder that was given, or its name; and folders without any, each with
        the error that says so.
    """
    found: dict[str, tuple[Path, Path]] = {}
    failed: list[tuple[Path, InputError]] = []
    given = list(inputs)
    for path in given:
        if not path.is_dir():
            if _table_of(path) not in given:
                found.setdefault(os.path.realpath(path), (path, Path(path.name)))
            continue
        tables = sorted(one for one in path.rglob(f"*{_TABLES}") if _is_ours(one, path))
        if not tables:
            failed.append((path, InputError(f"{path} is a folder without tables: give results of `vidfer process`")))
        for table in tables:
            found.setdefault(os.path.realpath(table), (table, table.relative_to(path)))
    return list(found.values()), failed


def _table_of(path: Path) -> Path | None:
    """The table beside a table of tracks; None for any other file."""
    name = path.name.removesuffix(_TRACKS)
    return None if name == path.name else path.with_name(f"{name}{_TABLES}")


def _is_ours(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    if hidden or path.name.endswith(_TRACKS) or not path.is_file():
        return False
    with suppress(InputError), open_table(path) as file:
        return footer_of(file) is not None and {"frame", "face_id"} <= set(file.schema_arrow.names)
    return True  # damaged: opening it says so


def place_exports(tables: Sequence[tuple[Path, Path]], to: str, output: str | None) -> list[Path]:
    """Where the export of each table goes: beside it, into a folder, or, of one, to the file that `output` names.

    Args:
        tables: From `find_tables`.
        to: The format.
        output: A file or a folder (`results/` even if it is not there yet); None for beside the tables.

    Raises:
        UsageError: Two would go to the same place, or several into one file.
    """
    if output is None:
        return [destination_of(table, to) for table, _ in tables]
    folder = Path(output)
    # As for `cp`: one source and no folder there, so it is the name of a file.
    if len(tables) == 1 and not folder.is_dir() and not output.endswith(("/", os.sep)):
        return [folder]
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{output} is a file, and {len(tables)} tables are to be exported: name a folder with -o")
    places = [destination_of(folder / place, to) for _, place in tables]
    owners: dict[str, Path] = {}
    for place, (table, _) in zip(places, tables, strict=True):
        other = owners.setdefault(str(place).casefold(), table)  # on many file systems V.csv and v.csv are one file
        if other != table:
            raise UsageError(f"{other} and {table} would both go to {place}: export them into two folders with -o")
    return places


def check_stdout(tables: Sequence[tuple[Path, Path]], to: str) -> None:
    """Check that a format and the tables can go to standard output.

    Raises:
        UsageError: They cannot.
    """
    if not FORMATS[to].is_text:
        raise UsageError(f"-o -: {to} is no text: name a file with -o")
    if len(tables) > 1:
        raise UsageError(f"-o -: got {len(tables)} tables, only one can go to standard output")
