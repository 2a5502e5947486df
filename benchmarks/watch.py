"""How late a camera's faces are, and what watching it costs: a video over RTSP on loopback, as `vidfer watch` sees it.

    python benchmarks/watch.py VIDEO [--seconds 60] [--wait 10] [option of vidfer watch]...

Needs GStreamer's RTSP server (CONTRIBUTING.md). VIDEO has H.264 or H.265 and lasts longer than the measurement.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / "tests" / "live"), str(REPOSITORY / "tests")]

from streams import RtspServer, show  # noqa: E402


def state(pid: int) -> dict[str, float]:
    """CPU seconds, memory in MB, threads and open files of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {
        "cpu_s": (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        "memory_mb": int(status["VmRSS"].split()[0]) / 1000,
        "threads": int(status["Threads"]),
        "files": len(list(Path(f"/proc/{pid}/fd").iterdir())),
    }


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--wait", type=float, default=10.0, help="before the first measurement: loading, connecting")
    args, options = parser.parse_known_args()
    with RtspServer({"/live": show(args.video.resolve())}) as camera, tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "vidfer", "watch", camera.url("/live"), "-o", folder, *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            time.sleep(args.wait)
            before = state(process.pid)
            time.sleep(args.seconds)
            after = state(process.pid)
            process.terminate()
            said = process.communicate()[0].strip()
        finally:
            process.kill()
    cores = (after["cpu_s"] - before["cpu_s"]) / args.seconds
    print(json.dumps({"cores": round(cores, 3), "before": before, "after": after, "said": said}, indent=1))


if __name__ == "__main__":
    main()
