"""The same job through a real Ray cluster of this machine."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from kill_jobs import beside, differences
from small_archive import archive, clip, definition, manifest

from vidfer.cli import app as cli
from vidfer.errors import VidferError

pytest.importorskip("ray", reason="RAY IS NOT TESTED: it is not installed (the extra `ray`)")
pytestmark = pytest.mark.ray

HERE = Path(__file__).parent
RAY = 'kind = "ray"\nmemory_gb = 0.5\nretries = 10\n'


def environment():
    """Ray's processes find vidfer and our pretended workers; no cluster of somebody else's is used."""
    path = os.pathsep.join([*map(str, (HERE, HERE.parent, HERE.parents[1])), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "RAY_ADDRESS": "", "RAY_USAGE_STATS_ENABLED": "0"}


def ran(*command, timeout=600):
    command = [sys.executable, *map(str, command)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=timeout, check=False)


def test_the_same_rows_come_through_ray(tmp_path):
    archive(tmp_path / "videos", clips=2)
    (tmp_path / "videos" / "again.mp4").unlink()  # which of two names stands in the table is a matter of luck
    local = beside(definition(tmp_path, workers=1), "local")
    assert cli.run(["jobs", "run", str(local), "--quiet"]) == 4
    through = beside(definition(tmp_path, more=RAY, workers=1), "ray")
    done = ran("-m", "vidfer", "jobs", "run", through, "--quiet")
    assert (done.returncode, done.stdout) == (4, ""), done.stderr
    assert differences(tmp_path / "ray", tmp_path / "local") == []
    assert len(manifest(tmp_path / "ray")) == 4
    assert cli.run(["jobs", "run", str(through), "--quiet"]) == 4, "a rerun needs no cluster"


def test_ray_does_not_keep_the_signal_that_ends_a_job_in_good_order(monkeypatch):
    from vidfer.jobs import ray as ours

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(ours.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ours.ray, "init", lambda **_: signal.signal(signal.SIGTERM, signal.SIG_IGN))
    monkeypatch.setattr(ours.ray, "put", lambda setup: setup)
    try:
        ours.RayExecutor(None, workers=1)
        assert signal.getsignal(signal.SIGTERM) is before
    finally:
        signal.signal(signal.SIGTERM, before)


def test_where_no_cluster_is_that_is_said_at_once(monkeypatch):
    from vidfer.jobs import ray as ours

    monkeypatch.setattr(ours.ray, "init", lambda **_: pytest.fail("Ray tries for twelve minutes"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(VidferError, match=rf"^no Ray cluster answers at {address}: .*refused"):
        ours.RayExecutor(None, workers=1, address=address)
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:99999")
    with pytest.raises(VidferError, match=r"no Ray cluster answers at ray://127\.0\.0\.1:99999: "):
        ours.RayExecutor(None, workers=1)


def test_a_cluster_that_does_not_start_is_no_fault_of_vidfers(monkeypatch):
    from vidfer.jobs import ray as ours

    def init(**_):
        raise Exception("The current node timed out during startup.\nMore")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ours.ray, "init", init)
    with pytest.raises(VidferError, match=r"^no Ray cluster answers at this machine: .* during startup\.$"):
        ours.RayExecutor(None, workers=1)


ACTORS = """
import ray
from vidfer.errors import VidferError
from vidfer.jobs.ray import RayExecutor
from test_local_executor import finished, task

def pool(setup="", **more):
    return RayExecutor(setup, workers=2, memory_gb=0.1, worker="pretended:Worker", **more)

ray.init(num_cpus=2, include_dashboard=False, logging_level="error")
with pool() as executor:
    found = finished(executor, [task(name) for name in ("a", "kill", "b", "c")])
    undone = [one for one in found if one.record is None]
    assert [one.task for one in undone] == [task("kill")], undone
    assert "killed by signal 9 (out of memory?" in undone[0].reason
    assert finished(executor, [task("kill", 2)])[0].record.state == "done"
    assert {one.record.reason for one in found if one.record} == {"1"}
with pool(stall_s=5) as executor:
    (hung,) = finished(executor, [task("hang")])
    assert (hung.task, hung.record) == (task("hang"), None)
    assert hung.reason == "no progress for 5 s (executor.stall_s): its worker was ended"
    assert finished(executor, [task("hang", 2)])[0].record.state == "done"
for setup, name, text in (("", "full", "is full"), ("full", "a", "is full"), ("die", "a", "die while they start")):
    try:
        with pool(setup) as executor:
            finished(executor, [task(name)])
    except VidferError as error:
        assert text in str(error), error
        assert "\\n" not in str(error), error
    else:
        raise AssertionError(text)
ray.shutdown()
print("all is well")
"""


@pytest.mark.slow
def test_actors_that_die_are_replaced_and_those_that_cannot_start_end_the_job():
    done = ran("-c", ACTORS)
    assert done.stdout.endswith("all is well\n"), done.stderr


NODES = """
import os, subprocess, sys, time
from pathlib import Path
from ray.cluster_utils import Cluster

job, out = Path(sys.argv[1]), Path(sys.argv[2])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
lost = cluster.add_node(num_cpus=1)
os.environ["RAY_ADDRESS"] = cluster.address
driver = subprocess.Popen([sys.executable, "-m", "vidfer", "jobs", "run", str(job)])
while len(list(out.glob("reports/*"))) < 3:
    time.sleep(0.05)
    assert driver.poll() is None
cluster.remove_node(lost, allow_graceful=False)
print("a node was killed", flush=True)
time.sleep(1)
cluster.add_node(num_cpus=1)
print("exit code", driver.wait(600), flush=True)
cluster.shutdown()
"""


@pytest.mark.slow
def test_a_machine_of_the_cluster_is_lost_and_another_one_joins(tmp_path):
    for number in range(16):
        clip(tmp_path / "videos" / f"clip{number}.mp4", number)
    options = 'end = "1"\nlandmarks = "none"'
    local = beside(definition(tmp_path, options=options), "local")
    assert cli.run(["jobs", "run", str(local), "--quiet"]) == 0
    through = beside(definition(tmp_path, options=options, more=RAY), "ray")
    done = ran("-c", NODES, through, tmp_path / "ray", timeout=1000)
    assert "a node was killed" in done.stdout, done.stderr
    assert "exit code 0" in done.stdout, done.stdout + done.stderr
    assert differences(tmp_path / "ray", tmp_path / "local") == []
