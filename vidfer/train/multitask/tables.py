"""Tables of a recipe as dataclasses: unknown keys, wrong kinds and values outside of what is allowed are one line."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from vidfer.errors import UsageError

T = TypeVar("T")


def read_table(kind: type[T], values: Any, place: str = "") -> T:
    """A dataclass out of a table of TOML.

    Args:
        kind: The dataclass; its annotations say what is allowed, its own checks the rest.
        values: Key and value as TOML has them.
        place: Name of the table, for errors; empty for the top of the file.

    Raises:
        UsageError: An unknown key (the nearest is named), a value of another kind or outside of what is allowed.
    """
    if not isinstance(values, Mapping):
        raise UsageError(f"[{place}] must be a table, got {values!r}")
    hints = get_type_hints(kind)
    known = fields(kind)  # type: ignore[arg-type]
    check_keys(values, [field.name for field in known], place)
    for field in known:
        if field.name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise UsageError(f"{_join(place, field.name)} is missing")
    read = {key: _value(hints[key], value, _join(place, key)) for key, value in values.items()}
    try:
        return kind(**read)
    except UsageError as error:
        raise UsageError(f"[{place}] {error}" if place else str(error)) from error


def check_keys(values: Mapping[str, Any], known: Sequence[str], place: str) -> None:
    """Refuse a key that is not known, and name the nearest one."""
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.0)[0]
            raise UsageError(f"unknown key {_join(place, key)!r}, did you mean {_join(place, near)!r}?")


def as_table(value: Any) -> dict[str, Any]:
    """A dataclass as TOML and JSON know it: no None, no paths, no tuples."""
    return {key: _plain(item) for key, item in asdict(value).items() if item is not None}


def within(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """Refuse a number that is not between two others, or none at all."""
    if not low <= value <= high or value == float("inf"):
        allowed = f"between {low:g} and {high:g}" if high < float("inf") else f"{low:g} or more"
        raise UsageError(f"{name} must be {allowed}, got {value:g}")


def above(name: str, value: float) -> None:
    """Refuse a number that is not above 0."""
    if not 0 < value < float("inf"):
        raise UsageError(f"{name} must be above 0, got {value:g}")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _join(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _value(hint: Any, value: Any, name: str) -> Any:
    """The value as its annotation wants it."""
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if value is None and type(None) in options:
        return None
    wanted = next(option for option in options if option is not type(None))
    if hasattr(wanted, "__dataclass_fields__"):
        return read_table(wanted, value, name)
    if get_origin(wanted) is Literal:
        allowed = get_args(wanted)
        if value not in allowed or isinstance(value, bool):
            raise UsageError(f"{name} is {value!r}: choose one of {', '.join(str(choice) for choice in allowed)}")
        return value
    if get_origin(wanted) is tuple:
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise UsageError(f"{name} must be a list of texts, got {value!r}")
        return tuple(value)
    return _scalar(wanted, value, name)


def _scalar(wanted: Any, value: Any, name: str) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    words, right = {
        bool: ("true or false", isinstance(value, bool)),
        int: ("a whole number", number and isinstance(value, int)),
        float: ("a number", number),
        str: ("a text in quotes", isinstance(value, str)),
        Path: ("a path in quotes", isinstance(value, str | Path)),
    }.get(wanted, ("", True))
    if not right:
        raise UsageError(f"{name} must be {words}, got {value!r}")
    return wanted(value) if wanted in (float, Path) else value
