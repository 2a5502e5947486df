"""Training tables are larger than memory: of their pictures, some are in it at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidfer import schema
from vidfer.train.datasets.parquet import read_parquet
from vidfer.train.datasets.samples import Source
from vidfer.train.datasets.table import read_batches

ROWS, PICTURE_BYTES = 24576, 2048


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
