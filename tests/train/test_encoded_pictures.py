"""Pictures of training tables wait in a mapped file: they come back as they were, and memory does not hold them all."""

from __future__ import annotations

import mmap
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidfer import schema
from vidfer.errors import DataError, OutputError
from vidfer.train.datasets.encoded import keep_encoded
from vidfer.train.datasets.parquet import read_parquet
from vidfer.train.datasets.samples import Source
from vidfer.train.datasets.table import read_batches, read_table

ROWS, PICTURE_BYTES = 24576, 2048


@given(st.lists(st.binary(max_size=40)), st.data())
def test_what_is_put_in_comes_back_in_any_order(pictures, data):
    kept = keep_encoded(iter(pictures))
    assert len(kept) == len(pictures)
    assert list(kept) == pictures
    order = data.draw(st.lists(st.integers(0, len(pictures) - 1)) if pictures else st.just([]))
    assert list(kept.take(np.array(order, np.int64))) == [pictures[k] for k in order] == [kept[k] for k in order]
    with pytest.raises(IndexError):
        kept[len(pictures)]


def test_large_and_empty_pictures_come_back():
    sizes = [0, 1, 300_000, 0, 8191, 8192, 8193, 0]
    pictures = [np.random.default_rng(k).bytes(size) for k, size in enumerate(sizes)]
    assert list(keep_encoded(pictures)) == pictures


@pytest.fixture(params=["one row group", "many row groups"])
def heavy(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A table of 50 MB of pictures, as others may have written it."""
    rng = np.random.default_rng(0)
    values = {
        "image": [rng.bytes(PICTURE_BYTES) for _ in range(ROWS)],
        "width": [1] * ROWS,
        "height": [1] * ROWS,
        "set": ["made"] * ROWS,
        "split": ["train"] * ROWS,
        "group": [str(k) for k in range(ROWS)],
    }
    wanted = schema.training_schema()
    columns = [pa.array(values[f.name], f.type) if f.name in values else pa.nulls(ROWS, f.type) for f in wanted]
    size = ROWS if request.param == "one row group" else ROWS // 8
    pq.write_table(pa.table(columns, schema=wanted), tmp_path / "t.parquet", row_group_size=size, compression="none")
    return tmp_path / "t.parquet"


@pytest.mark.parametrize(
    "read", [read_batches, lambda path: read_parquet([path], Source())],
    ids=["to train", "to label"],
)  # fmt: skip
def test_reading_holds_some_pictures_at_a_time(heavy, read):
    before, most, pieces = pa.total_allocated_bytes(), 0, 0
    for _ in read(heavy):
        most, pieces = max(most, pa.total_allocated_bytes() - before), pieces + 1
    assert pieces >= 8
    assert most < ROWS * PICTURE_BYTES / 2  # all of them, if the reader keeps what it read


def test_a_table_that_was_read_holds_a_mapped_file_without_a_name(heavy, tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    faces = read_table([heavy, heavy], "train")
    assert isinstance(faces.images.data.obj, mmap.mmap)
    assert len(faces.images.data) == 2 * ROWS * PICTURE_BYTES
    few = faces.take(np.array([ROWS + 5, 5]))
    assert few.images.data is faces.images.data
    assert few.images[0] == few.images[1] == faces.images[5]
    assert list(folder.iterdir()) == []


def test_pictures_of_other_splits_are_not_copied(tmp_path):
    wanted = schema.training_schema()
    rows = [
        {"image": bytes([k]) * 10, "width": 1, "height": 1, "set": "s", "split": split, "group": "g"}
        for k, split in enumerate(["val", "train", "test", "train"])
    ]
    pq.write_table(pa.Table.from_pylist(rows, wanted), tmp_path / "t.parquet")
    images = read_table([tmp_path / "t.parquet"], "train").images
    assert list(images) == [b"\1" * 10, b"\3" * 10]
    assert len(images.data) == 20


def test_a_full_disk_is_one_line_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", partial(Path("/dev/full").open, "w+b"))
    with pytest.raises(OutputError) as caught:
        keep_encoded(bytes(1000) for _ in range(1000))
    assert "No space left on device; set TMPDIR to a folder" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_place_that_is_no_folder_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(OutputError, match="No such file or directory; set TMPDIR"):
        keep_encoded([b"x"])


def test_what_is_wrong_with_a_table_is_said_as_it_is(heavy, tmp_path):
    (tmp_path / "junk.parquet").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"junk\.parquet cannot be read"):
        read_table([heavy, tmp_path / "junk.parquet"], "train")
