"""`vidfer render`: what it makes, what it refuses, what it leaves behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import pytest

import vidfer
from vidfer.cli.app import run

CLIP = Path(__file__).parent.parent.parent / "examples" / "two_faces.mp4"


@pytest.fixture(scope="module")
def processed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processed")
    vidfer.process(CLIP, output_dir=folder, render=False, end="0.6", smooth="light")
    return folder / "two_faces.parquet"


@pytest.fixture
def table(processed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(processed, tmp_path))


def size_of(path: Path) -> tuple[int, int, int]:
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        return stream.width, stream.height, stream.frames


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def failed(args: list[object], code: int, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["render", *map(str, args)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    return err


def test_the_video_beside_the_table_is_found(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(CLIP, table.parent)
    assert run(["render", str(table)]) == 0
    out = table.parent / "two_faces.annotated.mp4"
    captured = capsys.readouterr()
    assert captured.out.strip() == str(out)
    assert size_of(out) == size_of(CLIP)
    assert "is there already" in failed([table], 2, capsys)
    assert run(["render", str(table), "--overwrite", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_moved_and_renamed_video_with_everything(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved = Path(shutil.copy(CLIP, table.parent / "moved.mp4"))
    out = table.parent / "o.mp4"
    assert run(["render", str(table), "--video", str(moved), "-o", str(out), "--blur", "--panel", "--landmarks"]) == 0
    width, height, frames = size_of(CLIP)
    assert size_of(out)[::2] == (width, frames)
    assert size_of(out)[1] > height + 100


def test_what_is_refused_leaves_nothing(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(CLIP.read_bytes()[:-1])
    changed = bytearray(CLIP.read_bytes())
    changed[-1] ^= 1
    (tmp_path / "changed.mp4").write_bytes(changed)
    before = names(tmp_path)
    assert "is not beside it: name it with --video" in failed([table], 3, capsys)
    assert "was not made from" in failed([table, "--video", other], 3, capsys)
    assert "sha256" in failed([table, "--video", tmp_path / "changed.mp4"], 3, capsys)
    assert "does not exist" in failed([table, "--video", tmp_path / "none.mp4"], 3, capsys)
    assert "does not exist" in failed([tmp_path / "none.parquet"], 3, capsys)
    assert "ends in .mp4" in failed([table, "--video", CLIP, "-o", "x.avi"], 2, capsys)
    assert "is the video itself" in failed([table, "--video", other, "-o", other, "--overwrite"], 2, capsys)
    assert "cannot be written" in failed([table, "--video", CLIP, "-o", tmp_path / "no" / "x.mp4"], 1, capsys)
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "name"),
    [("--blur", "blurred"), ("--panel", "panel"), ("--blur --panel", "blurred.panel"), ("--no-labels", "annotated")],
)
def test_each_kind_has_its_name(options: str, name: str, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = table.parent / f"two_faces.{name}.mp4"
    out.touch()
    assert f"{out} is there already" in failed([table, "--video", CLIP, *options.split()], 2, capsys)


@pytest.mark.parametrize("option", ["--labels", "--blur"])
def test_another_video_of_the_same_name_and_size_is_refused(
    option: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its frames have the same stamps, and the boxes would be in the wrong places."""
    content = bytearray(CLIP.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(byte ^ 0x55 for byte in content[middle : middle + 400])
    (table.parent / CLIP.name).write_bytes(content)
    before = names(table.parent)
    assert "sha256" in failed([table, option], 3, capsys)
    assert names(table.parent) == before


def test_a_table_of_tracks_is_none_of_frames(processed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracks = processed.with_name("two_faces.tracks.parquet")
    assert "lacks the column frame" in failed([tracks, "--video", CLIP], 3, capsys)
