"""Kills `process` at random moments, lets it resume, and compares the results with those of an uninterrupted run.

    python tests/kill.py CLIP ... [--kills 20] [--seed 1] [--loop SECONDS] [--signal KILL|INT|TERM]

A run is killed up to six times in a row before it may end. Exits with 1 where a result differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

# What differs from run to run, by SCHEMA: "the same table" is all else.
DIFFERS = {"created_utc", "timings"}
MOST_IN_A_ROUND = 6

_CHILD = """
import os, sys, threading, time
import vidfer.pipeline.resume as resume
from vidfer.cli import app, process, progress

_, part_s, stage, frames, delay_s, number, *args = sys.argv
resume._PART_S = float(part_s)
number = int(number)
hit = False

def update(self, source, moment):
    global hit
    if not hit and moment.stage == stage and moment.frames_done - moment.frames_before >= int(frames):
        hit = True
        threading.Timer(float(delay_s), os.kill, (os.getpid(), number)).start()

progress.ProgressLine.update = update
sys.exit(app.run(["process", *args]))
"""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When to send a signal: so long after so many new frames of a stage."""

    stage: str = "analyse"
    frames: int = 0
    delay_s: float = 0.0

    @classmethod
    def random(cls, chance: random.Random, most_frames: int, render: bool) -> Moment:
        """Mostly while analysing, sometimes after it."""
        stage = chance.choices(["analyse", "finish", "render" if render else "finish"], [8, 1, 1])[0]
        frames = 0 if stage == "finish" else chance.randrange(most_frames)
        return cls(stage=stage, frames=frames, delay_s=chance.uniform(0, 0.3))


def run(
    clip: Path,
    folder: Path,
    *options: str,
    moment: Moment | None = None,
    number: int = signal.SIGKILL,
    part_s: float = 0.2,
    timeout_s: float = 600,
) -> subprocess.CompletedProcess[str]:
    """`vidfer process CLIP -o FOLDER`, in a process of its own, to which a signal is sent at a moment."""
    at = [str(part_s), *((moment.stage, str(moment.frames), str(moment.delay_s)) if moment else ("", "0", "0"))]
    command = [sys.executable, "-c", _CHILD, *at, str(int(number)), str(clip), "-o", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def differences(folder: Path, reference: Path) -> list[str]:
    """In what two folders of results differ, apart from times."""
    found = []
    names = [{path.name for path in where.iterdir()} for where in (folder, reference)]
    if names[0] != names[1]:
        found.append(f"files: {sorted(names[0] ^ names[1])}")
    for path in sorted(reference.glob("*.parquet")):
        if not (folder / path.name).exists():
            continue
        if not pq.read_table(folder / path.name).equals(pq.read_table(path)):
            found.append(f"{path.name}: other values")
        found += _differing(path.name, *(_footer(where / path.name) for where in (folder, reference)))
    for path in sorted(reference.glob("*.run.json")):
        if (folder / path.name).exists():
            reports = (json.loads((where / path.name).read_text(encoding="utf-8")) for where in (folder, reference))
            found += _differing(path.name, *reports)
    return found


def _footer(path: Path) -> dict[str, Any]:
    return dict(json.loads(pq.read_metadata(path).metadata[b"vidfer"]))


def _differing(name: str, a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    keys = sorted(({*a, *b}) - DIFFERS)
    return [f"{name}: {key}: {a.get(key)} and {b.get(key)}" for key in keys if a.get(key) != b.get(key)]


def looped(clip: Path, seconds: float, folder: Path) -> Path:
    """A clip repeated without encoding it again, until it lasts so long."""
    path = folder / f"{clip.stem}_looped.mp4"
    command = ["ffmpeg", "-v", "error", "-stream_loop", "-1", "-i", str(clip), "-t", str(seconds), "-map", "0:v:0"]
    subprocess.run([*command, "-c", "copy", "-y", str(path)], check=True)
    return path


def kill_and_resume(clip: Path, folder: Path, options: Sequence[str], kills: int, seed: int, number: int) -> list[str]:
    """What differs after so many kills; prints how it goes."""
    chance = random.Random(seed)
    reference = run(clip, folder / "reference", *options)
    if reference.returncode:
        return [f"the uninterrupted run failed: {reference.stderr.strip()}"]
    report = json.loads((folder / "reference" / f"{clip.stem}.run.json").read_text(encoding="utf-8"))
    frames, render = report["counts"]["analysed"], "--no-render" not in options
    found: list[str] = []
    in_round = round_ = 0
    while kills > 0 or in_round:
        out = folder / f"round-{round_}"
        moment = (
            Moment.random(chance, max(1, frames // 5), render) if kills > 0 and in_round < MOST_IN_A_ROUND else None
        )
        ended = run(clip, out, *options, moment=moment, number=number)
        in_round += 1
        kills -= ended.returncode != 0
        print(f"{clip.name}: {moment}: exit code {ended.returncode} {ended.stderr.strip()[-200:]}", flush=True)
        if moment is None and ended.returncode:
            return [*found, f"the last run failed: {ended.stderr.strip()}"]
        if ended.returncode:
            continue
        resumed = json.loads((out / f"{clip.stem}.run.json").read_text(encoding="utf-8"))["timings"]["resumed_frames"]
        now = differences(out, folder / "reference")
        kept = f"{resumed} of {frames} frames resumed"
        print(f"{clip.name}: round {round_}: {kept}; different: {now or 'nothing'}", flush=True)
        found += now
        shutil.rmtree(out)
        in_round, round_ = 0, round_ + 1
    return found


def main() -> int:
    """The script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--loop", type=float, help="repeat each clip until it lasts so many seconds")
    parser.add_argument("--signal", choices=["KILL", "INT", "TERM"], default="KILL")
    parser.add_argument("--render", action="store_true")
    args = parser.parse_args()
    options = ["--no-render"] * (not args.render)
    failed = False
    for clip in args.clips:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            path = looped(clip, args.loop, folder) if args.loop else clip
            number = getattr(signal, f"SIG{args.signal}")
            failed |= bool(kill_and_resume(path, folder, options, args.kills, args.seed, number))
    return int(failed)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    sys.exit(main())
