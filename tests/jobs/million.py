"""The driver alone, with workers that only pretend: how fast it hands out a manifest, and how much memory that takes.

    python tests/jobs/million.py [--units 1000000] [--workers 64] FOLDER

Prints JSON: seconds and peak memory of planning, handing out, the manifest, and of a rerun that has nothing to do.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from pretended import record

from vidfer.jobs.definition import read_definition
from vidfer.jobs.executor import Finished
from vidfer.jobs.run import Tally, run_job
from vidfer.pipeline.report import peak_rss_bytes


class Instantly:
    """Workers that are done at once; their lines go into one ledger file, not synced one by one."""

    def __init__(self, ledger: Path, workers: int) -> None:
        self.workers, self._tasks, self.most = workers, deque(), 0
        ledger.mkdir(parents=True, exist_ok=True)
        self._file = (ledger / "00000000T000000Z-pretended.jsonl").open("w")

    @property
    def room(self):
        return self.workers - len(self._tasks)

    @property
    def pending(self):
        return len(self._tasks)

    def submit(self, task):
        self._tasks.append(task)
        self.most = max(self.most, len(self._tasks))

    def wait(self, timeout_s):
        found = []
        for _ in range(len(self._tasks)):
            task = self._tasks.popleft()
            done = record(task, sha256="0" * 64)
            self._file.write(json.dumps({k: v for k, v in asdict(done).items() if v is not None}) + "\n")
            found.append(Finished(task=task, record=done))
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


def main() -> None:
    """The script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--units", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=64)
    args = parser.parse_args()
    with (args.folder / "videos.csv").open("w") as file:
        file.write("source\n")
        file.writelines(f"/archive/{number % 1000:03}/tape-{number:07}.mp4\n" for number in range(args.units))
    path = args.folder / "job.toml"
    path.write_text('[inputs]\nmanifest = "videos.csv"\n[output]\nfolder = "out"\n')
    job, marks = read_definition(path), {}

    def mark(name: str) -> None:
        marks[name] = {"s": round(time.perf_counter() - began, 2), "peak_mb": round((peak_rss_bytes() or 0) / 1e6)}

    def tell(tally: Tally) -> None:
        if tally.workers and "planned" not in marks:
            mark("planned")
        if tally.now.total() == args.units:
            mark("handed out")

    began = time.perf_counter()
    mark("begun")
    executor = Instantly(args.folder / "out" / "ledger", args.workers)
    tally = run_job(job, lambda job: executor, tell=tell)
    mark("manifest written")
    assert (tally.now["done"], executor.most) == (args.units, args.workers)
    run_job(job, lambda job: sys.exit("there was something left to do"))
    mark("rerun that does nothing")
    print(json.dumps(marks, indent=1))


if __name__ == "__main__":
    main()
