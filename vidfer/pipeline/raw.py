"""What analysis leaves on disk while a run lasts: every detection with its tracklet and embedding, in closed parts.

This is vidfer's own schema, not the published one: what finishing (and resuming) needs, and nothing that can be
derived.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidfer.types import FrameResult

_LISTS = {"box": 4, "emotion": 8, "valence_arousal": 2, "pose": 3, "embedding": 128}


def raw_schema(landmarks: int | None) -> pa.Schema:
    """Columns of a raw part: one row per face, and one with null `tracklet` per frame without a face."""
    columns = [
        ("frame", pa.int64()),
        ("pts", pa.int64()),
        ("time_s", pa.float64()),
        ("captured_utc", pa.timestamp("us", "UTC")),
        ("epoch", pa.int32()),
        ("shot", pa.int32()),
        ("corrupt", pa.bool_()),
        ("tracklet", pa.int64()),
        ("status", pa.uint8()),
        ("score", pa.float32()),
        ("presence", pa.float32()),
        ("quality", pa.float32()),
    ]
    columns += [(n, pa.list_(pa.float16() if n == "embedding" else pa.float32(), k)) for n, k in _LISTS.items()]
    if landmarks is not None:
        columns.append(("landmarks", pa.list_(pa.float32(), 2 * landmarks)))
    if landmarks == 478:
        columns.append(("landmarks_z", pa.list_(pa.float32(), landmarks)))
    return pa.schema(columns)


def to_table(results: Sequence[FrameResult], landmarks: int | None) -> pa.Table:
    """Rows of finished frames, as `raw_schema` says."""
    schema = raw_schema(landmarks)
    counts = [max(1, len(result.faces)) for result in results]
    empty = np.repeat([len(result.faces) == 0 for result in results], counts)
    owner = np.repeat(np.arange(len(results)), counts)
    columns: dict[str, pa.Array] = {}
    for column, attribute in (("frame", "index"), ("time_s", "time_s"), *((n, n) for n in _FRAME_COLUMNS)):
        values = [getattr(result, attribute) for result in results]
        columns[column] = pa.array(values, schema.field(column).type).take(pa.array(owner))
    for name in schema.names[len(columns) :]:
        of_faces = np.concatenate([_values(result, name, landmarks) for result in results])
        columns[name] = _array(of_faces, empty, schema.field(name).type)
    return pa.table(columns, schema=schema)


_FRAME_COLUMNS = ("pts", "captured_utc", "epoch", "shot", "corrupt")


def _values(result: FrameResult, name: str, landmarks: int | None) -> npt.NDArray[Any]:
    """One face column of a frame; one row of zeros, to be nulled, where there is no face."""
    faces = result.faces
    if len(faces) == 0:
        width = {**_LISTS, "landmarks": 2 * (landmarks or 0), "landmarks_z": landmarks or 0}.get(name)
        return np.zeros((1,) if width is None else (1, width), np.float32)
    if name in ("tracklet", "status", "score", "box"):
        return getattr(faces, {"tracklet": "track_id", "box": "box_px"}.get(name, name))  # type: ignore[no-any-return]
    if name in ("quality", "presence"):
        return faces.heads[name][:, 0]
    if name == "landmarks" and landmarks == 68:
        return faces.heads["landmarks68"]
    if name in ("landmarks", "landmarks_z"):
        mesh = faces.heads["landmarks"].reshape(len(faces), -1, 3)
        return mesh[..., 2] if name == "landmarks_z" else mesh[..., :2].reshape(len(faces), -1)
    return faces.heads[name]


def _array(values: npt.NDArray[Any], null: npt.NDArray[np.bool_], kind: pa.DataType) -> pa.Array:
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(values.astype(kind.to_pandas_dtype()), kind, mask=null)
    flat = pa.array(values.astype(kind.value_type.to_pandas_dtype()).ravel(), kind.value_type)
    return pa.FixedSizeListArray.from_arrays(flat, type=kind, mask=pa.array(null))


def matrix(column: pa.ChunkedArray | pa.Array, width: int) -> npt.NDArray[Any]:
    """A fixed-size list column as [N,width]; rows that are null hold anything."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # combine_chunks of no chunks, or of too many values
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    flat: npt.NDArray[Any] = array.values.to_numpy(zero_copy_only=False)
    return flat[array.offset * width : (array.offset + len(array)) * width].reshape(-1, width)
