"""Finishing from parts: the same tables as with everything in memory, in memory that hardly grows."""

from __future__ import annotations

import sys
import tempfile
import tracemalloc
from argparse import Namespace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from finishing_reference import finish_in_memory
from hypothesis import given, settings
from hypothesis import strategies as st

from vidfer.errors import OutputError
from vidfer.output.parts import PartWriter
from vidfer.pipeline import tracks
from vidfer.pipeline.finish import finish
from vidfer.pipeline.raw import raw_schema
from vidfer.schema import observation_schema, tracks_schema
from vidfer.smooth import PRESETS, Smoothing
from vidfer.vision.tracklets import LinkOptions

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import finish_memory

STEP_S = 0.1
OPTIONS = LinkOptions(join_cosine=0.6, return_cosine=0.4, follow_cosine=0.3, split_cosine=0.2)


class Source:
    """Raw rows of made-up tracklets: some frames left out by sampling, some without a time, some without a face."""

    def __init__(self, seed):
        random = np.random.default_rng(seed)
        n, people = int(random.integers(1, 80)), 4
        frame = np.cumsum(random.integers(1, 3, n)) - 1
        time_s = np.cumsum(random.choice([0.04, STEP_S, 0.6], n, p=[0.5, 0.45, 0.05]))
        no_time = random.random(n) < random.choice([0, 0.1, 1], p=[0.5, 0.4, 0.1])
        shot, epoch = np.cumsum(random.random(n) < 0.04), np.cumsum(random.random(n) < 0.02)
        looks = np.eye(128)[:people]
        corner = random.uniform(0, 500, (people, 2))
        back = (np.random.default_rng([seed, 1]).random(n) < 0.05 * (seed % 2)) & ~no_time & (np.arange(n) > 0)
        self.rows, self.times_back = [], 0
        for i in range(n):
            if no_time[i]:  # between its neighbours' times would be another guess than ours
                time_s[i:] += STEP_S if i == 0 else time_s[i - 1] + STEP_S - time_s[i]
            if back[i]:  # the tracker starts anew there
                self.times_back += 1
                time_s[i:] -= 0.7
            about = {"frame": int(frame[i]), "pts": None if no_time[i] else int(frame[i]), "captured_utc": None}
            about |= {"time_s": None if no_time[i] else time_s[i], "corrupt": bool(random.random() < 0.1)}
            about |= {"shot": int(shot[i]), "epoch": int(epoch[i])}
            there = [p for p in range(people) if random.random() < (0.9 if p < 2 else 0.5)]
            faces = [about | self.face(random, p, about, looks, corner) for p in there if random.random() < 0.95]
            self.rows += faces or [about | dict.fromkeys(raw_schema(68).names[len(about) :])]
        self.table = pa.Table.from_pylist(self.rows, schema=raw_schema(68))

    def face(self, random, person, about, looks, corner):
        """Person 3 is hardly a face; tracklets end every 20 frames; the persons in two of them change on the way."""
        name = 10 * (100 * about["shot"] + about["epoch"]) + about["frame"] // 20 * 10_000 + person
        name += 10_000_000 * self.times_back
        look = looks[person if about["frame"] % 50 < 30 or person > 1 else 1 - person]
        look = look + random.normal(0, 0.05, 128)
        box = corner[person] + random.normal(0, 3, 2)
        return {
            "tracklet": name,
            "status": int(random.random() < 0.4),
            "score": random.uniform(0.4, 0.6) if person == 3 else random.uniform(0.6, 1),
            "presence": random.uniform(0.7, 1),
            "quality": random.uniform(0, 1),
            "box": [*box, *(box + random.uniform(50, 60, 2))],
            "emotion": random.normal(0, 2, 8),
            "valence_arousal": random.uniform(-1, 1, 2),
            "pose": random.normal(0, 10, 3),
            "embedding": (look / np.linalg.norm(look)).astype(np.float16),
            "landmarks": random.normal(300, 50, 136),
        }

    def write(self, folder, seed=0):
        """In parts of any length, between frames."""
        random, writer = np.random.default_rng(seed), PartWriter(folder)
        frame = self.table["frame"].to_numpy()
        borders = np.flatnonzero(np.diff(frame)) + 1
        borders = [0, *borders[random.random(len(borders)) < random.choice([0, 0.1, 1])], len(frame)]
        for start, stop in pairwise(borders):
            writer.write_part(self.table.slice(start, stop - start))

    def finished(self, folder, smooth, seed=0):
        self.write(folder / "parts", seed)
        return run(folder, smooth)


def run(folder, smooth="medium"):
    counts = finish(
        folder / "parts",
        folder / "table.parquet",
        folder / "tracks.parquet",
        source="made-up",
        landmarks=68,
        frame_interval_s=STEP_S,
        smoothing=Smoothing.preset(smooth),
        link=OPTIONS,
        describe=lambda faces, tracks: {"faces": faces, "tracks": tracks},
    )
    return counts, *(pq.read_table(folder / f"{name}.parquet") for name in ("table", "tracks"))


