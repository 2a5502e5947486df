"""Somebody else changes the video, the folder or the disk while `process` runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import kill
import pyarrow.parquet as pq
import pytest
from faulty import ALL, FRAMES, NAME, PARTS, FastModels, contents, names, process

from vidfer.cli import app as cli
from vidfer.cli import progress as cli_progress
from vidfer.errors import InputError, OutputError, one_line
from vidfer.media.reading import Reading
from vidfer.pipeline import batch, fingerprint, resume
from vidfer.pipeline.fingerprint import Fingerprint
from vidfer.pipeline.results import Progress
from vidfer.vision.track import FaceTracker

pytestmark = pytest.mark.usefixtures("small_parts_in_time")


def once(stage: str, action: Callable[[], object]) -> Callable[[Progress], None]:
    """Do it once, a third of the way through a stage."""
    todo = [action]

    def progress(moment: Progress) -> None:
        if todo and moment.stage == stage and (stage == "finish" or moment.frames_done > FRAMES // 3):
            todo.pop()()

    return progress


def again(clip: Path, folder: Path, reference: Path) -> None:
    """The same command, with the video as it was."""
    process(clip, folder)
    different = [text for text in kill.differences(folder, reference) if "source_modified_utc" not in text]
    assert different == []
    assert names(folder) == ALL


def cut_off(video: Path) -> None:
    os.truncate(video, video.stat().st_size // 2)


def extend(video: Path) -> None:
    with video.open("ab") as file:
        file.write(b"more")


def exchange(video: Path) -> None:
    other = video.with_name("other")
    other.write_bytes(video.read_bytes()[::-1])
    other.replace(video)


@pytest.mark.parametrize("change", [cut_off, extend, exchange])
def test_a_video_that_changes_while_it_is_analysed(change: Any, clip: Path, reference: Path, tmp_path: Path) -> None:
    """Nothing says which bytes were read, so nothing of it is kept."""
    video, out = tmp_path / clip.name, tmp_path / "out"
    shutil.copy(clip, video)
    with pytest.raises(InputError, match="changed while it was read: run again when it is complete"):
        process(video, out, once("analyse", lambda: change(video)))
    assert not list(out.iterdir())
    shutil.copy(clip, video)
    again(video, out, reference)


def touch(video: Path) -> None:
    os.utime(video, (1, 1))


@pytest.mark.parametrize("stage", ["analyse", "finish", "render"])
def test_a_video_that_is_only_touched(
    stage: str, clip: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its content is still the one that was read."""
    video, out = tmp_path / clip.name, tmp_path / "out"
    shutil.copy(clip, video)
    begin = Fingerprint.begin
    monkeypatch.setattr(Fingerprint, "begin", lambda source: (begin(source), source._worker.wait())[0])
    assert process(video, out, once(stage, lambda: touch(video))).state == "done"
    assert process(video, out).state == "already done"
    again(video, out, reference)


def test_a_video_that_changes_before_it_is_hashed(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash may be that of other bytes than were decoded."""
    video = tmp_path / clip.name
    shutil.copy(clip, video)
    original = fingerprint.sha256_of

    def late(*args: Any, **options: Any) -> str | None:
        touch(video)
        return original(*args, **options)

    monkeypatch.setattr(fingerprint, "sha256_of", late)
    with Fingerprint(video) as source:
        source.begin()
        with pytest.raises(InputError, match="changed while it was read"):
            source.check()
        assert source.as_dict()["sha256"] is None


@pytest.mark.parametrize("stage", ["analyse", "render"])
def test_a_video_that_is_removed(stage: str, clip: Path, reference: Path, tmp_path: Path) -> None:
    """Whoever has it open reads it to its end; what is left to do is done when it is back."""
    video, out = tmp_path / clip.name, tmp_path / "out"
    shutil.copy(clip, video)
    progress = once(stage, video.unlink)
    if stage == "render":
        process(video, out, progress)
    else:
        with pytest.raises(InputError, match="does not exist") as caught:
            process(video, out, progress)
        assert "all frames are analysed" in one_line(caught.value)
        assert names(out) == ALL - {f"{NAME}.annotated.mp4", f"{NAME}.run.json"} | {PARTS}
    shutil.copy(clip, video)
    again(video, out, reference)


@pytest.mark.parametrize("stage", ["analyse", "finish"])
@pytest.mark.parametrize("gone", ["folder", "parts", "first part", "last part"])
def test_a_folder_that_is_removed(gone: str, stage: str, clip: Path, reference: Path, tmp_path: Path) -> None:
    """What was lost is analysed again; what comes after it is never taken for the beginning."""
    out = tmp_path / "out"

    def remove() -> None:
        parts = sorted((out / PARTS).glob("part-*.parquet"))
        if gone.endswith("part"):
            parts[0 if gone == "first part" else -1].unlink()
        else:
            shutil.rmtree(out if gone == "folder" else out / PARTS)

    with pytest.raises((InputError, OutputError)):
        process(clip, out, once(stage, remove))
    again(clip, out, reference)


def flip(part: Path) -> None:
    """Twenty bytes of the largest column, which a disk gives back wrongly."""
    meta = pq.ParquetFile(part).metadata.row_group(0)
    column = max((meta.column(i) for i in range(meta.num_columns)), key=lambda c: c.total_compressed_size)
    begin = column.data_page_offset + column.total_compressed_size // 2
    content = bytearray(part.read_bytes())
    content[begin : begin + 20] = bytes(byte ^ 0x55 for byte in content[begin : begin + 20])
    part.write_bytes(content)


@pytest.mark.parametrize("which", [0, 1, -1])
@pytest.mark.parametrize("stage", ["analyse", "finish", "finish again"])
def test_a_disk_that_gives_back_other_bytes(
    stage: str, which: int, clip: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of an interrupted run, and those of this one: nothing wrong gets into a table."""
    monkeypatch.setattr(resume, "_PART_ROWS", 2)

    def damage() -> None:
        parts = sorted((tmp_path / PARTS).glob("part-*.parquet"))
        assert len(parts) > 2
        flip(parts[which])

    def stop() -> None:
        raise RuntimeError

    if stage == "finish" and which == -1:  # as after a power cut: only this part is made again, by the next run
        with pytest.raises(InputError, match="removed or damaged: run again"):
            process(clip, tmp_path, once("finish", damage))
        assert process(clip, tmp_path).state == "resumed"
    elif stage == "finish":
        process(clip, tmp_path, once("finish", damage))
    else:
        with pytest.raises(RuntimeError):
            process(clip, tmp_path, once(stage.split()[0], stop))
        damage()
        process(clip, tmp_path)
    assert kill.differences(tmp_path, reference) == []
    assert names(tmp_path) == ALL


def mounts(folder: Path) -> bool:
    """Whether file systems may be mounted here."""
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if not sys.platform.startswith("linux") or shutil.which("mount") is None or os.geteuid() != 0:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], None] | None]:
    """A disk of its own under `disk`, and what sets its options; None where that is not allowed."""
    (disk := tmp_path / "disk").mkdir()
    if not mounts(disk):
        warnings.warn("NOT TESTED ON A REAL DISK: no file system may be mounted here (root on Linux may)", stacklevel=1)
        yield None
        return
    try:
        yield lambda how: (subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True), None)[1]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("room_kb", [0, 8, 48, 80, 96])
