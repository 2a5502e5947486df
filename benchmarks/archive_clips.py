"""Makes the archive that `archive.py` runs a job on: 200 short clips of real videos, ten of them broken in ten ways.

    python benchmarks/archive_clips.py FOLDER [--videos DIR] [--count N] [--seed N]

Beside the clips stand `videos.csv`, which a job names, and `expected.json`: what has to become of each. Needs ffmpeg.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from vidfer.media.probe import probe

LIST, EXPECTED = "videos.csv", "expected.json"
_SUFFIXES = (".mp4", ".mkv", ".mov")
_SECONDS = (1.0, 4.0)
_MOST_PIXELS = 1280 * 720


def empty(path: Path) -> None:
    """Nothing in it."""
    path.write_bytes(b"")


def text(path: Path) -> None:
    """A letter that somebody gave the name of a video."""
    path.write_text("Dear archive, the tape is in the second drawer.\n" * 200, encoding="utf-8")


def beginning(path: Path) -> None:
    """The first kilobyte: a copy that broke off at once."""
    path.write_bytes(path.read_bytes()[:1024])


def no_index(path: Path) -> None:
    """The first half of a recording whose index would have been at its end."""
    data = path.read_bytes()
    assert data.rindex(b"moov") > len(data) // 2
    path.write_bytes(data[: len(data) // 2])


def zeros(path: Path) -> None:
    """As long as it was, and nothing but zeros: a disk that lost it."""
    path.write_bytes(bytes(path.stat().st_size))


def noise(path: Path) -> None:
    """As long as it was, and noise: encrypted, say."""
    path.write_bytes(np.random.default_rng(1).bytes(path.stat().st_size))


def archived(path: Path) -> None:
    """A ZIP file."""
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("clip.txt", "no video")


def sound_only(path: Path) -> None:
    """A voice without a picture."""
    _ffmpeg("-f", "lavfi", "-i", "sine=frequency=220:duration=2", "-c:a", "aac", path)


def folder(path: Path) -> None:
    """A folder with the name of a video."""
    path.unlink()
    path.mkdir()


def link_to_nothing(path: Path) -> None:
    """A link whose disk is not there."""
    path.unlink()
    path.symlink_to("/nowhere/clip.mp4")


_NO_VIDEO = "no video or cut off"
# How it is broken: what the reason has to say.
BROKEN: dict[Callable[[Path], None], str] = {
    empty: "empty",
    text: _NO_VIDEO,
    beginning: _NO_VIDEO,
    no_index: _NO_VIDEO,
    zeros: _NO_VIDEO,
    noise: _NO_VIDEO,
    archived: _NO_VIDEO,
    sound_only: "no video stream",
    folder: "Is a directory",
    link_to_nothing: "No such file",
}


def hole(path: Path) -> None:
    """Four sectors in the middle could not be read."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 512 * 512
    data[middle : middle + 2048] = bytes(2048)
    path.write_bytes(data)


def flipped(path: Path) -> None:
    """A byte in two thousand of the second half is another one."""
    data = np.frombuffer(path.read_bytes(), np.uint8).copy()
    rng = np.random.default_rng(2)
    spots = rng.integers(len(data) // 2, len(data) - 20_000, len(data) // 4000)
    data[spots] ^= 0x5A
    path.write_bytes(data.tobytes())


def broken_off(path: Path) -> None:
    """A copy that broke off in the middle, of a file that can be read up to there."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])


# Only damaged: all that can be read of them is analysed.
DAMAGED: dict[Callable[[Path], None], str] = {hole: ".mp4", flipped: ".mp4", broken_off: ".mkv"}


def make_archive(place: Path, videos: Path, *, count: int = 200, seed: int = 8) -> dict[str, Any]:
    """Make it, unless it is there; gives what is expected of each clip, by name."""
    about = place / EXPECTED
    wanted = {"count": count, "seed": seed}
    if about.exists() and (found := json.loads(about.read_text()))["made"] == wanted:
        clips: dict[str, Any] = found["clips"]
        return clips
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    sources = dict(_sources(videos))
    cuts, expected = [], {}
    kinds = [*BROKEN, *DAMAGED, *[None] * (count - len(BROKEN) - len(DAMAGED))]
    for number, kind in enumerate(kinds):
        source = list(sources)[number % len(sources)]
        suffix = DAMAGED.get(kind, ".mp4") if kind else _SUFFIXES[number % 3]
        name = f"{kind.__name__ if kind else source.stem}_{number:03}{suffix}"
        length = float(rng.uniform(*_SECONDS))
        start = float(rng.uniform(0, max(0.0, sources[source] - length)))
        cuts.append((source, start, length, place / name, kind))
        expected[name] = {"state": "rejected", "reason": BROKEN[kind]} if kind in BROKEN else {"state": "done"}
        expected[name] |= {"how": kind.__doc__} if kind else {"source": source.name}
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda cut: _make(*cut), cuts))
    names = [str(place.absolute() / name) for name in sorted(expected)]
    (place / LIST).write_text("\n".join(["source", *names]) + "\n")
    about.write_text(json.dumps({"made": wanted, "clips": expected}, indent=1) + "\n")
    return expected


def _sources(videos: Path) -> Iterator[tuple[Path, float]]:
    """(video, its length in seconds), no larger than 720p."""
    for path in sorted(videos.iterdir()):
        if path.suffix in _SUFFIXES:
            info = probe(path).info
            if info.width * info.height <= _MOST_PIXELS and (info.duration_s or 0) > _SECONDS[0]:
                yield path, float(info.duration_s or 0)


def _make(source: Path, start: float, length: float, to: Path, kind: Callable[[Path], None] | None) -> None:
    encoding = ("-an", "-c:v", "libx264", "-preset", "ultrafast", "-crf", "21", "-threads", "1")
    _ffmpeg("-ss", f"{start:.3f}", "-i", source, "-t", f"{length:.3f}", *encoding, to)
    if kind is not None:
        kind(to)


def _ffmpeg(*args: Any) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, args)], check=True)


def main() -> None:
    """The script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=Path, default=Path("../shared/videos"))
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=8)
    args = parser.parse_args()
    made = make_archive(args.folder, args.videos, count=args.count, seed=args.seed)
    print(f"{len(made)} clips in {args.folder}, {sum(one['state'] != 'done' for one in made.values())} of them broken")


if __name__ == "__main__":
    main()
