"""CSV files line by line, with the columns in a fixed order and errors that say which one is missing."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vidfer.errors import DataError
from vidfer.train.datasets.samples import Tally
from vidfer.types import F32

_LONGEST_FIELD = 1 << 20  # pixels of a picture; the default, 128 Ki, is less than 181x181 of them


def read_lines(
    path: Path, needed: Sequence[str], tally: Tally, optional: Sequence[str] = ()
) -> Iterator[tuple[str, list[str]]]:
    """Lines of a CSV file: (where it stands, values of the columns `needed` and then `optional`).

    Columns are found by their names, whatever their order, without regard to capital letters and blanks around them; an
    optional one that is not there is "". Lines that are too short are counted and left out.

    Raises:
        DataError: The file or a needed column is missing, or it is no CSV file.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            names = [name.strip().casefold() for name in next(reader, [])]
            missing = [name for name in needed if name.casefold() not in names]
            if missing:
                columns = f"column{'s' * (len(missing) > 1)} {_some(missing)}"
                raise DataError(f"{path} lacks the {columns}; it has {_some(names) or 'none'}")
            places = [names.index(n.casefold()) if n.casefold() in names else -1 for n in (*needed, *optional)]
            for line in reader:
                where = f"{path.name}, line {reader.line_num}"
                if len(line) > max(places):
                    yield where, [line[i].strip() if i >= 0 else "" for i in places]
                elif line:
                    tally.leave_out("line is too short", where)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no CSV file: {str(error).splitlines()[0]}") from error


def columns_of(path: Path) -> set[str]:
    """Names of the columns of a CSV file, in small letters; empty where it has none or is no such file."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return {name.strip().casefold() for name in next(csv.reader(file), [])}
    except (OSError, csv.Error, UnicodeDecodeError):
        return set()


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def numbers(values: Sequence[str]) -> F32 | None:
    """Texts as f32[N], NaN where one is empty; None where one is no number."""
    try:
        return np.array([value or "nan" for value in values]).astype(np.float64).astype(np.float32)
    except ValueError:
        return None
