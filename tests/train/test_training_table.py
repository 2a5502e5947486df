"""The training table: what is written comes back, and what training could not use is refused."""

from __future__ import annotations

import json
from unittest import mock

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidfer import schema
from vidfer.errors import DataError
from vidfer.train.datasets import table
from vidfer.train.datasets.rows import POINTS, SPLITS, Face, Labels
from vidfer.train.datasets.table import read_table, write_table
from vidfer.types import EMOTIONS


def png(width=12, height=10, seed=0):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes(), image


def face(split="train", group="a", **labels):
    return Face(
        image=png()[0], size=(12, 10), set_name="made", split=split, group=group, labels=Labels(**labels)
    )  # fmt: skip


shares = st.lists(st.integers(1, 9), min_size=8, max_size=8).map(lambda v: np.array(v, np.float32) / np.float32(sum(v)))
unit = st.tuples(st.floats(-1, 1, width=32), st.floats(-1, 1, width=32))
boxes = st.tuples(*[st.floats(-50, 50, width=32)] * 2, *[st.floats(0, 50, width=32)] * 2)
point_sets = st.dictionaries(st.sampled_from(list(POINTS)), st.integers(0, 99), max_size=3).map(
    lambda seeds: {
        k: np.random.default_rng(seed).uniform(0, 12, (k, POINTS[k])).astype(np.float32) for k, seed in seeds.items()
    }
)
some_labels = st.builds(
    Labels,
    emotion=st.none() | st.sampled_from(EMOTIONS),
    votes=st.none() | shares,
    valence_arousal=st.none() | unit,
    box=st.none() | boxes,
    points=point_sets,
    teacher=st.none() | shares,
    teacher_va=st.none() | unit,
    face_found=st.none() | st.booleans(),
)


@given(st.lists(some_labels, min_size=1, max_size=5), st.integers(1, 5))
def test_what_is_written_comes_back(tmp_path_factory, rows, at_once):
    path = tmp_path_factory.mktemp("table") / "t.parquet"
    assert write_table(path, [face(group=str(i), **fields_of(row)) for i, row in enumerate(rows)]) == len(rows)
    with mock.patch.object(table, "_READ_ROWS", at_once):
        back = read_table([path], "train")
    assert len(back) == len(rows)
    assert back.group.tolist() == [str(i) for i in range(len(rows))]
    assert set(back.points) == {k for row in rows for k in row.points}
    for i, row in enumerate(rows):
        assert back.emotion[i] == (-1 if row.emotion is None else EMOTIONS.index(row.emotion))
        same(back.votes[i], row.votes)
        same(back.teacher[i], row.teacher)
        same(back.valence_arousal[i], row.valence_arousal)
        same(back.teacher_va[i], row.teacher_va)
        box = row.box and np.array([*row.box[:2], *np.add(row.box[:2], row.box[2:], dtype=np.float32)])
        same(back.box_px[i], box)
        assert back.face_found[i] == {None: -1, True: 1, False: 0}[row.face_found]
        for k, values in back.points.items():
            same(values[i], row.points.get(k))


def fields_of(row):
    return {name: getattr(row, name) for name in Labels.__slots__}


def same(got, wanted):
    if wanted is None:
        assert np.isnan(got).all()
    else:
        np.testing.assert_array_equal(got, np.asarray(wanted, np.float32))


def test_pictures_come_back_as_they_were_and_only_of_the_split(tmp_path):
    faces = [face("val", "a"), face("train", "b"), face("test", "c"), face("train", "d")]
    write_table(tmp_path / "t.parquet", faces, {"format": "made"})
    back = read_table([tmp_path / "t.parquet"] * 2, "train")
    assert back.group.tolist() == ["b", "d", "b", "d"]
    np.testing.assert_array_equal(back.picture(1), png()[1])
    assert back.size_px.tolist() == [[12, 10]] * 4
    few = back.take(np.array([3, 0]))
    assert few.group.tolist() == ["d", "b"]
    assert len(few.images) == len(few) == 2
    assert len(back.take(back.group == "b")) == 2
    footer = json.loads(pq.read_metadata(tmp_path / "t.parquet").metadata[b"vidfer"])
    assert (footer["table"], footer["version"], footer["made"]) == ("training_faces", 1, {"format": "made"})


