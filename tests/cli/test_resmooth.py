"""`vidfer smooth`: the same values as `process` with that preset, from the table alone; all files agree afterwards."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vidfer
from vidfer.cli.app import run
from vidfer.output.parquet import TableWriter, read_footer
from vidfer.pipeline import resmooth
from vidfer.schema import tracks_schema

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "examples" / "two_faces.mp4"
WHEN = ("created_utc", "timings")


@pytest.fixture(scope="module")
def processed(tmp_path_factory):
    """Folders with the results of the demo clip, by preset."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("medium", "strong", "off")}
    for name, folder in folders.items():
        vidfer.process(CLIP, output_dir=folder, smooth=name, render=False, end="1.2")
    return folders


@pytest.fixture
def folder(processed, tmp_path):
    """A copy of the results with medium smoothing."""
    return shutil.copytree(processed["medium"], tmp_path / "results")


def timeless(about):
    return {key: value for key, value in about.items() if key not in WHEN}


def plain(path):
    """The table with texts in place of dictionaries, which may differ from row group to row group."""
    table = pq.read_table(path)
    texts = [f.with_type(pa.string()) if pa.types.is_dictionary(f.type) else f for f in table.schema]
    return table.cast(pa.schema(texts))


def assert_same(folder, wanted, name="two_faces"):
    """Values, footers and report."""
    for suffix in (".parquet", ".tracks.parquet"):
        mine, theirs = folder / f"{name}{suffix}", wanted / f"{name}{suffix}"
        assert plain(mine).equals(plain(theirs))
        assert pq.read_schema(mine).equals(pq.read_schema(theirs))
        assert timeless(read_footer(mine)) == timeless(read_footer(theirs))
    reports = [json.loads((where / f"{name}.run.json").read_text()) for where in (folder, wanted)]
    assert timeless(reports[0]) == timeless(reports[1])


@pytest.mark.parametrize("preset", ["strong", "off", "medium"])
def test_it_is_as_if_processed_so(folder, processed, preset, capsys):
    assert run(["smooth", str(folder / "two_faces.parquet"), "--smooth", preset]) == 0
    out = capsys.readouterr().out
    assert f"smoothing {preset}" in out
    assert out.count("\n") == 1
    assert_same(folder, processed[preset])
    assert len(list(folder.iterdir())) == 3
    again = vidfer.process(CLIP, output_dir=folder, smooth=preset, render=False, end="1.2")
    assert timeless(again.report) == timeless(json.loads((folder / "two_faces.run.json").read_text()))
    with pytest.raises(vidfer.UsageError, match="smooth="):
        vidfer.process(CLIP, output_dir=folder, smooth="light", render=False, end="1.2")


def test_there_and_back(folder, processed):
    for preset in ("off", "strong", "medium"):
        assert run(["smooth", str(folder / "two_faces.parquet"), "--smooth", preset, "-q"]) == 0
    assert_same(folder, processed["medium"])


def test_cuts_gaps_and_bridges_are_those_of_process(shared_videos, tmp_path):
    for name in ("medium", "strong"):
        vidfer.process(
            shared_videos / "composite_dev.mp4", output_dir=tmp_path / name, smooth=name, render=False, fps=8
        )
    table = tmp_path / "medium" / "composite_dev.parquet"
    assert "predicted" in pq.read_table(table)["face_status"].to_pylist()
    assert run(["smooth", str(table), "--smooth", "strong"]) == 0
    assert_same(tmp_path / "medium", tmp_path / "strong", "composite_dev")


def test_many_row_groups(folder, processed, monkeypatch):
    """A frame may have its faces in two of them."""
    monkeypatch.setattr("vidfer.output.parquet.ROW_GROUP_ROWS", 7)
    path = folder / "two_faces.parquet"
    for preset in ("light", "strong"):  # the first one cuts it into small groups
        resmooth.smooth_table(path, preset)
    assert pq.read_metadata(path).num_row_groups > 5
    assert_same(folder, processed["strong"])


def test_into_another_folder_everything_here_stays(folder, processed, tmp_path):
    (folder / "two_faces.annotated.mp4").touch()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    there = tmp_path / "a" / "b"
    assert run(["smooth", str(folder / "two_faces.parquet"), "--smooth", "strong", "-o", str(there)]) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert_same(there, processed["strong"])
    assert len(list(there.iterdir())) == 3


def test_what_is_there_in_another_folder_is_not_replaced(folder, tmp_path, capsys):
    there = tmp_path / "there"
    there.mkdir()
    (there / "two_faces.tracks.parquet").touch()
    assert run(["smooth", str(folder / "two_faces.parquet"), "-o", str(there)]) == 2
    assert "two_faces.tracks.parquet is there already: remove it or choose another" in capsys.readouterr().err
    assert [path.name for path in there.iterdir()] == ["two_faces.tracks.parquet"]


def test_the_video_of_the_former_smoothing_goes(folder, capsys):
    video = folder / "two_faces.annotated.mp4"
    report = folder / "two_faces.run.json"
    about = json.loads(report.read_text())
    about["outputs"].append(video.name)
    report.write_text(json.dumps(about))
    video.touch()
    table = str(folder / "two_faces.parquet")
    assert run(["smooth", table, "--smooth", "medium"]) == 0
    assert video.exists(), "it shows this smoothing"
    assert video.name in json.loads(report.read_text())["outputs"]
    assert run(["smooth", table, "--smooth", "light"]) == 0
    assert not video.exists()
    assert f"removed {video}" in capsys.readouterr().out
    assert video.name not in json.loads(report.read_text())["outputs"]