def assert_rows(table, wanted, schema):
    """Every value of a table of ours."""
    assert table.num_rows == len(wanted)
    for field in schema:
        if field.name in ("source", "wallclock"):
            continue
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        expected = pa.array([row.get(field.name) for row in wanted], plain).to_pylist()
        assert table[field.name].to_pylist() == expected, field.name


@given(seed=st.integers(0, 2**32 - 1), smooth=st.sampled_from(PRESETS))
@settings(max_examples=20, deadline=None)
def test_tables_are_those_made_with_everything_in_memory(seed, smooth):
    source = Source(seed)
    with tempfile.TemporaryDirectory() as name:
        counts, table, track_rows = source.finished(Path(name), smooth, seed)
        left = {path.name for path in (Path(name) / "parts").iterdir()}
    raw = source.table.to_pylist()
    rows, wanted = finish_in_memory(raw, frame_interval_s=STEP_S, smoothing=Smoothing.preset(smooth), options=OPTIONS)
    assert_rows(table, rows, observation_schema(68))
    assert_rows(track_rows, wanted, tracks_schema())
    assert set(table["source"].to_pylist()) == {"made-up"}
    assert counts == {
        "faces": sum(row.get("face_status") in ("detected", "tracked") for row in rows),
        "tracks": len(wanted),
    }
    assert all(part.startswith("part-") for part in left), "scratch files are gone"


def test_the_made_up_sources_have_all_that_can_happen():
    """So that the test above says something."""
    seen = set()
    for seed in range(8):
        with tempfile.TemporaryDirectory() as name:
            _, table, track_rows = (source := Source(seed)).finished(Path(name), "medium", seed)
            seen |= {"time that steps back"} if source.times_back else set()
            seen |= {"several parts"} if (Path(name) / "parts" / "part-000001.parquet").exists() else set()
        seen |= {str(status) for status in table["face_status"].unique().to_pylist()}
        seen |= {"a start without a time"} if track_rows["first_timestamp"].null_count else set()
        seen |= {"long tracks"} if track_rows.num_rows and max(track_rows["frames"].to_pylist()) > 40 else set()
    assert seen >= {
        "time that steps back",
        "several parts",
        "None",
        "detected",
        "predicted",
        "a start without a time",
        "long tracks",
    }


def test_killed_and_run_again_it_gives_the_same(tmp_path, monkeypatch):
    source = Source(5)
    source.write(tmp_path / "parts")
    with monkeypatch.context() as patch:
        patch.setattr(tracks.SecondLook, "__exit__", lambda *_: None)  # the scratch files of a killed run stay
        patch.setattr(tracks.SecondLook, "observations", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert list((tmp_path / "parts").glob("*.scratch"))
    assert not list(tmp_path.glob("*.parquet*"))
    counts, *tables = run(tmp_path)
    expected, *wanted = source.finished(tmp_path / "again", "medium")
    assert counts == expected
    assert [a.equals(b) for a, b in zip(tables, wanted, strict=True)] == [True, True]
    assert not list((tmp_path / "parts").glob("*.scratch"))


def interrupted(*_):
    raise KeyboardInterrupt


def test_no_place_for_scratch_files_is_one_line(tmp_path, monkeypatch):
    Source(5).write(tmp_path / "parts")
    (tmp_path / "parts" / "look.scratch").mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*look\.scratch: Is a directory; free the disk or choose"):
        run(tmp_path)


def test_it_takes_as_much_memory_for_twice_the_length(tmp_path):
    """Bytes that are counted, not those of the process, which depend on its heap: the same in every run.

    All parts, the whole table or all embeddings in memory would be 12 to 16 MB more for these two minutes.
    """
    short, long = (counted_mb(tmp_path / str(minutes), minutes) for minutes in (2, 4))
    assert long["python"] - short["python"] < 2, (short, long)
    assert long["arrow"] - short["arrow"] < 2, (short, long)


POOLS = []  # kept: what was allocated in them may live on


def counted_mb(folder, minutes):
    """The most that Python with numpy and Arrow held at once while they finished so many minutes of 8 faces."""
    options = Namespace(faces=8, shot=3600, landmarks=68)
    finish_memory.make(folder, minutes, options)
    usual = pa.default_memory_pool()
    POOLS.append(pa.proxy_memory_pool(usual))
    pa.set_memory_pool(POOLS[-1])
    tracemalloc.start()
    try:
        assert finish_memory.measure(folder, options)["tracks"] == 8
        return {"python": tracemalloc.get_traced_memory()[1] / 1e6, "arrow": POOLS[-1].max_memory() / 1e6}
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(usual)
