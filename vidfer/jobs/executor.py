"""Who does the work: the one small interface behind which processes of this machine or a cluster stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from vidfer.jobs.units import Record, Task

WORKER = "vidfer.jobs.worker:Worker"  # by name: what makes it is imported where it works
STALL_S = 600.0  # a packet, or a megabyte to hash, takes no tape library and no waking disk so long


class Works(Protocol):
    """A worker."""

    def work(self, task: Task) -> Record:
        """Do a task and write down what became of it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A task that came back.

    Attributes:
        task: Which.
        record: What its worker wrote into the ledger; None where the worker was lost.
        reason: Why it was, in one line.
    """

    task: Task
    record: Record | None = None
    reason: str | None = None


class Executor(Protocol):
    """Workers that take tasks; a context manager. Leaving it by an error stops them; what they have done is kept."""

    @property
    def room(self) -> int:
        """How many tasks it takes now: workers that are ready and have none."""
        ...

    @property
    def pending(self) -> int:
        """How many it has."""
        ...

    @property
    def workers(self) -> int:
        """How many are meant to work at a time."""
        ...

    def submit(self, task: Task) -> None:
        """Hand over a task; only while there is room."""
        ...

    def wait(self, timeout_s: float) -> Sequence[Finished]:
        """What came back; waits for the first, or for room, but no longer than this.

        Raises:
            VidferError: No worker can work: the networks, the folder of the results.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Employed(Protocol):
    """One of several workers, as its executor sees it."""

    ready: bool
    task: Task | None


_One = TypeVar("_One", bound=_Employed)


class Crew(Generic[_One]):
    """What executors share that keep workers, each with one task at a time.

    Attributes:
        workers: How many are meant to work at a time.
    """

    workers: int
    _all: list[_One]

    @property
    def room(self) -> int:
        """How many tasks it takes now."""
        return sum(one.ready and one.task is None for one in self._all)

    @property
    def pending(self) -> int:
        """How many it has."""
        return sum(one.task is not None for one in self._all)

    def __enter__(self) -> Self:
        for _ in range(self.workers):
            self._start()
        return self

    def _start(self) -> None:
        """Add a worker."""
        raise NotImplementedError

    def _free(self) -> _One:
        """A worker that takes a task."""
        return next(one for one in self._all if one.ready and one.task is None)
