"""The part of JSON Schema that ``schemas/run.v1.json`` uses, so that tests need no package for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_KINDS = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def violations(value: Any, schema: dict[str, Any], at: str = "") -> Iterator[str]:
    """One line for each place where `value` is not what `schema` says."""
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_KINDS[kind](value) for kind in kinds):
        yield f"{at or 'it'} is {value!r}, not {' or '.join(kinds)}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{at} is {value!r}, not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at} is {value!r}, not one of {schema['enum']}"
    if "minimum" in schema and value is not None and value < schema["minimum"]:
        yield f"{at} is {value!r}, below {schema['minimum']}"
    if "pattern" in schema and value is not None and not re.search(schema["pattern"], value):
        yield f"{at} is {value!r}, which does not match {schema['pattern']}"
    if isinstance(value, dict):
        yield from (f"{at}.{name} is missing" for name in schema.get("required", []) if name not in value)
        known = schema.get("properties", {})
        rest = schema.get("additionalProperties", {})
        for name, entry in value.items():
            yield from violations(entry, known.get(name, rest), f"{at}.{name}")
    if isinstance(value, list):
        for number, entry in enumerate(value):
            yield from violations(entry, schema.get("items", {}), f"{at}[{number}]")
