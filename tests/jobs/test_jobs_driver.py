"""The driver: what it hands out, what it remembers, and what it leaves alone."""

import itertools
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pretended import Executor, record
from small_archive import definition, ledger

from vidfer.errors import InputError, OutputError, UsageError
from vidfer.jobs.dataset import Dataset
from vidfer.jobs.definition import read_definition
from vidfer.jobs.inputs import find_sources
from vidfer.jobs.ledger import Known, LedgerFile
from vidfer.jobs.manifest import write_manifest
from vidfer.jobs.run import Shard, run_job
from vidfer.jobs.status import kind_of, read_status
from vidfer.jobs.units import Source, Task, unit_of


class Driven:
    """A job of so many files, and its runs."""

    def __init__(self, folder, names=("a", "b", "c", "d"), retries=2):
        (folder / "videos").mkdir()
        for name in names:
            (folder / "videos" / f"{name}.mp4").write_text(name)
        self.job = read_definition(definition(folder, more=f"retries = {retries}"))
        self.out = folder / "out"
        self.executor = None

    def run(self, act=lambda task: "done", **more):
        """What the executor saw and how it ended."""
        self.executor = Executor(self.out / "ledger", act)
        tally = run_job(self.job, lambda job: self.executor, **more)
        return self.executor.seen, tally


def states(**of):
    return lambda task: of.get(Path(task.source.name).stem, "done")


def test_what_failed_is_tried_again_up_to_a_limit_and_what_was_rejected_never(tmp_path):
    driven = Driven(tmp_path)
    seen, tally = driven.run(states(a="failed", b="rejected"))
    assert sorted(seen) == [("a.mp4", 1), ("a.mp4", 2), ("a.mp4", 3), ("b.mp4", 1), ("c.mp4", 1), ("d.mp4", 1)]
    assert dict(tally.now) == {"done": 2, "failed": 1, "rejected": 1}
    seen, tally = driven.run(states(a="failed"))
    assert seen == []
    assert {state: tally.count(state) for state in ("done", "failed", "rejected")} == {
        "done": 2,
        "failed": 1,
        "rejected": 1,
    }
    assert driven.run(again=["failed"])[0] == [("a.mp4", 1)]
    assert driven.run(again=["failed", "rejected"])[0] == [("b.mp4", 1)]
    assert read_status(Dataset(driven.out)).states == {"done": 4}


def test_what_failed_is_tried_again_after_all_others(tmp_path):
    driven = Driven(tmp_path, names=[f"v{n}" for n in range(12)], retries=1)
    seen, tally = driven.run(states(v0="failed", v1=None))
    assert {attempt for _, attempt in seen[:12]} == {1}
    assert sorted(seen[12:]) == [("v0.mp4", 2), ("v1.mp4", 2)]
    assert dict(tally.now) == {"done": 10, "failed": 2}


def test_a_killed_worker_counts_as_an_attempt_of_its_source(tmp_path):
    driven = Driven(tmp_path, retries=1)
    seen, tally = driven.run(states(c=None))
    assert seen.count(("c.mp4", 2)) == 1
    assert tally.now["failed"] == 1
    assert "killed by signal N" in " ".join(tally.reasons)
    assert sum(line.get("state") == "failed" for line in ledger(driven.out)) == 2


def test_no_more_is_in_flight_than_there_are_workers(tmp_path):
    driven = Driven(tmp_path, names=[f"v{n}" for n in range(20)])
    seen, _ = driven.run()
    assert len(seen) == 20
    assert driven.executor.most == 3


def test_an_interrupted_run_goes_on_with_what_is_left(tmp_path):
    driven = Driven(tmp_path)
    count = itertools.count()

    def stop(task):
        if next(count) == 2:
            raise KeyboardInterrupt
        return "done"

    with pytest.raises(KeyboardInterrupt):
        driven.run(stop)
    assert pq.read_metadata(driven.out / "manifest.parquet").num_rows == 2
    assert len(driven.run()[0]) == 2
    assert [run.state for run in read_status(Dataset(driven.out)).runs] == ["ended", "ended"]


@given(st.integers(1, 7), st.lists(st.text(min_size=1), unique=True, max_size=30))
def test_shards_share_all_sources_and_none_twice(count, names):
    sources = [Source(name=name, identity="1") for name in names]
    owners = [[s.name for s in sources if Shard(number=n, count=count).has(s)] for n in range(1, count + 1)]
    assert sorted(itertools.chain(*owners)) == sorted(names)


