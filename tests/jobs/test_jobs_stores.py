"""Archives in object stores, against real servers of this machine."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_archive import archive, clip, definition, manifest
from store_server import ACCOUNT, KEY, TOKEN

s3fs = pytest.importorskip("s3fs", reason="OBJECT STORES ARE NOT TESTED: no s3fs (the extra `cloud`)")
gcsfs = pytest.importorskip("gcsfs", reason="OBJECT STORES ARE NOT TESTED: no gcsfs (the extra `cloud`)")
pytest.importorskip("moto.server", reason="OBJECT STORES ARE NOT TESTED: no moto")
pytest.importorskip("gcp_storage_emulator", reason="OBJECT STORES ARE NOT TESTED: no gcp-storage-emulator")

# Where stores look for credentials.
KEYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
    "GOOGLE_APPLICATION_CREDENTIALS",
)


def s3(url, folder):
    keys = {"AWS_ACCESS_KEY_ID": "AKIAGEHEIM5361", "AWS_SECRET_ACCESS_KEY": "streng-geheim-8271-wirklich"}
    key, secret = keys.values()
    env = {**keys, "AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1"}
    return env, [key, secret], s3fs.S3FileSystem(key=key, secret=secret, endpoint_url=url)


def gs(url, folder):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    about = {"type": "service_account", "client_email": "we@archive", "token_uri": f"{url}/token", "project_id": "ours"}
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(*pem).decode()
    path = folder / "key.json"
    path.write_text(json.dumps({**about, "private_key": key}))
    env = {"GOOGLE_APPLICATION_CREDENTIALS": str(path), "STORAGE_EMULATOR_HOST": url, "NO_GCE_CHECK": "true"}
    store = gcsfs.core.GCSFileSystem(token=str(path), endpoint_url=url, project="ours")  # the other one asks Google
    return env, [TOKEN, *key.splitlines()[1:3]], store


def az(url, folder):
    adlfs = pytest.importorskip("adlfs", reason="AZURE IS NOT TESTED: no adlfs (the extra `cloud`)")
    about = {"DefaultEndpointsProtocol": "http", "AccountName": ACCOUNT, "AccountKey": KEY}
    text = ";".join(f"{key}={value}" for key, value in {**about, "BlobEndpoint": f"{url}/{ACCOUNT}"}.items())
    return {"AZURE_STORAGE_CONNECTION_STRING": text}, [KEY], adlfs.AzureBlobFileSystem(connection_string=text)


class Store:
    """A bucket `archive`, and the command line in a process of its own, which alone knows the credentials."""

    def __init__(self, scheme, port, folder):
        login = {"s3": s3, "gs": gs, "az": az}[scheme]
        self.scheme, (self.env, self.secrets, self._store) = scheme, login(f"http://127.0.0.1:{port}", folder)
        self._store.mkdir("archive")

    def put(self, path, key):
        self._store.put_file(str(path), f"archive/{key}")

    def vidfer(self, *args, timeout=400, **env):
        command = [sys.executable, "-m", "vidfer", *args]
        env = {**os.environ, **self.env, **env}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="module", params=["s3", "gs", pytest.param("az", marks=pytest.mark.slow)])
def store(request, tmp_path_factory):
    if request.param == "az" and shutil.which("azurite-blob") is None:
        pytest.skip("AZURE IS NOT TESTED: no azurite-blob (npm install azurite, 190 MB, and its .bin on the PATH)")
    command = [sys.executable, str(Path(__file__).with_name("store_server.py")), request.param]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield Store(request.param, int(server.stdout.readline()), tmp_path_factory.mktemp(request.param))
        server.stdin.close()


def written(folder):
    """All bytes in all files of a folder."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_an_archive_in_a_store_gives_the_units_of_its_files(store, tmp_path):
    url = f"{store.scheme}://archive"
    for path in archive(tmp_path / "here", clips=2).iterdir():
        store.put(path, f"2024/tapes/{path.name}")
    store.put(tmp_path / "here" / "text.mp4", "2024/notes.txt")
    (tmp_path / "list.csv").write_text(f"source\n{url}/2024/tapes/clip1.mp4\n{url}/2024/gone.mp4\n")
    inputs = f'paths = ["{url}/2024/"]\nmanifest = "list.csv"'
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
    assert found["clip1.mp4",]["sources"] == [f"{url}/2024/tapes/clip1.mp4"]
    assert found["clip1.mp4",]["frames"] == 10
    assert found["gone.mp4",]["reason"] == f"{url}/2024/gone.mp4 is not there"
    assert found["empty.mp4",]["reason"].startswith(f"{url}/2024/tapes/empty.mp4 is empty"), "not of the copy"
    assert (found["gone.mp4",]["state"], found["empty.mp4",]["state"]) == ("rejected", "rejected")

    clip(tmp_path / "here" / "clip1.mp4", number=9)
    store.put(tmp_path / "here" / "clip1.mp4", "2024/tapes/clip1.mp4")
    again = store.vidfer("jobs", "run", str(job), "--json")
    assert json.loads(again.stdout)["now"] == {"done": 1}, "changed; it is named twice and done once"

    everything = written(tmp_path / "out").decode(errors="replace") + ran.stdout + ran.stderr + again.stderr
    assert f"{url}/2024/tapes/clip1.mp4" in everything
    for secret in store.secrets:
        assert secret not in everything


@pytest.mark.slow
def test_what_is_not_in_the_store_is_said_in_one_line(store, tmp_path):
    url = f"{store.scheme}://archive/none/"
    ran = store.vidfer("jobs", "run", str(definition(tmp_path, f'paths = ["{url}"]')))
    assert (ran.returncode, ran.stderr.count("\n")) == (3, 1), ran.stderr
    assert f"{url} holds no video, or is not there: correct inputs.paths" in ran.stderr


def test_without_credentials_the_store_says_no_in_one_line(store, tmp_path):
    job = definition(tmp_path, f'paths = ["{store.scheme}://archive/"]')
    away = {**dict.fromkeys(KEYS, ""), "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    ran = store.vidfer("jobs", "run", str(job), **away)
    assert (ran.returncode, ran.stderr.count("\n")) == (3, 1), ran.stderr
    assert f"{store.scheme}://" in ran.stderr
    assert " cannot be read: " in ran.stderr
    assert "credentials come from the environment" in ran.stderr
