"""`smooth`: the smoothed columns of a table again, from its raw ones; the video is not needed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vidfer.errors import InputError, UsageError
from vidfer.output.files import write_text, writing
from vidfer.output.parquet import TableWriter, check_version, open_table, read_footer, restored
from vidfer.pipeline.earlier import made_again
from vidfer.pipeline.options import config_hash
from vidfer.pipeline.results import Outputs, make_folder
from vidfer.pipeline.scratch import Scratch, Slots
from vidfer.pipeline.tables import smoothed_columns
from vidfer.pipeline.timeline import Timeline, usual_interval_s
from vidfer.pipeline.tracks import SMOOTHED, keep
from vidfer.schema import observation_schema, tracks_schema
from vidfer.smooth import Smoothing
from vidfer.types import EMOTIONS, F64, I64, Bool

_SUFFIX = ".parquet"
_RAW = [*(f"emotion_{name}" for name in EMOTIONS), "valence", "arousal"]
_FRAME = ("frame", "timestamp", "shot", "epoch")
_LOOK = np.dtype([("at", "i4"), ("quality", "f4"), ("affect", "f4", len(_RAW))])


@dataclass(frozen=True, slots=True, kw_only=True)
class SmoothedTable:
    """What `smooth_table` wrote.

    Attributes:
        table: The table of observations.
        written: All files written.
        removed: The annotated video of the run, which showed the former smoothing; None where there was none.
        footer: Of the table.
    """

    table: Path
    written: list[Path]
    removed: Path | None
    footer: dict[str, Any]


def smooth_table(path: Path, smooth: str, output_dir: Path | None = None) -> SmoothedTable:
    """Smooth a table anew, in place or into another folder; the same preset gives the same values as `process`.

    The table of tracks and the report beside it get the new parameters too.

    Args:
        path: A table of observations.
        smooth: "off", "light", "medium" or "strong".
        output_dir: Where the results go; None replaces the table, when all is done.

    Raises:
        UsageError: No such preset, or something is in the way in the other folder.
        InputError: Not a table of observations of this version.
        OutputError: The results cannot be written.
    """
    smoothing = Smoothing.preset(smooth)
    before, schema = _checked(path)
    about = _described(before, smooth, smoothing)
    here = Outputs.of(path.parent, path.name.removesuffix(_SUFFIX))
    there = here if output_dir is None else Outputs.of(output_dir, path.name.removesuffix(_SUFFIX))
    if there.table.parent.resolve() == path.parent.resolve():
        there = here
    else:
        make_folder(there)
        for taken in (there.table, there.tracks, there.report):
            if taken.exists():
                raise UsageError(f"{taken} is there already: remove it or choose another folder with -o")
    report = _report_of(here, before)
    shown = [before, *_footer_of_tracks(here, before), *([report] if report else [])]
    is_stale = there is here and any(one.get("smoothing") != about["smoothing"] for one in shown)
    stale = here.video if is_stale and here.has_own_video() else None
    written = [there.table]
    with _folder(there) as folder:
        _smooth(path, there.table, about, smoothing, schema, folder)
    if stale is not None:
        with writing(stale):
            stale.unlink()
    if here.tracks.exists():
        written.append(there.tracks)
        _copy_tracks(here.tracks, there.tracks, about)
    if here.report.exists():
        written.append(there.report)
        _write_report(report, there, about)
    return SmoothedTable(table=there.table, written=written, removed=stale, footer=about)


def _checked(path: Path) -> tuple[dict[str, Any], pa.Schema]:
    """Footer and schema of a table."""
    if path.name.endswith(".tracks.parquet"):
        raise InputError(f"{path} has one row per track: give the table beside it, NAME.parquet")
    if path.suffix != _SUFFIX:
        raise InputError(f"{path} is not named NAME{_SUFFIX}: give a table made by `vidfer process`")
    about = read_footer(path)
    check_version(path, about)
    if about["source"].get("container") == "photos":
        raise InputError(f"{path} is of photos, which have no time to smooth over: use its raw columns")
    with open_table(path) as file:
        schema = restored(file.schema_arrow.empty_table()).schema
    lengths = [f.type.list_size // 2 for f in schema if f.name == "landmarks" and pa.types.is_fixed_size_list(f.type)]
    landmarks = lengths[0] if lengths else None
    identity = "identity" in schema.names
    if landmarks not in (None, 68, 478) or not schema.equals(observation_schema(landmarks, identity)):
        raise InputError(f"{path} does not have the columns of `vidfer schema`: process the video again")
    return about, schema


def _footer_of_tracks(here: Outputs, before: dict[str, Any]) -> list[dict[str, Any]]:
    """The footer of the table of tracks, if there is one; a run that was killed may have got as far as the table."""
    if not here.tracks.exists():
        return []
    about = read_footer(here.tracks)
    with open_table(here.tracks) as file:
        schema = restored(file.schema_arrow.empty_table()).schema
    if about.get("source") != before["source"] or not schema.equals(_tracks_schema(schema)):
        raise InputError(f"{here.tracks} is not the table of tracks of {here.table}: move one of them elsewhere")
    return [about]


def _tracks_schema(like: pa.Schema) -> pa.Schema:
    """That of tables of tracks, with the optional columns of this one."""
    return tracks_schema("identity" in like.names, "embedding" in like.names)


def _report_of(here: Outputs, before: dict[str, Any]) -> dict[str, Any] | None:
    """The report beside a table; None where it is lost, damaged or another's."""
    report = here.read_report()
    return report if report is not None and report["source"] == before["source"] else None


