"""The driver of a job: finds what is to be done, hands it out a little at a time, and keeps count.

It holds no truth: that is in the ledger and in the data set, both written by the workers. So it can be killed at any
time, and several may work on one folder.
"""

from __future__ import annotations

import json
import os
import re
import socket
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Any

from vidfer.errors import InputError, UsageError
from vidfer.jobs.dataset import Dataset
from vidfer.jobs.definition import Job
from vidfer.jobs.executor import Executor, Finished
from vidfer.jobs.inputs import find_sources
from vidfer.jobs.ledger import Known, LedgerFile
from vidfer.jobs.manifest import is_current, write_manifest
from vidfer.jobs.splits import Splits
from vidfer.jobs.status import MOST_REASONS, kind_of
from vidfer.jobs.units import FAILED, SPLIT, Record, Source, Task, number_of

_TICK_S = 0.5
_MOST_LATER = 10_000  # tasks that wait in memory
# The manifest is made anew while a run lasts, but never takes more than a part of its time.
_MANIFEST_S, _MANIFEST_SHARE = 60.0, 20.0


@dataclass(slots=True)
class Tally:
    """How a run stands.

    Attributes:
        total: Sources of this run, or of its shard.
        before: How many of them were settled before it, by state.
        todo: How many are for this run.
        todo_bytes: Their size.
        now: How many of those are settled, by state.
        bytes: Their size.
        frames: Frames analysed in this run.
        reasons: Why sources failed or were rejected in this run.
        workers: How many work at a time.
        busy: How many of them have a task.
        began: When it began to hand out tasks, by `time.monotonic`.
    """

    total: int = 0
    before: Counter[str] = field(default_factory=Counter)
    todo: int = 0
    todo_bytes: int = 0
    now: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    frames: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    workers: int = 0
    busy: int = 0
    began: float = field(default_factory=time.monotonic)

    def count(self, state: str) -> int:
        """How many sources are in a state."""
        return self.before[state] + self.now[state]

    @property
    def seconds(self) -> float:
        """Since tasks are handed out."""
        return max(1e-9, time.monotonic() - self.began)

    @property
    def left_s(self) -> float | None:
        """About how long it will take, by the sizes of the files; None as long as nobody knows."""
        if not self.bytes or self.bytes >= self.todo_bytes:
            return None
        return (self.todo_bytes - self.bytes) * self.seconds / self.bytes

    def settle(self, record: Record) -> None:
        """Count a source that is settled."""
        self.now[record.state] += 1
        self.bytes += record.bytes
        self.frames += record.frames
        if record.reason:
            self.reasons[kind_of(record.reason, record.source) if len(self.reasons) < MOST_REASONS else "other"] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Every n-th source, by its name: so that several drivers share a job.

    Attributes:
        number: From 1.
        count: Of how many.
    """

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From "3/8".

        Raises:
            UsageError: It is something else.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageError(f"--shard is {text!r}: give I/N with I from 1 to N, such as 3/8")
        return cls(number=int(found[1]), count=int(found[2]))

    def has(self, source: Source) -> bool:
        """Whether a source is in it."""
        return number_of(source.name) % self.count == self.number - 1


def run_job(
    job: Job,
    start: Callable[[Job], Executor],
    *,
    shard: Shard | None = None,
    again: Sequence[str] = (),
    tell: Callable[[Tally], None] | None = None,
) -> Tally:
    """Do what is not done yet of a job.

    Args:
        job: Its definition.
        start: Makes the executor, unless there is nothing to do.
        shard: Leave out all others.
        again: States to take up again whatever was tried: "failed", "rejected".
        tell: Called often.

    Returns:
        How it ended. What failed is in there, and stops nothing.

    Raises:
        InputError: The job names no video, or what it names cannot be listed.
        UsageError: The folder holds results of other options.
        OutputError: Results cannot be written.
    """
    return _Driver(job, shard or Shard(), frozenset(again), tell).do(start)


def options_of(job: Job) -> dict[str, Any]:
    """The options that decide what is in the data set."""
    return {**job.options.deciding(), "render": job.options.render}


class _Driver:
    """One run of a job."""

    def __init__(self, job: Job, shard: Shard, again: frozenset[str], tell: Callable[[Tally], None] | None) -> None:
        self._job, self._shard, self._again, self._tell_to = job, shard, again, tell
        self._dataset = Dataset(job.folder)
        self._ledger = LedgerFile(self._dataset.ledger)
        self._tally, self._began = Tally(), time.time()
        self._next: deque[Task] = deque()  # before all others
        self._later: deque[Task] = deque()  # after all others: what is away for a while may be back by then
        self._splits = Splits(self._dataset, job.executor.retries)
        self._manifest_due = time.monotonic() + _MANIFEST_S

    def do(self, start: Callable[[Job], Executor]) -> Tally:
        """All of it."""
        options = options_of(self._job)
        if self._dataset.is_begun():  # else nothing is settled before something is to be done
            self._dataset.agree_on("options", options)
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogateescape") as plan:
            self._plan(plan)
            if not self._tally.todo:
                if self._tally.total and not is_current(self._dataset):
                    write_manifest(self._dataset)
                return self._tally
            self._dataset.agree_on("options", options)
            self._say("begin")
            try:
                with start(self._job) as executor:
                    self._hand_out(_planned(plan), executor)
            finally:
                self._say("end")
                self._ledger.close()
                write_manifest(self._dataset)
        return self._tally

    def _plan(self, plan: IO[str]) -> None:
        """Write down what is to be done: on the disk, since it may be a million of them."""
        known, tally, most = Known(self._dataset.ledger), self._tally, 1 + self._job.executor.retries
        for source in self._sources():
            tally.total += 1
            state, attempts = known.of(source)
            if state in self._again:
                attempts = 0
            elif state is not None and (state != FAILED or attempts >= most):
                tally.before[state] += 1
                continue
            tally.todo += 1
            tally.todo_bytes += source.size
            plan.write(json.dumps([source.name, source.identity, source.size, attempts + 1]) + "\n")
            self._tell()
        if not tally.total and self._shard.count == 1:
            raise InputError(f"{self._job.path} names no video: correct [inputs]")
        plan.seek(0)

    def _sources(self) -> Iterator[Source]:
        """Those of the shard; what this job has made, and a pattern finds, is none."""
        own = f"{self._job.folder}{os.sep}"
        found = find_sources(self._job.inputs)
        return (source for source in found if self._shard.has(source) and not source.name.startswith(own))

    def _hand_out(self, tasks: Iterator[Task], executor: Executor) -> None:
        """Give every worker a task, and the next one when it is done: no more than that is in flight."""
        self._tally.workers, self._tally.began = executor.workers, time.monotonic()
        task = None
        while True:
            task = task or (self._next.popleft() if self._next else next(tasks, None))
            task = task or (self._later.popleft() if self._later else None)
            if task is not None and executor.room:
                executor.submit(task)
                task = None
            elif task is None and not executor.pending:
                return
            else:
                self._collect(executor)

    def _collect(self, executor: Executor) -> None:
        for finished in executor.wait(_TICK_S):
            self._take(finished.task, finished.record or self._died(finished))
        self._tally.busy = executor.pending
        if time.monotonic() >= self._manifest_due:
            began = time.monotonic()
            write_manifest(self._dataset)
            took = time.monotonic() - began
            self._manifest_due = time.monotonic() + max(_MANIFEST_S, took * _MANIFEST_SHARE)
        self._tell()

    def _take(self, task: Task, record: Record) -> None:
        """See to what follows from a task that came back."""
        if record.state == SPLIT:
            self._next += self._splits.begin(task, record)
            return
        settled: Record | None = record
        if task.part is not None:
            follow, settled = self._splits.back(task, record)
            self._next += follow
        elif record.state == FAILED and task.attempt <= self._job.executor.retries:
            waiting = self._later if len(self._later) < _MOST_LATER else self._next
            waiting.append(replace(task, attempt=task.attempt + 1))
            settled = None
        if settled is not None:
            self._tally.settle(settled)

    def _died(self, finished: Finished) -> Record:
        """What a worker that died could not write down."""
        source = finished.task.source
        record = Record(
            source=source.name,
            identity=source.identity,
            bytes=source.size,
            state=FAILED,
            attempt=finished.task.attempt,
            host=socket.gethostname(),
            ended=time.time(),
            reason=finished.reason,
        )
        self._ledger.append(record)
        return record

    def _say(self, what: str) -> None:
        """A line on the run itself."""
        about = {
            "what": what,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "began": self._began,
            "at": time.time(),
        }
        about |= {"shard": f"{self._shard.number}/{self._shard.count}", "total": self._tally.total}
        self._ledger.append({"run": {**about, "todo": self._tally.todo, "todo_bytes": self._tally.todo_bytes}})

    def _tell(self) -> None:
        if self._tell_to is not None:
            self._tell_to(self._tally)


def _planned(plan: IO[str]) -> Iterator[Task]:
    for line in plan:
        name, identity, size, attempt = json.loads(line)
        yield Task(source=Source(name=name, identity=identity, size=size), attempt=attempt)
