"""kill -9 and polite signals, at any moment: only what was in work is lost, and the data set ends the same."""

import os
import random
import signal

import pytest
from kill_jobs import beside, differences, driver, kill_and_go_on, wait_gone, workers_of
from patience import PATIENCE_S, until
from small_archive import clip, definition, ledger

from vidfer.cli import app as cli

pytestmark = pytest.mark.skipif(os.name != "posix", reason="KILLS ARE NOT TESTED: they need /proc")

OPTIONS = 'end = "1"\nlandmarks = "none"'


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A job, and its data set when nobody disturbs it."""
    folder = tmp_path_factory.mktemp("job")
    for number in range(3):
        clip(folder / "videos" / f"clip{number}.mp4", number)
    (folder / "videos" / "text.mp4").write_text("no video" * 100)
    alone = beside(definition(folder, options=OPTIONS, workers=1), "reference")
    assert cli.run(["jobs", "run", str(alone), "--quiet"]) == 4
    return definition(folder, options=OPTIONS, more="retries = 10\n")


def at_work(out):
    """Folders of units that are being made."""
    return [path for path in (out / ".work").glob("u*") if path.is_dir()] if (out / ".work").exists() else []


def test_the_driver_and_then_a_worker_are_killed(job):
    path, out = beside(job, "both"), job.parent / "both"
    running = driver(path, "--quiet")
    until(lambda: at_work(out))
    workers = workers_of(running.pid)
    assert workers
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    assert wait_gone(workers), "workers go on without their driver"
    running = driver(path, "--quiet")
    os.kill(until(lambda: at_work(out) and workers_of(running.pid))[0], signal.SIGKILL)
    _, errors = running.communicate(timeout=PATIENCE_S)
    assert (running.returncode, errors) == (4, "")
    assert differences(out, job.parent / "reference") == []
    assert not list((out / ".work").iterdir())


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_polite_signal_ends_it_in_good_order_and_the_same_command_goes_on(job, number, code):
    path, out = beside(job, f"signal{code}"), job.parent / f"signal{code}"
    path.write_text(path.read_text().replace("workers = 2", "workers = 1"))
    running = driver(path)
    until(lambda: at_work(out))
    workers = workers_of(running.pid)
    os.kill(running.pid, number)
    _, errors = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == code
    assert errors.endswith("interrupted: what is analysed is kept, and the same command goes on from there\n")
    assert wait_gone(workers)
    assert [line["run"]["what"] for line in ledger(out) if "run" in line] == ["begin", "end"]
    if number == signal.SIGTERM:
        assert cli.run(["jobs", "run", str(path), "--quiet"]) == 4
        assert differences(out, job.parent / "reference") == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_up_to_ten_kills_at_random_moments_end_in_the_same_data_set(seed, job, tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    for number in range(40):
        clip(folder / "videos" / f"clip{number}.mp4", number)
    path = definition(folder, options=OPTIONS, more="retries = 20\n")
    assert cli.run(["jobs", "run", str(beside(path, "reference")), "--quiet"]) == 0
    said = kill_and_go_on(beside(path, "killed"), 10, random.Random(seed), most_s=2.0)
    print("\n".join(said))
    assert sum(line.startswith("killed") for line in said) >= 5
    assert said[-1] == "exit code 0 "
    assert differences(folder / "killed", folder / "reference") == []
