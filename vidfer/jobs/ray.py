"""Workers that are actors of a Ray cluster. Everything that vidfer knows of Ray stands here."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from vidfer.errors import UsageError, VidferError
from vidfer.jobs.executor import STALL_S, WORKER, Crew, Finished
from vidfer.jobs.local import LocalExecutor
from vidfer.jobs.units import Task

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
except ImportError:
    raise UsageError("executor.kind is 'ray', which is not installed: pip install 'vidfer[ray]'") from None

_MOST_STILLBORN = 10  # in a row, as in jobs/local.py
_TICK_S = 1.0
_ANSWER_S = 10.0


class _Actor:
    """A place for a worker in the cluster: a pool of one process, which knows why that died and when it hangs."""

    def __init__(self, setup: object, cores: int, stall_s: float, worker: str) -> None:
        self._pool = LocalExecutor(setup, workers=1, cores=cores, stall_s=stall_s, worker=worker).__enter__()

    def ready(self) -> None:
        """Answers once the networks are loaded."""
        while not self._pool.room:
            self._pool.wait(_TICK_S)

    def work(self, task: Task) -> Finished:
        """Do a task."""
        self.ready()  # its process may be a new one
        self._pool.submit(task)
        while not (found := self._pool.wait(_TICK_S)):
            pass
        return found[0]


@dataclass(slots=True, eq=False)
class _Held:
    actor: Any
    answer: Any  # what is waited for: that it is ready, or its task
    ready: bool = False
    task: Task | None = None


class RayExecutor(Crew[_Held]):
    """Actors of a cluster, each with a process that has the networks loaded.

    Those that the cluster has no room for wait for a machine that joins; one that dies, or whose machine does, is
    replaced.

    Args:
        setup: For the worker in each: a `vidfer.jobs.worker.Setup`.
        workers: How many; None for as many as the cluster has room for now.
        cores: Of each.
        gpus: Of each.
        memory_gb: Of each.
        address: Of the cluster; None: that of RAY_ADDRESS, or a cluster of this machine alone.
        stall_s: A worker whose task makes no progress for so long is killed.
        worker: What makes the worker from its setup.
    """

    def __init__(
        self,
        setup: object,
        *,
        workers: int | None = None,
        cores: int = 1,
        gpus: float = 0.0,
        memory_gb: float = 1.0,
        address: str | None = None,
        stall_s: float = STALL_S,
        worker: str = WORKER,
    ) -> None:
        self._began_ray = not ray.is_initialized()
        if self._began_ray:
            _begin_ray(address)
        self._cores, self._gpus, self._memory_gb = cores, gpus, memory_gb
        self.workers = workers if workers is not None else self._usual_workers()
        self._setup, self._stall_s, self._name = ray.put(setup), stall_s, worker
        self._all: list[_Held] = []
        self._stillborn = 0

    def _usual_workers(self) -> int:
        there = ray.cluster_resources()
        limits = [there.get("CPU", 0) / self._cores, there.get("memory", 0) / (self._memory_gb * 1e9)]
        limits += [there.get("GPU", 0) / self._gpus] if self._gpus else []
        return max(1, int(min(limits)))

    def _start(self) -> None:
        needs = {"num_cpus": self._cores, "num_gpus": self._gpus, "memory": int(self._memory_gb * 1e9)}
        actor = ray.remote(**needs)(_Actor).remote(self._setup, self._cores, self._stall_s, self._name)
        self._all.append(_Held(actor, actor.ready.remote()))

    def submit(self, task: Task) -> None:
        """Hand over a task."""
        one = self._free()
        one.task, one.answer = task, one.actor.work.remote(task)

    def wait(self, timeout_s: float) -> Sequence[Finished]:
        """What came back."""
        waiting = [one.answer for one in self._all if one.answer is not None]
        answered, _ = ray.wait(waiting, num_returns=1, timeout=timeout_s)
        found: list[Finished] = []
        for one in [one for one in self._all if one.answer in answered]:
            try:
                answer = ray.get(one.answer)
            except RayTaskError as error:
                raise _cause(error) from None
            except RayError as error:  # it died, or its machine, or there was no memory for it
                found += self._replace(one, error)
                continue
            one.answer = None
            if one.task is None:
                one.ready, self._stillborn = True, 0
            else:
                found.append(answer)
                one.task = None
        return found

    def _replace(self, one: _Held, error: RayError) -> list[Finished]:
        """Have another actor in place of a dead one; its task comes back."""
        self._all.remove(one)
        if not one.ready:
            self._stillborn += 1
            cause = _cause(error)
            if self._stillborn >= _MOST_STILLBORN or isinstance(cause, UsageError):
                raise cause
        self._start()
        reason = "its worker died: the process or its machine was killed (out of memory?)"
        return [] if one.task is None else [Finished(task=one.task, reason=reason)]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self._all:
            ray.kill(one.actor)
        self._all.clear()
        if self._began_ray:
            ray.shutdown()


def _begin_ray(address: str | None) -> None:
    on_term = signal.getsignal(signal.SIGTERM)
    where = address or os.environ.get("RAY_ADDRESS", "")
    host, _, port = where.removeprefix("ray://").rpartition(":")
    try:
        if host and port.isdecimal():  # Ray itself would try for twelve minutes
            socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
        ray.init(address=address, log_to_driver=False, include_dashboard=False, logging_level="error")
    except Exception as error:  # noqa: BLE001 (Ray raises bare ones, too)
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise VidferError(f"no Ray cluster answers at {where or 'this machine'}: {reason}") from None
    finally:
        if threading.current_thread() is threading.main_thread():  # only there Ray takes it for itself, too
            signal.signal(signal.SIGTERM, on_term)


def _cause(error: Exception) -> VidferError:
    """What made an actor fail, as our own error where it was one."""
    cause = getattr(error, "cause", None) or error.__cause__
    if isinstance(cause, VidferError):
        return cause
    lines = [line for line in str(cause or error).splitlines() if line.strip()]
    return VidferError(f"workers die while they start: {lines[-1].strip() if lines else type(error).__name__}")
