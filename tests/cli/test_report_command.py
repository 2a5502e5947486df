"""`vidfer report`: what it makes, what it refuses, what it leaves behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from made_results import made_up

import vidfer
from vidfer.cli.app import run

CLIP = Path(__file__).parent.parent.parent / "examples" / "two_faces.mp4"


@pytest.fixture(scope="module")
def processed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processed")
    vidfer.process(CLIP, output_dir=folder, render=False, end="0.6")
    return folder


@pytest.fixture
def table(processed: Path, tmp_path: Path) -> Path:
    for path in processed.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path / "two_faces.parquet"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def failed(args: list[object], code: int, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["report", *map(str, args)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    return err


def test_the_video_beside_the_table_gives_pictures(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(CLIP, table.parent)
    assert run(["report", str(table)]) == 0
    page = table.parent / "two_faces.report.html"
    assert capsys.readouterr() == (f"{page}\n", "")
    html = page.read_text(encoding="utf-8")
    faces = pd.read_parquet(table).face_id.nunique()
    best = pd.read_parquet(table.with_name("two_faces.tracks.parquet")).best_frame
    for face, frame in enumerate(best):
        assert f'alt="Face {face} in frame {frame}"' in html
    assert html.count("data:image/jpeg;base64,") >= 3 * faces
    assert "is there already" in failed([table], 2, capsys)
    assert run(["report", str(table), "--overwrite", "--quiet", "--no-thumbnails"]) == 0
    assert capsys.readouterr() == ("", "")
    html = page.read_text(encoding="utf-8")
    assert "<img" not in html
    assert "data:image" not in html
    assert "vidfer process two_faces.mp4 --end 0.6 --device cpu --precision" in html


def test_the_networks_are_told_with_card_and_licence(table: Path) -> None:
    assert run(["report", str(table), "--no-thumbnails", "-q"]) == 0
    html = (table.parent / "two_faces.report.html").read_text(encoding="utf-8")
    for model in json.loads(pq.read_metadata(table).metadata[b"vidfer"])["models"]:
        assert model["sha256"] in html
        assert model["licence"] in html
    assert "does not have this network" not in html
    assert html.count("On data it was not trained on, with 95 % intervals") == 2


def test_without_the_video_there_is_a_page_without_pictures(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(table)]) == 0
    out, err = capsys.readouterr()
    assert "two_faces.mp4) is not beside it: no pictures of faces; name it with --video" in err
    html = Path(out.strip()).read_text(encoding="utf-8")
    assert "The video (two_faces.mp4) was not at hand: no pictures of faces" in html
    assert "<img" not in html


def test_a_moved_video_and_another_place(table: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copy(CLIP, tmp_path / "moved.mp4"))
    out = tmp_path / "x.html"
    assert run(["report", str(table), "--video", str(moved), "-o", str(out), "-q"]) == 0
    assert "<img" in out.read_text(encoding="utf-8")


def test_what_is_refused_leaves_nothing(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = bytearray(CLIP.read_bytes())
    changed[-1] ^= 1
    (tmp_path / "changed.mp4").write_bytes(changed)
    (tmp_path / "shorter.mp4").write_bytes(changed[:-1])
    before = names(tmp_path)
    for video, reason in (("changed.mp4", "sha256"), ("shorter.mp4", "bytes"), ("none.mp4", "does not exist")):
        said = failed([table, "--video", tmp_path / video], 3, capsys)
        assert reason in said
        assert "--no-thumbnails makes a report without it" in said
    tracks = table.with_name("two_faces.tracks.parquet")
    assert "give the table of faces beside it" in failed([tracks], 3, capsys)
    assert "does not exist" in failed([tmp_path / "none.parquet"], 3, capsys)
    assert "is a folder: give a table" in failed([tmp_path], 3, capsys)
    assert "not a complete Parquet file" in failed([CLIP, "-o", tmp_path / "x.html"], 3, capsys)
    assert "ends in .html" in failed([table, "-o", tmp_path / "x.pdf"], 2, capsys)
    assert "cannot write" in failed([table, "--no-thumbnails", "-o", tmp_path / "no" / "x.html"], 1, capsys)
    assert names(tmp_path) == before
    tracks.unlink()
    assert "two_faces.tracks.parquet is not beside" in failed([table], 3, capsys)


def test_tables_of_others_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = made_up(tmp_path, schema_version=7)
    assert "has schema version 7, this vidfer reads version 1: use the vidfer that wrote it (0.1.0)" in failed(
        [table], 3, capsys
    )
    table = made_up(tmp_path)
    made_up(tmp_path / "other", created_utc="2020-01-01T00:00:00+00:00")
    shutil.copy(tmp_path / "other" / "made.tracks.parquet", tmp_path)
    assert "was not made with" in failed([table], 3, capsys)
    made_up(tmp_path)
    fewer = made_up(tmp_path / "fewer", presence=[(0, 100)])
    shutil.copy(fewer.with_name("made.tracks.parquet"), tmp_path)
    assert "has face 1, its table of tracks has not" in failed([table], 3, capsys)
    pd.read_parquet(table).to_parquet(table)
    assert "pandas drops it" in failed([table], 3, capsys)


def test_photos_have_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = made_up(tmp_path)
    source = {**json.loads(pq.read_metadata(table).metadata[b"vidfer"])["source"], "container": "photos"}
    table = made_up(tmp_path, source=source)
    assert "is about photos, a report is about a video" in failed([table], 3, capsys)


def test_the_report_of_another_run_or_none_is_said(tmp_path: Path) -> None:
    table = made_up(tmp_path)
    about = table.with_name("made.run.json")
    out = tmp_path / "made.report.html"
    for text, said in (
        (
            json.dumps({**json.loads(about.read_text()), "created_utc": "x", "warnings": ["of others"]}),
            "is not the report",
        ),
        ("no JSON", "is not the report of this table"),
        (None, "is not beside the table"),
    ):
        about.unlink() if text is None else about.write_text(text)
        assert run(["report", str(table), "--no-thumbnails", "-q", "--overwrite"]) == 0
        html = out.read_text(encoding="utf-8")
        assert f"made.run.json {said}" in html
        assert "of others" not in html


def test_tables_that_were_smoothed_again_still_belong_together(table: Path, tmp_path: Path) -> None:
    assert run(["smooth", str(table), "--smooth", "strong", "-q"]) == 0
    assert run(["report", str(table), "--no-thumbnails", "-q"]) == 0
    html = (tmp_path / "two_faces.report.html").read_text(encoding="utf-8")
    assert "--smooth strong" in html
    assert "Smoothed values (strong)" in html
