"""Columns of made-up tables."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def column_array(values: npt.ArrayLike, kind: pa.DataType, valid: npt.ArrayLike | None = None) -> pa.Array:
    """A column from numpy values; NaN becomes null (missing is never NaN in our tables).

    Args:
        values: [R], or [R,N] for a fixed size list of N; a list is null as soon as one of its values is NaN. For a
            dictionary column: texts, None where missing.
        kind: The arrow type.
        valid: bool[R], False makes null.
    """
    given = np.asarray(values)
    missing = np.zeros(len(given), bool) if valid is None else ~np.asarray(valid, bool)
    if np.issubdtype(given.dtype, np.floating):
        missing |= np.isnan(given) if given.ndim == 1 else np.isnan(given).any(axis=1)
    elif np.issubdtype(given.dtype, np.datetime64):
        missing |= np.isnat(given)
    if pa.types.is_fixed_size_list(kind):
        if given.ndim != 2 or given.shape[1] != kind.list_size:
            raise ValueError(f"values must be [R,{kind.list_size}], got {list(given.shape)}")
        flat = pa.array(given.reshape(-1), kind.value_type)
        return pa.FixedSizeListArray.from_arrays(flat, type=kind, mask=pa.array(missing))
    if pa.types.is_dictionary(kind):
        return pa.array(given, kind.value_type, mask=missing).dictionary_encode().cast(kind)
    if np.issubdtype(given.dtype, np.floating) and not pa.types.is_floating(kind):
        given = np.where(missing, 0, given)
    return pa.array(given, mask=missing).cast(kind)
