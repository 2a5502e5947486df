"""How many cores this process may keep busy."""

from __future__ import annotations

import os

# Set by whoever runs several of us on one machine, and where a container may use less than the machine has.
VARIABLE = "VIDFER_CORES"


def available_cores() -> int:
    """Cores that this process may use: what VIDFER_CORES says, else all that the system lets it have."""
    told = os.environ.get(VARIABLE, "")
    if told.isdecimal() and int(told):
        return int(told)
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(affinity(0)) if affinity else os.cpu_count() or 1
