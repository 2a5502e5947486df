"""What became of every source: one file of JSON lines per process, which only that process appends to.

That is the truth that survives kills: a line is there whole or it does not count. All else, such as `manifest.parquet`,
follows from it. Lines of runs (`{"run": ...}`) and of units stand side by side.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
import time
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vidfer.jobs.units import ABSENT, DONE, STATES, Record, Source, number_of
from vidfer.output.files import writing

LedgerFiles = list[tuple[Path, int]]

_DONE_FIRST = 1e12  # seconds: what is done stays done, whatever clocks of other machines say


class LedgerFile:
    """The file of this process; made with its first line.

    Args:
        folder: That of the ledger.
    """

    def __init__(self, folder: Path) -> None:
        host = "".join(c if c.isalnum() else "-" for c in socket.gethostname())
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._path = folder / f"{stamp}-{host}-{os.getpid()}-{secrets.token_hex(3)}.jsonl"
        self._descriptor: int | None = None
        self._torn = False

    def append(self, entry: Record | Mapping[str, Any]) -> None:
        """Write a line; it is safe on the disk when this returns.

        Raises:
            OutputError: It cannot be written.
        """
        about = asdict(entry) if isinstance(entry, Record) else entry
        line = json.dumps({key: value for key, value in about.items() if value is not None}) + "\n"
        with writing(self._path):
            if self._descriptor is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            data = b"\n" * self._torn + line.encode()  # a line that a full disk tore harms no other
            self._torn = True
            if os.write(self._descriptor, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._descriptor)
            self._torn = False

    def close(self) -> None:
        """No more lines."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def ledger_files(folder: Path) -> LedgerFiles:
    """The files of all processes, oldest first, and how long they are now: reading them twice gives the same lines."""
    return [(path, path.stat().st_size) for path in sorted(folder.glob("*.jsonl"))]


def entries(files: LedgerFiles) -> Iterator[dict[str, Any]]:
    """All whole lines; what a killed process was writing is left out."""
    for path, size in files:
        with path.open("rb") as file:
            while file.tell() < size and (line := file.readline()).endswith(b"\n"):
                try:
                    entry = json.loads(line)
                except ValueError:  # torn by a full disk
                    continue
                if isinstance(entry, dict):
                    yield entry


def units(files: LedgerFiles) -> Iterator[dict[str, Any]]:
    """The lines of units."""
    return (entry for entry in entries(files) if "source" in entry)


def rank(entry: dict[str, Any]) -> float:
    """Of several lines on the same source that with the highest rank counts."""
    return float(entry["ended"]) + (_DONE_FIRST if entry["state"] == DONE else 0.0)


def last_of_each(keys: npt.NDArray[np.uint64], ranks: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """For every key, sorted, where its highest rank stands."""
    order = np.lexsort((ranks, keys))
    is_last = np.r_[keys[order][1:] != keys[order][:-1], True][: len(order)]
    last: npt.NDArray[np.int64] = order[is_last]
    return last


def newness(entry: dict[str, Any]) -> float:
    """Of several contents that a source had that with the highest newness counts; a file that is away has none."""
    return float(entry["ended"]) - (_DONE_FIRST if entry["identity"] == ABSENT else 0.0)


def on_newest(
    names: npt.NDArray[np.uint64], keys: npt.NDArray[np.uint64], newnesses: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Which lines are on the content that their source had last, and not on one that it had before."""
    return np.isin(keys, keys[last_of_each(names, newnesses)])


class Known:
    """What earlier runs say about each source as it is now: 20 bytes for each, so that millions fit.

    Args:
        folder: That of the ledger.
    """

    def __init__(self, folder: Path) -> None:
        key, ranks, state, attempt = array("Q"), array("d"), array("B"), array("B")
        name, new = array("Q"), array("d")
        for entry in units(ledger_files(folder)):
            key.append(number_of(entry["source"], entry["identity"]))
            ranks.append(rank(entry))
            name.append(number_of(entry["source"]))
            new.append(newness(entry))
            state.append(STATES.index(entry["state"]))
            attempt.append(min(entry["attempt"], 255))
        keys, names = np.asarray(key, np.uint64), np.asarray(name, np.uint64)
        last = last_of_each(keys, np.asarray(ranks, np.float64))
        last = last[on_newest(names, keys, np.asarray(new, np.float64))[last]]
        last = last[np.argsort(names[last])]
        self._names, self._keys = names[last], keys[last]
        self._states, self._attempts = (np.asarray(a, np.uint8)[last] for a in (state, attempt))

    def __len__(self) -> int:
        return len(self._keys)

    def of(self, source: Source) -> tuple[str | None, int]:
        """State of a source and how many attempts it took; None and 0 where nothing is known.

        A file that is away has the state that it had.
        """
        name = np.uint64(number_of(source.name))
        at = int(np.searchsorted(self._names, name))
        if at == len(self._names) or self._names[at] != name:
            return None, 0
        if source.identity != ABSENT and self._keys[at] != np.uint64(source.key):
            return None, 0
        return STATES[self._states[at]], int(self._attempts[at])