def test_a_disk_that_runs_full(
    room_kb: int, overwrite: bool, clip: Path, reference: Path, tmp_path: Path, small_disk: Callable[[str], None] | None
) -> None:
    """A disk that is really full; where none may be mounted, writers that fail (test_process_faults) have to do."""
    if small_disk is None:
        return
    out = tmp_path / "disk" / "out"
    if overwrite:
        shutil.copytree(reference, out)
    else:
        out.mkdir()
    before = contents(out)
    used_kb = sum(path.stat().st_blocks for path in out.iterdir()) // 2
    small_disk(f"size={used_kb + room_kb + 4}k")
    with pytest.raises(OutputError, match="No space left on device"):
        process(clip, out, overwrite=overwrite)
    assert not list(out.rglob("*.part"))
    replaced = {name for name, content in before.items() if contents(out).get(name) != content}
    assert not replaced or contents(out).keys() >= {f"{NAME}.parquet", f"{NAME}.tracks.parquet"}
    small_disk("size=4m")
    process(clip, out, overwrite=overwrite)
    assert kill.differences(out, reference) == []
    assert names(out) == ALL


def test_a_disk_that_becomes_read_only(
    clip: Path, reference: Path, tmp_path: Path, small_disk: Callable[[str], None] | None
) -> None:
    if small_disk is None:
        return
    out = tmp_path / "disk" / "out"
    shutil.copytree(reference, out)
    small_disk("ro")
    try:
        assert process(clip, out).state == "already done"
        with pytest.raises(OutputError, match="Read-only file system"):
            process(clip, out, overwrite=True)
        with pytest.raises(OutputError, match="Read-only file system"):
            process(clip, out / "below")
    finally:
        small_disk("rw")
    assert contents(out) == contents(reference)


@pytest.mark.parametrize("slow", ["decoder", "tracker", "progress"])
def test_a_slow_stage(slow: str, clip: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **options: (time.sleep(0.01), function(*args, **options))[1]

    if slow == "decoder":
        frames = Reading.frames
        monkeypatch.setattr(Reading, "frames", lambda *a: (f for f in frames(*a) if time.sleep(0.01) is None))
    if slow == "tracker":
        monkeypatch.setattr(FaceTracker, "update", slowly(FaceTracker.update))
    process(clip, tmp_path, slowly(lambda _: None) if slow == "progress" else None)
    assert kill.differences(tmp_path, reference) == []


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError("no more"), 1, "MemoryError: no more"),
        (RuntimeError("two\nlines"), 1, "RuntimeError: two lines"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=str,
)
def test_the_command_says_it_in_one_line(
    error: BaseException, code: int, words: str, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(batch, "Models", FastModels)
    monkeypatch.setattr(FaceTracker, "update", fail)
    assert cli.run(["process", str(clip), "-o", str(tmp_path)]) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err


def test_nobody_reads_the_progress(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    read, write = os.pipe()
    os.close(read)
    with suppress(BrokenPipeError), os.fdopen(write, "w") as closed:
        monkeypatch.setattr(sys, "stderr", closed)
        monkeypatch.setattr(cli_progress, "_SPARSE_S", 0.0)
        monkeypatch.setattr(batch, "Models", FastModels)
        assert cli.run(["process", str(clip), "-o", str(tmp_path)]) == 0
    assert names(tmp_path) == ALL
