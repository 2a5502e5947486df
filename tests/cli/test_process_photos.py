"""`vidfer process` with photos: one table, upright, and no photo stops another."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

import vidfer
from vidfer.cli.app import run
from vidfer.media.photos import find_photos, read_photo
from vidfer.schema import columns, observation_schema

CLIP = Path(__file__).resolve().parents[2] / "examples" / "two_faces.mp4"
ORIENTATION = 0x0112
# What makes of an upright picture the one that is stored with an orientation from 1 on.
STORED = [
    None,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.ROTATE_180,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_90,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_270,
]


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    with av.open(str(CLIP)) as file:
        return next(file.decode(video=0)).to_image()


def save(image: Image.Image, path: Path, orientation: int = 1) -> Path:
    turn = STORED[orientation - 1]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = image if turn is None else image.transpose(turn)
    stored.save(path, exif=exif, **({"quality": 95} if path.suffix in (".jpg", ".webp") else {}))
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_put_upright(orientation: int, suffix: str, tmp_path: Path) -> None:
    pixels = np.zeros((48, 80, 3), np.uint8)
    pixels[:24, :40], pixels[:24, 40:], pixels[24:, :40] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    photo = read_photo(save(Image.fromarray(pixels), tmp_path / f"p{suffix}", orientation))
    assert photo.image.shape == pixels.shape
    assert np.abs(photo.image.astype(int) - pixels).mean() < 6


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, picture: Image.Image) -> Path:
    folder = tmp_path_factory.mktemp("p") / "holiday"
    save(picture, folder / "a.jpg")
    save(picture, folder / "deep" / "mirrored.png", 5)
    save(Image.new("RGB", (96, 64), "grey"), folder / "nobody.bmp")
    whole = (folder / "a.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    (folder / "notes.txt").write_text("no photo")
    save(picture, folder / ".hidden" / "h.jpg")
    return folder


@pytest.fixture(scope="module")
def results(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results")
    assert run(["process", str(photos), "-o", str(out), "-q"]) == 4  # two cannot be read
    return out


def test_one_table_of_all_photos(results: Path) -> None:
    table = pq.read_table(results / "holiday.parquet")
    rows = table.to_pylist()
    found = [(row["source"], row["frame"], row["n_faces"], row["face_id"]) for row in rows]
    assert found == [
        ("a.jpg", 0, 2, 0), ("a.jpg", 0, 2, 1),
        ("deep/mirrored.png", 0, 2, 0), ("deep/mirrored.png", 0, 2, 1),
        ("nobody.bmp", 0, 0, None),
    ]  # fmt: skip
    assert table.column_names == observation_schema(68).names
    for column in columns("observations"):
        if column.name in table.column_names and not column.nullable:
            assert table[column.name].null_count == 0
    timeless = ["pts", "timestamp", "wallclock", *(name for name in table.column_names if name.endswith("_smooth"))]
    assert all(table[name].null_count == len(table) for name in timeless)
    for plain, mirrored in zip(rows[:2], rows[2:4], strict=True):
        assert plain["emotion"] == mirrored["emotion"]
        assert abs(plain["face_x"] - mirrored["face_x"]) < 3
        assert sum(plain[f"emotion_{name}"] for name in vidfer.EMOTIONS) == pytest.approx(1, abs=1e-4)
    tracks = pq.read_table(results / "holiday.tracks.parquet")
    assert tracks["source"].to_pylist() == [row["source"] for row in rows[:4]]
    assert tracks["valence_mean"].to_pylist() == [row["valence"] for row in rows[:4]]


def test_what_cannot_be_read_is_named(results: Path) -> None:
    report = json.loads((results / "holiday.run.json").read_text())
    assert [one["source"] for one in report["unreadable"]] == ["cut.jpg", "empty.png"]
    assert [len(one["reason"]) > 10 for one in report["unreadable"]] == [True, True]
    counts = report["counts"]
    assert (counts["packets"], counts["decoded"], counts["undecodable"], counts["analysed"]) == (5, 3, 2, 3)
    assert (counts["faces"], counts["tracks"]) == (4, 4)
    assert len(report["warnings"]) == 2
    assert report["smoothing"]["preset"] == "off"


def test_copies_are_drawn(results: Path, photos: Path) -> None:
    drawn = results / "holiday.annotated"
    names = sorted(path.relative_to(drawn).as_posix() for path in drawn.rglob("*") if path.is_file())
    assert names == ["a.jpg", "deep/mirrored.png.jpg", "nobody.bmp.jpg"]
    before, after = read_photo(photos / "a.jpg").image, read_photo(drawn / "a.jpg").image
    assert before.shape == after.shape
    assert 1 < np.abs(before.astype(int) - after).mean() < 20


def test_a_second_time_nothing_is_done_and_other_photos_are_refused(
    results: Path, photos: Path, tmp_path: Path, capsys: Any
) -> None:
    there, mine = shutil.copytree(results, tmp_path / "r"), shutil.copytree(photos, tmp_path / "holiday")
    before = (there / "holiday.parquet").stat().st_mtime_ns
    assert run(["process", str(mine), "-o", str(there)]) == 4
    assert "already done" in capsys.readouterr().out
    assert (there / "holiday.parquet").stat().st_mtime_ns == before
    used = json.loads((there / "holiday.run.json").read_text())["models"][0]["version"]
    other = "float32" if "int8" in used else "int8"
    for options, difference in (
        (["--landmarks", "none"], "landmarks=68 instead of None"),
        (["--precision", other], "other networks (of another version, --precision or --device)"),
    ):
        assert run(["process", str(mine), "-o", str(there), "--no-render", *options]) == 2
        assert f"made with {difference}: choose --overwrite" in capsys.readouterr().err
    os.utime(mine / "a.jpg", (2e9, 2e9))
    assert run(["process", str(mine), "-o", str(there)]) == 2
    assert "made with photos that changed since: choose --overwrite" in capsys.readouterr().err
    (mine / "a.jpg").rename(mine / "renamed.jpg")
    assert run(["process", str(mine), "-o", str(there)]) == 2
    assert "made with other photos: choose --overwrite" in capsys.readouterr().err
    assert run(["process", str(mine), "-o", str(there), "--overwrite", "-q", "--no-render"]) == 4
    assert "renamed.jpg" in pq.read_table(there / "holiday.parquet")["source"].to_pylist()


def test_an_interrupted_run_leaves_nothing_and_begins_anew(photos: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from vidfer.pipeline import photos as module

    def stop(path: Path) -> Any:
        if path.name == "mirrored.png":
            raise KeyboardInterrupt
        return read_photo(path)

    with monkeypatch.context() as patch:
        patch.setattr(module, "read_photo", stop)
        assert run(["process", str(photos), "-o", str(tmp_path), "-q"]) == 130
    assert list(tmp_path.iterdir()) == []
    assert run(["process", str(photos), "-o", str(tmp_path), "-q"]) == 4
    assert len(list(tmp_path.iterdir())) == 4


def test_quiet_names_what_cannot_be_read(photos: Path, results: Path, capsys: Any) -> None:
    capsys.readouterr()
    assert run(["process", str(photos), "-o", str(results), "-q"]) == 4  # done already, and lacks the same two
    out, error = capsys.readouterr()
    assert out == ""
    assert [line.split()[2] for line in error.splitlines()] == ["cut.jpg", "empty.png"]
    assert all(line.startswith("vidfer: error: ") for line in error.splitlines())


def test_a_folder_of_somebody_else_is_not_replaced(photos: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "holiday.annotated").mkdir()
    (tmp_path / "holiday.annotated" / "mine.jpg").touch()
    for options in ([], ["--overwrite"]):
        assert run(["process", str(photos), "-o", str(tmp_path), *options]) == 2
        assert "holiday.annotated is there already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.annotated"]


@pytest.mark.parametrize("option", [["--start", "1"], ["--fps", "2"], ["--identity"]])
def test_options_about_time_are_refused(option: list[str], photos: Path, tmp_path: Path, capsys: Any) -> None:
    assert run(["process", str(photos), "-o", str(tmp_path), *option]) == 2
    assert f"{option[0]} is for videos: leave it out for photos" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["smooth"], "is of photos, which have no time to smooth over"),
        (["export", "--to", "mot"], "is of photos, which mot cannot tell apart: export it with --to csv"),
        (["export", "--to", "openface"], "which openface cannot tell apart"),
        (["export", "--to", "vtt"], "has no times, as of photos"),
        (["summary"], "has no times"),
        (["render"], "is not beside it"),
    ],
)
def test_what_needs_time_refuses_photos(command: list[str], message: str, results: Path, capsys: Any) -> None:
    before = sorted(results.iterdir())
    assert run([command[0], str(results / "holiday.parquet"), *command[1:]]) == 3
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(results.iterdir()) == before


def test_photos_go_to_pyfeat_with_their_names(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    assert run(["export", str(results / "holiday.parquet"), "--to", "pyfeat", "-o", str(out), "-q"]) == 0
    assert pd.read_csv(out)["input"].tolist()[::2] == ["a.jpg", "deep/mirrored.png", "nobody.bmp"]


def test_no_photo_that_can_be_read_is_an_error(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "one.jpg").write_bytes(b"nothing")
    out = tmp_path / "out"
    assert run(["process", str(tmp_path / "one.jpg"), "-o", str(out)]) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "one.jpg" in error
    assert not list(out.iterdir())


def test_one_photo_in_python(photos: Path, tmp_path: Path) -> None:
    result = vidfer.process(photos / "a.jpg", output_dir=tmp_path, landmarks=478, render=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "a.run.json", "a.tracks.parquet"]
    assert isinstance(result.table, pd.DataFrame)
    assert list(result.table["source"]) == ["a.jpg", "a.jpg"]
    assert {len(points) for points in result.table["landmarks"]} == {956}
    assert {len(points) for points in result.table["landmarks_z"]} == {478}


def test_which_photos_are_meant(tmp_path: Path) -> None:
    for name in ("trip/a.JPG", "trip/b/c.png", "trip/x.annotated/a.jpg", "film/v.mp4", "film/cover.jpg", "d.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    sets, others = find_photos([tmp_path / "trip", tmp_path / "film", tmp_path / "no.mp4"])
    assert [one.names() for one in sets] == [["a.JPG", "b/c.png"]]
    assert others == [tmp_path / "film", tmp_path / "no.mp4"]
    sets, others = find_photos([tmp_path / "d.webp", tmp_path / "trip" / "a.JPG", tmp_path / "d.webp"])
    assert [one.names() for one in sets] == [["d.webp", "trip/a.JPG"]]
    assert others == []


def frames(folder: Path, numbers: list[int], suffix: str = ".jpg", orientation: int = 1) -> Path:
    with av.open(str(CLIP)) as file:
        for number, frame in zip(numbers, file.decode(video=0), strict=False):
            save(frame.to_image(), folder / f"take2_{number}_x{suffix}", orientation)
    return folder


def test_numbered_pictures_are_a_video(tmp_path: Path, capsys: Any) -> None:
    folder = frames(tmp_path / "frames", [8, 9, 10, 11, 14, 15])
    out = tmp_path / "out"
    args = ["process", str(folder), "--sequence-fps", "12.5", "-o", str(out), "--smooth", "light"]
    assert run(args) == 0
    names = ["frames.annotated.mp4", "frames.mov", "frames.parquet", "frames.run.json", "frames.tracks.parquet"]
    assert sorted(path.name for path in out.iterdir()) == names
    table = pq.read_table(out / "frames.parquet").to_pandas()
    assert sorted(set(table["frame"])) == [0, 1, 2, 3, 4, 5]
    assert sorted(set(table["timestamp"])) == pytest.approx([0, 0.08, 0.16, 0.24, 0.48, 0.56])
    assert sorted(set(table["face_id"])) == [0, 1]
    assert table["valence_smooth"].notna().all()
    capsys.readouterr()
    assert run(args) == 0
    assert "already done" in capsys.readouterr().out
    # Another rate, or other pictures, would be another video.
    args[3] = "25"
    assert run(args) == 2
    assert "is not made of these pictures: choose --overwrite" in capsys.readouterr().err
    assert run([*args, "--overwrite", "-q", "--no-render"]) == 0
    assert pq.read_table(out / "frames.parquet")["timestamp"][-1].as_py() == pytest.approx(7 / 25)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("orientation", [4, 6])
def test_a_turned_sequence_is_put_upright(orientation: int, suffix: str, tmp_path: Path) -> None:
    folder = frames(tmp_path / "f", [1, 2, 3], suffix, orientation)
    result = vidfer.process(folder, sequence_fps=25, output_dir=tmp_path, render=False, landmarks=None)
    wanted = vidfer.process(frames(tmp_path / "p", [1]), output_dir=tmp_path, render=False, landmarks=None)
    for name in ("face_x", "face_y", "face_w", "face_h"):
        assert list(result.table[name][:2]) == pytest.approx(list(wanted.table[name]), abs=4)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.jpg", "b.jpg"], "has no number in its name"),
        (["a1.jpg", "b01.jpg"], "have the same number"),
        (["a1.jpg", "a2.png"], "a sequence is all JPEG or all PNG"),
        (["a1.webp"], "a sequence is all JPEG or all PNG"),
        (["notes.txt"], "--sequence-fps is for folders of numbered pictures"),
    ],
)
def test_what_is_no_sequence_is_refused(names: list[str], message: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "f").mkdir()
    for name in names:
        (tmp_path / "f" / name).write_bytes(b"x")
    assert run(["process", str(tmp_path / "f"), "--sequence-fps", "25", "-o", str(tmp_path / "out")]) in (2, 3)
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize("fps", ["0", "-1", "nan"])
def test_a_rate_that_is_none_is_refused(fps: str, tmp_path: Path, capsys: Any) -> None:
    assert run(["process", str(tmp_path), "--sequence-fps", fps]) == 2
    assert "sequence_fps" in capsys.readouterr().err
