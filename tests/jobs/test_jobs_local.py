"""`vidfer jobs run` for real, with processes of this machine."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pretended import Executor
from small_archive import OPTIONS, archive, clip, definition, ledger, manifest, rows

from vidfer.cli import app as cli
from vidfer.cli import jobs as command
from vidfer.jobs.definition import read_definition
from vidfer.jobs.inputs import source_of
from vidfer.jobs.ledger import Known
from vidfer.jobs.units import Task
from vidfer.jobs.worker import Setup, Worker

REJECTED = {("empty.mp4",), ("text.mp4",), ("gone.mp4",)}


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A job that has run; what it printed stands in `said`."""
    folder = tmp_path_factory.mktemp("job")
    archive(folder / "videos")
    path = definition(folder, 'paths = ["videos", "gone.mp4"]', f"render = true\n{OPTIONS}")
    assert cli.run(["jobs", "run", str(path), "--quiet"]) == 4
    return path


@pytest.fixture
def copy_of_job(job, tmp_path):
    shutil.copytree(job.parent, tmp_path / "copy", copy_function=shutil.copy2)
    return tmp_path / "copy" / job.name


def test_every_unit_stands_in_the_manifest_with_state_and_reason(job):
    found = manifest(job.parent / "out")
    assert set(found) == {("again.mp4", "clip0.mp4"), ("clip1.mp4",), ("clip2.mp4",), *REJECTED}
    for names, row in found.items():
        assert row["state"] == ("rejected" if names in REJECTED else "done")
        assert bool(row["reason"]) == (names in REJECTED)
        assert row["attempts"] == 1
        assert row["host"]
        assert row["seconds"] > 0 or names in REJECTED
    done = found["clip1.mp4",]
    assert done["frames"] == 10
    assert done["faces"] > 0
    assert re.fullmatch("[0-9a-f]{64}", done["face_detector_sha256"] + "")
    assert re.fullmatch("[0-9a-f]{64}", done["face_analyzer_sha256"])
    assert "is empty" in found["empty.mp4",]["reason"]
    assert "process" not in found["text.mp4",]["reason"], "how to go on with `process` helps nobody here"


def test_everybody_reads_the_data_set_as_one(job):
    out = job.parent / "out"
    units = {row["unit"] for row in manifest(out).values() if row["state"] == "done"}
    assert all(re.fullmatch("u[0-9a-f]{24}", unit) for unit in units)
    for kind in ("observations", "tracks"):
        table = rows(out, kind)
        assert set(table["unit"].to_pylist()) == units
        frame = pd.read_parquet(out / kind, dtype_backend="pyarrow")
        assert set(frame["unit"].unique()) == units
        pattern = out / kind / "*" / "*.parquet"
        found = duckdb.sql(f"select unit, source, count(*) from read_parquet('{pattern}') group by all").fetchall()
        assert {unit for unit, _, _ in found} == units
        assert sum(count for _, _, count in found) == len(table) == len(frame)
        assert {source for _, source, _ in found} <= {"clip0.mp4", "again.mp4", "clip1.mp4", "clip2.mp4"}
    joined = duckdb.sql(
        f"select s from read_parquet('{out}/observations/*/*.parquet') join "
        f"(select unit, unnest(sources) as s from '{out}/manifest.parquet') using (unit) group by s"
    ).fetchall()
    assert len(joined) == 4, "copies are found under both names"


def test_a_unit_is_what_process_makes_of_the_file(job, tmp_path):
    out = job.parent / "out"
    args = ["--end", "0.4", "--landmarks", "none", "--no-render", "--quiet", "-o", str(tmp_path)]
    assert cli.run(["process", str(job.parent / "videos" / "clip1.mp4"), *args]) == 0
    unit = manifest(out)["clip1.mp4",]["unit"]
    for kind, name in (("observations", "clip1.parquet"), ("tracks", "clip1.tracks.parquet")):
        path = out / kind / f"unit={unit}" / "part.parquet"
        assert pq.ParquetFile(path).read().equals(pq.ParquetFile(tmp_path / name).read())
        assert b"vidfer" in pq.read_metadata(path).metadata
    report = json.loads((out / "reports" / f"{unit}.run.json").read_text())
    assert [(out / name).exists() for name in report["outputs"]] == [True, True, True]


