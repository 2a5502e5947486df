"""Parquet files of our own: training tables, parts of them that others wrote, and the faces that our networks know.

* A training table, or any file with the column `image` and some of its other columns; what is not there is null.
* `faces.parquet` with `mesh_basis.npz` beside it: see `known_faces`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vidfer import schema
from vidfer.errors import DataError
from vidfer.train.datasets.known_faces import KnownFaces
from vidfer.train.datasets.rows import POINTS, SPLITS, Labels
from vidfer.train.datasets.samples import Sample, Source
from vidfer.train.datasets.table import open_parquet
from vidfer.types import EMOTIONS, F32

_ROWS = 512
_BOX = ("face_x", "face_y", "face_w", "face_h")
_TYPES = {f.name: pa.string() if pa.types.is_dictionary(f.type) else f.type for f in schema.training_schema()}


def read_parquet(paths: Sequence[Path], source: Source) -> Iterator[Sample]:
    """Faces of Parquet files."""
    for path in paths:
        with _readable(path):
            yield from _read(path, source)


def count_rows(path: Path) -> int:
    """How many rows a Parquet file has."""
    with _readable(path):
        return int(pq.read_metadata(path).num_rows)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    if not path.is_file():
        raise DataError(f"no Parquet file at {path}")
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error


def _read(path: Path, source: Source) -> Iterator[Sample]:
    with open_parquet(path) as file:
        names = file.schema_arrow.names
        for needed in ("image", source.emotion):
            if needed and needed not in names:
                raise DataError(f"{path} lacks the column {needed}; it has {', '.join(names[:24])}")
        known = KnownFaces(path, names) if "mesh_coef" in names else None
        wanted = {*(known.COLUMNS if known else _TYPES), source.emotion}
        row = 0
        for batch in file.iter_batches(_ROWS, columns=[name for name in names if name in wanted]):
            if not known:
                batch = _with_types(batch, path)
            rows = np.arange(row, row + batch.num_rows)
            row += batch.num_rows
            if source.sets and "set" in batch.schema.names:
                chosen = np.isin(batch["set"].to_numpy(zero_copy_only=False).astype(str), source.sets)
                batch, rows = batch.filter(pa.array(chosen)), rows[chosen]
            for number, values in zip(rows, batch.to_pylist(), strict=True):
                where = f"{path.name}, row {number}"
                if values["image"] is None or values.get("split") not in (None, *SPLITS):
                    fault = "no picture" if values["image"] is None else f"split is not one of {', '.join(SPLITS)}"
                    source.tally.leave_out(fault, where)
                    continue
                labels = known.labels(values, where, source) if known else _labels(values, where, source)
                if labels is not None:
                    yield _sample(values, known.group(values) if known else None, labels, where)


def _with_types(batch: pa.RecordBatch, path: Path) -> pa.RecordBatch:
    """The batch with the types of training tables, as far as one can be made of what is there."""
    columns = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        wanted = _TYPES.get(name, pa.string())
        try:
            columns.append(column.cast(wanted))
        except pa.ArrowException as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{path}: column {name} must hold {wanted}, got {column.type} ({reason})") from error
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _sample(values: dict[str, Any], group: str | None, labels: Labels, where: str) -> Sample:
    data: bytes = values["image"]
    return Sample(
        where=where,
        picture=lambda: data,
        group=group or str(values.get("group") or where),
        split=values.get("split"),
        set_name=values.get("set"),
        labels=labels,
    )


def _labels(values: dict[str, Any], where: str, source: Source) -> Labels | None:
    emotion = values.get(source.emotion or "emotion")
    if emotion is not None and emotion not in EMOTIONS:
        source.tally.leave_out(f"{source.emotion or 'emotion'} is not one of the eight", where)
        return None
    points = {}
    for count, size in POINTS.items():
        given = _array(values.get(f"points{count}"))
        if given is not None and given.size != count * size:
            source.tally.leave_out(f"points{count} have not {count * size} values", where)
            return None
        if given is not None:
            points[count] = given.reshape(count, size)
    return Labels(
        emotion=emotion,
        votes=None if source.emotion else _array(values.get("votes")),
        valence_arousal=_tuple(values, "valence", "arousal"),  # type: ignore[arg-type]
        box=_tuple(values, *_BOX),  # type: ignore[arg-type]
        points=points,
        teacher=_array(values.get("teacher")),
        teacher_va=_tuple(values, "teacher_valence", "teacher_arousal"),  # type: ignore[arg-type]
        face_found=values.get("face_found"),
    )


def _array(values: list[float] | None) -> F32 | None:
    return None if values is None else np.array(values, np.float32).ravel()


def _tuple(values: dict[str, Any], *names: str) -> tuple[float, ...] | None:
    found = [values.get(name) for name in names]
    # One of several that is missing is NaN, which is refused as any other NaN.
    return None if all(v is None for v in found) else tuple(float("nan") if v is None else float(v) for v in found)
