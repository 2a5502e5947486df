"""``vidfer schema``: what stands in the files that vidfer writes."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Annotated, Any, get_args

import click
import typer

TABLES = ("observations", "tracks", "run", "training_faces", "job")

Name = Annotated[
    str | None,
    typer.Argument(metavar="[observations|tracks|run|training_faces|job]", click_type=click.Choice(TABLES)),
]
Json = Annotated[bool, typer.Option("--json", help="Print the schema file itself.")]


def schema(name: Name = None, as_json: Json = False) -> None:
    """Explain the columns and keys of vidfer's files.

    They are NAME.parquet (observations), NAME.tracks.parquet (tracks) and NAME.run.json (run); training_faces is what
    networks are trained on, and job what `vidfer jobs` reads. Without a name it says all of them.
    """
    from vidfer.schema import document

    names = [name] if name else list(TABLES)
    if as_json:
        documents = {table: document(table) for table in names}
        print(json.dumps(documents[name] if name else documents, indent=2))
        return
    print("\n\n".join("\n".join(describe(table)) for table in names))


def describe(name: str) -> Iterator[str]:
    """One table, or the report, for a person."""
    from vidfer import schema as contract

    document = contract.document(name)
    if name not in get_args(contract.TableName):
        yield f"{name}, version {document['version']}: {document['description']}"
        yield from _properties(document, "")
        return
    yield f"{name}, version {document['version']}: {document['meaning']}"
    for column in document["columns"]:
        notes = [column["unit"], "may be null" if column["nullable"] else None]
        notes += [f"only with {column['when']}"] if column.get("when") else []
        yield from _entry(column["name"], ", ".join([column["type"], *filter(None, notes)]), column["meaning"])


def _properties(document: dict[str, Any], prefix: str) -> Iterator[str]:
    for key, value in document.get("properties", {}).items():
        kinds = value.get("type", [])
        kind = kinds if isinstance(kinds, str) else " or ".join(kinds)
        kind = kind or ", ".join(map(str, value.get("enum", [])))
        yield from _entry(prefix + key, kind, value.get("description", ""))
        yield from _properties(value, f"{prefix}{key}.")


def _entry(name: str, kind: str, meaning: str) -> Iterator[str]:
    yield f"  {name}  ({kind})" if kind else f"  {name}"
    yield from textwrap.wrap(meaning, 100, initial_indent="      ", subsequent_indent="      ")