def test_nothing_is_left_beside_the_results(job):
    out = job.parent / "out"
    assert not list((out / ".work").iterdir())
    assert {path.name for path in out.iterdir()} == {
        ".work", "ledger", "manifest.parquet", "models.json", "observations", "options.json", "reports", "tracks",
        "videos",
    }  # fmt: skip


def test_a_rerun_has_nothing_to_do_and_starts_nobody(copy_of_job, monkeypatch, capfd):
    monkeypatch.setattr(command, "_start", lambda job: pytest.fail("workers were started"))
    assert cli.run(["jobs", "run", str(job_in_place(copy_of_job))]) == 4
    said = capfd.readouterr().out
    assert "7 sources: 4 done, 0 failed, 3 rejected; nothing was left to do" in said


def job_in_place(path):
    """The ledger knows absolute names: let it know those of the copy."""
    names = [entry["source"] for entry in ledger(path.parent / "out") if "source" in entry]
    old = str(next(Path(name).parents[1] for name in names if "videos" in name))
    for file in (path.parent / "out" / "ledger").glob("*.jsonl"):
        file.write_text(file.read_text().replace(old, str(path.parent)))
    path.write_text(path.read_text().replace("workers = 2", "workers = 1"))  # a process more takes a second more
    return path


def test_what_is_new_or_changed_is_done_and_nothing_else(copy_of_job, capfd):
    path, out = job_in_place(copy_of_job), copy_of_job.parent / "out"
    before = {one: one.stat().st_mtime_ns for one in out.glob("observations/*/*.parquet")}
    clip(path.parent / "videos" / "clip1.mp4", number=77)
    shutil.copy(path.parent / "videos" / "clip2.mp4", path.parent / "videos" / "later.mp4")
    assert cli.run(["jobs", "run", str(path), "--json"]) == 4
    printed = json.loads(capfd.readouterr().out)
    assert (printed["total"], printed["done"], printed["now"]) == (8, 5, {"done": 2})
    after = {one: one.stat().st_mtime_ns for one in out.glob("observations/*/*.parquet")}
    assert before.items() <= after.items(), "what was done was touched"
    assert len(after) == len(before) + 1, "a copy of what is done is not done again"
    assert ("clip2.mp4", "later.mp4") in manifest(out)


def test_other_options_need_another_folder(copy_of_job, capfd):
    path = job_in_place(copy_of_job)
    path.write_text(path.read_text().replace('"0.4"', '"0.5"'))
    assert cli.run(["jobs", "run", str(path)]) == 2
    assert (
        "holds results of other options: end='0.4' and not '0.5'; name another output.folder" in capfd.readouterr().err
    )


def test_rejected_is_tried_again_only_when_asked_for(copy_of_job, capfd):
    path = job_in_place(copy_of_job)
    args = [str(path), "--json"]
    assert cli.run(["jobs", "retry", *args]) == 4
    assert json.loads(capfd.readouterr().out)["now"] == {}
    assert cli.run(["jobs", "retry", *args, "--rejected"]) == 4
    assert json.loads(capfd.readouterr().out)["now"] == {"rejected": 3}


