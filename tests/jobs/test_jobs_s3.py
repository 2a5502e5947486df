"""Archives in an object store, against a real S3-compatible server of this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from archive import archive, clip, definition, manifest

pytest.importorskip("s3fs", reason="OBJECT STORES ARE NOT TESTED: no s3fs (the extra `cloud`)")
pytest.importorskip("moto.server", reason="OBJECT STORES ARE NOT TESTED: no moto")
import boto3

SECRETS = {"AWS_ACCESS_KEY_ID": "AKIAGEHEIM5361", "AWS_SECRET_ACCESS_KEY": "streng-geheim-8271-wirklich"}


class Store:
    """A bucket `archive`, and the command line in a process of its own, which alone knows the credentials."""

    def __init__(self, port):
        self.env = {
            **os.environ,
            **SECRETS,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        keys = {name.lower(): value for name, value in SECRETS.items()}
        self._s3 = boto3.client("s3", endpoint_url=self.env["AWS_ENDPOINT_URL"], region_name="us-east-1", **keys)
        self._s3.create_bucket(Bucket="archive")

    def put(self, path, key):
        self._s3.upload_file(str(path), "archive", key)

    def vidfer(self, *args, timeout=400, **env):
        command = [sys.executable, "-m", "vidfer", *args]
        return subprocess.run(
            command, env={**self.env, **env}, capture_output=True, text=True, timeout=timeout, check=False
        )


@pytest.fixture(scope="module")
def store():
    command = [sys.executable, str(Path(__file__).with_name("s3_server.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield Store(int(server.stdout.readline()))
        server.stdin.close()


def written(folder):
    """All bytes in all files of a folder."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_an_archive_in_a_store_gives_the_units_of_its_files(store, tmp_path):
    for path in archive(tmp_path / "here", clips=2).iterdir():
        store.put(path, f"2024/tapes/{path.name}")
    store.put(tmp_path / "here" / "text.mp4", "2024/notes.txt")
    (tmp_path / "list.csv").write_text("source\ns3://archive/2024/tapes/clip1.mp4\ns3://archive/2024/gone.mp4\n")
    inputs = 'paths = ["s3://archive/2024/"]\nmanifest = "list.csv"'
    job = definition(tmp_path, inputs, workers=1)
    scratch = tmp_path / "scratch"
    left = scratch / f"vidfer-scratch-{os.getuid()}" / "0123456789abcdef"
    left.mkdir(parents=True)
    (left / "clip9.mp4").write_text("of a worker that was killed")
    left.with_suffix(".lock").touch()
    ran = store.vidfer("jobs", "run", str(job), "--json", "--debug", TMPDIR=str(scratch))
    assert ran.returncode == 4, ran.stderr
    assert not list(left.parent.iterdir()), "copies of videos are left behind"
    found = manifest(tmp_path / "out")
    assert set(found) == {("again.mp4", "clip0.mp4"), ("clip1.mp4",), ("empty.mp4",), ("text.mp4",), ("gone.mp4",)}
    assert found["clip1.mp4",]["sources"] == ["s3://archive/2024/tapes/clip1.mp4"]
    assert found["clip1.mp4",]["frames"] == 10
    assert found["gone.mp4",]["reason"] == "s3://archive/2024/gone.mp4 is not there"
    assert found["empty.mp4",]["reason"].startswith("s3://archive/2024/tapes/empty.mp4 is empty"), "not of the copy"
    assert (found["gone.mp4",]["state"], found["empty.mp4",]["state"]) == ("rejected", "rejected")

    clip(tmp_path / "here" / "clip1.mp4", number=9)
    store.put(tmp_path / "here" / "clip1.mp4", "2024/tapes/clip1.mp4")
    again = store.vidfer("jobs", "run", str(job), "--json")
    assert json.loads(again.stdout)["now"] == {"done": 1}, "changed; it is named twice and done once"

    everything = written(tmp_path / "out").decode(errors="replace") + ran.stdout + ran.stderr + again.stderr
    assert "s3://archive/2024/tapes/clip1.mp4" in everything
    for secret in SECRETS.values():
        assert secret not in everything


@pytest.mark.slow
def test_what_is_not_in_the_store_is_said_in_one_line(store, tmp_path):
    ran = store.vidfer("jobs", "run", str(definition(tmp_path, 'paths = ["s3://archive/none/"]')))
    assert (ran.returncode, ran.stderr.count("\n")) == (3, 1), ran.stderr
    assert "s3://archive/none/ holds no video, or is not there: correct inputs.paths" in ran.stderr


def test_without_credentials_the_store_says_no_in_one_line(store, tmp_path):
    job = definition(tmp_path, 'paths = ["s3://archive/"]')
    away = {**dict.fromkeys(SECRETS, ""), "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    ran = store.vidfer("jobs", "run", str(job), **away)
    assert (ran.returncode, ran.stderr.count("\n")) == (3, 1), ran.stderr
    assert "s3://archive cannot be read: " in ran.stderr
    assert "credentials come from the environment" in ran.stderr
