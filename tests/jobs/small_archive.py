"""A small archive for tests: short clips of different content, a copy, and files that are no videos."""

import json
import shutil
import struct
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq

CLIP = Path(__file__).parents[2] / "examples" / "two_faces.mp4"
OPTIONS = 'end = "0.4"\nlandmarks = "none"'


def clip(path, number=0):
    """The demo clip, with a box of its own behind it that no player minds: another content, the same pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(CLIP, path)
    with path.open("ab") as file:
        file.write(struct.pack(">I4sI", 12, b"free", number))
    return path


def archive(folder, clips=3):
    """Clips, a copy of the first under another name, and two files that are rejected."""
    for number in range(clips):
        clip(folder / f"clip{number}.mp4", number)
    shutil.copy(folder / "clip0.mp4", folder / "again.mp4")
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is no video\n" * 100)
    return folder


def definition(folder, inputs='paths = ["videos"]', options=OPTIONS, more="", workers=2):
    """JOB.toml in a folder."""
    path = folder / "job.toml"
    path.write_text(
        f'[inputs]\n{inputs}\n[options]\n{options}\n[output]\nfolder = "out"\n[executor]\nworkers = {workers}\n{more}'
    )
    return path


def rows(out, kind="observations"):
    """A table of the whole data set, in an order of its own."""
    table = ds.dataset(out / kind, partitioning="hive").to_table()
    keys = ["unit", "frame", "face_id"] if kind == "observations" else ["unit", "face_id"]
    return table.sort_by([(key, "ascending") for key in keys])


def manifest(out):
    """The manifest as a dictionary by the names of the sources' files."""
    found = pq.read_table(out / "manifest.parquet").to_pylist()
    return {tuple(Path(name).name for name in row["sources"]): row for row in found}


def ledger(out):
    """All lines."""
    return [json.loads(line) for path in (out / "ledger").glob("*.jsonl") for line in path.read_text().splitlines()]
