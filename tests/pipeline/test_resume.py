"""An interrupted run goes on, and nobody can see it in the results."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import av
import filelock
import pyarrow.parquet as pq
import pytest

import vidfer
from vidfer.errors import OutputError, UsageError
from vidfer.pipeline import looking, resume
from vidfer.vision.face import FaceNetwork

sys.path.insert(0, str(Path(__file__).parents[1]))
import kill

CLIP = Path(__file__).parents[2] / "examples" / "two_faces.mp4"
SHORT = {"end": "1.2", "render": False, "landmarks": "none"}
PARTS = ".two_faces.vidfer"
NAMES = {"two_faces.parquet", "two_faces.tracks.parquet", "two_faces.run.json"}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A second, never interrupted."""
    folder = tmp_path_factory.mktemp("reference")
    vidfer.process(CLIP, output_dir=folder, **SHORT)
    return folder


@pytest.fixture
def small_parts(monkeypatch):
    """A part after every interval."""
    monkeypatch.setattr(resume, "_PART_S", 0.0)


class StopError(Exception):
    """What a test raises inside a run."""


def stop_at(frame, stage="analyse", error=StopError):
    def progress(moment):
        if moment.stage == stage and moment.frames_done >= frame:
            raise error

    return progress


def interrupt(folder, frame=20, stage="analyse", error=StopError, **options):
    with pytest.raises(error) as caught:
        vidfer.process(CLIP, output_dir=folder, progress=stop_at(frame, stage, error), **{**SHORT, **options})
    return caught.value


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("frame", "error"), [(1, StopError), (6, KeyboardInterrupt), (17, StopError), (30, KeyboardInterrupt)]
)
def test_the_same_call_goes_on_after_an_error_at_any_frame(tmp_path, reference, small_parts, frame, error):
    raised = interrupt(tmp_path, frame, error=error)
    (note,) = raised.__notes__
    assert "the same command goes on" in note
    assert names(tmp_path) == {PARTS}
    result = vidfer.process(CLIP, output_dir=tmp_path, **SHORT)
    assert result.state == "resumed"
    assert result.report["timings"]["resumed_frames"] >= frame
    assert kill.differences(tmp_path, reference) == []


