"""The training table: written from rows, read as columns.

It is written and read piece by piece, so that only some pictures are in memory at a time, and appears whole or not at
all. Reading gives numpy columns in which NaN says that a row has no such label; pictures stay encoded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from vidfer import schema
from vidfer.errors import DataError
from vidfer.output.files import written_whole
from vidfer.output.parquet import FOOTER_KEY
from vidfer.train.data import decode_image
from vidfer.train.datasets.checks import check_batch
from vidfer.train.datasets.encoded import Encoded, keep_encoded
from vidfer.train.datasets.rows import POINTS, Face
from vidfer.types import EMOTIONS, F32, I64, U8
from vidfer.version import __version__

_PIECE_ROWS, _PIECE_BYTES = 4096, 32 << 20  # of what is written at a time
_READ_ROWS, _READ_BYTES = 1024, 1 << 20  # at a time, of each column
_TABLE = "training_faces"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFaces:
    """Rows of training tables as columns; NaN where a row has no such label.

    Attributes:
        images: Pictures as they are stored; `picture` decodes one.
        size_px: i64[N,2], width and height.
        set_name: str[N].
        group: str[N].
        emotion: i64[N], index into `EMOTIONS`; -1: none.
        votes: f32[N,8].
        valence_arousal: f32[N,2].
        box_px: f32[N,4], xyxy.
        points: By their number (`POINTS`), where any row has them: f32[N,K,2], or f32[N,478,3].
        teacher: f32[N,8].
        teacher_va: f32[N,2].
        face_found: i64[N]: 1 yes, 0 no, -1 nobody looked.
    """

    images: Encoded
    size_px: I64
    set_name: npt.NDArray[np.str_]
    group: npt.NDArray[np.str_]
    emotion: I64
    votes: F32
    valence_arousal: F32
    box_px: F32
    points: dict[int, F32]
    teacher: F32
    teacher_va: F32
    face_found: I64

    def __len__(self) -> int:
        return len(self.group)

    def take(self, rows: npt.NDArray[Any]) -> TrainingFaces:
        """The rows of an index or mask array."""
        index = np.flatnonzero(rows) if rows.dtype == bool else rows
        columns = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("images", "points")}
        return TrainingFaces(
            images=self.images.take(index),
            points={k: values[index] for k, values in self.points.items()},
            **{name: values[index] for name, values in columns.items()},
        )

    def picture(self, row: int) -> U8:
        """A picture, decoded: uint8[H,W,3] RGB, or uint8[H,W] where it is grey.

        Raises:
            DataError: It cannot be decoded.
        """
        return decode_image(self.images[row])


def write_table(path: Path, faces: Iterable[Face], made: Mapping[str, Any] | None = None) -> int:
    """Write a training table and give its number of rows.

    Args:
        path: The file; an older one is replaced.
        faces: Its rows; they are taken one by one, and few are in memory at a time.
        made: From what and how it was made, for the footer; it is read after the last row.

    Raises:
        DataError: A row does not hold to the schema, or there is none.
        OutputError: The file cannot be written.
    """
    wanted, rows = schema.training_schema(), 0
    with written_whole(path) as file, _writer(file, wanted) as writer:
        for piece in _pieces(faces):
            batch = pa.RecordBatch.from_pylist([face.row() for face in piece], schema=wanted)
            check_batch(batch, str(path), rows)
            writer.write_batch(batch)
            rows += len(piece)
        if not rows:
            raise DataError(f"no row is left for {path.name}")
        footer = {"table": _TABLE, "version": schema.SCHEMA_VERSION, "vidfer_version": __version__, "made": made or {}}
        writer.add_key_value_metadata({FOOTER_KEY: json.dumps(footer, ensure_ascii=False)})
    return rows


def _writer(file: Any, wanted: pa.Schema) -> pq.ParquetWriter:
    texts = [f.name for f in wanted if pa.types.is_dictionary(f.type)]
    # Pictures are compressed as they are: zstd would take time and give nothing.
    compression = {f.name: "none" if f.name == "image" else "zstd" for f in wanted if not pa.types.is_list(f.type)}
    compression |= {f"{f.name}.list.element": "zstd" for f in wanted if pa.types.is_list(f.type)}
    return pq.ParquetWriter(file, wanted, compression=compression, use_dictionary=texts, write_page_checksum=True)


def _pieces(faces: Iterable[Face]) -> Iterator[list[Face]]:
    piece: list[Face] = []
    size = 0
    for face in faces:
        piece.append(face)
        size += len(face.image)
        if len(piece) >= _PIECE_ROWS or size >= _PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def read_table(paths: Sequence[Path], split: str) -> TrainingFaces:
    """Rows of one split of training tables, in their order; the pictures wait in a temporary file.

    Args:
        paths: Tables that `vidfer train dataset` or `vidfer train label` wrote.
        split: One of `SPLITS`.

    Raises:
        DataError: A file is missing or no training table, or none has such rows.
        OutputError: There is no room for the pictures.
    """
    pieces: list[TrainingFaces] = []
    nothing = Encoded(data=memoryview(b""), start=np.zeros(0, np.int64), stop=np.zeros(0, np.int64))

    def pictures() -> Iterator[bytes]:
        for piece in read_pieces(paths, split):
            yield from piece.images
            pieces.append(replace(piece, images=nothing))

    images = keep_encoded(pictures())
    columns = [f.name for f in fields(TrainingFaces) if f.name not in ("images", "points")]
    return TrainingFaces(
        images=images,
        points={k: _joined_points(pieces, k) for k in POINTS if any(k in piece.points for piece in pieces)},
        **{name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in columns},
    )


def _joined_points(pieces: Sequence[TrainingFaces], count: int) -> F32:
    out = np.full((sum(map(len, pieces)), count, POINTS[count]), np.nan, np.float32)
    start = 0
    for piece in pieces:
        if count in piece.points:
            out[start : start + len(piece)] = piece.points[count]
        start += len(piece)
    return out


def read_pieces(paths: Sequence[Path], split: str) -> Iterator[TrainingFaces]:
    """The same rows, some at a time and with their pictures in memory.

    Raises:
        DataError: A file is missing or no training table, or none has such rows.
    """
    seen: set[str] = set()
    for path in paths:
        for batch in read_batches(path):
            splits = batch["split"].to_numpy(zero_copy_only=False)
            seen |= set(splits.tolist())
            if (mask := splits == split).any():
                yield _as_columns(batch.filter(pa.array(mask)))
    if split not in seen:
        names = ", ".join(map(str, paths)) or "no table"
        raise DataError(f"{names}: no rows of split {split}; there are rows of {', '.join(sorted(seen)) or 'none'}")


def read_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """A training table piece by piece, checked.

    Raises:
        DataError: The file is missing or no training table.
    """
    # What is missing where it must not be is for the check, which says in which row.
    wanted, start = pa.schema([pa.field(f.name, f.type) for f in schema.training_schema()]), 0
    if not path.is_file():
        raise DataError(f"no training table at {path}: make one with vidfer train dataset")
    try:
        with open_parquet(path) as file:
            missing = [name for name in wanted.names if name not in file.schema_arrow.names]
            if missing:
                raise DataError(
                    f"{path} is no training table, it lacks {', '.join(missing)}: make one of it with "
                    f"vidfer train dataset parquet {path} -o TABLE.parquet"
                )
            for batch in file.iter_batches(_READ_ROWS, columns=wanted.names):
                cast = batch.select(wanted.names).cast(wanted)
                check_batch(cast, str(path), start)
                start += len(batch)
                yield cast
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as a training table: {str(error).splitlines()[0]}") from error


def open_parquet(path: Path) -> pq.ParquetFile:
    """A Parquet file of which no more is in memory than what is read at the time.

    As pyarrow opens it of itself, all that was read stays until the file is closed, and a row group is read as one:
    files of others may have no more than one of them.
    """
    return pq.ParquetFile(path, pre_buffer=False, buffer_size=_READ_BYTES)


def _as_columns(batch: pa.RecordBatch) -> TrainingFaces:
    def numbers(*names: str) -> F32:
        return np.stack([_floats(batch[name]) for name in names], 1)

    box = numbers("face_x", "face_y", "face_w", "face_h")
    box[:, 2:] += box[:, :2]
    codes = {name: i for i, name in enumerate(EMOTIONS)}
    found = {True: 1, False: 0, None: -1}
    points = {k: c for k, c in POINTS.items() if batch[f"points{k}"].null_count < len(batch)}
    return TrainingFaces(
        images=_pictures(batch["image"]),
        size_px=np.stack([np.array(batch[name].to_pylist(), np.int64) for name in ("width", "height")], 1),
        set_name=np.array(batch["set"].to_pylist()),
        group=np.array(batch["group"].to_pylist()),
        emotion=np.array([codes.get(name, -1) for name in batch["emotion"].to_pylist()], np.int64),
        votes=matrix(batch["votes"], 8),
        valence_arousal=numbers("valence", "arousal"),
        box_px=box,
        points={k: matrix(batch[f"points{k}"], k * c).reshape(-1, k, c) for k, c in points.items()},
        teacher=matrix(batch["teacher"], 8),
        teacher_va=numbers("teacher_valence", "teacher_arousal"),
        face_found=np.array([found[value] for value in batch["face_found"].to_pylist()], np.int64),
    )


def _pictures(column: pa.BinaryArray) -> Encoded:
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, np.int32)[column.offset :][: len(column) + 1].astype(np.int64)
    return Encoded(data=memoryview(b"" if data is None else data), start=bounds[:-1], stop=bounds[1:])


def matrix(column: pa.ListArray, width: int) -> F32:
    """A list column as f32[N,width]; NaN where it is null."""
    out = np.full((len(column), width), np.nan, np.float32)
    values = column.flatten().to_numpy(zero_copy_only=False)
    out[column.is_valid().to_numpy(zero_copy_only=False)] = values.reshape(-1, width)
    return out


def _floats(column: pa.Array) -> F32:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float32)
