"""Long files in parts, side by side: the same unit as in one piece, whatever happens to single parts."""

import shutil
from collections import deque
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pretended import record
from small_archive import CLIP, definition, ledger, manifest

from vidfer.errors import InputError
from vidfer.jobs.dataset import Dataset
from vidfer.jobs.definition import read_definition
from vidfer.jobs.executor import Finished
from vidfer.jobs.run import run_job
from vidfer.jobs.splits import Splits
from vidfer.jobs.units import Source, Task
from vidfer.jobs.worker import Setup, Worker
from vidfer.pipeline import slices, split

TASK = Task(source=Source(name="/x/long.mp4", identity="1"))


@given(
    st.integers(2, 6),
    st.randoms(use_true_random=False),
    st.dictionaries(
        st.tuples(st.integers(0, 6), st.integers(1, 3)), st.sampled_from(["failed", "rejected"]), max_size=3
    ),
)
def test_parts_that_come_back_in_any_order_make_one_file(parts, chance, wrong):
    splits = Splits(Dataset(Path("/nowhere")), retries=1)
    waiting = splits.begin(TASK, record(TASK, "split", unit="u1", parts=parts))
    copy = replace(TASK, source=Source(name="/x/copy.mp4", identity="1"))
    assert splits.begin(copy, record(copy, "split", unit="u1", parts=parts)) == []
    assert [task.part for task in waiting] == list(range(parts))
    done, settled, later = set(), [], []
    while waiting:
        task = waiting.pop(chance.randrange(len(waiting)))
        assert task.part < parts or done == set(range(parts)), "stitched before all parts are there"
        state = wrong.get((task.part, task.attempt), "done")
        done |= {task.part} if state == "done" else set()
        follow, whole = splits.back(task, record(task, state))
        if whole is not None:
            settled.append(whole.state)
            later += follow
        else:
            waiting += follow
    assert len(settled) == 1
    assert later == [copy], "a copy waits until the first is settled"
    assert (settled == ["done"]) == (done == {*range(parts), parts})


class Here:
    """One real worker in this process; `trouble` is called before every task."""

    workers = room = 1

    def __init__(self, setup, trouble=lambda task: None):
        self._worker, self._trouble, self._back, self.tasks = Worker(setup), trouble, deque(), []

    @property
    def pending(self):
        return len(self._back)

    def submit(self, task):
        self.tasks.append(task)
        dead = self._trouble(task)
        self._back.append(
            Finished(task=task, reason=dead) if dead else Finished(task=task, record=self._worker.work(task))
        )

    def wait(self, timeout_s):
        return [self._back.popleft()] if self._back else []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._worker.close()


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A job of one clip of three seconds with a key frame in each, in one piece."""
    folder = tmp_path_factory.mktemp("long")
    (folder / "videos").mkdir()
    with av.open(str(CLIP)) as theirs, av.open(str(folder / "videos" / "long.mp4"), "w") as ours:
        options = {"g": "25", "preset": "ultrafast", "threads": "1"}
        stream = ours.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for index, frame in enumerate(theirs.decode(video=0)):
            if index >= 75:
                break
            frame.pts, frame.time_base = index, Fraction(1, 25)
            ours.mux(stream.encode(frame))
        ours.mux(stream.encode(None))
    path = definition(folder, options='landmarks = "none"', more="retries = 1\n")
    executor, tally = run(path)
    assert (tally.now["done"], [task.part for task in executor.tasks]) == (1, [None])
    return path


@pytest.fixture(autouse=True)
def _short_overlap(monkeypatch):
    """Clips of a few seconds can be split."""
    monkeypatch.setattr(split, "OVERLAP_S", 0.3)
    monkeypatch.setattr(split, "OVERLAP_FRAMES", 3)


def run(path, slice_s=None, trouble=lambda task: None, **more):
    job, made = read_definition(path), []

    def start(job):
        made.append(Here(Setup(options=job.options, slice_s=slice_s), trouble))
        return made[0]

    return (made[0] if (tally := run_job(job, start, **more)).todo else None), tally


def elsewhere(long, name):
    path = long.with_name(f"{name}.toml")
    path.write_text(long.read_text().replace('"out"', f'"{name}"'))
    return path, long.parent / name


def unit_of(out):
    (row,) = manifest(out).values()
    return row["unit"], pq.ParquetFile(Dataset(out).table("observations", row["unit"])).read()


def test_a_long_file_is_analysed_in_parts_and_stitched(long):
    path, out = elsewhere(long, "parts")
    executor, tally = run(path, slice_s=1.0)
    parts = [task.part for task in executor.tasks]
    assert parts == [None, 0, 1, 2, 3]
    assert dict(tally.now) == {"done": 1}
    (mine, rows), (theirs, expected) = unit_of(out), unit_of(long.parent / "out")
    assert mine == theirs, "the unit does not tell how it was made"
    assert rows.select(["frame", "pts", "timestamp", "n_faces", "face_id"]).equals(
        expected.select(["frame", "pts", "timestamp", "n_faces", "face_id"])
    )
    assert [line["parts"] for line in ledger(out) if "source" in line] == [3]
    assert not list((out / ".work").iterdir())
    assert run(path, slice_s=1.0)[0] is None


def test_a_part_whose_worker_dies_is_tried_again_alone(long):
    path, _ = elsewhere(long, "dies")
    executor, tally = run(
        path, slice_s=1.0, trouble=lambda task: "its worker died" if (task.part, task.attempt) == (1, 1) else None
    )
    assert sorted((t.part, t.attempt) for t in executor.tasks[1:]) == [(0, 1), (1, 1), (1, 2), (2, 1), (3, 1)]
    assert tally.now["done"] == 1


def test_a_driver_that_is_killed_between_parts_goes_on_with_what_is_left(long, monkeypatch):
    path, out = elsewhere(long, "killed")

    def stop(task):
        if task.part == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(path, slice_s=1.0, trouble=stop)
    again = []
    real = slices._analyse
    monkeypatch.setattr(slices, "_analyse", lambda *args: again.append(args[2].number) or real(*args))
    _, tally = run(path, slice_s=0.7)  # the plan that was begun is kept
    assert (tally.now["done"], again) == (1, [2])
    assert unit_of(out)[0] == unit_of(long.parent / "out")[0]


def test_what_became_of_slices_is_not_the_fault_of_their_file(long):
    path, out = elsewhere(long, "gone")

    def trouble(task):
        if task.part == task.parts:
            shutil.rmtree(Dataset(out).slice(task.unit, 1), ignore_errors=True)

    assert run(path, slice_s=1.0, trouble=trouble)[1].now == {"failed": 1}
    (row,) = manifest(out).values()
    assert "slice 2 of 3 is not in" in row["reason"]
    _, tally = run(path, slice_s=1.0, again=["failed"])
    assert tally.now == {"done": 1}
    assert unit_of(out)[0] == unit_of(long.parent / "out")[0]


def test_a_file_that_cannot_be_read_on_is_rejected_once_and_leaves_nothing(long, monkeypatch):
    path, out = elsewhere(long, "bad")

    def broken(*args):
        raise InputError("the disk has a hole there")

    monkeypatch.setattr(slices, "analyse_slice", broken)
    _, tally = run(path, slice_s=1.0)
    assert dict(tally.now) == {"rejected": 1}
    assert not list((out / ".work").iterdir())
    (row,) = manifest(out).values()
    assert (row["state"], row["reason"]) == ("rejected", "the disk has a hole there")