def _described(before: dict[str, Any], smooth: str, smoothing: Smoothing) -> dict[str, Any]:
    options = {**before["options"], "smooth": smooth}
    return {
        **before,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "smoothing": {"preset": smooth, **asdict(smoothing)},
        "options": options,
        "config_sha256": config_hash(options, {model["name"]: model["sha256"] for model in before["models"]}),
    }


@contextmanager
def _folder(outputs: Outputs) -> Iterator[Path]:
    """For scratch files; what a killed run left is removed."""
    folder = outputs.parts.with_name(f"{outputs.parts.name}-smooth")
    shutil.rmtree(folder, ignore_errors=True)
    with writing(folder):
        folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _groups(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The row groups of a table."""
    with open_table(path) as file:
        for i in range(file.num_row_groups):
            yield restored(file.read_row_group(i, columns=columns, use_threads=False))


def _smooth(
    path: Path, target: Path, about: dict[str, Any], smoothing: Smoothing, schema: pa.Schema, folder: Path
) -> None:
    timeline, counts = _counted(path, about)
    first = np.cumsum(counts) - counts
    with Scratch(folder / "look", _LOOK) as looks, Scratch(folder / "smoothed", SMOOTHED) as smoothed:
        slots = Slots(counts)
        for part in _groups(path, ["frame", "face_id", "quality", *_RAW]):
            real, face_id = _faces(part)
            rows = np.empty(len(face_id), _LOOK)
            rows["at"] = timeline.position(part["frame"].to_numpy()[real])
            rows["quality"] = part["quality"].to_numpy()[real]
            for i, name in enumerate(_RAW):
                rows["affect"][:, i] = part[name].to_numpy()[real]
            looks.put(slots.of(face_id), rows)
        for start, count in zip(first.tolist(), counts.tolist(), strict=True):
            if count:
                span = (start, start + count)
                rows = looks.read([span])
                affect = rows["affect"].copy()
                keep(smoothed, [span], timeline.smooth(rows["at"], affect, rows["quality"], smoothing))
        slots = Slots(counts)
        with TableWriter(target, schema) as writer:
            for part in _groups(path):
                writer.write(_replaced(part, smoothed, slots))
            writer.set_metadata(about)


def _counted(path: Path, about: dict[str, Any]) -> tuple[Timeline, I64]:
    """The frames, and how many measured rows each face has."""
    rate, sampling = about["source"]["average_frame_rate"], about["sampling"]
    frame_rate = None if rate is None else Fraction(rate)
    timeline = Timeline(usual_interval_s(frame_rate, fps=sampling["fps"], stride=sampling["stride"]))
    counts = np.zeros(0, np.int64)
    for part in _groups(path, [*_FRAME, "face_id", "valence"]):
        frame, time_s, shot, epoch = (part[name].to_numpy() for name in _FRAME)
        timeline.add(frame, time_s.astype(np.float64), shot, epoch)
        more = np.bincount(_faces(part)[1], minlength=len(counts))
        more[: len(counts)] += counts
        counts = more
    timeline.close()
    return timeline, counts


def _faces(part: pa.Table) -> tuple[Bool, I64]:
    """Which rows are measured, and their face ids."""
    real = pc.is_valid(part["valence"]).to_numpy()
    face_id: F64 | I64 = part["face_id"].to_numpy()[real]
    return real, face_id.astype(np.int64)


def _replaced(part: pa.Table, smoothed: Scratch, slots: Slots) -> pa.Table:
    real, face_id = _faces(part)
    rows = np.zeros(len(real), SMOOTHED)
    rows[real] = smoothed.get(slots.of(face_id))
    for name, values in smoothed_columns(rows, real).items():
        index = part.schema.get_field_index(name)
        field = part.schema.field(index)
        part = part.set_column(index, field, values.cast(field.type))
    return part


def _copy_tracks(source: Path, target: Path, about: dict[str, Any]) -> None:
    with open_table(source) as file:
        schema = _tracks_schema(file.schema_arrow)
    with TableWriter(target, schema) as writer:
        for part in _groups(source):
            writer.write(part)
        writer.set_metadata(about)


def _write_report(report: dict[str, Any] | None, there: Outputs, about: dict[str, Any]) -> None:
    if report is None:
        report = made_again(about, there)
    outputs = [name for name in report["outputs"] if (there.table.parent / str(name)).exists()]
    write_text(there.report, json.dumps({**report, **about, "outputs": outputs}, indent=1) + "\n")
