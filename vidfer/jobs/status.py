"""How a job stands, read from its ledger: while it runs, after it, and after it was killed."""

from __future__ import annotations

import math
import os
import re
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from vidfer.jobs.dataset import Dataset
from vidfer.jobs.ledger import entries, ledger_files
from vidfer.jobs.manifest import unit_rows
from vidfer.jobs.units import DONE

MOST_REASONS = 1000
_EXAMPLES = 20
_OF_RUN = ("host", "pid", "shard", "began", "total", "todo", "todo_bytes")
_QUIET_S = 600.0  # a run on another machine that wrote nothing for so long may have been killed


@dataclass(slots=True, kw_only=True)
class Reason:
    """Sources that are not done for the same reason, without what is of one source alone.

    Attributes:
        state: "failed" or "rejected".
        text: The reason.
        count: How many.
        sources: The first of them.
    """

    state: str
    text: str
    count: int = 0
    sources: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Run:
    """One run of a driver.

    Attributes:
        host: Where.
        pid: Its process.
        shard: "1/1" when it has all sources.
        began: Seconds since 1970.
        ended: Likewise; None while it runs, or when it was killed.
        total: Sources it saw.
        todo: How many of them it had to do.
        todo_bytes: Their size.
        state: "ended", "running", "killed", or "unknown": quiet, on another machine.
    """

    host: str
    pid: int
    shard: str
    began: float
    ended: float | None = None
    total: int = 0
    todo: int = 0
    todo_bytes: int = 0
    state: str = "ended"


@dataclass(slots=True, kw_only=True)
class Status:
    """How a job stands.

    Attributes:
        folder: Of the data set.
        total: Sources that the last runs saw, or all that are settled where those are more: also of videos that the
            definition does not name any more.
        states: How many are "done", "failed", "rejected".
        units: How many different contents are done.
        frames: Analysed ones in them.
        faces: Faces in them.
        duration_s: Of their videos.
        seconds: That workers took for them.
        reasons: Why sources are not done, most frequent first.
        runs: Oldest first.
        left_s: About how long the running ones will take.
    """

    folder: str
    total: int = 0
    states: dict[str, int] = field(default_factory=dict)
    units: int = 0
    frames: int = 0
    faces: int = 0
    duration_s: float = 0.0
    seconds: float = 0.0
    reasons: list[Reason] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    left_s: float | None = None

    @property
    def waiting(self) -> int:
        """Sources that nobody has settled yet."""
        return max(0, self.total - sum(self.states.values()))


def read_status(dataset: Dataset) -> Status:
    """How the job of a data set stands."""
    status = Status(folder=str(dataset.folder), runs=_runs(dataset))
    running = [run for run in status.runs if run.state == "running"]
    began = min((run.began for run in running), default=math.inf)
    states, reasons, bytes_now = Counter[str](), dict[tuple[str, str], Reason](), 0
    for entry in unit_rows(ledger_files(dataset.ledger)):
        count = len(entry["sources"])
        if not count:  # of what a file was before
            continue
        states[entry["state"]] += count
        if entry["ended"] >= began:
            bytes_now += entry.get("bytes", 0) * count
        if entry["state"] == DONE:
            status.units += 1
            status.frames += entry.get("frames", 0)
            status.faces += entry.get("faces", 0)
            status.duration_s += entry.get("duration_s", 0.0)
            status.seconds += entry.get("seconds", 0.0)
        else:
            _add(reasons, entry, count)
    status.states = dict(states)
    status.reasons = sorted(reasons.values(), key=lambda reason: -reason.count)
    status.total = max(_total(status.runs), states.total())
    if bytes_now:
        left = sum(run.todo_bytes for run in running) - bytes_now
        status.left_s = max(0.0, left) * (time.time() - began) / bytes_now
    return status


def _add(reasons: dict[tuple[str, str], Reason], entry: dict[str, Any], count: int) -> None:
    source = entry["sources"][0]
    key = entry["state"], kind_of(entry.get("reason") or "", entry["source"])
    if key not in reasons and len(reasons) >= MOST_REASONS:
        key = entry["state"], "other"
    reason = reasons.setdefault(key, Reason(state=key[0], text=key[1]))
    reason.count += count
    if len(reason.sources) < _EXAMPLES:
        reason.sources.append(source)


def kind_of(reason: str, source: str) -> str:
    """A reason without what is of one source alone: its name and numbers."""
    for name in (source, source.rpartition("/")[2]):
        shown = " ".join(name.split())  # as in any reason: one line
        reason = reason.replace(shown, "FILE") if shown else reason
    reason = re.sub(r"\S*/FILE", "FILE", reason).removeprefix("FILE: ")
    return re.sub(r"\d+", "N", reason)


def _runs(dataset: Dataset) -> list[Run]:
    """All runs that had something to do, and whether they still do."""
    files = ledger_files(dataset.ledger)
    found: dict[tuple[str, int, float], Run] = {}
    newest = 0.0
    for entry in entries(files):
        newest = max(newest, entry.get("ended", 0.0))
        about = entry.get("run")
        if about is None:
            continue
        key = about["host"], about["pid"], about["began"]
        if about["what"] == "begin":
            found[key] = Run(**{name: about[name] for name in _OF_RUN})
        elif key in found:
            found[key].ended, found[key].state = about["at"], "ended"
    for run in found.values():
        if run.ended is None:
            run.state = _state_of(run, newest)
    return sorted(found.values(), key=lambda run: run.began)


def _state_of(run: Run, newest: float) -> str:
    if run.host != socket.gethostname() or os.name != "posix":  # elsewhere looking for a process may end it
        return "running" if time.time() - max(newest, run.began) < _QUIET_S else "unknown"
    try:
        os.kill(run.pid, 0)
    except ProcessLookupError:
        return "killed"
    except OSError:  # somebody else's
        pass
    return "running"


def _total(runs: list[Run]) -> int:
    """Sources of the whole job: of the last run, or of the last run of each of its shards."""
    if not runs:
        return 0
    count = runs[-1].shard.partition("/")[2]
    last = {run.shard: run.total for run in runs if run.shard.partition("/")[2] == count}
    return sum(last.values())