def test_status_and_report_say_how_it_stands(job, tmp_path, capfd):
    assert cli.run(["jobs", "status", str(job)]) == 0
    table = capfd.readouterr().out
    assert re.search(r"done +4\n", table)
    assert re.search(r"rejected +3\n", table)
    assert re.search(r"waiting +0\n", table)
    assert "1x rejected: FILE is empty (N bytes)" in table
    assert "ended after" in table
    assert cli.run(["jobs", "status", str(job), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["total"], found["units"], found["states"]) == (7, 3, {"done": 4, "rejected": 3})
    assert [(run["state"], run["todo"]) for run in found["runs"]] == [("ended", 7)]
    assert cli.run(["jobs", "report", str(job), "-o", str(tmp_path / "report.md")]) == 0
    text = (tmp_path / "report.md").read_text()
    assert "## 1 rejected: FILE is empty" in text
    assert str(job.parent / "videos" / "empty.mp4") in text


def test_what_was_never_run_has_no_figures(tmp_path, capfd):
    path = definition(tmp_path)
    for what in ("status", "report"):
        assert cli.run(["jobs", what, str(path)]) == 3
        said = capfd.readouterr()
        assert said.out == ""
        assert said.err == (
            f"vidfer: error: nothing was run into {tmp_path / 'out'} yet: start it with `vidfer jobs run {path}`\n"
        )


def test_videos_that_are_not_named_any_more_are_still_counted(copy_of_job, capfd):
    path = job_in_place(copy_of_job)
    path.write_text(path.read_text().replace('["videos", "gone.mp4"]', '["videos/clip1.mp4"]'))
    assert cli.run(["jobs", "run", str(path), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["total"] == 1
    assert cli.run(["jobs", "status", str(path), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["total"] == 7


def test_what_an_executor_prints_is_none_of_the_data(tmp_path, monkeypatch, capfd):
    class Talking(Executor):
        def submit(self, task):
            print("(raylet) a worker died")
            super().submit(task)

    clip(tmp_path / "videos" / "a.mp4")
    monkeypatch.setattr(command, "_start", lambda job: Talking(job.folder / "ledger"))
    assert cli.run(["jobs", "run", str(definition(tmp_path)), "--json"]) == 0
    said = capfd.readouterr()
    assert json.loads(said.out)["done"] == 1
    assert "(raylet) a worker died" in said.err


BAD = {
    "pattern": ('paths = ["none/*.mp4"]', 3, "none/*.mp4 holds no video, or is not there"),
    "empty folder": ('paths = ["."]', 3, "holds no video"),
    "missing folder": ('paths = ["video/"]', 3, "video holds no video, or is not there: correct inputs.paths"),
    "empty manifest": ('manifest = "empty.csv"', 3, "names no video: correct [inputs]"),
    "manifest": ('manifest = "none.csv"', 3, "none.csv cannot be read: No such file"),
    "column": ('manifest = "videos.csv"\ncolumn = "file"', 2, "has no column 'file', only source, note"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_job_without_videos_says_why(name, tmp_path, capfd):
    inputs, code, text = BAD[name]
    (tmp_path / "videos.csv").write_text("source,note\na.mp4,x\n")
    (tmp_path / "empty.csv").write_text("source\n")
    assert cli.run(["jobs", "run", str(definition(tmp_path, inputs, workers=1))]) == code
    captured = capfd.readouterr()
    assert text in captured.err + captured.out


def test_a_copy_says_how_long_its_content_took(job):
    row = manifest(job.parent / "out")["again.mp4", "clip0.mp4"]
    report = json.loads((job.parent / "out" / "reports" / f"{row['unit']}.run.json").read_text())
    assert row["seconds"] >= report["timings"]["wall_s"], "not those of finding it made"


def test_a_file_that_is_away_when_its_turn_comes_is_done_when_it_is_back(copy_of_job):
    own = read_definition(job_in_place(copy_of_job))
    worker = Worker(Setup(options=own.options))
    new = clip(copy_of_job.parent / "videos" / "new.mp4", number=5)
    source = source_of(str(new))
    new.rename(new.with_suffix(".away"))
    for name in (source.name, f"{new.parent}/a\0.mp4"):
        record = worker.work(Task(source=replace(source, name=name)))
        assert record.state == "rejected", record.reason
    worker.close()
    new.with_suffix(".away").rename(new)
    assert source_of(str(new)) == source
    assert Known(own.folder / "ledger").of(source) == (None, 0)
