"""What a job costs beside the work itself when it has a million units; prints one JSON object.

    python benchmarks/million_units.py [--units N ...] [--files N] [--tasks N] [--folder DIR]

The real driver with the real ledger, status and manifest; only the workers pretend: they settle a task at once. Its
seconds are CPU seconds, without those that pretending takes; memory is that of a process that does nothing else.
`dispatch` is how many tasks a second go through real processes, and through actors of Ray, that do nothing;
`ledger_line_ms` what a worker adds to each unit; `files` how long readers take to open a data set of so many units.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from vidfer.jobs.dataset import Dataset
from vidfer.jobs.definition import read_definition
from vidfer.jobs.executor import Executor, Finished
from vidfer.jobs.ledger import LedgerFile
from vidfer.jobs.local import LocalExecutor
from vidfer.jobs.manifest import write_manifest
from vidfer.jobs.run import run_job
from vidfer.jobs.status import read_status
from vidfer.jobs.units import Record, Source, Task

_WORKERS = 1000
_UNIT_S = 60.0  # said to have been taken for each


def settled(task: Task) -> Record:
    """What a worker would say."""
    known = {"identity": task.source.identity, "attempt": task.attempt, "state": "done", "host": "machine-17"}
    counts = {"frames": 1500, "faces": 2800, "tracks": 3, "duration_s": 60.0, "bytes": 20_000_000}
    unit = f"u{task.source.key:024x}"
    return Record(
        source=task.source.name, unit=unit, sha256=unit * 2, ended=time.time(), seconds=_UNIT_S, **known, **counts
    )


class Worker:
    """Of a real executor: settles at once and writes nothing."""

    def __init__(self, setup: object) -> None:
        """Nothing to load."""

    def work(self, task: Task) -> Record:
        """Settle it."""
        return settled(task)


class Pretending:
    """An executor whose tasks are done when they are asked for; it knows how long it took itself."""

    def __init__(self, ledger: Path) -> None:
        self.workers, self.took_s, self.began = _WORKERS, 0.0, 0.0
        self._tasks: deque[Task] = deque()
        self._ledger = (ledger / "workers.jsonl").open("w", encoding="utf-8")

    @property
    def room(self) -> int:
        """Until all workers have one."""
        return self.workers - len(self._tasks)

    @property
    def pending(self) -> int:
        """All that were not asked for."""
        return len(self._tasks)

    def submit(self, task: Task) -> None:
        """Keep it."""
        self._tasks.append(task)

    def wait(self, timeout_s: float) -> Sequence[Finished]:
        """All of them are done."""
        began = time.process_time()
        found = [Finished(task=task, record=settled(task)) for task in self._tasks]
        for one in found:
            about = {name: getattr(one.record, name) for name in Record.__dataclass_fields__}
            self._ledger.write(json.dumps({key: value for key, value in about.items() if value is not None}) + "\n")
        self._tasks.clear()
        self.took_s += time.process_time() - began
        return found

    def __enter__(self) -> Pretending:
        self.began = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self._ledger.close()


def simulate(folder: Path, count: int) -> dict[str, Any]:
    """A job of so many units, and again."""
    folder.mkdir(parents=True)
    names = (f"/archive/{number // 1000:04}/tape-{number:07}.mp4" for number in range(count))
    (folder / "videos.csv").write_text("source\n" + "\n".join(names) + "\n")
    definition = folder / "job.toml"
    definition.write_text('[inputs]\nmanifest = "videos.csv"\n[output]\nfolder = "out"\n')
    job, dataset, times = read_definition(definition), Dataset(folder / "out"), {}
    dataset.ledger.mkdir(parents=True)
    pretending = Pretending(dataset.ledger)
    before_mb, began = _peak_mb(), time.process_time()
    run_job(job, lambda _: pretending)
    ended = time.process_time()
    times["plan_s"] = pretending.began - began
    rows, times["manifest_s"] = _cpu_timed(lambda: write_manifest(dataset))
    assert rows == count
    times["hand_out_s"] = ended - pretending.began - pretending.took_s - times["manifest_s"]
    again, times["rerun_s"] = _cpu_timed(lambda: run_job(job, _nobody))
    assert not again.todo
    status, times["status_s"] = _cpu_timed(lambda: read_status(dataset))
    assert status.states == {"done": count}
    sizes = {"ledger_mb": sum(path.stat().st_size for path in dataset.ledger.iterdir()) / 1e6}
    sizes["manifest_mb"] = dataset.manifest.stat().st_size / 1e6
    memory = {"memory_before_mb": before_mb, "peak_memory_mb": _peak_mb()}
    return {"units": count, **{key: round(value, 2) for key, value in (times | sizes | memory).items()}}


def _nobody(_: object) -> Executor:
    raise AssertionError("a rerun has nothing to do")


def _cpu_timed(call: Any) -> tuple[Any, float]:
    began = time.process_time()
    return call(), time.process_time() - began


def _timed(call: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    return call(), time.perf_counter() - began


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def dispatch(executor: Executor, count: int) -> dict[str, float]:
    """Tasks a second through an executor, when all its workers are there."""
    with executor:
        while executor.room < executor.workers:
            executor.wait(1.0)
        tasks = [Task(source=Source(name=f"/archive/{number}.mp4", identity="1-1")) for number in range(count)]
        began, cpu_s, done = time.perf_counter(), time.process_time(), 0
        while done < count:
            while tasks and executor.room:
                executor.submit(tasks.pop())
            done += len(executor.wait(1.0))
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
    speed = {"tasks_per_s": count / took_s, "driver_cpu_ms_per_task": cpu_s / count * 1000}
    return {"workers": executor.workers, **{key: round(value, 3) for key, value in speed.items()}}


def through_ray(workers: int, count: int) -> dict[str, float]:
    """The same through actors of Ray."""
    import ray

    from vidfer.jobs.ray import RayExecutor

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        return dispatch(RayExecutor(None, workers=workers, memory_gb=0.01, worker="million_units:Worker"), count)
    finally:
        ray.shutdown()


def ledger_line(folder: Path, count: int = 200) -> float:
    """Milliseconds for a line that is safe on the disk."""
    ledger, record = LedgerFile(folder), settled(Task(source=Source(name="/archive/1.mp4", identity="1-1")))
    _, took_s = _timed(lambda: [ledger.append(record) for _ in range(count)])
    ledger.close()
    return round(took_s / count * 1000, 3)


def opening(folder: Path, count: int) -> dict[str, Any]:
    """How long readers take for the rows of so many units of one table each."""
    dataset, made = Dataset(folder), folder / "one.parquet"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"frame": range(100), "valence": [0.5] * 100}), made)
    for number in range(count):
        path = dataset.table("observations", f"u{number:024x}")
        path.parent.mkdir(parents=True)
        path.hardlink_to(made)
    where = folder / "observations"
    rows, arrow_s = _timed(lambda: ds.dataset(where, partitioning="hive").count_rows())
    asked = f"select count(*), avg(valence) from read_parquet('{where}/**/*.parquet', hive_partitioning = true)"
    found, duckdb_s = _timed(lambda: duckdb.sql(asked).fetchall())
    assert rows == found[0][0] == count * 100
    return {"units": count, "pyarrow_s": round(arrow_s, 2), "duckdb_s": round(duckdb_s, 2)}


def main() -> None:
    """The script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--tasks", type=int, default=5_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--folder", type=Path, default=None)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vidfer-units-", dir=args.folder))
    sys.modules["million_units"] = sys.modules["__main__"]  # workers import it by this name
    try:
        found: dict[str, Any] = {"driver": []}
        for count in args.units:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                found["driver"].append(pool.apply(simulate, (folder / str(count), count)))
            print(found["driver"][-1], file=sys.stderr, flush=True)
        local = LocalExecutor(None, workers=args.workers, worker="million_units:Worker")
        found["dispatch"] = {"local": dispatch(local, args.tasks)}
        found["dispatch"]["ray"] = through_ray(args.workers, args.tasks)
        found["ledger_line_ms"] = ledger_line(folder / "ledger")
        found["files"] = opening(folder / "files", args.files)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
