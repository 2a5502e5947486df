"""What people give that is no video, or cannot be written: one clear line, the right exit code, nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from faulty import ALL, NAME, DetectorSession, FastModels, contents, in_time, names

from vidfer.cli import app as cli
from vidfer.media.synthetic import write_video
from vidfer.pipeline import batch

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="names and pipes of POSIX")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "Models", FastModels)


def run(*args: object) -> int:
    with in_time():
        return cli.run(["process", *map(str, args)])


def error_of(capfd: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr, and nothing on stdout."""
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("vidfer: error: ")
    assert err.count("\n") == 1
    assert "Errno" not in err
    assert "fault of vidfer" not in err
    return err


def no_packets(path: Path) -> None:
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()


INPUTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "pipe": ("pipe.mp4", os.mkfifo, "a pipe, a socket or a device"),
    "no packets": ("none.mkv", no_packets, "none.mkv"),
    "not in UTF-8": ("bad\udcff.mp4", Path.touch, "not in UTF-8"),
    "too long for results": ("n" * 251 + ".mp4", Path.touch, "is empty"),
    "too long for a file": ("n" * 300 + ".mp4", lambda _: None, "too long"),
    "dangling link": ("link.mp4", lambda path: path.symlink_to("nowhere.mp4"), "does not exist"),
    "link to itself": ("link.mp4", lambda path: path.symlink_to("link.mp4"), "link.mp4"),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_what_is_no_video(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    name, make, words = INPUTS[kind]
    make(tmp_path / name)
    assert run(tmp_path / name, "-o", tmp_path / "out") == 3
    assert words in error_of(capfd)
    assert not (tmp_path / "out").exists()


def test_a_device(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("/dev/zero", "-o", tmp_path / "out") == 3
    assert "a pipe, a socket or a device" in error_of(capfd)


NAMES = {
    "bad\udcff": (3, "not in UTF-8"),
    "n" * 251: (1, "give the video a shorter name"),
    "n" * 236: (1, "give the video a shorter name"),
    "n" * 235: (0, ""),
    'a\nb "c" \N{GRINNING FACE} %s {} [red]': (0, ""),
    "-o": (0, ""),
}


@pytest.mark.parametrize("name", NAMES)
def test_names(name: str, clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, words = NAMES[name]
    video = tmp_path / f"{name}.mp4"
    shutil.copy(clip, video)
    out = tmp_path / "out"
    assert run(video, "-o", out, "--quiet") == code
    if code:
        assert words in error_of(capfd)
        assert not out.exists() or not list(out.iterdir())
    else:
        assert names(out) == {f"{name}{each.removeprefix(NAME)}" for each in ALL}


@pytest.mark.parametrize("what", ["file", "dangling link", "not in UTF-8"])
def test_an_output_that_is_no_folder(what: str, clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / ("out\udcff" if what == "not in UTF-8" else "out")
    if what == "file":
        out.write_text("mine")
    elif what == "dangling link":
        out.symlink_to("nowhere")
    assert run(clip, "-o", out) == 1
    assert ("UTF-8" if what == "not in UTF-8" else "is no folder") in error_of(capfd)
    assert what != "file" or out.read_text() == "mine"


def test_a_folder_in_place_of_a_result(clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / f"{NAME}.run.json").mkdir()
    assert run(clip, "-o", tmp_path, "--overwrite") == 1
    assert "goes on from there" in error_of(capfd)
    (tmp_path / f"{NAME}.run.json").rmdir()
    assert run(clip, "-o", tmp_path, "--overwrite", "--quiet") == 0
    assert names(tmp_path) == ALL


def test_a_span_without_frames(clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(clip, "-o", tmp_path, "--start", "100") == 3
    assert "has no frame from 100: it lasts" in error_of(capfd)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("linked", [False, True])
def test_a_folder_into_itself_twice(
    linked: bool, clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing that was made here is processed: not by the name of the folder, nor by those of all files in it."""
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(clip, folder)
    if linked:
        (tmp_path / "link").symlink_to("videos")
        folder = tmp_path / "link"
    assert run(folder, "-o", folder) == 0
    before = contents(folder)
    assert run(folder, "-o", folder) == 0
    assert run(*sorted(folder.glob("*.mp4")), "-o", folder, "--json") == 0
    assert contents(folder) == before
    out, err = capfd.readouterr()
    assert err.count("annotated.mp4 is left out") == 1
    assert [result["state"] for result in json.loads(out[out.index("{") :])["results"]] == ["already done"]


def test_one_file_by_many_names(clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (link := tmp_path / "other.mp4").symlink_to(clip)
    assert run(clip, clip, clip.parent / ".." / clip.parent.name / clip.name, link, "-o", tmp_path / "out") == 0
    assert names(tmp_path / "out") == ALL
    assert "already done" not in capfd.readouterr().out


@pytest.mark.parametrize("args", [["render", "{}.parquet"], ["smooth", "{}.parquet"], ["probe", "{}.mp4"]])
def test_names_that_no_system_takes(args: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run([arg.format(tmp_path / ("n" * 300)) for arg in args]) in (1, 3)
    assert "too long" in error_of(capfd)


def test_debug_before_the_command(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(batch, "process_file", fail)
    assert run(clip, "-o", tmp_path) == 1
    assert "Traceback" not in capfd.readouterr().err
    assert cli.run(["--debug", "process", str(clip), "-o", str(tmp_path)]) == 1
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize(("width", "height", "codec"), [(1, 1, "ffv1"), (2, 2, "libx264"), (3, 1, "ffv1")])
def test_very_small_pictures(
    width: int, height: int, codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DetectorSession, "run", lambda *_: {"box": np.zeros((1, 0, 4)), "score": np.zeros((1, 0))})
    images = [np.full((height, width, 3), 40 * at, np.uint8) for at in range(4)]
    write_video(
        tmp_path / f"{NAME}.mkv",
        ((image, at) for at, image in enumerate(images)),
        time_base=Fraction(1, 25),
        codec=codec,
    )
    assert run(tmp_path / f"{NAME}.mkv", "-o", tmp_path / "out", "--quiet") == 0
    assert names(tmp_path / "out") == ALL
    assert pq.read_metadata(tmp_path / "out" / f"{NAME}.parquet").num_rows == len(images)