def test_a_single_missing_point_is_nan_and_its_row_is_kept(tmp_path):
    points = np.ones((15, 2), np.float32)
    points[3] = np.nan
    write_table(tmp_path / "t.parquet", [face(points={15: points})])
    np.testing.assert_array_equal(read_table([tmp_path / "t.parquet"], "train").points[15][0], points)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"emotion": "joy"}, "emotion must be one of neutral, .*, got 'joy'"),
        ({"valence_arousal": (1.5, 0.0)}, r"valence must be a number in \[-1, 1\], got 1.5"),
        ({"valence_arousal": (0.0, float("nan"))}, "arousal must be a number"),
        ({"box": (0.0, 0.0, -1.0, 5.0)}, r"face_w must be a number in \[0, inf\]"),
        ({"votes": np.full(8, 0.2, np.float32)}, "votes must be shares that sum to 1"),
        ({"teacher": np.full(8, np.nan, np.float32)}, "teacher must be shares"),
        ({"votes": np.full(7, 1 / 7, np.float32)}, "votes must have 8 values, got 7 values"),
        ({"points": {5: np.ones((4, 2), np.float32)}}, "points5 must have 10 values, got 8 values"),
    ],
)
def test_rows_that_training_cannot_use_are_refused_and_leave_no_file(tmp_path, labels, message):
    with pytest.raises(DataError, match=f"row 1: {message}"):
        write_table(tmp_path / "t.parquet", [face(), face(**labels)])
    assert list(tmp_path.iterdir()) == []


def test_an_empty_table_is_refused(tmp_path):
    with pytest.raises(DataError, match="no row is left"):
        write_table(tmp_path / "t.parquet", [])
    assert list(tmp_path.iterdir()) == []


def changed(tmp_path, change):
    write_table(tmp_path / "t.parquet", [face(), face()])
    changed = change(pq.read_table(tmp_path / "t.parquet"))
    pq.write_table(changed, tmp_path / "changed.parquet")
    return tmp_path / "changed.parquet"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["votes", "points5"]), "lacks votes, points5: make one of it with vidfer train"),
        (lambda t: t.set_column(2, "height", pa.array(["a", "b"])), "cannot be read as a training table: .*parse"),
        (lambda t: t.set_column(8, "valence", pa.array([0.5, 0.5])), "valence must be there with arousal"),
        (lambda t: t.set_column(3, "set", pa.array([None, "x"])), "row 0: set is missing"),
    ],
)
def test_foreign_tables_are_refused_with_what_is_wrong(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        read_table([changed(tmp_path, change)], "train")


def test_other_libraries_types_are_taken(tmp_path):
    def as_polars_writes(t):
        kinds = {"set": pa.large_string(), "emotion": pa.large_string(), "width": pa.int64(), "valence": pa.float64()}
        return t.cast(pa.schema([pa.field(f.name, kinds.get(f.name, f.type)) for f in t.schema]))

    back = read_table([changed(tmp_path, as_polars_writes)], "train")
    assert back.set_name.tolist() == ["made", "made"]


def test_missing_files_splits_and_damaged_files_are_one_line(tmp_path):
    with pytest.raises(DataError, match=r"no training table at .*nowhere"):
        read_table([tmp_path / "nowhere.parquet"], "train")
    (tmp_path / "junk.parquet").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"junk\.parquet"):
        read_table([tmp_path / "junk.parquet"], "train")
    write_table(tmp_path / "t.parquet", [face("val")])
    with pytest.raises(DataError, match="no rows of split train; there are rows of val"):
        read_table([tmp_path / "t.parquet"], "train")


def test_a_picture_that_cannot_be_decoded_is_an_error_of_the_data(tmp_path):
    write_table(tmp_path / "t.parquet", [Face(image=b"x", size=(1, 1), set_name="s", split="train", group="g")])
    with pytest.raises(DataError, match="cannot be decoded"):
        read_table([tmp_path / "t.parquet"], "train").picture(0)


def test_pictures_are_written_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "_PIECE_BYTES", 1000)
    write_table(tmp_path / "t.parquet", (face(group=str(i)) for i in range(40)))
    assert pq.read_metadata(tmp_path / "t.parquet").num_row_groups > 5
    assert len(read_table([tmp_path / "t.parquet"], "train")) == 40


def test_the_schema_has_the_points_of_the_program():
    lengths = schema.list_lengths("training_faces")
    assert lengths == {f"points{k}": k * c for k, c in POINTS.items()} | {"votes": 8, "teacher": 8}
    values = {column.name: column.values for column in schema.columns("training_faces")}
    assert (values["emotion"], values["split"]) == (EMOTIONS, SPLITS)
