"""The folder that cameras write to: whole pieces only, the oldest go, and nobody else writes there."""

from datetime import UTC, datetime, timedelta

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidfer.errors import OutputError, UsageError
from vidfer.output.archive import Archive, Keep

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def rows(n=3):
    return pa.table({"frame": pa.array(range(n), pa.int64())})


def fill(folder, times, camera="door", video=False):
    with Archive(folder) as archive:
        for time in times:
            table, recording = archive.places(camera, time)
            archive.write(table, [rows(), rows()], {"last": {"utc": time.isoformat()}})
            if video:
                recording.parent.mkdir(parents=True, exist_ok=True)
                recording.write_bytes(bytes(5000))


def names(folder):
    return [str(path.relative_to(folder)) for path in sorted(folder.rglob("part-*"))]


def test_pieces_are_one_hive_data_set_for_pandas_and_duckdb_while_it_is_written(tmp_path):
    fill(tmp_path, [NOON, NOON + timedelta(hours=13)], video=True)
    fill(tmp_path, [NOON], camera="yard")
    with Archive(tmp_path):
        (tmp_path / ".vidfer" / "camera=door.writing").write_bytes(b"half")
        table = pd.read_parquet(tmp_path)
        # As the README has it.
        pieces = f"read_parquet('{tmp_path}/camera=*/*/*.parquet', hive_partitioning=true)"
        counted = duckdb.sql(f"SELECT camera, date, count(*) FROM {pieces} GROUP BY ALL ORDER BY ALL").fetchall()
    assert [(camera, str(date), rows) for camera, date, rows in counted] == [
        ("door", "2026-11-20", 6),
        ("door", "2026-11-21", 6),
        ("yard", "2026-11-20", 6),
    ]
    assert len(table) == 18
    assert set(table["camera"]) == {"door", "yard"}
    assert set(table["date"].astype(str)) == {"2026-11-20", "2026-11-21"}
    assert names(tmp_path) == [
        "_video/camera=door/date=2026-11-20/part-120000.mp4",
        "_video/camera=door/date=2026-11-21/part-010000.mp4",
        "camera=door/date=2026-11-20/part-120000.parquet",
        "camera=door/date=2026-11-21/part-010000.parquet",
        "camera=yard/date=2026-11-20/part-120000.parquet",
    ]


def test_pieces_of_one_second_sort_in_their_order(tmp_path):
    fill(tmp_path, [NOON] * 3)
    assert [name.rpartition("/")[2] for name in names(tmp_path)] == [
        "part-120000.parquet",
        "part-120000_2.parquet",
        "part-120000_3.parquet",
    ]


def test_the_newest_readable_piece_says_where_to_go_on(tmp_path):
    later = NOON + timedelta(days=1)
    fill(tmp_path, [NOON, later])
    with Archive(tmp_path) as archive:
        assert archive.newest("door")["last"]["utc"] == later.isoformat()
        archive.places("door", later)[0].with_name("part-235959.parquet").write_bytes(b"torn")
        assert archive.newest("door")["last"]["utc"] == later.isoformat()
        assert archive.newest("yard") is None


def test_what_a_kill_left_half_written_is_removed(tmp_path):
    left = tmp_path / ".vidfer" / "camera=door.writing.part"
    left.parent.mkdir()
    left.write_bytes(b"half")
    with Archive(tmp_path):
        assert not left.exists()


def test_only_one_writes(tmp_path):
    with Archive(tmp_path), pytest.raises(UsageError, match="another vidfer writes to"):
        Archive(tmp_path).__enter__()
    with Archive(tmp_path):
        assert names(tmp_path) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        Archive(tmp_path / "file")


def test_a_folder_that_was_removed_is_made_again(tmp_path):
    with Archive(tmp_path / "out") as archive:
        table, _ = archive.places("door", NOON)
        archive.write(table, [rows()], {})
        table.unlink()
        table.parent.rmdir()
        archive.write(table, [rows()], {})
        assert table.exists()


@settings(max_examples=15)
@given(st.lists(st.integers(0, 200), min_size=1, max_size=12, unique=True), st.integers(0, 220))
def test_older_pieces_go(tmp_path_factory, hours, limit):
    folder = tmp_path_factory.mktemp("out")
    now = NOON + timedelta(hours=200)
    fill(folder, [NOON + timedelta(hours=hour) for hour in hours])
    with Archive(folder) as archive:
        removed = archive.retain(Keep(days=limit / 24), now)
    kept = [hour for hour in hours if 200 - hour <= limit]
    assert removed == len(hours) - len(kept)
    assert len(names(folder)) == len(kept)
    assert len(list(folder.glob("camera=*/date=*"))) == len({(NOON + timedelta(hours=h)).date() for h in kept})


@pytest.mark.parametrize("count", [0, 1, 3, 10])
def test_the_oldest_go_beyond_a_size_whatever_their_camera(tmp_path, count):
    fill(tmp_path, [NOON + timedelta(minutes=2 * i) for i in range(4)])
    fill(tmp_path, [NOON + timedelta(minutes=2 * i + 1) for i in range(4)], camera="yard")
    size = next(tmp_path.rglob("part-*")).stat().st_size
    with Archive(tmp_path) as archive:
        archive.retain(Keep(size_bytes=(count + 0.5) * size), NOON)
    times = sorted(name.rpartition("/")[2] for name in names(tmp_path))
    assert times == [f"part-120{minute}00.parquet" for minute in range(8)][max(0, 8 - count) :]


def test_what_is_being_written_stays(tmp_path):
    fill(tmp_path, [NOON, NOON + timedelta(minutes=1)], video=True)
    busy = tmp_path / "_video/camera=door/date=2026-11-20/part-120000.mp4"
    with Archive(tmp_path) as archive:
        assert archive.retain(Keep(size_bytes=0), NOON, [busy]) == 3
    assert names(tmp_path) == ["_video/camera=door/date=2026-11-20/part-120000.mp4"]


@pytest.mark.parametrize(
    "foreign",
    [
        "date=2026-11-20/part-00000-4f2a.c000.snappy",
        "date=2026-11-20/part-120000_old",
        "date=2026-11-20/part-120000 (copy)",
        "date=2026-11-20/part-126199",
        "date=2026-02-31/part-120000",
        "date=old/part-120000",
    ],
)
def test_files_of_others_are_neither_read_nor_removed(tmp_path, foreign):
    fill(tmp_path, [NOON])
    own = names(tmp_path)
    path = tmp_path / "camera=door" / f"{foreign}.parquet"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"of others")
    with Archive(tmp_path) as archive:
        assert archive.newest("door")["last"]["utc"] == NOON.isoformat()
        assert archive.retain(Keep(days=30), NOON) == 0
        assert archive.retain(Keep(size_bytes=0), NOON) == len(own)
    assert names(tmp_path) == [str(path.relative_to(tmp_path))]
