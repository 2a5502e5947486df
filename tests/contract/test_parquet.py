"""What is on the disk: encodings, nulls, row groups, footer; and that a file is there whole or not at all."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from columns import column_array
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vidfer.errors import InputError, OutputError
from vidfer.output import parquet
from vidfer.output.parquet import TableWriter, batches, open_table, read_footer
from vidfer.output.parts import PartWriter, read_parts
from vidfer.schema import LandmarkCount, observation_schema, tracks_schema


def made_up(schema: pa.Schema, rows: int, seed: int = 0, empty: int = 5) -> pa.Table:
    """A table of made-up values in which every `empty`-th row has no face."""
    random = np.random.default_rng(seed)
    no_face = np.arange(rows) % empty == 0
    columns = []
    for field in schema:
        valid = ~no_face if field.nullable else None
        if pa.types.is_fixed_size_list(field.type):
            values = random.normal(300, 50, (rows, field.type.list_size)).astype(np.float32)
        elif pa.types.is_dictionary(field.type):
            values = random.choice(np.array(["happiness", "fear"], object), rows)
        elif pa.types.is_timestamp(field.type):
            values = np.datetime64("2026-11-01T00:00:00", "us") + np.arange(rows).astype("timedelta64[us]")
        elif pa.types.is_floating(field.type):
            values = random.normal(size=rows).astype(np.float32)
        else:
            values = np.arange(rows) % 1000
        columns.append(column_array(values, field.type, valid))
    return pa.table(columns, schema=schema)


def written(path: Path, table: pa.Table, **metadata: object) -> Path:
    with TableWriter(path, table.schema) as writer:
        writer.write(table)
        if metadata:
            writer.set_metadata(metadata)
    return path


@pytest.mark.parametrize("landmarks", [None, 68, 478])
def test_round_trip(tmp_path: Path, landmarks: LandmarkCount | None) -> None:
    table = made_up(observation_schema(landmarks, identity=True), 57)
    back = pq.read_table(written(tmp_path / "a.parquet", table))
    stored = table.cast(parquet.stored_schema(table.schema))
    assert back.schema.equals(stored.schema)
    assert back.equals(stored)


def test_lists_are_stored_as_any_pyarrow_reads_them(tmp_path: Path) -> None:
    lists = pa.field("a", pa.list_(pa.float32(), 3)), pa.field("b", pa.list_(pa.float16(), 2))
    schema = pa.schema([*lists, pa.field("c", pa.int64())])
    valid = [True, False, True, False]
    values = [column_array(np.ones((4, field.type.list_size)), field.type, valid) for field in lists]
    table = pa.table([*values, pa.array(range(4))], schema=schema)
    path = PartWriter(tmp_path).write_part(table)
    assert next(read_parts(tmp_path)).equals(table)
    group = pq.read_metadata(path).row_group(0)
    encodings = [group.column(i).encodings for i in range(3)]
    assert ["BYTE_STREAM_SPLIT" in found for found in encodings] == [True, True, False]
    kinds = {str(field.type) for field in pq.read_schema(path)}
    assert {kind.replace("element", "item") for kind in kinds} == {
        "list<item: float>",
        "list<item: halffloat>",
        "int64",
    }


def test_encodings_are_applied_on_every_column(tmp_path: Path) -> None:
    schema = observation_schema(478, identity=True)
    group = pq.read_metadata(written(tmp_path / "a.parquet", made_up(schema, 500))).row_group(0)
    chunks = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert {chunk.compression for chunk in chunks.values()} == {"ZSTD"}
    for field in schema:
        if pa.types.is_fixed_size_list(field.type):
            found = chunks[f"{field.name}.list.element"].encodings
            assert "BYTE_STREAM_SPLIT" in found, field.name
            assert "RLE_DICTIONARY" not in found, field.name
        elif pa.types.is_floating(field.type):
            assert "BYTE_STREAM_SPLIT" in chunks[field.name].encodings, field.name
        elif pa.types.is_dictionary(field.type):
            assert "RLE_DICTIONARY" in chunks[field.name].encodings, field.name
        elif pa.types.is_integer(field.type):
            assert "DELTA_BINARY_PACKED" in chunks[field.name].encodings, field.name


def test_encodings_make_the_file_smaller_than_the_default(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    points = np.cumsum(random.normal(0, 0.3, (2000, 136)), axis=0).astype(np.float32) + 300
    table = made_up(observation_schema(68), 2000)
    index = table.schema.get_field_index("landmarks")
    kind = table.schema.field(index).type
    table = table.set_column(index, table.schema.field(index), column_array(points, kind))
    pq.write_table(table, tmp_path / "default.parquet", compression="zstd")
    ours = written(tmp_path / "ours.parquet", table).stat().st_size
    assert ours < 0.7 * (tmp_path / "default.parquet").stat().st_size


def test_row_without_a_face_is_null_everywhere_and_never_nan(tmp_path: Path) -> None:
    back = pq.read_table(written(tmp_path / "a.parquet", made_up(observation_schema(68), 20)))
    first = back.schema.get_field_index("face_id")
    for name in back.column_names[first:]:
        assert back[name].null_count == 4, name
        assert back[name][0].as_py() is None, name
    frame = back.to_pandas(types_mapper=pd_arrow)
    assert frame["valence"].isna().sum() == 4


def pd_arrow(kind: pa.DataType) -> object:
    import pandas as pd

    return pd.ArrowDtype(kind)


@settings(deadline=None, max_examples=50)
@given(hnp.arrays(np.float32, st.integers(0, 30), elements=st.floats(width=32)), st.booleans())
def test_nan_becomes_null(values: np.ndarray, mask: bool) -> None:
    valid = np.arange(len(values)) % 2 == 0 if mask else None
    found = column_array(values, pa.float32(), valid).to_pylist()
    for i, value in enumerate(values):
        missing = np.isnan(value) or (mask and i % 2 == 1)
        assert found[i] is None if missing else found[i] == value


def test_list_with_one_nan_is_null_as_a_whole() -> None:
    points = np.ones((3, 4), np.float32)
    points[1, 2] = np.nan
    assert column_array(points, pa.list_(pa.float32(), 4)).to_pylist() == [[1.0] * 4, None, [1.0] * 4]


def test_list_of_a_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[R,4\], got \[3, 5\]"):
        column_array(np.ones((3, 5)), pa.list_(pa.float32(), 4))


def test_columns_from_other_kinds_of_values() -> None:
    text = tracks_schema().field("emotion").type
    assert column_array(np.array(["fear", None], object), text).to_pylist() == ["fear", None]
    assert column_array(["fear", "anger"], text, [False, True]).to_pylist() == [None, "anger"]
    assert column_array(np.array([], object), text).type == text
    assert column_array([1.0, np.nan], pa.int32()).to_pylist() == [1, None]
    assert column_array(np.array([1, 2]), pa.int16(), [True, False]).to_pylist() == [1, None]
    when = np.array(["2026-11-01", "NaT"], "datetime64[us]")
    assert column_array(when, pa.timestamp("us", tz="UTC")).to_pylist() == [datetime(2026, 11, 1, tzinfo=UTC), None]


def test_nan_is_refused_by_the_writer(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("a", pa.float32()), pa.field("b", pa.list_(pa.float32(), 2))])
    bad = {"a": [[np.nan], [[0.0, 1.0]]], "b": [[0.0], [[0.0, np.nan]]]}
    for name, values in bad.items():
        with pytest.raises(ValueError, match=f"column {name} holds a NaN"):
            written(tmp_path / "x", pa.table(values, schema=schema))
    assert not list(tmp_path.iterdir())


def test_other_columns_are_refused_by_the_writer(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("a", pa.int32()), pa.field("b", pa.int32())])
    table = pa.table({"a": pa.array([1], pa.int32()), "c": pa.array([1], pa.int32())})
    with (
        pytest.raises(ValueError, match=r"missing \['b: int32'\], unknown \['c: int32'\]"),
        TableWriter(tmp_path / "x", schema) as writer,
    ):
        writer.write(table)


def test_many_small_pieces_make_few_row_groups_of_limited_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", 1000)
    table = made_up(observation_schema(None), 100)
    with TableWriter(tmp_path / "a.parquet", table.schema) as writer:
        for _ in range(35):
            writer.write(table.to_batches()[0])
    file = pq.read_metadata(tmp_path / "a.parquet")
    rows = [file.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert rows == [1000, 1000, 1000, 500]


def test_row_groups_are_limited_in_bytes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 1 << 20)
    file = pq.read_metadata(written(tmp_path / "a.parquet", made_up(observation_schema(478), 1000)))
    assert max(file.row_group(i).num_rows for i in range(file.num_row_groups)) <= (1 << 20) / (3 * 478 * 4)
    assert file.num_rows == 1000


def test_one_big_table_is_cut_into_row_groups(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("frame", pa.int64())])
    file = pq.read_metadata(written(tmp_path / "a.parquet", pa.table([np.arange(150_000)], schema=schema)))
    assert [file.row_group(i).num_rows for i in range(file.num_row_groups)] == [65_536, 65_536, 18_928]


def test_footer(tmp_path: Path) -> None:
    table = made_up(tracks_schema(), 3)
    path = written(tmp_path / "a.parquet", table, source={"name": "für.mp4"}, models=[1, None])
    assert read_footer(path) == {"source": {"name": "für.mp4"}, "models": [1, None]}
    assert pq.read_schema(path).equals(table.schema)


def test_table_without_rows(tmp_path: Path) -> None:
    with TableWriter(tmp_path / "a.parquet", tracks_schema()) as writer:
        writer.set_metadata({"tracks": 0})
    assert pq.read_table(tmp_path / "a.parquet").num_rows == 0
    assert read_footer(tmp_path / "a.parquet") == {"tracks": 0}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failure_leaves_nothing_behind_and_keeps_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    old = written(tmp_path / "a.parquet", made_up(tracks_schema(), 3))
    before = old.read_bytes()
    with pytest.raises(error), TableWriter(old, tracks_schema()) as writer:  # noqa: PT012 - what is left by a failure
        writer.write(made_up(tracks_schema(), 5))
        assert [path.name for path in tmp_path.glob("*.part")] == ["a.parquet.part"]
        raise error
    assert old.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*a\.parquet: No such file or directory; .*folder$") as caught:
        written(tmp_path / "nowhere" / "a.parquet", made_up(tracks_schema(), 1))
    assert "\n" not in str(caught.value)


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OutputError, match="No space left on device; free the disk"):
        written(tmp_path / "a.parquet", made_up(tracks_schema(), 1))
    assert not list(tmp_path.iterdir())


def test_unreadable_tables_are_input_errors_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no table")
    whole = written(tmp_path / "whole.parquet", made_up(tracks_schema(), 10)).read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    for name, reason in (("text", "not a complete"), ("cut", "not a complete"), ("missing", "does not exist")):
        with pytest.raises(InputError, match=reason) as caught, open_table(tmp_path / f"{name}.parquet"):
            pass
        assert "\n" not in str(caught.value)


def test_footer_of_a_foreign_table(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="no key `vidfer`"):
        read_footer(tmp_path / "a.parquet")


def test_reading_in_pieces_keeps_no_more_than_a_row_group(tmp_path: Path) -> None:
    """One iterator over the whole file does: 0.5 kB for each row of it."""
    schema = observation_schema(68)
    with TableWriter(tmp_path / "a.parquet", schema) as writer:
        for seed in range(30):
            writer.write(made_up(schema, 6000, seed))
    with open_table(tmp_path / "a.parquet") as file:
        assert file.num_row_groups >= 20
        before, rows, most = pa.total_allocated_bytes(), 0, 0
        for batch in batches(file, 500, ["frame", "face_id", "landmarks"]):
            rows += len(batch)
            most = max(most, pa.total_allocated_bytes() - before)
    assert rows == 180_000
    assert most < 3 * parquet.ROW_GROUP_BYTES
