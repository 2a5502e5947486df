"""The files of one result: the table, its tracks, and what the run says about itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidfer.errors import InputError
from vidfer.output.parquet import check_version, open_table, read_footer
from vidfer.schema import columns

_TRACKS = ".tracks.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What `vidfer process` left of one source.

    Attributes:
        table: The observations, `NAME.parquet`.
        about: The footer of the table; with state, warnings and timings where `NAME.run.json` lies beside it.
        tracks: The rows of `NAME.tracks.parquet` by column, in the order of face ids.
        notes: What is missing, one line each.
    """

    table: Path
    about: dict[str, Any]
    tracks: list[dict[str, Any]]
    notes: list[str]


def read_results(table: Path) -> Results:
    """Find and check the files beside a table.

    Raises:
        InputError: The table is no table of observations of this version, or its tracks are missing or others.
    """
    if table.name.endswith(_TRACKS):
        raise InputError(f"{table} holds tracks: give the table of faces beside it, {_beside(table)}")
    about = read_footer(table)
    check_version(table, about)
    if about["source"].get("container") == "photos":
        raise InputError(f"{table} is about photos, a report is about a video: read the table itself")
    _check_columns(table)
    run, notes = _run_report(table, about)
    return Results(table=table, about={**run, **about}, tracks=_tracks(table, about), notes=notes)


def _beside(tracks: Path) -> Path:
    return tracks.with_name(f"{tracks.name.removesuffix(_TRACKS)}.parquet")


def _check_columns(table: Path) -> None:
    with open_table(table) as file:
        names = set(file.schema_arrow.names)
    lacking = [column.name for column in columns("observations") if column.when is None and column.name not in names]
    if lacking:
        raise InputError(f"{table} lacks the column {lacking[0]}: give a table made by `vidfer process`")


def _tracks(table: Path, about: dict[str, Any]) -> list[dict[str, Any]]:
    path = table.with_name(f"{table.stem}{_TRACKS}")
    if not path.exists():
        raise InputError(f"{path.name} is not beside {table}: put it there, or run `vidfer process` again")
    if (other := read_footer(path)).get("created_utc") != about.get("created_utc"):
        raise InputError(
            f"{path} was not made with {table} (on {other.get('created_utc')}, not {about.get('created_utc')}): "
            "run `vidfer process` again"
        )
    with open_table(path) as file:
        rows: list[dict[str, Any]] = file.read().to_pylist()
    return rows


def _run_report(table: Path, about: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """`NAME.run.json`, and what is wrong with it; empty where it is not that of this table."""
    path = table.with_name(f"{table.stem}.run.json")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, [f"{path.name} is not beside the table: what went wrong in the run is not known here"]
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("created_utc") != about.get("created_utc"):
        return {}, [f"{path.name} is not the report of this table: what went wrong in the run is not known here"]
    return found, []