def test_drivers_of_shards_may_share_a_folder(tmp_path):
    driven = Driven(tmp_path, names=[f"v{n}" for n in range(30)])
    parts = [driven.run(shard=Shard.parse(f"{n}/3"))[0] for n in (1, 2, 3)]
    assert sorted(itertools.chain(*parts)) == sorted((f"v{n}.mp4", 1) for n in range(30))
    assert all(parts)
    status = read_status(Dataset(driven.out))
    assert (status.total, status.states, status.waiting) == (30, {"done": 30}, 0)


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", ""])
def test_a_shard_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="give I/N with I from 1 to N"):
        Shard.parse(text)


def test_a_torn_line_does_not_count_and_harms_no_other(tmp_path):
    driven = Driven(tmp_path)
    driven.run()
    for path in (driven.out / "ledger").glob("*.jsonl"):
        text = path.read_bytes()
        if b'"c.mp4' in text or b"c.mp4" in text:
            lines = text.splitlines(keepends=True)
            (torn,) = [line for line in lines if b"c.mp4" in line]
            path.write_bytes(b"".join(line for line in lines if line != torn) + torn[:-10])
    assert driven.run()[0] == [("c.mp4", 1)]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["done", "failed", "rejected"])), max_size=20))
def test_what_is_done_stays_done_and_else_the_last_line_counts(tmp_path_factory, lines):
    folder = tmp_path_factory.mktemp("ledger")
    file = LedgerFile(folder)
    expected = {}
    for at, (number, state) in enumerate(lines):
        source = Source(name=str(number), identity="1")
        file.append(record(Task(source=source, attempt=at % 3 + 1), state, ended=float(at)))
        if expected.get(number, ("", 0))[0] != "done" or state == "done":
            expected[number] = state, at % 3 + 1
    file.close()
    known = Known(folder)
    for number in range(4):
        assert known.of(Source(name=str(number), identity="1")) == expected.get(number, (None, 0))
        assert known.of(Source(name=str(number), identity="2")) == (None, 0)


def test_a_name_that_is_no_text_is_a_source_like_others(tmp_path):
    driven = Driven(tmp_path)
    (tmp_path / "videos" / "caf\udce9 \n.mp4").write_text("x")
    seen, _ = driven.run()
    assert len(seen) == 5
    assert driven.run()[0] == []
    assert any("caf\\udce9" in row["sources"][0] for row in pq.read_table(driven.out / "manifest.parquet").to_pylist())


def test_units_differ_by_content_and_by_configuration():
    assert unit_of("a", "c") == unit_of("a", "c")
    assert len({unit_of("a", "c"), unit_of("b", "c"), unit_of("a", "d")}) == 3
    assert not unit_of("a", "c").isdecimal(), "readers would take the partition for a number"


def test_reasons_are_counted_without_what_is_of_one_file():
    assert kind_of("/data/a.mp4: cut off at 31 s", "/data/a.mp4") == "cut off at N s"
    assert kind_of("/scratch/x1/a.mp4 is empty", "s3://bucket/a.mp4") == "FILE is empty"
    assert kind_of("/data/a b.mp4 is empty", "/data/a  \nb.mp4") == "FILE is empty"
    assert kind_of("it is a folder", "s3://bucket/folder/") == "it is a folder"


def test_manifests_name_videos_relative_to_the_definition(tmp_path):
    driven = Driven(tmp_path)
    (tmp_path / "videos.csv").write_text("note,source\n1,videos/a.mp4\n2,\n3," + str(tmp_path / "videos" / "b.mp4"))
    job = read_definition(definition(tmp_path, 'manifest = "videos.csv"'))
    tally = run_job(job, lambda job: Executor(driven.out / "ledger"))
    assert tally.now["done"] == 2
    pq.write_table(pa.table({"path": [b"videos/c.mp4", None, b"videos/gone.mp4"]}), tmp_path / "videos.parquet")
    job = read_definition(definition(tmp_path, 'manifest = "videos.parquet"\ncolumn = "path"'))
    executor = Executor(driven.out / "ledger")
    run_job(job, lambda job: executor)
    assert sorted(name for name, _ in executor.seen) == ["c.mp4", "gone.mp4"]


