"""`vidfer process` for real: what a newcomer types, and the ways it goes wrong."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from patience import PATIENCE_S, until

from vidfer.cli import app as cli

CLIP = Path(__file__).parent.parent.parent / "examples" / "two_faces.mp4"
SECOND = ["--end", "1", "--no-render"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder with the results of the first second of the demo clip."""
    folder = tmp_path_factory.mktemp("done")
    assert cli.run(["process", str(CLIP), "-o", str(folder), "--quiet", *SECOND]) == 0
    return folder


def write_sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


BAD = {
    "missing.mp4": lambda path: None,
    "empty.mp4": lambda path: path.touch(),
    "text.mp4": lambda path: path.write_text("this is no video\n" * 100),
    "sound.mp4": write_sound,
    "folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_code_3(name, tmp_path, capfd):
    BAD[name](tmp_path / name)
    out = tmp_path / "out"
    assert cli.run(["process", str(tmp_path / name), "-o", str(out)]) == 3
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("vidfer: error: ")
    assert captured.err.count("\n") == 1
    assert name in captured.err
    assert not list(out.rglob("*"))


def test_some_bad_inputs_do_not_stop_the_others(tmp_path, capfd):
    (tmp_path / "empty.mp4").touch()
    args = ["process", str(tmp_path / "empty.mp4"), str(CLIP), "-o", str(tmp_path / "out"), "--json", *SECOND]
    assert cli.run(args) == 4
    captured = capfd.readouterr()
    printed = json.loads(captured.out)
    assert [Path(result["table"]).name for result in printed["results"]] == ["two_faces.parquet"]
    assert [error["exit_code"] for error in printed["errors"]] == [3]
    assert "empty.mp4" in captured.err


def test_an_output_folder_that_cannot_be_made_is_a_failure(tmp_path, capfd):
    (tmp_path / "file").touch()
    assert cli.run(["process", str(CLIP), "-o", str(tmp_path / "file" / "out"), *SECOND]) == 1
    assert str(tmp_path / "file") in capfd.readouterr().err


def test_quiet_left_the_tables_and_no_video(done):
    assert sorted(path.name for path in done.iterdir()) == [
        "two_faces.parquet",
        "two_faces.run.json",
        "two_faces.tracks.parquet",
    ]


def test_the_same_again_is_already_done(done, capfd):
    before = (done / "two_faces.parquet").stat()
    assert cli.run(["process", str(CLIP), "-o", str(done), *SECOND]) == 0
    assert (done / "two_faces.parquet").stat().st_mtime_ns == before.st_mtime_ns
    assert str(done / "two_faces.parquet") in capfd.readouterr().out


def test_a_result_made_otherwise_is_refused_with_the_difference_unless_overwritten(done, tmp_path, capfd):
    folder = shutil.copytree(done, tmp_path / "out")
    otherwise = ["process", str(CLIP), "-o", str(folder), "--no-render", "--end", "1", "--smooth", "off"]
    assert cli.run(otherwise) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert "smooth" in err
    assert "--overwrite" in err
    assert cli.run([*otherwise, "--overwrite"]) == 0


def test_the_report_on_stdout_is_the_one_in_the_file(done, capfd):
    assert cli.run(["process", str(CLIP), "-o", str(done), "--json", *SECOND]) == 0
    out = capfd.readouterr().out
    report = json.loads((done / "two_faces.run.json").read_text())
    assert json.loads(out)["results"][0]["report"] == report
    assert report["counts"]["analysed"] == 25


def test_cuda_without_cuda_is_wrong_usage(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    assert cli.run(["process", str(CLIP), "-o", str(tmp_path), "--device", "cuda"]) == 2
    assert "vidfer[gpu]" in capfd.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent as a POSIX signal")
def test_ctrl_c_ends_with_130_and_leaves_nothing_half_made(tmp_path):
    command = [sys.executable, "-m", "vidfer", "process", str(CLIP), "-o", str(tmp_path), "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        until(lambda: list(tmp_path.glob(".*.vidfer")) or run.poll() is not None)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 130
    assert out == ""
    assert err.startswith("vidfer: interrupted")
    assert err.count("\n") == 1
    kept = list(tmp_path.rglob("part-*.parquet"))
    assert bool(kept) == ("the same command goes on at frame" in err)
    assert {path.name for path in tmp_path.iterdir()} == ({".two_faces.vidfer"} if kept else set())


def test_several_inputs_end_with_a_table_of_what_is_fresh_kept_and_failed(done, tmp_path, capfd):
    folder = shutil.copytree(done, tmp_path / "out")
    other = tmp_path / "other.mp4"
    shutil.copy(CLIP, other)
    (empty := tmp_path / "empty.mp4").touch()
    assert cli.run(["process", str(CLIP), str(other), str(empty), "-o", str(folder), *SECOND]) == 4
    out, err = capfd.readouterr()
    header, *rows = (line.split() for line in out.splitlines())
    assert header == ["source", "state", "frames", "faces", "tracks", "frames/s"]
    assert rows[0][:4] == [str(CLIP), "already", "done", "25"]
    assert rows[0][-1] == "-"
    assert rows[1][:3] == [str(other), "done", "25"]
    assert int(rows[1][-1]) > 0
    assert rows[2] == [str(empty), "failed"]
    assert "empty.mp4 is empty" in err
    assert err.count("vidfer: error:") == 1
