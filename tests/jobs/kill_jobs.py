"""Kills drivers and workers of a job at random moments, lets it go on, and compares with a run that nobody disturbed.

    python tests/jobs/kill_jobs.py JOB.toml [--kills 10] [--seed 1]

The definition stays as it is; both data sets go beside its own. Exits with 1 where they differ.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

COUNTS = ("unit", "sources", "state", "frames", "faces", "tracks", "duration_s", "sha256")


def driver(job: Path, *args: str) -> subprocess.Popen[str]:
    """`vidfer jobs run`, in a process of its own."""
    command = [sys.executable, "-m", "vidfer", "jobs", "run", str(job), *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def workers_of(pid: int) -> list[int]:
    """Its worker processes."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"spawn_main" in (stat.parent / "cmdline").read_bytes():
                found.append(int(stat.parent.name))
        except (OSError, IndexError, ValueError):
            continue
    return found


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_gone(pids: list[int], timeout_s: float = 200) -> bool:
    """Whether they all end by themselves."""
    deadline = time.monotonic() + timeout_s
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(is_alive, pids))


def differences(out: Path, reference: Path) -> list[str]:
    """In what two data sets differ, apart from times and hosts."""
    found = []
    for kind in ("observations", "tracks", "reports"):
        names = [sorted(path.relative_to(where) for path in (where / kind).rglob("*.*")) for where in (out, reference)]
        if names[0] != names[1]:
            found.append(f"{kind}: {len(set(names[0]) ^ set(names[1]))} files are in one of them only")
            continue
        if kind != "reports":
            pairs = ((pq.ParquetFile(out / name), pq.ParquetFile(reference / name)) for name in names[0])
            found += [f"{kind}: other rows" for a, b in pairs if not a.read().equals(b.read())]
    rows = [
        sorted(map(str, pq.read_table(where / "manifest.parquet", columns=list(COUNTS)).to_pylist()))
        for where in (out, reference)
    ]
    return found + (["manifest: other rows"] if rows[0] != rows[1] else [])


def kill_and_go_on(job: Path, kills: int, chance: random.Random, most_s: float = 6.0) -> list[str]:
    """Run a job until it ends, killed so many times; what happened, line by line."""
    said = []
    running = driver(job, "--quiet")
    while kills:
        time.sleep(chance.uniform(0.5, most_s))
        if running.poll() is not None:
            said.append(f"it ended by itself (exit code {running.returncode}) with {kills} kills left")
            break
        workers = workers_of(running.pid)
        victim = chance.choice([running.pid, *workers])
        os.kill(victim, signal.SIGKILL)
        kills -= 1
        said.append(f"killed {'the driver' if victim == running.pid else 'a worker'}")
        if victim == running.pid:
            running.communicate()
            if not wait_gone(workers):
                said.append("WORKERS GO ON WITHOUT THEIR DRIVER")
            running = driver(job, "--quiet")
    _, errors = running.communicate()
    return [*said, f"exit code {running.returncode} {errors.strip()}"]


def beside(job: Path, name: str, more: str = "") -> Path:
    """The same job with a folder of its own."""
    text = job.read_text()
    start = text.index("folder", text.index("[output]"))
    end = text.index("\n", start)
    path = job.with_name(f"{name}.toml")
    path.write_text(f'{text[:start]}folder = "{name}"{text[end:]}{more}')
    return path


def main() -> int:
    """The script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    reference, killed = beside(args.job, "undisturbed"), beside(args.job, "killed")
    began = time.monotonic()
    calm = driver(reference)
    output, _ = calm.communicate()
    print(output, f"exit code {calm.returncode} after {time.monotonic() - began:.1f} s")
    took = time.monotonic() - began
    print("\n".join(kill_and_go_on(killed, args.kills, random.Random(args.seed), took / args.kills)))
    found = differences(args.job.parent / "killed", args.job.parent / "undisturbed")
    print(f"different: {found or 'nothing'}")
    return int(bool(found))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    sys.exit(main())
