"""The part of JSON Schema that definitions need, with errors that help."""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from vidfer.errors import UsageError

_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "object": ("a table", lambda value: isinstance(value, dict)),
    "array": ("a list", lambda value: isinstance(value, list)),
    "string": ("a text in quotes", lambda value: isinstance(value, str)),
    "integer": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "number": ("a number", lambda value: type(value) is int or (type(value) is float and math.isfinite(value))),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
}

_LIMITS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "minimum": ("at least", operator.ge),
    "exclusiveMinimum": ("more than", operator.gt),
    "maximum": ("at most", operator.le),
}


def check(value: Any, schema: Mapping[str, Any], place: str = "") -> None:
    """Check a value against a schema.

    Args:
        value: What a definition says.
        schema: What it may say.
        place: Where in the definition, for errors: "executor.workers".

    Raises:
        UsageError: It says something else; an unknown key comes with the nearest one.
    """
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_KINDS[kind][1](value) for kind in kinds):
        raise UsageError(f"{place} must be {' or '.join(_KINDS[kind][0] for kind in kinds)}, got {_shown(value)}")
    if "enum" in schema and (isinstance(value, bool) or value not in schema["enum"]):
        known = ", ".join(_shown(one) for one in schema["enum"])
        raise UsageError(f"{place} is {_shown(value)}: choose one of {known}")
    _check_size(value, schema, place)
    if isinstance(value, dict):
        _check_keys(value, schema, place)
    if isinstance(value, list):
        for number, entry in enumerate(value, start=1):
            check(entry, schema.get("items", {}), f"{place}, entry {number}")


def _check_size(value: Any, schema: Mapping[str, Any], place: str) -> None:
    if isinstance(value, str) and len(value) < schema.get("minLength", 0):
        raise UsageError(f"{place} is empty: give a text or leave it out")
    if not isinstance(value, (int, float)):
        return
    for key, (words, is_kept) in _LIMITS.items():
        if key in schema and not is_kept(value, schema[key]):
            raise UsageError(f"{place} is {value}: give {words} {schema[key]}")


def _check_keys(value: dict[str, Any], schema: Mapping[str, Any], place: str) -> None:
    known = schema.get("properties", {})
    where = f"[{place}]: " if place else ""
    for key, entry in value.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.0)[0]
            raise UsageError(f"{where}unknown key {key!r}, did you mean {near!r}?")
        check(entry, known[key], f"{place}.{key}" if place else key)
    missing = [key for key in schema.get("required", []) if key not in value]
    if missing:
        raise UsageError(f"{where or 'it '}lacks {missing[0]!r}: {known[missing[0]]['description']}")


def _shown(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
