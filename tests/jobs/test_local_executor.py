"""Processes of this machine as workers: what dies is replaced, what cannot start says why."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from patience import PATIENCE_S, until
from pretended import Worker as _  # noqa: F401 (the processes import it by its name)

from vidfer.errors import OutputError, VidferError
from vidfer.jobs import local
from vidfer.jobs.local import LocalExecutor, available_memory, usual_workers
from vidfer.jobs.units import Source, Task


def finished(executor, tasks):
    """All that comes back for some tasks."""
    tasks, found, deadline = list(tasks), [], time.monotonic() + PATIENCE_S
    while tasks or executor.pending:
        assert time.monotonic() < deadline
        while tasks and executor.room:
            executor.submit(tasks.pop(0))
        found += executor.wait(0.5)
    return found


def task(name, attempt=1):
    return Task(source=Source(name=f"/x/{name}", identity="1"), attempt=attempt)


def pool(setup="", workers=2, cores=1):
    return LocalExecutor(setup, workers=workers, cores=cores, worker="pretended:Worker")


def test_a_killed_worker_is_replaced_and_only_its_task_comes_back_undone():
    with pool(cores=3) as executor:
        found = finished(executor, [task(name) for name in ("a", "kill", "b", "c")])
        undone = [one for one in found if one.record is None]
        assert [one.task for one in undone] == [task("kill")]
        assert "killed by signal 9 (out of memory?" in undone[0].reason
        assert finished(executor, [task("kill", 2)])[0].record.state == "done"
    hosts = {one.record.host for one in found if one.record}
    assert str(os.getpid()) not in hosts
    assert {one.record.reason for one in found if one.record} == {"3"}, (
        "threads are limited before anything is imported"
    )


@pytest.mark.parametrize(
    ("setup", "kind", "text"), [("die", VidferError, "die while they start"), ("full", OutputError, "full")]
)
def test_workers_that_cannot_start_end_the_job(setup, kind, text):
    with pytest.raises(kind, match=text), pool(setup) as executor:
        finished(executor, [task("a")])


def test_a_full_disk_ends_the_job_instead_of_failing_every_source():
    with pytest.raises(OutputError, match="full"), pool(workers=1) as executor:
        finished(executor, [task("full")])


def test_ctrl_c_for_all_processes_of_a_terminal_ends_no_worker_not_even_one_that_starts(capfd):
    with pool(workers=1) as executor:
        (pid,) = (one.process.pid for one in executor._all)
        os.kill(pid, signal.SIGINT)
        (done,) = finished(executor, [task("a")])
        assert done.record.state == "done"
        os.kill(pid, signal.SIGINT)
        assert finished(executor, [task("b")])[0].record.state == "done"
        assert [one.process.pid for one in executor._all] == [pid]
    assert "Traceback" not in capfd.readouterr().err


LEAVING = """
import os, pickle, signal
from types import SimpleNamespace
from vidfer.jobs import local

def recv():
    raise EOFError

pipe = SimpleNamespace(send=lambda word: None, recv=recv)
local._serve(pipe, SimpleNamespace(value=0), pickle.dumps(""), 1, "pretended:Worker")
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_worker_on_its_way_out_says_nothing_when_it_is_told_to_end():
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    env = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", LEAVING], env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_a_worker_warns_of_does_not_run_into_the_progress(capfd):
    with pool(workers=1) as executor:
        assert finished(executor, [task("warn")])[0].record.state == "done"
    assert capfd.readouterr().err == ""


def test_leaving_it_stops_workers_that_are_busy(tmp_path):
    busy = tmp_path / "slow"
    with pool(workers=1) as executor:
        until(lambda: executor.wait(0.1) or executor.room)
        executor.submit(Task(source=Source(name=str(busy), identity="1"), attempt=1))
        until(lambda: busy.exists() and busy.read_text() == "begun")
        (pid,) = (one.process.pid for one in executor._all)
    assert busy.read_text() == "begun"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_as_many_workers_as_cores_and_memory_allow():
    assert usual_workers(1, 1e-9) == max(1, len(os.sched_getaffinity(0)))
    assert usual_workers(10_000, 1e-9) == 1
    assert usual_workers(1, 1e9) == 1
    assert available_memory() > 1e6


def test_what_a_container_has_read_is_no_memory_that_is_taken(tmp_path, monkeypatch):
    """A limit counts for all groups below it; the files that a job has read fill it after a while."""
    own = tmp_path / "slurm" / "task"
    own.mkdir(parents=True)
    (tmp_path / "own").write_text("1:cpu:/x\n0::/slurm/task\n")
    (own / "memory.max").write_text("max\n")
    (own.parent / "memory.max").write_text("4000000\n")
    for group in (own, own.parent):
        (group / "memory.current").write_text("3900000\n")
        (group / "memory.stat").write_text("anon 900000\ninactive_file 2000000\nactive_file 1000000\n")
    monkeypatch.setattr(local, "_OWN_GROUP", tmp_path / "own")
    monkeypatch.setattr(local, "_GROUPS", tmp_path)
    assert available_memory() == 3_100_000
