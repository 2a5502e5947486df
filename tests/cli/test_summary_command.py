"""`vidfer summary` on a table that `process` wrote: on the terminal, in files, and where it cannot."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import vidfer
from vidfer.cli.app import run
from vidfer.output.parquet import read_footer
from vidfer.stats.tables import TABLES, summary_schema
from vidfer.types import EMOTIONS

CLIP = Path(__file__).resolve().parents[2] / "examples" / "two_faces.mp4"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    vidfer.process(CLIP, output_dir=folder, render=False, end="1.6", landmarks=None)
    return folder


@pytest.fixture
def table(results, tmp_path):
    return shutil.copytree(results, tmp_path / "results") / "two_faces.parquet"


def rows_of(folder, kind):
    """All tables that were written, as rows."""
    if kind == "json":
        found = json.loads((folder / "summary.json").read_text())
        return {name: found[name] for name in TABLES}
    if kind == "parquet":
        return {name: pq.read_table(folder / f"summary.{name}.parquet").to_pylist() for name in TABLES}
    found = {}
    for name in TABLES:
        with (folder / f"summary.{name}.csv").open(newline="") as file:
            found[name] = list(csv.DictReader(file))
    return found


def test_the_terminal_tells_the_most_important(table, capsys):
    assert run(["summary", str(table)]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith(f"{table}: 0:01.6 analysed, faces in 0:01.6 (100%), 2 face tracks, at most 2 at once")
    assert lines[1].split()[:3] == ["face", "on", "screen"]
    assert [line.split()[0] for line in lines[2:5]] == ["0", "1", "all"]
    assert "happiness 100%" in lines[2]
    assert max(map(len, lines[1:])) <= 160
    assert err == ""
    assert len(list(table.parent.iterdir())) == 3


def test_all_formats_hold_the_same(table, tmp_path, capsys):
    given = {}
    for kind in ("parquet", "csv", "json"):
        assert run(["summary", str(table), "--to", kind, "-o", str(tmp_path / kind)]) == 0
        written = capsys.readouterr().out.split()
        assert sorted(map(Path, written)) == sorted((tmp_path / kind).iterdir())
        given[kind] = rows_of(tmp_path / kind, kind)
    assert given["parquet"] == given["json"]
    as_text = {
        name: [{key: "" if value is None else value for key, value in row.items()} for row in rows]
        for name, rows in given["parquet"].items()
    }
    for name, rows in given["csv"].items():
        assert [{k: type(as_text[name][i][k])(v) for k, v in row.items()} for i, row in enumerate(rows)] == as_text[
            name
        ]
    assert read_footer(tmp_path / "parquet" / "summary.faces.parquet")["summary_version"] == 1


def test_numbers_agree_with_the_table(table, tmp_path, capsys):
    """Reckoned again with pandas, for a clip of a steady frame rate."""
    assert run(["summary", str(table), "--to", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    frame = pq.read_table(table).to_pandas()
    for face in told["faces"]:
        own = frame[(frame.face_id == face["face_id"]) & frame.valence.notna()]
        assert face["measured_s"] == pytest.approx(len(own) / 25, abs=1e-6)
        assert face["on_screen_s"] == pytest.approx((frame.face_id == face["face_id"]).sum() / 25, abs=1e-6)
        assert face["valence_mean"] == pytest.approx(own.valence.mean(), abs=1e-6)
        assert face["arousal_smooth_sd"] == pytest.approx(own.arousal_smooth.std(ddof=0), abs=1e-6)
        assert face["expressivity_smooth"] == pytest.approx(1 - own.emotion_neutral_smooth.mean(), abs=1e-6)
        for name in EMOTIONS:
            assert face[f"emotion_{name}_share"] == pytest.approx((own.emotion == name).mean(), abs=1e-6)
            assert face[f"emotion_{name}_smooth_mean"] == pytest.approx(own[f"emotion_{name}_smooth"].mean(), abs=1e-5)
    assert told["videos"][0]["frames"] == frame.frame.nunique()
    assert told["videos"][0]["faces"] == 2
    assert set(told["faces"][0]) == set(summary_schema("faces").names)


def test_several_tables_give_one_result_and_tracks_are_left_out(table, tmp_path, capsys):
    other = shutil.copy(table, tmp_path / "other.parquet")
    arguments = [str(table), str(table.with_name("two_faces.tracks.parquet")), str(other)]
    assert run(["summary", *arguments, "--to", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["table"] for row in told["videos"]] == [str(table), str(other)]
    assert {row["source"] for row in told["faces"]} == {"two_faces.mp4"}
    assert len(told["faces"]) == 4


def test_one_bad_table_does_not_stop_the_others(table, tmp_path, capsys):
    missing = tmp_path / "missing.parquet"
    assert run(["summary", str(missing), str(table), "--to", "csv", "-o", str(tmp_path / "out")]) == 4
    out, err = capsys.readouterr()
    assert err == f"vidfer: error: {missing} does not exist: give a table made by `vidfer process`\n"
    assert len(out.splitlines()) == 5
    assert run(["summary", str(missing)]) == 3


def test_folders_stand_for_their_tables(table, tmp_path, capsys):
    assert run(["summary", str(tmp_path), "--to", "json"]) == 0
    assert [row["table"] for row in json.loads(capsys.readouterr().out)["videos"]] == [str(table)]
    (tmp_path / "empty").mkdir()
    assert run(["summary", str(tmp_path / "empty")]) == 3
    assert "is a folder without tables" in capsys.readouterr().err


def test_a_baseline_adds_columns_and_says_where_it_is_doubtful(table, tmp_path, capsys):
    assert run(["summary", str(table), "--baseline", "auto", "--to", "parquet", "-o", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().err
    plain = run(["summary", str(table), "--to", "json"]), json.loads(capsys.readouterr().out)
    for row, without in zip(rows_of(tmp_path / "out", "parquet")["faces"], plain[1]["faces"], strict=True):
        assert row["baseline_s"] == pytest.approx(1.0, abs=0.05)
        assert row["valence_change"] == pytest.approx(row["valence_smooth_mean"] - row["valence_baseline"])
        assert {key: row[key] for key in without} == without
    faces = rows_of(tmp_path / "out", "parquet")["faces"]
    doubtful = [row["face_id"] for row in faces if row["emotion_neutral_baseline"] < 0.5]
    assert doubtful, "nobody smiles all the time in the demo clip any more"
    faces = ", ".join(map(str, doubtful))
    assert f"{len(doubtful)} of its faces ({faces}) hardly neutral in the baseline" in said
    assert run(["summary", str(table), "--baseline", "1:00-1:10"]) == 0
    assert "no baseline of 2 of its faces (0, 1)" in capsys.readouterr().err


def test_what_is_there_is_replaced_only_when_asked(table, tmp_path, capsys):
    (tmp_path / "summary.peaks.csv").write_text("mine")
    arguments = ["summary", str(table), "--to", "csv", "-o", str(tmp_path)]
    assert run(arguments) == 2
    assert "summary.peaks.csv is there already: choose --overwrite, or another folder" in capsys.readouterr().err
    assert (tmp_path / "summary.peaks.csv").read_text() == "mine"
    assert not (tmp_path / "summary.faces.csv").exists()
    assert run([*arguments, "--overwrite"]) == 0
    assert (tmp_path / "summary.peaks.csv").read_text() != "mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "x"], "--to parquet, csv or json"),
        (["--baseline", "0:15-0:05"], "0:05-0:15, or auto"),
        (["--baseline", "10f-20f"], "0:05-0:15, or auto"),
        (["--prominence", "0"], "above 0"),
        (["--window", "0.1"], "1 or more seconds"),
        (["--window", "nan"], "1 or more seconds"),
        (["--window", "inf", "--to", "json"], "1 or more seconds"),  # JSON knows no infinity
        (["--max-lag", "9"], "at most those of the window"),
        (["--to", "excel"], "parquet"),
    ],
)
def test_wrong_usage_is_one_line(table, options, said, capsys):
    assert run(["summary", str(table), *options]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


def test_a_folder_that_cannot_be_written_is_one_line(table, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run(["summary", str(table), "--to", "json", "-o", str(tmp_path / "file" / "in")]) == 1
    assert "cannot write" in capsys.readouterr().err


def test_thresholds_of_peaks_are_those_asked_for(table, capsys):
    for least in ("0.02", "0.5"):
        assert run(["summary", str(table), "--to", "json", "--prominence", least]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["options"]["least_prominence"] == float(least)
        assert all(row["prominence"] >= float(least) for row in told["peaks"])
        assert all(math.isfinite(row["value"]) for row in told["peaks"])
    assert told["peaks"] == []
