"""Workers that are processes of this machine. One that dies or hangs is replaced, and only its task is lost."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType, TracebackType
from typing import cast

from vidfer.alive import Counter, count_in
from vidfer.errors import VidferError
from vidfer.jobs.cores import keep_to_cores
from vidfer.jobs.executor import STALL_S, WORKER, Crew, Finished, Works
from vidfer.jobs.units import Task
from vidfer.media.cores import available_cores

# A worker that is asked to end writes what it has analysed, which takes a moment; an idle one ends at once.
_END_S = 20.0
# A killed one ends at once, unless a disk that does not answer holds it.
_KILLED_S = 5.0
# In a row: some may be killed from outside, an installation that is broken kills all.
_MOST_STILLBORN = 10
_OWN_GROUP, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_SPAWN = multiprocessing.get_context("spawn")  # forks of a process with threads hang


def usual_workers(cores: int, memory_gb: float) -> int:
    """How many workers fit, by their cores and memory."""
    by_memory = available_memory() / (memory_gb * 1e9)
    return max(1, min(available_cores() // cores, int(by_memory)))


def available_memory() -> float:
    """Bytes that processes may still take, by the system and a container's limit; infinite where nobody tells."""
    found = [float("inf")]
    with suppress(OSError, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    return min([*found, *_left_in_groups()])


def _left_in_groups() -> Iterator[float]:
    """What is left in each group that limits this process: a container, a task of Slurm, those around it."""
    with suppress(OSError):
        own = next((line for line in _OWN_GROUP.read_text().splitlines() if line.startswith("0::/")), "0::/")
        folder = _GROUPS / own.removeprefix("0::/")
        for group in (folder, *folder.parents):
            with suppress(OSError, ValueError, KeyError):  # "max" is no number
                limit, used = (float((group / name).read_text()) for name in ("memory.max", "memory.current"))
                stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
                # Files that were read stay in memory, and count, until somebody needs it: after a while all of it.
                kept = int(stat["inactive_file"]) + int(stat["active_file"])
                yield max(0.0, limit - used + kept)


@dataclass(slots=True, eq=False)
class _Process:
    process: BaseProcess
    pipe: Connection
    signs: Counter
    ready: bool = False
    task: Task | None = None
    seen: int = 0  # of the signs
    quiet_s: float = 0.0


class LocalExecutor(Crew[_Process]):
    """A pool of processes.

    Args:
        setup: For the worker in each: a `vidfer.jobs.worker.Setup`.
        workers: How many.
        cores: Of each.
        stall_s: A worker whose task makes no progress for so long is killed.
        worker: What makes the worker from its setup.
    """

    def __init__(
        self, setup: object, *, workers: int, cores: int = 1, stall_s: float = STALL_S, worker: str = WORKER
    ) -> None:
        # As bytes: what it holds imports numpy, which looks at the environment once, when it is imported.
        self._setup = pickle.dumps(setup)
        self._cores, self._stall_s, self._worker, self.workers = cores, stall_s, worker, workers
        self._all: list[_Process] = []
        self._stillborn = 0
        self._looked = time.monotonic()

    def _start(self) -> None:
        ours, theirs = _SPAWN.Pipe()
        signs = cast(Counter, _SPAWN.RawValue("Q", 0))
        process = _SPAWN.Process(
            target=_serve, args=(theirs, signs, self._setup, self._cores, self._worker), name="vidfer-worker"
        )
        with _uninterrupted():
            process.start()
        theirs.close()
        self._all.append(_Process(process, ours, signs))

    def submit(self, task: Task) -> None:
        """Hand over a task."""
        one = self._free()
        one.task = task
        with suppress(OSError):  # it died just now: `wait` sees that
            one.pipe.send(task)

    def wait(self, timeout_s: float) -> Sequence[Finished]:
        """What came back."""
        heard = {id(pipe) for pipe in wait([one.pipe for one in self._all], timeout_s)}
        found: list[Finished] = []
        for one in [one for one in self._all if id(one.pipe) in heard]:
            try:
                word, value = one.pipe.recv()
            except (EOFError, OSError, pickle.UnpicklingError):
                found += self._bury(one)
                continue
            if word == "ready":
                one.ready, self._stillborn = True, 0
            elif word == "done":
                assert one.task is not None
                found.append(Finished(task=one.task, record=value))
                one.task = None
            else:
                raise value
        return found + self._end_stalled()

    def _bury(self, one: _Process) -> list[Finished]:
        """Replace a dead worker; its task comes back."""
        one.process.join()
        code = one.process.exitcode or 0
        why = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        hint = " (out of memory? fewer workers, or more executor.memory_gb)" if code == -9 else ""
        if not one.ready:
            self._stillborn += 1
            if self._stillborn >= _MOST_STILLBORN:
                raise VidferError(f"workers die while they start: the last one {why}{hint}")
        return self._replace(one, f"its worker {why}{hint}")

    def _end_stalled(self) -> list[Finished]:
        """Kill workers whose task makes no progress; their tasks come back."""
        now = time.monotonic()
        # Where this process was stopped itself (Ctrl-Z, a scheduler), so were the workers: that time does not count.
        passed, self._looked = min(now - self._looked, self._stall_s / 10), now
        stalled = []
        for one in self._all:
            is_quiet = one.task is not None and one.signs.value == one.seen
            one.seen, one.quiet_s = one.signs.value, one.quiet_s + passed if is_quiet else 0.0
            if one.quiet_s >= self._stall_s:
                stalled.append(one)
        found: list[Finished] = []
        for one in stalled:
            _kill(one.process)
            found += self._replace(one, f"no progress for {self._stall_s:g} s (executor.stall_s): its worker was ended")
        return found

    def _replace(self, one: _Process, reason: str) -> list[Finished]:
        one.pipe.close()
        self._all.remove(one)
        self._start()
        return [] if one.task is None else [Finished(task=one.task, reason=reason)]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self._all:
            if one.task is None:
                one.pipe.close()  # an idle worker that hears nothing more ends
            else:
                one.process.terminate()
        deadline = time.monotonic() + _END_S
        for one in self._all:
            one.process.join(max(0.0, deadline - time.monotonic()))
            if one.process.is_alive():
                _kill(one.process)
            one.pipe.close()
        self._all.clear()


def _kill(process: BaseProcess) -> None:
    process.kill()
    process.join(_KILLED_S)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back; processes that are started meanwhile inherit that, until they can say what it means to them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # which would end this when it starts
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class _Ended(KeyboardInterrupt):
    """Somebody wants this process to end: what is analysed is written on the way out."""


def _serve(pipe: Connection, signs: Counter, setup: bytes, cores: int, worker: str) -> None:
    """The life of a worker process."""
    over = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if not over.is_set():  # else it is on its way out, where nobody would catch it
            raise _Ended

    # Ctrl-C goes to all processes of a terminal: the driver decides. (It came here held back.)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Damage of single videos stands in their reports; without a handler warnings would run into the progress.
    logging.getLogger("vidfer").addHandler(logging.NullHandler())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    count_in(signs)
    with suppress(_Ended, EOFError, BrokenPipeError, ConnectionResetError):
        signal.signal(signal.SIGTERM, end)
        try:
            _take_tasks(pipe, setup, cores, worker)
        except VidferError as error:
            pipe.send(("failed", error))
        finally:
            over.set()


def _take_tasks(pipe: Connection, setup: bytes, cores: int, worker: str) -> None:
    """Work until nobody has a task any more."""
    keep_to_cores(cores)
    own = _made(worker, pickle.loads(setup))
    pipe.send(("ready", None))
    while True:
        pipe.send(("done", own.work(pipe.recv())))


def _made(name: str, setup: object) -> Works:
    """A worker, from the name "module:class" and what it has to know."""
    module, _, maker = name.partition(":")
    return cast(Works, getattr(importlib.import_module(module), maker)(setup))


def _end_with_parent() -> None:
    """A driver that was killed leaves no worker behind that nobody knows of, not even one that hangs."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_END_S)
        os._exit(1)
