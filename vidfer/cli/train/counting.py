"""How far a command has come through the rows of a data set, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress

from vidfer.cli.progress import is_live

_LIVE_S, _SPARSE_S = 0.2, 10.0


def counting(words: str) -> Callable[[int, int], None]:
    """A callback that says "words: done/total" now and then: on one line of a terminal, else on lines of their own."""
    live, last = is_live(sys.stderr), time.monotonic()

    def say(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < (_LIVE_S if live else _SPARSE_S) and not (live and done == total):
            return
        last = now
        with suppress(OSError):  # nobody reads it any more, which is no reason to stop
            end = "\n" if not live or done == total else ""
            print(f"{chr(13) if live else ''}{words}: {done}/{total}", end=end, file=sys.stderr, flush=True)

    return say
