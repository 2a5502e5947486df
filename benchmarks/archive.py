"""What jobs have to show: throughput, reruns, Ray and kills on 200 clips, ten of them broken; prints one JSON object.

    python benchmarks/archive.py [--folder DIR] [--videos DIR] [--count N] [--kills N] [--only STEP,...]

Steps, each on data sets of its own below DIR: `workers` runs the job with one worker and with two, checks what became
of every clip and runs it again; `ray` runs it on a Ray cluster of this machine with one node of one core, then two,
and compares the rows; `kills` kills drivers and workers at random moments and compares the data set. Clips are made
once (`archive_clips.py`). CPU seconds are those of all processes of a run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from archive_clips import LIST, make_archive

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "tests" / "jobs"))

from kill_jobs import differences, kill_and_go_on  # noqa: E402

STEPS = ("workers", "ray", "kills")
_PARTIAL = 4


class Archive:
    """The clips, and jobs on them.

    Args:
        folder: Where definitions and data sets go.
        clips: Folder of the clips.
        expected: What has to become of each, by name.
    """

    def __init__(self, folder: Path, clips: Path, expected: dict[str, Any]) -> None:
        self.folder, self._clips, self._expected = folder, clips, expected

    def define(self, name: str, executor: str) -> Path:
        """A definition whose data set is new."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        path = self.folder / f"{name}.toml"
        inputs = f'[inputs]\nmanifest = "{self._clips / LIST}"\n'
        path.write_text(f'{inputs}[options]\nprecision = "int8"\n[output]\nfolder = "{name}"\n[executor]\n{executor}\n')
        return path

    def run(self, job: Path, **env: str) -> dict[str, Any]:
        """Carry a job out, as a user would."""
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "vidfer", "jobs", "run", job.name, "--json", "--quiet"]
        done = subprocess.run(command, cwd=job.parent, env=os.environ | env, stdout=subprocess.PIPE, text=True)
        wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        said = json.loads(done.stdout) if done.stdout else {}
        found = {"exit_code": done.returncode, "wall_s": round(wall_s, 2)}
        found["cpu_s"] = round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2)
        found |= {
            key: said[key]
            for key in ("done", "failed", "rejected", "now", "workers", "frames", "seconds")
            if key in said
        }
        if said.get("frames"):
            found["frames_per_s"] = round(said["frames"] / wall_s, 1)
        return found

    def outcomes(self, job: Path) -> dict[str, tuple[str, str]]:
        """State and reason of each clip by its name, which is left out of the reason."""
        manifest = pq.read_table(job.with_suffix("") / "manifest.parquet").to_pylist()
        return {
            Path(name).name: (row["state"], (row["reason"] or "").replace(name, "it"))
            for row in manifest
            for name in row["sources"]
        }

    def wrong(self, job: Path) -> list[str]:
        """Clips of which became what was not expected, or whose reason does not say what is wrong."""
        found, lines = self.outcomes(job), []
        for name, wanted in self._expected.items():
            state, reason = found.get(name, ("not in the manifest", ""))
            if state != wanted["state"] or wanted.get("reason", "") not in reason:
                lines.append(f"{name}: {state} {reason!r}, expected {wanted}")
        return lines

    def reasons(self, job: Path) -> dict[str, str]:
        """Why clips were not done."""
        return {name: reason for name, (state, reason) in sorted(self.outcomes(job).items()) if state != "done"}


def workers(archive: Archive) -> dict[str, Any]:
    """One worker, two workers, and again."""
    jobs = {count: archive.define(f"local{count}", f"workers = {count}") for count in (1, 2)}
    runs = {count: archive.run(job) for count, job in jobs.items()}
    again = archive.run(jobs[2])
    return {
        "runs": runs,
        "throughput_ratio": round(runs[1]["wall_s"] / runs[2]["wall_s"], 3),
        "throughput_ratio_without_start": round(runs[1]["seconds"] / runs[2]["seconds"], 3),
        "rerun": again,
        "wrong": archive.wrong(jobs[1]) + archive.wrong(jobs[2]),
        "different": differences(*(job.with_suffix("") for job in jobs.values())),
        "reasons": archive.reasons(jobs[2]),
    }


