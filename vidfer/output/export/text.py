"""Columns as lines of text, a batch at a time in Arrow: a table of ten hours has a billion numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

_ISO = "%Y-%m-%dT%H:%M:%SZ"
_TO_QUOTE = frozenset(',"\r\n')


def csv_line(names: Sequence[str]) -> str:
    """Names, or other texts, as one line of CSV."""
    return ",".join(map(_csv_text, names)) + "\n"


def csv_lines(columns: Iterable[pa.Array]) -> Iterator[str]:
    """One line of CSV for each row; missing is empty."""
    cells = []
    for values in columns:
        text = _texts(values, _csv_text)
        cells.append(_around('"', text, '"') if pa.types.is_list(values.type) else text)
    return _lines(cells, "")


def json_lines(columns: Iterable[tuple[str, pa.Array]]) -> Iterator[str]:
    """One JSON object for each row; missing is null."""
    cells = []
    for name, values in columns:
        text = _texts(values, _json_text)
        if pa.types.is_timestamp(values.type):
            text = _around('"', text, '"')
        known = pc.fill_null(text, "null")
        cells.append(_around(json.dumps(name) + ":", known, ""))
    return (f"{{{line[:-1]}}}\n" for line in _lines(cells, "null"))


def _lines(cells: Sequence[pa.Array], missing: str) -> Iterator[str]:
    lines = pc.binary_join_element_wise(*cells, ",", null_handling="replace", null_replacement=missing)
    return (f"{line}\n" for line in lines.to_pylist())


def _around(before: str, texts: pa.Array, after: str) -> pa.Array:
    return pc.binary_join_element_wise(before, texts, after, "")


def _texts(values: pa.Array, quote: Callable[[str], str]) -> pa.Array:
    """Values as text, the shortest that gives the same number again; a list in brackets."""
    kind = values.type
    if pa.types.is_string(kind):
        return _quoted(values, quote)
    if pa.types.is_timestamp(kind):
        return pc.strftime(values, format=_ISO)
    if pa.types.is_list(kind):
        numbers = pc.fill_null(_number_texts(values.flatten()), "null")
        # Null rows have no numbers, so the offsets are those of the numbers that are left.
        offsets = pc.cumulative_sum(pc.fill_null(pc.list_value_length(values), 0))
        whole = pa.ListArray.from_arrays(pa.concat_arrays([pa.array([0], pa.int32()), offsets]), numbers)
        text = _around("[", pc.binary_join(whole, ","), "]")
        return pc.if_else(values.is_valid(), text, None)
    return _number_texts(values)


def _number_texts(values: pa.Array) -> pa.Array:
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_finite(values), values, None)
    return values.cast(pa.string())


def _quoted(values: pa.Array, quote: Callable[[str], str]) -> pa.Array:
    coded = values.dictionary_encode()
    texts = pa.array([quote(text) for text in coded.dictionary.to_pylist()], pa.string())
    return texts.take(coded.indices)


def _csv_text(text: str) -> str:
    return '"{}"'.format(text.replace('"', '""')) if _TO_QUOTE & set(text) else text


def _json_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
