"""Bounded hand-over between threads: pressure runs backwards by blocking, and nothing can hang once something failed.

End of stream (`Channel.close`) and failure (`Channel.abort`) are different messages. To stop a pipeline: abort its
channels first, join its workers second; the other way round deadlocks on a worker that waits for room.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Aborted(Exception):  # noqa: N818 - not an error by itself: the other side stopped first
    """The channel was aborted: whoever writes to it stops."""


class Channel(Generic[T]):
    """A bounded queue that ends in one of two ways: closed (all was said) or aborted (something failed).

    Several threads may write and several may read. After an abort what is still queued is dropped: everybody sees the
    first error at once.

    Args:
        capacity: Items that may wait; `put` blocks beyond that.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._error: BaseException | None = None

    def put(self, item: T) -> None:
        """Append an item, waiting for room.

        Raises:
            Aborted: The channel was aborted, before or while waiting.
            RuntimeError: The channel is closed: a mistake in the program.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or self._closed or len(self._items) < self._capacity)
            if self._error is not None:
                raise Aborted(f"the reader stopped: {self._error!r}")
            if self._closed:
                raise RuntimeError("put() on a closed channel")
            self._items.append(item)
            self._changed.notify_all()

    def close(self) -> None:
        """Say that no more items come; readers finish what is queued and then stop."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abort(self, error: BaseException) -> None:
        """Stop both sides: readers raise `error`, writers raise `Aborted`. The first error wins."""
        with self._changed:
            if self._error is None:
                self._error = error
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Yield items until the channel is closed and empty; raise the error it was aborted with."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._error is not None or self._closed or bool(self._items))
                if self._error is not None:
                    raise self._error
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item


class Worker:
    """A thread whose error is not lost: `join` raises it, with its traceback."""

    def __init__(self, name: str, function: Callable[[], None]) -> None:
        self._function = function
        self._error: BaseException | None = None
        # Daemon: should the program die without joining, it must not hang on a thread that waits for room.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._function()
        except Aborted:
            pass  # a consequence: the cause is raised where it happened
        except BaseException as error:  # noqa: BLE001 - handed on by join
            self._error = error

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait for the end of the thread, however it ends; no longer than this, where it may hang."""
        self._thread.join(timeout_s)

    def join(self) -> None:
        """Wait for the end of the thread and raise the error it ended with, if any."""
        self.wait()
        if self._error is not None:
            raise self._error


def run_in_thread(name: str, function: Callable[[], None]) -> Worker:
    """Start `function` in a named thread."""
    return Worker(name, function)


@contextmanager
def read_ahead(name: str, items: Iterable[T], capacity: int) -> Iterator[Channel[T]]:
    """Iterate over `items` in a thread of their own, at most `capacity` of them ahead of the reader.

    An error of `items` is raised in the reader. Leaving the block early stops the thread; it is joined in every case.
    """
    channel = Channel[T](capacity)

    def produce() -> None:
        try:
            for item in items:
                channel.put(item)
        except Aborted:
            return
        except BaseException as error:  # noqa: BLE001 - raised by the reader
            channel.abort(error)
        else:
            channel.close()

    worker = run_in_thread(name, produce)
    try:
        yield channel
    finally:
        channel.abort(Aborted("the reader is gone"))
        worker.join()


class Mailboxes(Generic[T]):
    """One place for each of many senders: the newest item wins, and nobody waits for room."""

    def __init__(self) -> None:
        self._items: dict[str, T] = {}
        self._changed = threading.Condition()

    def put(self, sender: str, item: T) -> T | None:
        """Lay an item down; gives the one that nobody had fetched, if there was one."""
        with self._changed:
            overtaken = self._items.get(sender)
            self._items[sender] = item
            self._changed.notify_all()
            return overtaken

    def take(self, timeout_s: float) -> dict[str, T]:
        """Everything that is there, by sender; waits until there is something, but no longer than this."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._items), timeout_s)
            taken, self._items = self._items, {}
            return taken
