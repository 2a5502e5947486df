"""Executors and workers that only pretend to work."""

import logging
import os
import signal
import time
from collections import deque
from pathlib import Path

from vidfer.errors import OutputError
from vidfer.jobs.executor import Finished
from vidfer.jobs.ledger import LedgerFile
from vidfer.jobs.units import Record, Task


def record(task: Task, state="done", **more) -> Record:
    known = {"unit": f"u{task.source.key:024x}", "frames": 10, "seconds": 1.0} if state == "done" else {"reason": "no"}
    return Record(
        **{
            "source": task.source.name,
            "identity": task.source.identity,
            "bytes": task.source.size,
            "state": state,
            "attempt": task.attempt,
            "host": "here",
            "ended": time.time(),
            **known,
            **more,
        }
    )


class Executor:
    """Does what `act` says with every task: gives a state, or None for a worker that dies."""

    def __init__(self, ledger, act=lambda task: "done", workers=3):
        self._ledger, self._act, self.workers = LedgerFile(ledger), act, workers
        self._tasks, self.seen, self.most = deque(), [], 0

    @property
    def room(self):
        return self.workers - len(self._tasks)

    @property
    def pending(self):
        return len(self._tasks)

    def submit(self, task):
        assert self.room > 0
        self._tasks.append(task)
        self.seen.append((Path(task.source.name).name, task.attempt))
        self.most = max(self.most, len(self._tasks))

    def wait(self, timeout_s):
        task = self._tasks.popleft()
        state = self._act(task)
        if state is None:
            return [Finished(task=task, reason="its worker was killed by signal 9")]
        done = record(task, state)
        self._ledger.append(done)
        return [Finished(task=task, record=done)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ledger.close()


class Worker:
    """In a process of its own: what it does stands in the name of the source."""

    def __init__(self, setup):
        if setup == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if setup == "full":
            raise OutputError("cannot write there: the disk is full")

    def work(self, task):
        name = Path(task.source.name).name
        if name.startswith("kill") and task.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if name.startswith("full"):
            raise OutputError("cannot write there: the disk is full")
        if name.startswith("hang") and task.attempt == 1:
            time.sleep(3600)
        if name.startswith("slow"):
            Path(task.source.name).write_text("begun")
            time.sleep(60)
            Path(task.source.name).write_text("over")
        if name.startswith("warn"):
            logging.getLogger("vidfer.pipeline").warning("a frame is damaged")
        if name.startswith("wait"):
            time.sleep(1)
        cores = sorted(os.sched_getaffinity(0))
        return record(task, host=str(os.getpid()), reason=os.environ["OMP_NUM_THREADS"], sha256=str(cores))
