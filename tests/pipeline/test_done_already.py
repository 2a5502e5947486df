"""Results that are there already: kept as they are, made again where they are not whole, never those of others."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

import vidfer
from vidfer.pipeline import batch, resmooth
from vidfer.vision.face import FaceNetwork

sys.path.insert(0, str(Path(__file__).parents[1]))
import kill

CLIP = Path(__file__).parents[2] / "examples" / "two_faces.mp4"
SHORT = {"end": "1.2", "render": False, "landmarks": "none"}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A second of it."""
    folder = tmp_path_factory.mktemp("reference")
    vidfer.process(CLIP, output_dir=folder, **SHORT)
    return folder


def refuse(*_):
    raise AssertionError("analysed again")


def outcomes(inputs, folder, **options):
    return list(batch.process_many(inputs, vidfer.ProcessOptions(output_dir=folder, **{**SHORT, **options})))


def test_a_fault_of_ours_does_not_stop_the_others(tmp_path, monkeypatch):
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(CLIP, tmp_path / name)
    process_file = batch.process_file

    def breaks(path, *args, **keywords):
        if path.name == "a.mp4":
            raise RecursionError("too deep")
        return process_file(path, *args, **keywords)

    monkeypatch.setattr(batch, "process_file", breaks)
    (empty := tmp_path / "empty").mkdir()
    first, second, third = outcomes([tmp_path / "a.mp4", empty, tmp_path / "b.mp4"], tmp_path / "out", end="0.4")
    assert first[0] == empty
    assert "is a folder without videos or photos: known are .3gp" in str(first[1])
    assert ".tiff .webp; name other files" in str(first[1])
    assert second[0] == tmp_path / "a.mp4"
    assert "RecursionError: too deep" in str(second[1])
    assert third.state == "done"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"source": 1}', "null"])
def test_a_damaged_report_is_made_again_from_the_tables(tmp_path, reference, monkeypatch, content):
    folder = shutil.copytree(reference, tmp_path / "out")
    report = json.loads((folder / "two_faces.run.json").read_text())
    (folder / "two_faces.run.json").write_text(content)
    monkeypatch.setattr(FaceNetwork, "analyse", refuse)
    (outcome,) = outcomes([CLIP], folder)
    assert outcome.state == "already done"
    again = json.loads((folder / "two_faces.run.json").read_text())
    assert again == outcome.report
    assert {key: again[key] for key in ("counts", "config_sha256", "outputs")} == {
        key: report[key] for key in ("counts", "config_sha256", "outputs")
    }
    assert "lost" in again["warnings"][-1]


@pytest.mark.parametrize("lost", ["two_faces.tracks.parquet", "two_faces.parquet"])
def test_tables_that_lack_one_are_made_again(tmp_path, reference, lost):
    folder = shutil.copytree(reference, tmp_path / "out")
    (folder / lost).unlink()
    (outcome,) = outcomes([CLIP], folder)
    assert outcome.state == "done"
    assert kill.differences(folder, reference) == []


def test_done_files_are_not_hashed_unless_in_doubt(tmp_path, monkeypatch):
    clip = tmp_path / "v.mp4"
    shutil.copy(CLIP, clip)
    outcomes([clip], tmp_path, end="0.4")
    hashed = []

    def noted(*given, **named):
        hashed.append(given)
        return original(*given, **named)

    from vidfer.pipeline import fingerprint

    original = fingerprint.sha256_of
    monkeypatch.setattr(fingerprint, "sha256_of", noted)
    assert outcomes([clip], tmp_path, end="0.4")[0].state == "already done"
    assert hashed == []
    os.utime(clip, (1, 1))
    assert outcomes([clip], tmp_path, end="0.4")[0].state == "already done"
    assert len(hashed) == 1
    content = clip.read_bytes()
    clip.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    ((_, error),) = outcomes([clip], tmp_path, end="0.4")
    assert "another video" in str(error)


def test_results_of_another_video_are_not_replaced_under_any_name(tmp_path):
    for name in ("v.mp4", "v.tracks.mp4"):
        shutil.copy(CLIP, tmp_path / name)
    with (tmp_path / "v.mp4").open("ab") as file:
        file.write(b"\0" * 16)
    outcomes([tmp_path / "v.tracks.mp4"], tmp_path / "out", end="0.4")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    ((_, error),) = outcomes([tmp_path / "v.mp4"], tmp_path / "out", end="0.4")
    assert "v.tracks.parquet is there already, made with another video" in str(error)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    (tmp_path / "out2").mkdir()
    (tmp_path / "out2" / "v.annotated.mp4").write_bytes(b"a film of somebody")
    ((_, error),) = outcomes([tmp_path / "v.mp4"], tmp_path / "out2", end="0.4", render=True)
    assert "v.annotated.mp4 is there already" in str(error)


def test_a_video_that_no_report_lists_is_the_users(tmp_path):
    """Drawn with `vidfer render`, say: neither taken for the run's nor removed."""
    outcomes([CLIP], tmp_path, end="0.4")
    film, report = tmp_path / "two_faces.annotated.mp4", tmp_path / "two_faces.run.json"
    film.write_bytes(b"the user's")
    ((_, error),) = outcomes([CLIP], tmp_path, end="0.4", render=True)
    assert "two_faces.annotated.mp4 is there already and no report says" in str(error)
    outcomes([CLIP], tmp_path, end="0.4", overwrite=True)
    report.unlink()
    assert outcomes([CLIP], tmp_path, end="0.4")[0].state == "already done"
    assert film.name not in json.loads(report.read_text())["outputs"]
    resmooth.smooth_table(tmp_path / "two_faces.parquet", "strong")
    assert film.read_bytes() == b"the user's"
    film.unlink()
    (outcome,) = outcomes([CLIP], tmp_path, end="0.4", render=True, smooth="strong")
    assert (outcome.state, film.exists()) == ("already done", True)
    assert film.name in json.loads(report.read_text())["outputs"]
    outcomes([CLIP], tmp_path, end="0.4", overwrite=True)
    assert not film.exists()