@contextmanager
def _cluster(nodes: int) -> Iterator[str]:
    """A Ray cluster of this machine: a head that works nothing, and nodes with one core each; gives its address."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=1)
        yield cluster.address
    finally:
        cluster.shutdown()


def ray(archive: Archive) -> dict[str, Any]:
    """The same on one node of a Ray cluster, and on two."""
    runs, jobs = {}, {}
    for nodes in (1, 2):
        jobs[nodes] = archive.define(f"ray{nodes}", f'kind = "ray"\nworkers = {nodes}')
        with _cluster(nodes) as address:
            runs[nodes] = archive.run(jobs[nodes], RAY_ADDRESS=address)
            del runs[nodes]["cpu_s"]  # the workers are no children of the driver
    reference = archive.folder / "local1"
    return {
        "runs": runs,
        "throughput_ratio": round(runs[1]["wall_s"] / runs[2]["wall_s"], 3),
        "throughput_ratio_without_start": round(runs[1]["seconds"] / runs[2]["seconds"], 3),
        "wrong": [line for job in jobs.values() for line in archive.wrong(job)],
        "different": [line for job in jobs.values() for line in differences(job.with_suffix(""), reference)],
    }


def kills(archive: Archive, count: int, most_s: float) -> dict[str, Any]:
    """Killed again and again."""
    job = archive.define("killed", "workers = 2")
    began = time.perf_counter()
    said = kill_and_go_on(job, count, random.Random(8), most_s)
    last = archive.run(job)
    return {
        "said": said,
        "killed": sum(line.startswith("killed") for line in said),
        "wall_s": round(time.perf_counter() - began, 2),
        "after": last,
        "wrong": archive.wrong(job),
        "different": differences(job.with_suffix(""), archive.folder / "local1"),
    }


def verdict(found: dict[str, Any], kills: int) -> dict[str, bool]:
    """What jobs have to show, as far as it was tried."""
    steps = [found[step] for step in STEPS if step in found]
    codes = [run["exit_code"] for step in steps for run in step.get("runs", {}).values()]
    passed = {
        "exit_code_4": all(code == _PARTIAL for code in codes),
        "all_good_done_and_bad_with_reason": not any(step["wrong"] for step in steps),
        "same_data_sets": not any(step["different"] for step in steps),
    }
    if "workers" in found:
        passed["two_workers_1.7x"] = found["workers"]["throughput_ratio"] >= 1.7
        passed["rerun_under_5_s"] = found["workers"]["rerun"]["wall_s"] < 5 and not found["workers"]["rerun"]["now"]
    if "kills" in found:
        passed["killed_often_enough"] = found["kills"]["killed"] == kills
    return passed


def main() -> None:
    """The script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "vidfer-archive")
    parser.add_argument("--videos", type=Path, default=REPOSITORY.parent / "shared" / "videos")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--only", default=",".join(STEPS))
    args = parser.parse_args()
    os.environ["PYTHONPATH"] = str(REPOSITORY)  # runs begin in other folders
    folder = args.folder.resolve()
    clips = folder / f"clips{args.count}"
    archive = Archive(folder, clips, make_archive(clips, args.videos, count=args.count))
    found: dict[str, Any] = {"clips": args.count, "cores": os.cpu_count()}
    for step in args.only.split(","):
        print(f"{step} ...", file=sys.stderr, flush=True)
        if step == "workers":
            found[step] = workers(archive)
        elif step == "ray":
            found[step] = ray(archive)
        else:  # as often as a run of two workers lasts
            usual = found["workers"]["runs"][2]["wall_s"] if "workers" in found else 60.0
            found[step] = kills(archive, args.kills, usual / args.kills)
    print(json.dumps({**found, "passed": verdict(found, args.kills)}, indent=1))


if __name__ == "__main__":
    main()