def remux(source, destination):
    """Matroska can be cut off and damaged anywhere."""
    with av.open(str(source)) as theirs, av.open(str(destination), "w") as ours:
        stream = ours.add_stream_from_template(theirs.streams.video[0])
        for packet in theirs.demux(theirs.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                ours.mux(packet)


def cut_off(content):
    return content[: len(content) * 7 // 10]


def flipped(content):
    chance = random.Random(5)
    damaged = bytearray(content)
    for _ in range(60):
        damaged[chance.randrange(len(content) // 4, len(content) * 3 // 4)] ^= 1 << chance.randrange(8)
    return bytes(damaged)


@pytest.mark.parametrize(
    ("damage", "options"),
    [
        (cut_off, {"fps": 6}),
        (flipped, {"stride": 5}),
        (bytes, {"start": "1", "end": "60f"}),
        (bytes, {"fps": 7, "end": "3"}),
    ],
)
def test_counts_and_warnings_are_those_of_an_uninterrupted_run(tmp_path, small_parts, damage, options):
    clip = tmp_path / "two_faces.mkv"
    remux(CLIP, clip)
    clip.write_bytes(damage(clip.read_bytes()))
    options = {"render": False, "landmarks": None, **options}
    vidfer.process(clip, output_dir=tmp_path / "reference", **options)
    for frame in (35, 50, 90):
        with suppress(StopError):
            vidfer.process(clip, output_dir=tmp_path / "out", progress=stop_at(frame), **options)
    report = vidfer.process(clip, output_dir=tmp_path / "out", **options).report
    assert report["timings"]["resumed_frames"] > 0
    assert kill.differences(tmp_path / "out", tmp_path / "reference") == []
    assert bool(report["warnings"]) == (damage is not bytes)


def test_many_interruptions_in_a_row(tmp_path, reference):
    for frame in (5, 12, 12, 26):
        interrupt(tmp_path, frame)
    assert vidfer.process(CLIP, output_dir=tmp_path, **SHORT).state == "resumed"
    assert kill.differences(tmp_path, reference) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_going_on_with_another_number_of_threads(tmp_path, reference, monkeypatch, workers):
    interrupt(tmp_path, 12)
    monkeypatch.setattr(looking, "available_cores", lambda: workers)
    vidfer.process(CLIP, output_dir=tmp_path, **SHORT)
    assert kill.differences(tmp_path, reference) == []


@pytest.mark.parametrize("stage", ["finish", "render"])
def test_what_is_analysed_is_not_analysed_again(tmp_path, monkeypatch, stage):
    options = {**SHORT, "end": "0.4", "render": True}
    whole = vidfer.process(CLIP, output_dir=tmp_path / "whole", **options)
    out = tmp_path / "out"
    interrupt(out, 0, stage, **options)
    assert not list(out.glob("*.mp4*"))
    monkeypatch.setattr(FaceNetwork, "analyse", refuse)
    result = vidfer.process(CLIP, output_dir=out, **options)
    assert result.state == "resumed"
    assert kill.differences(out, tmp_path / "whole") == []
    assert result.report["counts"] == whole.report["counts"]


def test_what_a_killed_run_was_writing_goes_even_if_nothing_more_is_written_there(tmp_path):
    options = {**SHORT, "end": "0.4"}
    interrupt(tmp_path, 0, "render", **{**options, "render": True})
    (tmp_path / "two_faces.annotated.mp4.part").write_bytes(b"half a video")
    assert vidfer.process(CLIP, output_dir=tmp_path, **options).state == "resumed"
    assert names(tmp_path) == NAMES


def test_a_run_that_was_killed_at_its_very_end_is_done(tmp_path, reference, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(resume.shutil, "rmtree", lambda *_, **__: None)
        vidfer.process(CLIP, output_dir=tmp_path, **SHORT)
    assert names(tmp_path) == {PARTS, *NAMES}
    assert vidfer.process(CLIP, output_dir=tmp_path, **SHORT).state == "already done"
    assert kill.differences(tmp_path, reference) == []


def refuse(*_):
    raise AssertionError("the face network must not run")


@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_a_part_that_a_power_cut_damaged_is_analysed_again(tmp_path, reference, small_parts, keep):
    interrupt(tmp_path, 22)
    last = sorted((tmp_path / PARTS).glob("part-*.parquet"))[-1]
    content = last.read_bytes()
    last.write_bytes(content[: int(keep * len(content))])
    vidfer.process(CLIP, output_dir=tmp_path, **SHORT)
    assert kill.differences(tmp_path, reference) == []


def test_parts_of_which_one_is_lost_are_discarded(tmp_path, reference, small_parts):
    interrupt(tmp_path, 22)
    sorted((tmp_path / PARTS).glob("part-*.parquet"))[1].unlink()
    assert vidfer.process(CLIP, output_dir=tmp_path, **SHORT).state == "done"
    assert kill.differences(tmp_path, reference) == []


def test_faces_that_do_not_fit_together_are_discarded(tmp_path, reference, small_parts):
    interrupt(tmp_path, 22)
    shutil.copy(*(tmp_path / PARTS / f"part-00000{n}.parquet" for n in (3, 1)))
    assert vidfer.process(CLIP, output_dir=tmp_path, **SHORT).state in ("done", "resumed")
    assert pq.read_table(tmp_path / "two_faces.parquet")["frame"].to_pylist() != []


@pytest.mark.parametrize("other", [{"smooth": "off"}, {"landmarks": 68}])
def test_parts_made_otherwise_are_never_mixed_in(tmp_path, reference, caplog, other):
    interrupt(tmp_path, 12, **other)
    caplog.set_level(logging.INFO, "vidfer")
    assert vidfer.process(CLIP, output_dir=tmp_path, **SHORT).state == "done"
    assert "discarded" in caplog.text
    assert kill.differences(tmp_path, reference) == []


def test_parts_of_another_version_are_never_mixed_in(tmp_path, reference, monkeypatch):
    monkeypatch.setattr(vidfer, "__version__", "0.0.1")
    interrupt(tmp_path, 12)
    monkeypatch.undo()
    assert vidfer.process(CLIP, output_dir=tmp_path, **SHORT).state == "done"
    assert kill.differences(tmp_path, reference) == []


def test_parts_of_another_video_are_never_mixed_in(tmp_path, small_parts):
    clip = tmp_path / "two_faces.mp4"
    shutil.copy(CLIP, clip)
    with pytest.raises(StopError):
        vidfer.process(clip, output_dir=tmp_path, progress=stop_at(12), **SHORT)
    with clip.open("ab") as file:
        file.write(b"\0" * 16)
    assert vidfer.process(clip, output_dir=tmp_path, **SHORT).state == "done"


def test_a_copy_of_the_video_goes_on_too(tmp_path, small_parts):
    clip = tmp_path / "two_faces.mp4"
    shutil.copy(CLIP, clip)
    with pytest.raises(StopError):
        vidfer.process(clip, output_dir=tmp_path, progress=stop_at(22), **SHORT)
    os.utime(clip, (1, 1))
    assert vidfer.process(clip, output_dir=tmp_path, **SHORT).state == "resumed"


def test_results_that_are_there_are_refused_though_parts_would_fit(tmp_path, reference):
    folder = shutil.copytree(reference, tmp_path / "out")
    interrupt(folder, 12, smooth="off", overwrite=True)
    with pytest.raises(UsageError, match="smooth") as caught:
        vidfer.process(CLIP, output_dir=folder, **{**SHORT, "smooth": "off"})
    assert not hasattr(caught.value, "__notes__")
    assert vidfer.process(CLIP, output_dir=folder, overwrite=True, **{**SHORT, "smooth": "off"}).state == "resumed"
    assert names(folder) == NAMES


def test_two_at_once_are_refused(tmp_path):
    (tmp_path / PARTS).mkdir()
    with filelock.FileLock(tmp_path / PARTS / "lock"), pytest.raises(OutputError, match="in use") as caught:
        vidfer.process(CLIP, output_dir=tmp_path, **SHORT)
    assert "\n" not in str(caught.value)


def test_nothing_stays_when_nothing_was_analysed(tmp_path):
    with pytest.raises(vidfer.InputError, match="has no frame from 60"):
        vidfer.process(CLIP, output_dir=tmp_path, start="1:00", render=False)
    assert names(tmp_path) == set()


def test_a_full_disk_keeps_what_is_analysed(tmp_path, reference, small_parts, monkeypatch):
    written, fsync = [], os.fsync

    def full(descriptor):
        written.append(descriptor)
        if len(written) > 10:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device") as caught:
        vidfer.process(CLIP, output_dir=tmp_path, **SHORT)
    assert "the same command goes on at frame" in vidfer.errors.one_line(caught.value)
    monkeypatch.undo()
    assert vidfer.process(CLIP, output_dir=tmp_path, **SHORT).state == "resumed"
    assert kill.differences(tmp_path, reference) == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_three_kills_at_random_moments(tmp_path):
    chance = random.Random(7)
    options = ["--landmarks", "none", "--end", "3"]
    assert kill.run(CLIP, tmp_path / "reference", *options).returncode == 0
    for most, stage in ((25, "analyse"), (25, "analyse"), (40, "render")):
        moment = kill.Moment(stage=stage, frames=chance.randrange(most), delay_s=chance.uniform(0, 0.1))
        assert kill.run(CLIP, tmp_path / "out", *options, moment=moment).returncode == -signal.SIGKILL
    assert kill.run(CLIP, tmp_path / "out", *options).returncode == 0
    assert kill.differences(tmp_path / "out", tmp_path / "reference") == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_cleanly_and_says_how_to_go_on(tmp_path, reference, number, code):
    chance = random.Random(code)
    options = ["--landmarks", "none", "--no-render", "--end", "1.2"]
    moment = kill.Moment(frames=chance.randrange(1, 15), delay_s=chance.uniform(0, 0.02))
    ended = kill.run(CLIP, tmp_path, *options, moment=moment, number=number)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("vidfer: interrupted (")
    assert "the same command goes on" in ended.stderr
    assert names(tmp_path) == {PARTS}
    assert not list(tmp_path.rglob("*.part"))
    assert kill.run(CLIP, tmp_path, *options).returncode == 0
    assert kill.differences(tmp_path, reference) == []


def test_a_folder_that_cannot_be_written_is_known_before_analysis(tmp_path, monkeypatch):
    (tmp_path / PARTS).touch()
    monkeypatch.setattr(FaceNetwork, "analyse", refuse)
    with pytest.raises(OutputError, match="cannot write"):
        vidfer.process(CLIP, output_dir=tmp_path, **SHORT)


def test_the_script_says_what_differs(reference, tmp_path):
    other = shutil.copytree(reference, tmp_path / "other")
    assert kill.differences(other, reference) == []
    vidfer.process(CLIP, output_dir=other, overwrite=True, **{**SHORT, "smooth": "off"})
    assert kill.differences(other, reference)
    assert subprocess.run([sys.executable, kill.__file__, "--help"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("after", ["mkdir", "lock"])
def test_ctrl_c_while_the_folder_is_made_leaves_nothing(tmp_path, monkeypatch, after):
    journal = resume.Journal(tmp_path / ".v.vidfer", {}, None)
    real = journal._lock.acquire

    def interrupted(**options):
        monkeypatch.undo()
        if after == "lock":
            real(**options)
        raise KeyboardInterrupt

    monkeypatch.setattr(journal._lock, "acquire", interrupted)
    with pytest.raises(KeyboardInterrupt), journal:
        pass
    assert list(tmp_path.iterdir()) == []
