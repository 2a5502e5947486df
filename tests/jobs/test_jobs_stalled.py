"""Units that hang: their workers are killed and replaced, and what makes progress is let alone, however slow."""

import gc
import multiprocessing
import os
import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import av
import pytest
from small_archive import CLIP, clip, definition, ledger, manifest

from vidfer.alive import count_in
from vidfer.errors import InputError
from vidfer.jobs import local, run
from vidfer.jobs.definition import read_definition
from vidfer.jobs.inputs import source_of
from vidfer.jobs.local import LocalExecutor
from vidfer.jobs.start import start_executor
from vidfer.jobs.units import Source, Task
from vidfer.jobs.worker import Setup, Worker
from vidfer.media.inputs import sha256_of
from vidfer.pipeline.options import ProcessOptions
from vidfer.pipeline.run import process_file

TASK = Task(source=Source(name="/x/a.mp4", identity="1"))


class Watched:
    """An executor with one pretended worker, and a clock that goes when told so."""

    def __init__(self, monkeypatch, stall_s):
        self.now, self.killed = 1000.0, 0
        monkeypatch.setattr(local, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(LocalExecutor, "_start", lambda _: None)
        self.executor = LocalExecutor("", workers=1, stall_s=stall_s)
        ours, self._theirs = multiprocessing.Pipe()
        self.worker = local._Process(self, ours, SimpleNamespace(value=0), ready=True)
        self.executor._all.append(self.worker)

    def kill(self):
        self.killed += 1

    def join(self, timeout):
        """Of a process that a dead disk holds: it does not end."""

    def look(self, seconds):
        """What comes back when the driver looks after some time."""
        self.now += seconds
        return self.executor.wait(0)


def test_a_task_that_makes_no_progress_comes_back_with_the_reason(monkeypatch):
    watched = Watched(monkeypatch, stall_s=600)
    watched.executor.submit(TASK)
    assert [watched.look(50) for _ in range(11)] == [[]] * 11
    (back,) = watched.look(50)
    assert (back.task, back.record) == (TASK, None)
    assert back.reason == "no progress for 600 s (executor.stall_s): its worker was ended"
    assert watched.killed == 1
    assert not watched.executor.pending


def test_any_progress_counts_and_what_has_nothing_to_do_does_not_hang(monkeypatch):
    watched = Watched(monkeypatch, stall_s=600)
    assert [watched.look(60) for _ in range(100)] == [[]] * 100
    watched.executor.submit(TASK)
    for _ in range(100):
        assert [watched.look(55) for _ in range(10)] == [[]] * 10
        watched.worker.signs.value += 1
    assert not watched.killed


def test_a_driver_that_was_stopped_itself_blames_no_worker(monkeypatch):
    watched = Watched(monkeypatch, stall_s=600)
    watched.executor.submit(TASK)
    assert watched.look(50_000) == []
    watched.worker.signs.value += 1
    assert watched.look(0.5) == []
    assert not watched.killed


class Stuck(Worker):
    """A real one, that waits for ever where a video is opened."""

    def __init__(self, setup):
        super().__init__(setup)
        from vidfer.media import reading

        pipe = setup.options.output_dir.parent / "pipe"
        reading.open_container = lambda _: pipe.open()


def test_a_worker_that_hangs_is_killed_and_its_video_failed_until_it_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "_TICK_S", 0.1)
    os.mkfifo(tmp_path / "pipe")
    clip(tmp_path / "videos" / "a.mp4")
    job = read_definition(definition(tmp_path, more="retries = 0\nstall_s = 1", workers=1))
    pids = []

    def start(job):
        setup = Setup(options=job.options)
        executor = LocalExecutor(setup, workers=1, stall_s=job.executor.stall_s, worker="test_jobs_stalled:Stuck")
        start = executor._start
        executor._start = lambda: (start(), pids.append(executor._all[-1].process))
        return executor

    assert dict(run.run_job(job, start).now) == {"failed": 1}
    assert [process.is_alive() for process in pids] == [False, False], "replaced, and neither is left behind"
    (row,) = manifest(job.folder).values()
    assert (row["state"], row["attempts"]) == ("failed", 1)
    assert row["reason"] == "no progress for 1 s (executor.stall_s): its worker was ended"
    assert sum("source" in line for line in ledger(job.folder)) == 1, "tried no more than it may be"
    assert not run.run_job(job, start).now, "nor in the next run"
    patient = replace(job, executor=replace(job.executor, stall_s=600))
    assert dict(run.run_job(patient, start_executor, again=["failed"]).now) == {"done": 1}


def signs_of(act):
    """How many signs of life an action gives."""
    counter = SimpleNamespace(value=0)
    count_in(counter)
    try:
        act()
    finally:
        count_in(SimpleNamespace(value=0))
    return counter.value


def test_reading_and_hashing_are_progress_also_where_nothing_is_analysed(tmp_path):
    options = ProcessOptions(output_dir=tmp_path, start="1.8", end="2", landmarks="none", render=False)
    found = []
    signs = signs_of(lambda: found.append(process_file(CLIP, options)))
    assert found[0].report["counts"]["analysed"] < 10
    assert signs > 45, "the frames before the first one that is analysed"
    big = tmp_path / "big"
    big.write_bytes(bytes(5 << 20))
    assert signs_of(lambda: sha256_of(big)) == 5


def test_no_picture_of_a_video_stays_in_memory_when_the_next_one_begins(tmp_path):
    own = read_definition(definition(tmp_path, options='end = "0.2"\nlandmarks = "none"'))
    run.Dataset(own.folder).agree_on("options", {})
    worker = Worker(Setup(options=own.options))
    before = pictures()
    for number in range(2):
        assert worker.work(Task(source=source_of(str(clip(tmp_path / f"{number}.mp4", number))))).state == "done"
    worker.close()
    assert pictures() <= before


def pictures():
    return sum(type(one) is av.VideoFrame for one in gc.get_objects())


def no_files(folder):
    """A pipe, a socket and a device."""
    folder.mkdir()
    os.mkfifo(folder / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as one:
        before = Path.cwd()
        os.chdir(folder)  # names of sockets are short
        one.bind("socket.mp4")
        os.chdir(before)
    (folder / "device.mp4").symlink_to("/dev/zero")
    return sorted(folder.iterdir())


def test_pipes_sockets_and_devices_are_rejected_unopened(tmp_path):
    clip(tmp_path / "videos" / "a.mp4")
    own = read_definition(definition(tmp_path))
    run.Dataset(own.folder).agree_on("options", {})
    worker = Worker(Setup(options=own.options))
    for path in no_files(tmp_path / "odd"):
        record = worker.work(Task(source=source_of(str(path))))
        said = f"{path} is no file but a pipe, a socket or a device: store the video in a file first"
        assert (record.state, record.reason) == ("rejected", said)
        with pytest.raises(InputError, match="is no file but a pipe"):
            process_file(path, replace(own.options, output_dir=tmp_path / "alone"))
    worker.close()
