"""Compose a clip of 1920x1080 with eight faces that move, from clips with one or two faces each.

    python benchmarks/make_crowd.py OUT.mp4 [--videos DIR] [--seconds 12] [--minutes N]

Eight clips, each cropped to a square and scaled to 380-460 px, drift on a grey gradient; 25 frames/s, H.264.
With --minutes the result is repeated to that length without encoding it again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

VIDEOS = Path(__file__).resolve().parents[2] / "shared" / "videos"
_WIDTH, _HEIGHT, _RATE = 1920, 1080, 25
# File, side of the picture in px, left and top edge in the middle of its way.
_TILES = (
    ("d0.mp4", 420, 40, 40),
    ("d10.mp4", 380, 500, 60),
    ("d11.mp4", 400, 940, 40),
    ("d12.mp4", 440, 1420, 60),
    ("s29.mp4", 460, 60, 560),
    ("s18.mp4", 400, 560, 600),
    ("s20.mp4", 420, 1000, 580),
    ("d14.mp4", 380, 1460, 600),
)


def compose(out: Path, videos: Path, seconds: float) -> None:
    """Write the clip with ffmpeg."""
    inputs: list[str] = []
    filters = [f"gradients=s={_WIDTH}x{_HEIGHT}:r={_RATE}:c0=0x505050:c1=0x909090:speed=0.00001:d={seconds}[g]"]
    under = "g"
    for i, (name, side, x, y) in enumerate(_TILES):
        inputs += ["-stream_loop", "-1", "-i", str(videos / name)]
        square = "crop='min(iw,ih)':'min(iw,ih)':(iw-min(iw\\,ih))/2:(ih-min(iw\\,ih))/4"
        filters.append(f"[{i}:v]fps={_RATE},{square},scale={side}:{side},setsar=1,setpts=PTS-STARTPTS[t{i}]")
        move = f"x='{x}+25*sin(t*{0.7 + 0.1 * i}+{i})':y='{y}+15*cos(t*{0.9 - 0.05 * i}+{i})'"
        filters.append(f"[{under}][t{i}]overlay={move}[o{i}]")
        under = f"o{i}"
    subprocess.run(
        [
            *("ffmpeg", "-v", "error", "-y", *inputs, "-filter_complex", ";".join(filters), "-map", f"[{under}]"),
            *("-t", str(seconds), "-an", "-c:v", "libx264", "-preset", "veryfast", "-crf", "23"),
            *("-pix_fmt", "yuv420p", "-g", "250", str(out)),
        ],
        check=True,
    )


def repeat(clip: Path, out: Path, minutes: float) -> None:
    """Write a clip again and again to this length; packets are copied."""
    command = ["ffmpeg", "-v", "error", "-y", "-stream_loop", "-1", "-i", str(clip), "-map", "0:v:0"]
    subprocess.run([*command, "-c", "copy", "-t", str(60 * minutes), str(out)], check=True)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Compose a clip of 1920x1080 with eight faces.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--videos", type=Path, default=VIDEOS, metavar="DIR")
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--minutes", type=float, help="repeat it to this length")
    options = parser.parse_args(arguments)
    if options.minutes is None:
        compose(options.out, options.videos, options.seconds)
    else:
        with tempfile.TemporaryDirectory() as folder:
            compose(Path(folder) / "clip.mp4", options.videos, options.seconds)
            repeat(Path(folder) / "clip.mp4", options.out, options.minutes)
    print(json.dumps({"clip": str(options.out), "bytes": options.out.stat().st_size}))


if __name__ == "__main__":
    main()