def test_patterns_and_folders_leave_out_what_is_hidden_or_ours(tmp_path):
    for name in ("x/a.mp4", "x/y/b.MOV", "x/.c.mp4", "x/.d/e.mp4", "x/a.annotated.mp4", "x/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for inputs, expected in {
        'paths = ["x"]': ["a.mp4", "b.MOV"],
        'paths = ["x/**/*.mp4"]': ["a.annotated.mp4", "a.mp4"],
    }.items():
        executor = Executor(tmp_path / str(len(inputs)) / "ledger")
        path = definition(tmp_path, inputs)
        path.write_text(path.read_text().replace('"out"', f'"{len(inputs)}"'))
        run_job(read_definition(path), lambda job, executor=executor: executor)
        assert sorted(name for name, _ in executor.seen) == expected


def test_an_empty_folder_is_bad_input_and_settles_nothing(tmp_path):
    driven = Driven(tmp_path, names=())
    with pytest.raises(InputError, match="holds no video"):
        run_job(driven.job, lambda job: None)
    assert not driven.out.exists(), "other options would need another folder"


def test_copies_are_one_row_with_all_names(tmp_path):
    file = LedgerFile(tmp_path / "ledger")
    for name in ("one", "two", "three"):
        unit = None if name == "three" else "u1"
        state = "rejected" if name == "three" else "done"
        file.append(record(Task(source=Source(name=name, identity="1")), state, unit=unit, ended=np.pi))
    file.close()
    assert write_manifest(Dataset(tmp_path)) == 2
    found = pq.read_table(tmp_path / "manifest.parquet").to_pylist()
    assert sorted(row["sources"] for row in found) == [["one", "two"], ["three"]]


def test_the_manifest_is_made_anew_when_a_driver_was_killed_before_it_could(tmp_path):
    driven = Driven(tmp_path)
    driven.run()
    rows = pq.read_table(driven.out / "manifest.parquet").num_rows
    (tmp_path / "videos" / "late.mp4").write_text("late")
    late = next(source for source in find_sources(driven.job.inputs) if source.name.endswith("late.mp4"))
    file = LedgerFile(driven.out / "ledger")
    file.append(record(Task(source=late)))
    file.close()
    os.utime(driven.out / "manifest.parquet")  # another driver was writing it just then
    assert driven.run()[0] == []
    table = pq.read_table(driven.out / "manifest.parquet")
    assert table.num_rows == rows + 1
    written = (driven.out / "manifest.parquet").stat().st_mtime_ns
    assert driven.run()[0] == []
    assert (driven.out / "manifest.parquet").stat().st_mtime_ns == written, "written though nothing is new"


def test_what_a_file_held_before_it_changed_is_no_source_of_it_any_more(tmp_path):
    driven = Driven(tmp_path, names=("a", "b"))
    path = tmp_path / "videos" / "a.mp4"
    before = path.stat()
    driven.run(states(b="rejected"))
    for name in ("a", "b"):
        (tmp_path / "videos" / f"{name}.mp4").write_text(f"{name} is longer now")
    assert driven.run()[0] == [("a.mp4", 1), ("b.mp4", 1)]
    rows = pq.read_table(driven.out / "manifest.parquet").to_pylist()
    assert sorted((row["state"], [Path(one).name for one in row["sources"]]) for row in rows) == [
        ("done", []),
        ("done", ["a.mp4"]),
        ("done", ["b.mp4"]),
    ]
    status = read_status(Dataset(driven.out))
    assert (status.total, status.states, status.waiting) == (2, {"done": 2}, 0)

    units = {row["unit"] for row in rows if row["sources"] == [str(path)]}
    path.write_text("a")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert driven.run()[0] == [("a.mp4", 1)], "the worker finds it made"
    rows = pq.read_table(driven.out / "manifest.parquet").to_pylist()
    assert {row["unit"] for row in rows if row["sources"] == [str(path)]}.isdisjoint(units)


def test_drivers_that_write_the_manifest_at_a_time_do_not_write_into_each_others(tmp_path):
    driven = Driven(tmp_path, names=[f"v{n}" for n in range(20)])
    driven.run()
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(write_manifest, [Dataset(driven.out)] * 40)) == {20}
    assert pq.read_table(driven.out / "manifest.parquet").num_rows == 20
    assert not list(driven.out.glob(".manifest*"))


def test_a_line_that_a_full_disk_tears_is_an_error_and_harms_no_other(tmp_path, monkeypatch):
    file, write = LedgerFile(tmp_path), os.write
    lines = [record(Task(source=Source(name=name, identity="1"))) for name in "abc"]
    file.append(lines[0])
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:-20]))
    with pytest.raises(OutputError, match="No space left"):
        file.append(lines[1])
    monkeypatch.undo()
    file.append(lines[2])
    file.close()
    known = Known(tmp_path)
    assert [known.of(Source(name=name, identity="1"))[0] for name in "abc"] == ["done", None, "done"]


