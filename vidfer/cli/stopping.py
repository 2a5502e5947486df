"""Ctrl-C and SIGTERM: the first one stops cleanly, the second at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threading import Event


class Stopped(KeyboardInterrupt):
    """A signal asked us to stop."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


class Interrupted(Exception):  # noqa: N818 - no error: somebody wanted it
    """A command was stopped; the message says what stays and how to go on."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@contextmanager
def stoppable() -> Iterator[None]:
    """Within the block, Ctrl-C and SIGTERM raise `Stopped` once; the next one ends the process on the spot.

    What is on the disk is whole at any time, so ending on the spot is safe. A signal that is ignored (Ctrl-C for a
    background job of a shell) stays so.
    """
    numbers: list[int] = []

    def stop(number: int) -> None:
        numbers.append(number)
        raise Stopped(number)

    with _handled(stop):
        try:
            yield
        except KeyboardInterrupt as error:
            if numbers and not isinstance(error, Stopped):  # C code that was interrupted (Ray's) raises one of its own
                raise Stopped(numbers[0]) from None
            raise


@contextmanager
def draining(wanted: Event) -> Iterator[None]:
    """Within the block, Ctrl-C and SIGTERM set an event once; the next one ends the process on the spot."""
    with _handled(lambda _: wanted.set()):
        yield


@contextmanager
def _handled(first: Callable[[int], None]) -> Iterator[None]:
    asked = False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(128 + number)
        asked = True
        first(number)

    before = {}
    for name in ("SIGINT", "SIGTERM"):
        number = getattr(signal, name)
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            try:
                before[number] = signal.signal(number, stop)
            except ValueError:  # not the main thread: whoever runs it sees to signals
                break
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
