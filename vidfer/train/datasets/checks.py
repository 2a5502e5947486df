"""What must hold for every row of a training table, whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vidfer import schema
from vidfer.errors import DataError
from vidfer.types import Bool

_SUM_TOLERANCE = 1e-3  # of float32 shares
_SHARES = ("votes", "teacher")
_TOGETHER = (("valence", "arousal"), ("face_x", "face_y", "face_w", "face_h"), ("teacher_valence", "teacher_arousal"))


def check_batch(batch: pa.RecordBatch, where: str, first_row: int = 0) -> None:
    """Refuse rows that training cannot use.

    Args:
        batch: Rows with the types of the schema.
        where: Name of the table, for the message.
        first_row: Number of the first row in it, for the message.

    Raises:
        DataError: A value is missing, out of range, unknown, or a list of another length; the first one is named.
    """
    for column, what, bad in _faults(batch):
        rows = np.flatnonzero(bad)
        if len(rows):
            value = batch[column][int(rows[0])].as_py()
            got = f"{len(value)} values" if isinstance(value, list) else repr(value)
            raise DataError(f"{where}, row {first_row + rows[0]}: {column} {what}, got {got}")


def _faults(batch: pa.RecordBatch) -> Iterator[tuple[str, str, Bool]]:
    lengths = schema.list_lengths("training_faces")
    for column in schema.columns("training_faces"):
        values = batch[column.name]
        missing = _mask(values.is_null())
        if not column.nullable:
            yield column.name, "is missing", missing
        if column.values is not None:
            known = pc.is_in(values.cast(pa.string()), pa.array(column.values))
            yield column.name, f"must be one of {', '.join(column.values)}", ~missing & ~_mask(known)
        if column.name in lengths:
            wrong = pc.not_equal(values.value_lengths(), lengths[column.name])
            yield column.name, f"must have {lengths[column.name]} values", _mask(pc.fill_null(wrong, False))
        if column.type in ("float32", "int32"):
            yield column.name, *_outside(values, column)
    for names in _TOGETHER:
        some = [_mask(batch[name].is_null()) for name in names]
        yield (
            names[0],
            f"must be there with {', '.join(names[1:])}, or none of them",
            np.any(some, axis=0) & ~np.all(some, axis=0),
        )
    for name in _SHARES:
        yield name, "must be shares that sum to 1", _no_shares(batch[name], lengths[name])


def _outside(values: pa.Array, column: schema.Column) -> tuple[str, Bool]:
    numbers = np.asarray(values.to_numpy(zero_copy_only=False), np.float64)
    low, high = column.range or (None, None)
    low, high = -np.inf if low is None else low, np.inf if high is None else high
    bad = ~(np.isfinite(numbers) & (numbers >= low) & (numbers <= high)) & ~_mask(values.is_null())
    return f"must be a number in [{low:g}, {high:g}]", bad


def _no_shares(values: pa.ListArray, length: int) -> Bool:
    rows = _mask(values.is_valid())
    shares = values.flatten().to_numpy(zero_copy_only=False).reshape(-1, length)
    bad = np.zeros(len(values), bool)
    # Not "greater": NaN must not pass.
    bad[rows] = ~((np.abs(shares.sum(1) - 1) <= _SUM_TOLERANCE) & (shares >= 0).all(1))
    return bad


def _mask(values: pa.Array) -> Bool:
    found: npt.NDArray[np.bool_] = np.asarray(values.to_numpy(zero_copy_only=False), bool)
    return found
