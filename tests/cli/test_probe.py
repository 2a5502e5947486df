"""`vidfer probe`: what it says of whole, odd, damaged and missing files, and what it costs."""

import json
from fractions import Fraction

import clips
import damage
import numpy as np
import pytest

from vidfer.cli import app as cli
from vidfer.media.file import VideoFile
from vidfer.media.probe import probe
from vidfer.media.synthetic import write_video


def as_json(capfd, *args):
    code = cli.run(["probe", "--json", *map(str, args)])
    out, err = capfd.readouterr()
    return code, json.loads(out), err


def test_every_kind_as_reading_it_finds_it(tmp_path):
    for kind in clips.KINDS:
        path = clips.write_clip(tmp_path, kind)
        with VideoFile(path) as video:
            frames = len(list(video))
        quick, full = probe(path), probe(path, full=True)
        assert quick.info == full.info == video.info, kind
        assert quick.frames_expected == full.frames_expected == frames, kind
        assert quick.complete
        assert full.counts == video.counts, kind
        assert quick.warnings == full.warnings == (), kind
        assert quick.interlaced == (kind == "interlaced")
        assert quick.pixel_format.endswith("10le") == (kind == "ten_bit")


def test_real_videos(shared_videos):
    for path in sorted(path for path in shared_videos.iterdir() if path.suffix in {".mp4", ".mkv", ".mov"}):
        seen = probe(path)
        assert seen.info.variable_frame_rate == ("noface" in path.stem), path.name
        assert seen.warnings == (), path.name
        if path.suffix != ".mkv" and path.stem != "no_face":  # three packets of that one are cut away
            assert seen.frames_expected == seen.info.frames_declared


@pytest.mark.parametrize("kind", ["b_frames", "open_gop", "mpeg2"])
def test_an_uneven_rate_shows_in_the_stamps(tmp_path, kind):
    if kind != "mpeg2":
        stamps = np.cumsum(np.random.default_rng(5).integers(1, 2000, 80))
        assert probe(clips.write_clip(tmp_path, kind, pts=stamps)).info.variable_frame_rate
    assert not probe(clips.write_clip(tmp_path, kind)).info.variable_frame_rate


def test_a_long_file_is_not_read_to_its_end(tmp_path):
    path = clips.write_clip(tmp_path, "mpeg2", count=1200, size=(32, 32))
    seen = probe(path)
    assert (seen.stamps, seen.complete) == (1000, False)
    assert seen.frames_expected == pytest.approx(1200, abs=2)
    assert not seen.info.variable_frame_rate


def test_what_it_says_for_a_person(tmp_path, capfd):
    path = tmp_path / "phone.mp4"
    pictures = [(image, index * 512) for index, image in enumerate(clips.pictures(30, 160, 96))]
    sound = np.zeros(48000, np.float32)
    write_video(path, pictures, time_base=clips.TICK, rotation_deg=90, sample_aspect_ratio=Fraction(4, 3), sound=sound)
    assert cli.run(["probe", str(path), "-o", str(tmp_path / "results")]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0].startswith(f"{path}: mp4/mov, ")
    assert "h264, 96x214 upright, 25 frames/s, yuv420p" in lines[1]
    assert "aac, 48000 Hz, 1 channels" in lines[2]
    assert "160x96, to be turned by 90 degrees clockwise, pixels 4:3" in lines[3]
    assert "30 declared, 30 in the file" in lines[4]
    assert "none seen" in lines[5]
    assert f"about 30 frames of video 0 and write {tmp_path / 'results' / 'phone.parquet'}" in lines[6]
    assert len(lines) == 7


def test_results_that_are_there_and_runs_that_were_interrupted(tmp_path, capfd):
    path = clips.write_clip(tmp_path, "b_frames")
    (tmp_path / "b_frames.parquet").touch()
    code, found, _ = as_json(capfd, path, "-o", tmp_path)
    assert code == 0
    assert found["results"][0]["process"]["there"] == [str(tmp_path / "b_frames.parquet")]
    cli.run(["probe", str(path), "-o", str(tmp_path)])
    assert "has been here" in capfd.readouterr().out
    (tmp_path / ".b_frames.vidfer").mkdir()
    cli.run(["probe", str(path), "-o", str(tmp_path)])
    assert "was interrupted" in capfd.readouterr().out


def test_damage_is_told_beforehand(tmp_path, capfd):
    for kind in ("b_frames", "open_gop", "mpeg2", "h264_avi", "vp9"):
        path = damage.damage(clips.write_clip(tmp_path, kind, count=100), "half")
        code, found, _ = as_json(capfd, path)
        assert code == 0
        assert "is cut off" in found["results"][0]["warnings"][0], kind
        code, whole, _ = as_json(capfd, path, "--full")
        assert "it ends at" in whole["results"][0]["warnings"][0], kind
        assert whole["results"][0]["counts"]["decoded"] < 100
        assert cli.run(["probe", str(path)]) == 0
        assert "WARNING    the file is cut off" in capfd.readouterr().out


def test_none_of_forty_damaged_files_makes_it_fail(tmp_path, capfd):
    sources = {kind: clips.write_clip(tmp_path, kind) for kind in damage.SOURCES}
    paths = [damage.damage(sources[kind], way) for kind, way in damage.CASES]
    code, found, err = as_json(capfd, *paths)
    assert code == 4
    assert len(found["results"]) + len(found["errors"]) == 40
    assert len(found["results"]) >= 30
    assert err.count("\n") == err.count("vidfer: error: ") == len(found["errors"])


def test_bad_files_do_not_stop_the_rest(tmp_path, capfd):
    path = clips.write_clip(tmp_path, "b_frames")
    (tmp_path / "notes.mp4").write_text("no video")
    code, found, err = as_json(capfd, tmp_path / "missing.mp4", tmp_path)
    assert code == 4
    assert [result["source"] for result in found["results"]] == [str(path)]
    assert [error["exit_code"] for error in found["errors"]] == [3, 3]
    assert err.count("\n") == 2
    assert cli.run(["probe", str(tmp_path / "missing.mp4")]) == 3
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("vidfer: error: ")
    assert "does not exist" in err
