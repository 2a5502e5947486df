"""`vidfer export`: which tables, where to, which rows and columns; what is refused, and what is left behind."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from observed import face, nobody, predicted, write_observed

import vidfer
from vidfer.cli.app import run
from vidfer.cli.export import FORMAT_NAMES
from vidfer.output.export.formats import FORMATS

CLIP = Path(__file__).resolve().parents[2] / "examples" / "two_faces.mp4"
ROWS = [
    face(0, 0, "happiness", confidence=0.9),
    face(0, 1, "fear", confidence=0.5),
    predicted(1, 0),
    nobody(2),
    face(3, 2, "fear", confidence=0.7, wallclock=pd.Timestamp("2026-11-21T14:00:00Z")),
]


@pytest.fixture(scope="module")
def processed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processed")
    vidfer.process(CLIP, output_dir=folder, render=False, end="0.6")
    return folder


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_observed(tmp_path / "t.parquet", ROWS)


def failed(args: list[object], code: int, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["export", *map(str, args)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    return err


def kept(table: Path, *options: str) -> list[tuple[int, str]]:
    """Frame and face_id of the rows that are kept."""
    out = table.with_name("kept.csv")
    assert run(["export", str(table), "--to", "csv", "-o", str(out), "--overwrite", "-q", *options]) == 0
    return [(int(row["frame"]), row["face_id"]) for row in csv.DictReader(io.StringIO(out.read_text()))]


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_formats_are_those_of_the_library() -> None:
    assert tuple(FORMATS) == FORMAT_NAMES


@pytest.mark.parametrize("to", FORMAT_NAMES)
def test_a_real_table_in_every_format(processed: Path, tmp_path: Path, to: str, capsys: Any) -> None:
    shutil.copy(processed / "two_faces.parquet", tmp_path)
    assert run(["export", str(tmp_path / "two_faces.parquet"), "--to", to]) == 0
    out = tmp_path / f"two_faces{FORMATS[to].suffix}"
    rows = pq.read_metadata(tmp_path / "two_faces.parquet").num_rows
    assert capsys.readouterr().out == f"{out}: {rows} rows\n"
    assert out.stat().st_size > 20


def test_duckdb_pandas_and_polars_read_what_process_writes(processed: Path) -> None:
    path = processed / "two_faces.parquet"
    wanted = pq.read_table(path)
    rows = f"read_parquet('{path}')"
    faces, frames, mean = duckdb.sql(
        f"select count(face_id), count(distinct frame), avg(valence_smooth) from {rows}"
    ).fetchall()[0]
    assert (faces, frames) == (wanted.num_rows, len(set(wanted["frame"].to_pylist())))
    shown = duckdb.sql(f"select emotion, landmarks[136] from {rows} order by frame, face_id limit 1").fetchall()[0]
    assert shown == (wanted["emotion"][0].as_py(), wanted["landmarks"][0].as_py()[135])
    for read in (pd.read_parquet(path, dtype_backend="pyarrow"), pl.read_parquet(path)):
        assert list(read.columns) == wanted.column_names
        assert read["valence_smooth"].mean() == pytest.approx(mean)
        assert read["emotion"].to_list() == wanted["emotion"].to_pylist()
        assert list(read["landmarks"][0]) == wanted["landmarks"][0].as_py()


def test_tracks_go_out_as_rows_only(processed: Path, tmp_path: Path, capsys: Any) -> None:
    tracks = processed / "two_faces.tracks.parquet"
    out = tmp_path / "tracks.csv"
    assert run(["export", str(tracks), "--to", "csv", "-o", str(out), "-q"]) == 0
    assert pd.read_csv(out)["face_id"].tolist() == [0, 1]
    assert "one row per track" in failed([tracks, "--to", "mot", "-o", tmp_path / "t.txt"], 3, capsys)


@pytest.mark.parametrize(
    ("conditions", "wanted"),
    [
        (["face_id=0"], [(0, "0"), (1, "0")]),
        (["face_id==0", "frame>0"], [(1, "0")]),
        (["face_id=0", "face_id=2"], [(0, "0"), (1, "0"), (3, "2")]),
        (["face_id!=0"], [(0, "1"), (3, "2")]),
        (["face_id=null"], [(2, "")]),
        (["emotion!=null"], [(0, "0"), (0, "1"), (3, "2")]),
        (["emotion=fear", "confidence>=0.7"], [(3, "2")]),
        (["confidence<0.7"], [(0, "1")]),
        (["confidence<=0.7", "confidence>0.5"], [(3, "2")]),
        ([" timestamp >= 0.04 "], [(1, "0"), (2, ""), (3, "2")]),
        (["wallclock>=2026-11-21T14:00:00Z"], [(3, "2")]),
        (["wallclock>2026-11-21T14:00:00Z"], []),
        (["face_status=predicted"], [(1, "0")]),
    ],
)
def test_where_keeps_rows(table: Path, conditions: list[str], wanted: list[tuple[int, str]]) -> None:
    assert kept(table, *(part for text in conditions for part in ("--where", text))) == wanted


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("face_id", "allowed is COLUMN and one of = != < <= > >= and a value"),
        ("face_id=", "allowed is COLUMN and one of"),
        ("face=0", "the table has no column face; did you mean face_id"),
        ("emotoin=fear", "did you mean emotion"),
        ("xyzzy=0", "`vidfer schema` names all columns"),
        ("face_id=zero", "got zero, allowed is a whole number (face_id is int32), or null"),
        ("face_id=1.5", "allowed is a whole number"),
        ("face_id=99999999999", "allowed is a whole number"),
        ("confidence>=high", "got high, allowed is a number"),
        ("confidence=nan", "got nan, allowed is a number"),
        ("emotion=joy", "allowed are neutral, happiness"),
        ("emotion<fear", "emotion is text, which is compared with = and != only"),
        ("face_id<null", "null is compared with = and != only"),
        ("landmarks=1", "landmarks is a list"),
        ("wallclock>yesterday", "allowed is a time in UTC"),
    ],
)
def test_where_that_does_not_fit_is_refused(table: Path, condition: str, message: str, capsys: Any) -> None:
    before = names(table.parent)
    assert message in failed([table, "--to", "csv", "--where", condition], 2, capsys)
    assert names(table.parent) == before


def test_columns_in_their_order(table: Path, tmp_path: Path) -> None:
    def header(*options: str) -> list[str]:
        out = tmp_path / "out.csv"
        assert run(["export", str(table), "--to", "csv", "-o", str(out), "--overwrite", "-q", *options]) == 0
        return out.read_text().splitlines()[0].split(",")

    assert header("--columns", "face_id,frame", "--columns", "frame, valence") == ["face_id", "frame", "valence"]
    assert header("--columns", "face_*")[:3] == ["face_id", "face_status", "face_x"]
    assert header("--columns", "frame,landmarks", "--wide") == [
        "frame", *(f"x_{i}" for i in range(68)), *(f"y_{i}" for i in range(68))
    ]  # fmt: skip
    assert header("--columns", "y_67,x_0", "--wide") == ["y_67", "x_0"]
    # A condition may name a column that is not written.
    assert header("--columns", "frame", "--where", "face_id=0") == ["frame"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "csv", "--columns", "valenze"], "--columns: the table has no column valenze; did you mean valence"),
        (["--to", "csv", "--columns", "x_0"], "the table has no column x_0"),
        (["--to", "csv", "--columns", "gaze_*"], "the table has no column gaze_*"),
        (
            ["--to", "mot", "--columns", "frame"],
            "--columns: mot has columns of its own, only csv, jsonl, arrow take it",
        ),
        (["--to", "pyfeat", "--wide"], "--wide: pyfeat has columns of its own"),
        (["--to", "arrow", "-o", "-"], "-o -: arrow is no text"),
        (["--to", "xlsx"], "xlsx"),
    ],
)
def test_options_that_do_not_fit_are_refused(table: Path, options: list[str], message: str, capsys: Any) -> None:
    assert message in failed([table, *options], 2, capsys)
    assert names(table.parent) == ["t.parquet"]


def test_wide_needs_landmarks(tmp_path: Path, capsys: Any) -> None:
    table = write_observed(tmp_path / "t.parquet", ROWS, None)
    assert "has no landmarks to spread" in failed([table, "--to", "csv", "--wide"], 2, capsys)


def test_an_existing_file_is_replaced_only_on_demand(table: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "t.csv"
    out.write_text("mine")
    assert f"{out} is there already: choose --overwrite" in failed([table, "--to", "csv"], 2, capsys)
    assert out.read_text() == "mine"
    assert run(["export", str(table), "--to", "csv", "--overwrite"]) == 0
    assert len(out.read_text().splitlines()) == 1 + len(ROWS)
    capsys.readouterr()
    error = failed([table, "--to", "csv", "-o", table, "--overwrite"], 2, capsys)
    assert "is the table itself" in error


def test_standard_output_is_data_alone(table: Path) -> None:
    command = [sys.executable, "-m", "vidfer", "export", str(table), "--to", "jsonl", "-o", "-", "--where", "face_id=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [json.loads(line)["face_id"] for line in done.stdout.splitlines()] == [1]
    assert done.stderr == ""


def test_folders_and_several_files(tmp_path: Path, capsys: Any) -> None:
    results = tmp_path / "results"
    for name in ("a/v", "b/v", "b/w.x"):
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        write_observed(results / f"{name}.parquet", ROWS)
    pd.DataFrame({"x": [1]}).to_parquet(results / "of_somebody_else.parquet")
    (results / ".v.vidfer").mkdir()
    write_observed(results / ".v.vidfer" / "part.parquet", ROWS)
    out = tmp_path / "out"
    assert run(["export", str(results), "--to", "srt", "-o", str(out), "-q"]) == 0
    assert names(out) == ["a/v.srt", "b/v.srt", "b/w.x.srt"]
    files = [results / name for name in ("a/v.parquet", "b/v.parquet")]
    assert "would both go to" in failed([*files, "--to", "srt", "-o", out], 2, capsys)
    assert run(["export", *map(str, files), "--to", "vtt"]) == 0
    assert (results / "b" / "v.vtt").exists()
    capsys.readouterr()
    assert "2 tables, only one" in failed([*files, "--to", "csv", "-o", "-"], 2, capsys)
    assert "name a folder" in failed([*files, "--to", "csv", "-o", out / "a" / "v.srt"], 2, capsys)
    (tmp_path / "none").mkdir()
    assert "is a folder without tables" in failed([tmp_path / "none", "--to", "csv"], 3, capsys)


def test_tables_of_tracks_are_left_out_beside_their_tables(processed: Path, tmp_path: Path, capsys: Any) -> None:
    inputs = sorted(map(str, processed.glob("*.parquet")))
    assert len(inputs) == 2
    assert run(["export", *inputs, "--to", "csv", "-o", f"{tmp_path}/new/"]) == 0
    assert names(tmp_path) == ["new/two_faces.csv"]


def other_version(path: Path) -> Path:
    return write_observed(path, ROWS, schema_version=2, vidfer_version="9.1.0")


def cut_off(path: Path) -> Path:
    whole = write_observed(path, ROWS).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def damaged_inside(path: Path) -> Path:
    whole = bytearray(write_observed(path, ROWS).read_bytes())
    whole[20:900] = bytes(880)
    path.write_bytes(whole)
    return path


def empty(path: Path) -> Path:
    return write_observed(path, [])


def rewritten(path: Path) -> Path:
    pd.read_parquet(write_observed(path, ROWS)).to_parquet(path)
    return path


def a_folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path, "does not exist: give a table made by `vidfer process`"),
        (other_version, "has schema version 2, this vidfer reads version 1: use the vidfer that wrote it (9.1.0)"),
        (cut_off, "is not a complete Parquet file"),
        (damaged_inside, "is damaged"),
        (empty, "is empty: no frame was analysed"),
        (rewritten, "has no key `vidfer` in its footer"),
        (a_folder, "is a folder without tables"),
    ],
)
@pytest.mark.parametrize("to", ["csv", "elan", "arrow"])
def test_a_bad_table_gives_one_line_and_stops_no_other(
    make: Any, message: str, to: str, tmp_path: Path, capsys: Any
) -> None:
    bad, good = make(tmp_path / "bad.parquet"), write_observed(tmp_path / "good.parquet", ROWS)
    out = tmp_path / "out"
    out.mkdir()
    assert message in failed([bad, "--to", to, "-o", out], 3, capsys)
    assert names(out) == []
    assert run(["export", str(bad), str(good), "--to", to, "-o", str(out)]) == 4
    stdout, stderr = capsys.readouterr()
    assert (len(stdout.splitlines()), len(stderr.splitlines())) == (1, 1)
    assert re.match(r"vidfer: error: .*bad\.parquet", stderr)
    assert names(out) == [f"good{FORMATS[to].suffix}"]


def test_a_place_that_cannot_be_written(table: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").touch()
    assert "cannot write" in failed([table, "--to", "csv", "-o", tmp_path / "file" / "t.csv"], 1, capsys)


def test_nothing_half_written_stays_behind(table: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vidfer.output.files.put_in_place", full)
    assert "No space left on device" in failed([table, "--to", "csv", "-o", tmp_path / "t.csv"], 1, capsys)
    assert names(tmp_path) == ["t.parquet"]
