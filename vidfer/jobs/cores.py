"""Each worker keeps to cores of its own.

The threads of one run would keep almost two cores busy: with as many workers as cores they would take turns.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import suppress
from pathlib import Path

import filelock

from vidfer.jobs.scratch import make_own, temporary
from vidfer.media.cores import VARIABLE

_LOOK_S = 0.2
_held: list[filelock.BaseFileLock] = []  # as long as this process lives, however it ends


def keep_to_cores(count: int) -> None:
    """Keep this process to so many cores, its libraries to so many threads; before any of them is imported.

    The cores are those that do least and that no other worker of this machine keeps to; where fewer are left, or the
    system cannot do it, the system decides where threads run.
    """
    for variable in (VARIABLE, "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(count)
    if not hasattr(os, "sched_setaffinity"):  # macOS and Windows
        return
    with suppress(OSError):
        cores = _claim(_idlest(sorted(os.sched_getaffinity(0))), count)
        if cores:
            os.sched_setaffinity(0, cores)


def _idlest(cores: list[int]) -> list[int]:
    """Cores, those first that do least just now: other containers have locks of their own."""
    before = _busy()
    time.sleep(_LOOK_S)
    now = _busy()
    random.shuffle(cores)
    return sorted(cores, key=lambda core: now.get(core, 0) - before.get(core, 0))


def _busy() -> dict[int, int]:
    """How long each core was busy since the system began, in ticks."""
    found = {}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name.startswith("cpu") and name[3:].isdecimal():
            user, nice, system, _, _, *rest = map(int, ticks)
            found[int(name[3:])] = user + nice + system + sum(rest[:2])
    return found


def _claim(cores: list[int], count: int) -> list[int]:
    """The first so many that nobody has claimed; none where there are fewer."""
    folder = temporary("cores")
    make_own(folder)
    claimed: list[int] = []
    for core in cores:
        if len(claimed) == count:
            return claimed
        lock = filelock.FileLock(folder / f"{core}.lock")
        with suppress(filelock.Timeout):
            lock.acquire(blocking=False)
            _held.append(lock)
            claimed.append(core)
    if len(claimed) == count:
        return claimed
    while _held:
        _held.pop().release()
    return []
