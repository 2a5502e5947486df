"""Conditions such as ``face_id=2`` and ``confidence>=0.5``: which rows to keep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vidfer.errors import UsageError
from vidfer.schema import Column

_CONDITION = re.compile(r"\s*([A-Za-z_][A-Za-z_0-9]*)\s*(==|!=|<=|>=|=|<|>)\s*(.*?)\s*", re.DOTALL)
_COMPARE = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_NULL = "null"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition: column, one of = != < <= > >=, and what to compare with, as it was written."""

    column: str
    sign: str
    value: str

    def __str__(self) -> str:
        return f"--where {self.column}{self.sign}{self.value}"

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition.

        Raises:
            UsageError: It is none.
        """
        found = _CONDITION.fullmatch(text)
        if found is None or not found[3]:
            raise UsageError(
                f"--where: got {text!r}, allowed is COLUMN and one of = != < <= > >= and a value, such as face_id=2"
            )
        return cls(column=found[1], sign="=" if found[2] == "==" else found[2], value=found[3])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bound:
    column: str
    sign: str
    scalar: pa.Scalar | None  # None: null

    def keep(self, batch: pa.RecordBatch) -> pa.Array:
        values = batch[self.column]
        if self.scalar is None:
            return values.is_null() if self.sign == "=" else values.is_valid()
        if pa.types.is_dictionary(values.type):
            values = values.cast(pa.string())
        return pc.fill_null(_COMPARE[self.sign](values, self.scalar), False)


class Where:
    """Conditions that must all hold; of several with = on one column, one. Missing values hold for =null alone."""

    def __init__(self, conditions: Iterable[Condition] = ()) -> None:
        self._conditions = list(conditions)

    def bound(self, schema: pa.Schema, contract: Mapping[str, Column]) -> BoundWhere:
        """The conditions for a table.

        Raises:
            UsageError: A column or a value does not fit.
        """
        return BoundWhere([_bound(condition, schema, contract) for condition in self._conditions])


class BoundWhere:
    """Conditions that were checked against the columns of a table."""

    def __init__(self, conditions: list[_Bound]) -> None:
        self._groups: dict[object, list[_Bound]] = {}
        for number, one in enumerate(conditions):
            self._groups.setdefault(one.column if one.sign == "=" else number, []).append(one)
        self.columns = list(dict.fromkeys(one.column for one in conditions))

    def keep(self, batch: pa.RecordBatch) -> pa.Array | None:
        """Which rows hold; None for all."""
        kept = None
        for group in self._groups.values():
            one = group[0].keep(batch)
            for other in group[1:]:
                one = pc.or_(one, other.keep(batch))
            kept = one if kept is None else pc.and_(kept, one)
        return kept


def unknown_column(option: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a column that is not there, with the nearest ones."""
    names = list(known)
    begun = [one for one in names if one.startswith(name)]
    near = list(dict.fromkeys([*begun, *get_close_matches(name, names)]))[:3]
    hint = f"did you mean {' or '.join(near)}?" if near else "`vidfer schema` names all columns"
    return UsageError(f"{option}: the table has no column {name}; {hint}")


def _bound(condition: Condition, schema: pa.Schema, contract: Mapping[str, Column]) -> _Bound:
    if condition.column not in schema.names:
        raise unknown_column(str(condition), condition.column, schema.names)
    kind = schema.field(condition.column).type
    if condition.value.lower() == _NULL:
        if condition.sign not in ("=", "!="):
            raise UsageError(f"{condition}: null is compared with = and != only")
        return _Bound(column=condition.column, sign=condition.sign, scalar=None)
    column = contract.get(condition.column)
    scalar = _scalar(condition, kind, None if column is None else column.values)
    return _Bound(column=condition.column, sign=condition.sign, scalar=scalar)


def _scalar(condition: Condition, kind: pa.DataType, values: tuple[str, ...] | None) -> pa.Scalar:
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind):
        return _text(condition, values)
    if pa.types.is_integer(kind):
        return _number(condition, kind, int, "a whole number")
    if pa.types.is_floating(kind):
        return _number(condition, kind, float, "a number")
    if pa.types.is_timestamp(kind):
        return _moment(condition, kind)
    raise UsageError(f"{condition}: {condition.column} is a list, which is not compared")


def _text(condition: Condition, values: tuple[str, ...] | None) -> pa.Scalar:
    if condition.sign not in ("=", "!="):
        raise UsageError(f"{condition}: {condition.column} is text, which is compared with = and != only")
    if values is not None and condition.value not in values:
        raise UsageError(f"{condition}: got {condition.value}, allowed are {', '.join(values)} and null")
    return pa.scalar(condition.value, pa.string())


def _number(condition: Condition, kind: pa.DataType, read: Any, what: str) -> pa.Scalar:
    try:
        value = read(condition.value)
        if value != value:  # NaN: nothing is equal to it
            raise ValueError
        return pa.scalar(value, kind)
    except (ValueError, OverflowError, pa.ArrowInvalid):
        raise UsageError(
            f"{condition}: got {condition.value}, allowed is {what} ({condition.column} is {kind}), or null"
        ) from None


def _moment(condition: Condition, kind: pa.DataType) -> pa.Scalar:
    try:
        return pa.scalar(condition.value, pa.string()).cast(kind)
    except pa.ArrowInvalid:
        raise UsageError(
            f"{condition}: got {condition.value}, allowed is a time in UTC such as 2026-11-21T14:00:00Z, or null"
        ) from None
