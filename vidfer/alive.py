"""Signs of life: a number that changes while this process reads a video, for whoever watches over it.

It belongs to the whole process, as logs do: what reads is far below what ends workers that have stopped reading, and
nothing between them has to know.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Protocol


class Counter(Protocol):
    """Where signs are counted: memory that another process sees, say."""

    value: int


_counter: Counter = SimpleNamespace(value=0)


def sign() -> None:
    """Something was read: a packet, a block of bytes, a part of a table."""
    _counter.value += 1  # threads may overwrite each other's: it changes all the same, which is what counts


def count_in(counter: Counter) -> None:
    """Count in another place from now on."""
    global _counter
    _counter = counter