def test_a_file_that_is_away_has_the_state_that_it_had(tmp_path):
    (tmp_path / "list.csv").write_text("source\nvideos/a.mp4\nvideos/b.mp4\nvideos/c.mp4\n")
    driven = Driven(tmp_path, names=("a", "b"))
    driven.job = read_definition(definition(tmp_path, 'manifest = "list.csv"'))
    away = tmp_path / "elsewhere.mp4"
    absent = {"c.mp4": "rejected"}
    act = lambda task: absent.get(Path(task.source.name).name, "done")  # noqa: E731
    assert len(driven.run(act)[0]) == 3
    (tmp_path / "videos" / "a.mp4").rename(away)
    seen, tally = driven.run(act)
    assert seen == []
    assert (tally.count("done"), tally.count("rejected")) == (2, 1)
    away.rename(tmp_path / "videos" / "a.mp4")
    (tmp_path / "videos" / "c.mp4").write_text("here now")
    assert driven.run()[0] == [("c.mp4", 1)]
    rows = pq.read_table(driven.out / "manifest.parquet").to_pylist()
    assert sorted((row["state"], *(Path(one).name for one in row["sources"])) for row in rows) == [
        ("done", "a.mp4"),
        ("done", "b.mp4"),
        ("done", "c.mp4"),
    ]


def test_what_two_entries_name_is_one_source(tmp_path):
    driven = Driven(tmp_path, names=[f"v{n}" for n in range(1500)])
    inputs = 'paths = ["videos", "videos/v1.mp4", "videos/*.mp4"]'
    driven.job = read_definition(definition(tmp_path, inputs))
    assert len({source.name for source in find_sources(driven.job.inputs)}) == 1500
    assert sum(1 for _ in find_sources(driven.job.inputs)) == 1500


def test_links_lead_anywhere_but_back_and_those_to_nothing_are_told_as_pipes_are(tmp_path):
    Driven(tmp_path, names=("a",))
    videos = tmp_path / "videos"
    for folder in ("left", "right"):
        (videos / folder).mkdir()
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "f.mp4").touch()
    os.mkfifo(videos / "pipe.mp4")
    for link, to in {
        "loop": ".",
        "left/r": "../right",
        "right/l": "../left",
        "far": "../far",
        "gone.mp4": "/nowhere",
        "self.mp4": "self.mp4",
    }.items():
        (videos / link).symlink_to(to)
    for inputs in ('paths = ["videos"]', 'paths = ["videos/**/*.mp4"]', 'paths = ["**/videos/**"]'):
        found = list(find_sources(read_definition(definition(tmp_path, inputs)).inputs))
        assert len(found) == 5
        by_name = {Path(source.name).name: source.identity for source in found}
        assert set(by_name) == {"a.mp4", "f.mp4", "gone.mp4", "self.mp4", "pipe.mp4"}
        assert by_name["gone.mp4"] == by_name["self.mp4"] == "absent"


def test_names_may_hold_what_patterns_are_made_of(tmp_path):
    for name in ("[1]/a.mp4", "[1]/b*?\n.mp4", "1/c.mp4", "\N{SNOWMAN}/d.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for inputs, expected in {
        "[1]": ["a.mp4", "b*?\n.mp4"],
        "[1]/*.mp4": ["c.mp4"],
        "**/a.mp4": ["a.mp4"],
        "[1]/b*?\n.mp4": ["b*?\n.mp4"],
        "\N{SNOWMAN}/**": ["d.mp4"],
        "**/**/[!a-c].mp4": ["d.mp4"],
    }.items():
        job = read_definition(definition(tmp_path, f"paths = [{json.dumps(inputs)}]"))
        assert [Path(source.name).name for source in find_sources(job.inputs)] == expected


def test_what_the_job_has_made_is_none_of_its_sources(tmp_path):
    driven = Driven(tmp_path, names=("a",))
    driven.job = read_definition(definition(tmp_path, 'paths = ["**/*.mp4"]'))
    made = driven.out / "videos" / "u1.annotated.mp4"
    made.parent.mkdir(parents=True)
    made.touch()
    assert driven.run()[0] == [("a.mp4", 1)]