def test_a_table_alone_is_enough(processed, tmp_path):
    shutil.copy(processed["medium"] / "two_faces.parquet", tmp_path / "renamed.parquet")
    done = resmooth.smooth_table(tmp_path / "renamed.parquet", "strong")
    assert done.written == [tmp_path / "renamed.parquet"] == list(tmp_path.iterdir())
    assert plain(done.table).equals(plain(processed["strong"] / "two_faces.parquet"))


def test_what_is_no_table_is_refused_in_one_line_and_others_are_done(folder, capsys):
    table, bad = folder / "two_faces.parquet", folder / "bad.parquet"
    other = read_footer(table) | {"schema_version": 2}
    cases = {"does not exist": None, "not a complete Parquet file": b"text", "no key `vidfer`": pa.table({"a": [1]})}
    for reason, content in cases.items():
        if isinstance(content, bytes):
            bad.write_bytes(content)
        elif content is not None:
            pq.write_table(content, bad)
        assert_refused(bad, reason, capsys)
    for about, reason in ((other, "has schema version 2"), (read_footer(table), "does not have the columns")):
        with TableWriter(bad, tracks_schema()) as writer:
            writer.set_metadata(about)
        assert_refused(bad, reason, capsys)
    assert_refused(folder / "two_faces.tracks.parquet", "one row per track", capsys)
    assert_refused(CLIP, "is not named NAME.parquet", capsys)
    assert run(["smooth", str(bad), str(table), "--smooth", "off"]) == 4
    assert read_footer(table)["options"]["smooth"] == "off"


def assert_refused(path, reason, capsys):
    assert run(["smooth", str(path)]) == 3
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, vidfer.VidferError])
def test_interrupted_it_changes_nothing(folder, monkeypatch, error):
    def stop(*_):
        raise error

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(resmooth, "_replaced", stop)
    assert run(["smooth", str(folder / "two_faces.parquet"), "--smooth", "off"]) != 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


class Killed(BaseException):
    """Nothing is done any more."""


@pytest.mark.parametrize("where", ["_copy_tracks", "_write_report"])
def test_killed_between_two_files_the_next_run_puts_all_right(folder, processed, monkeypatch, where):
    def stop(*_):
        raise Killed

    video, report = folder / "two_faces.annotated.mp4", folder / "two_faces.run.json"
    video.touch()
    about = json.loads(report.read_text())
    report.write_text(json.dumps({**about, "outputs": [*about["outputs"], video.name]}))
    with monkeypatch.context() as patch:
        patch.setattr(resmooth, where, stop)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # as if killed before that, too
        with pytest.raises(Killed):
            resmooth.smooth_table(folder / "two_faces.parquet", "strong")
    assert read_footer(folder / "two_faces.parquet")["smoothing"]["preset"] == "strong"
    assert video.exists()
    resmooth.smooth_table(folder / "two_faces.parquet", "strong")
    assert_same(folder, processed["strong"])
    assert len(list(folder.iterdir())) == 3, "the video shows the former smoothing"


@pytest.mark.parametrize(
    "text", ["", "garbage", "[]", '{"smoothing": 1}', '{"source": {}, "counts": {}, "outputs": []}']
)
def test_a_damaged_or_foreign_report_is_made_again(folder, processed, text):
    (folder / "two_faces.run.json").write_text(text)
    (folder / "two_faces.annotated.mp4").touch()
    assert run(["smooth", str(folder / "two_faces.parquet"), "--smooth", "strong", "-q"]) == 0
    assert plain(folder / "two_faces.parquet").equals(plain(processed["strong"] / "two_faces.parquet"))
    report = json.loads((folder / "two_faces.run.json").read_text())
    assert report["smoothing"]["preset"] == "strong"
    assert report["outputs"] == ["two_faces.parquet", "two_faces.tracks.parquet"]
    assert "the report of the run was lost" in " ".join(report["warnings"])
    assert (folder / "two_faces.annotated.mp4").exists(), "nobody knows whose it is"


@pytest.mark.parametrize("what", ["damaged", "another's"])
def test_tracks_that_are_none_are_told_before_anything_is_written(folder, what, capsys):
    tracks = folder / "two_faces.tracks.parquet"
    if what == "damaged":
        tracks.write_bytes(b"text")
    else:
        shutil.copy(folder / "two_faces.parquet", tracks)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert run(["smooth", str(folder / "two_faces.parquet"), "--smooth", "strong"]) == 3
    assert capsys.readouterr().err.count("\n") == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_all_tables_of_a_folder_are_given_with_their_tracks(folder, processed, capsys):
    shutil.copy(folder / "two_faces.parquet", folder / "second.parquet")
    assert run(["smooth", *map(str, sorted(folder.glob("*.parquet"))), "--smooth", "strong"]) == 0
    out, err = capsys.readouterr()
    assert (out.count("smoothing strong"), err) == (2, "")
    assert_same(folder, processed["strong"])


STOPPED = """
import os, sys
from vidfer.cli.app import run
from vidfer.pipeline import resmooth
resmooth._replaced = lambda *_: os.kill(os.getpid(), int(sys.argv[2]))
sys.exit(run(["smooth", sys.argv[1], "--smooth", "off"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGKILL", -9)])
def test_a_signal_leaves_all_as_it_was(folder, processed, name, code):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    table, number = folder / "two_faces.parquet", str(int(getattr(signal, name)))
    ended = subprocess.run([sys.executable, "-c", STOPPED, table, number], capture_output=True, text=True, check=False)
    assert ended.returncode == code, ended.stderr
    if name == "SIGKILL":
        assert (folder / ".two_faces.vidfer-smooth").is_dir()
        resmooth.smooth_table(table, "strong")
        assert_same(folder, processed["strong"])
        assert not list(folder.glob(".two_faces.vidfer-smooth"))
    else:
        assert ended.stderr.count("\n") == 1
        assert "interrupted: 0 of 1 tables" in ended.stderr
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
