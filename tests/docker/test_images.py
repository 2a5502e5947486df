"""Both images, built line by line in roots of their own, and run: not as root, nothing to write on, no network.

Takes minutes: `python -m pytest -m slow tests/docker`, as root, on Debian.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from clips import again_and_again
from dockerfile import stages
from image import NEEDED, REPOSITORY, Image, base_image

from vidfer.jobs.local import available_memory

pytestmark = pytest.mark.slow
DOCKER = REPOSITORY / "docker"
_ROOM = 12e9  # both stages of the larger image, and what pip unpacks
CLIP = REPOSITORY / "examples" / "two_faces.mp4"


@pytest.fixture(scope="module")
def place():
    """Where images are built: in memory where there is enough of it, which is several times as fast."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and min(shutil.disk_usage(memory).free, available_memory()) > _ROOM
    folder = Path(tempfile.mkdtemp(prefix="vidfer-images-", dir=memory if roomy else None))
    yield folder
    _remove(folder)


@pytest.fixture(scope="module")
def base(place):
    missing = [tool for tool in NEEDED if shutil.which(tool) is None]
    if os.geteuid() or missing:
        pytest.skip(
            f"THE IMAGES ARE NOT BUILT: root on Debian is needed, and {', '.join(missing) or 'that'} is missing"
        )
    return base_image(place, stages(DOCKER / "cpu.Dockerfile")[0].base.rsplit("-", 1)[1])


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def image(request, base, place):
    folder = place / request.param
    yield Image(DOCKER / f"{request.param}.Dockerfile", base=base, folder=folder)
    _remove(folder)


def _remove(folder):
    subprocess.run(["rm", "-r", folder], check=True)  # three times as fast as Python


@pytest.fixture
def data(tmp_path, image):
    """What is mounted at /data, the user's own."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(CLIP, folder)
    os.chown(folder, *map(int, image.stage.user.split(":")))
    yield folder
    shutil.rmtree(folder)


def test_the_health_check_passes_where_nothing_can_be_written(image, data):
    done = image.run(image.stage.health, data=data)
    assert done.returncode == 0
    assert "All is well." in done.stdout


def test_the_entry_point_processes_a_clip_as_its_user(image, data):
    done = image.run([*image.stage.entrypoint, "process", "two_faces.mp4", "--output", "out"], data=data)
    assert done.returncode == 0, done.stderr
    table = data / "out" / "two_faces.parquet"
    assert pq.read_metadata(table).num_rows > 300
    assert table.stat().st_uid == int(image.stage.user.split(":")[0])
    assert (data / "out" / "two_faces.annotated.mp4").stat().st_size > 100_000


def test_any_other_user_will_do(image, data):
    """As `--user` of Docker and `runAsUser` of Kubernetes choose: one that the image does not know."""
    os.chown(data, 4242, 4242)
    args = [*image.stage.entrypoint, "process", "two_faces.mp4", "--output", "out", "--no-render", "--end", "1"]
    done = image.run(args, data=data, user="4242:4242")
    assert done.returncode == 0, done.stderr
    assert (data / "out" / "two_faces.parquet").stat().st_uid == 4242


def test_the_user_is_not_root_and_can_write_nothing_but_data_and_tmp(image, data):
    tries = "import os\nprint(os.getuid(), os.getgroups())\n"
    tries += "for folder in ('/', '/opt/vidfer', '/etc', '/usr/local/bin', '/home', '/data', '/tmp'):\n"
    tries += "    try: open(folder + '/try', 'w'); print('+', folder)\n    except OSError: print('-', folder)\n"
    done = image.run(["python", "-c", tries], data=data)
    assert done.stdout.splitlines()[0] == f"{image.stage.user.split(':')[0]} []"
    assert re.findall(r"\+ (\S+)", done.stdout) == ["/data", "/tmp"]


def test_the_image_has_the_networks_and_no_tools_to_build_with(image, data):
    inside = {path.name for path in (image.root / "opt/vidfer").rglob("*")}
    assert {"face_detector.onnx", "face_analyzer.onnx", "SHA256SUMS", "observations.v1.json"} <= inside
    assert not inside & {"pip", "setuptools", "wheel", "hatchling"}
    outside = {path.name for folder in ("usr/bin", "usr/local/bin") for path in (image.root / folder).iterdir()}
    assert not {name for name in outside if re.search(r"gcc|g\+\+|^cc$|^make$|cmake", name)}
    assert not (image.root / "src").exists()
    size = int(subprocess.check_output(["du", "-sm", image.root / "opt/vidfer"], text=True).split()[0])
    print(f"/opt/vidfer: {size} MB")
    assert size < (900 if "cpu" in str(image.root) else 5000)


def test_the_libraries_of_onnxruntime_are_all_there(image, data):
    """On GPUs those of CUDA and cuDNN, too; the driver's comes with the machine, and TensorRT is not used."""
    script = 'for f in "$1"/*.so*; do echo "$f"; ldd "$f"; done'
    (folder,) = image.root.glob("opt/vidfer/lib/python3.*/site-packages/onnxruntime/capi")
    done = image.run(["/bin/sh", "-c", script, "-", f"/{folder.relative_to(image.root)}"], data=data)
    assert done.returncode == 0
    missing = set(re.findall(r"(lib\S+) => not found", done.stdout))
    assert {name for name in missing if not re.match("libcuda|libnvinfer|libnvonnxparser", name)} == set()
    assert ("libcudnn.so" in done.stdout) == (image.root.parent.name.startswith("cuda"))


def test_compose_starts_watch_and_its_health_check_and_prometheus_get_answers(image, data):
    """The command of the compose file on a clip in place of cameras, asked as Docker and Prometheus would ask."""
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]["watch"]
    scraped = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["scrape_configs"][0]
    cameras = data / "cameras.toml"
    (data / "door").mkdir()
    again_and_again(CLIP, data / "door", 60)  # a busy machine asks late
    cameras.write_text('[camera.door]\nurl = "/data/door/two_faces.mp4"\n')
    token = "0123456789abcdef"
    address = scraped["static_configs"][0]["targets"][0].replace("watch:", "127.0.0.1:")
    asking = f"""
import json, os, subprocess, time, urllib.request
os.environ["VIDFER_TOKEN"] = {token!r}
watching = subprocess.Popen({["vidfer", *compose["command"]]!r})
asked = urllib.request.Request("http://{address}{scraped["metrics_path"]}")
asked.add_header("Authorization", "{scraped["authorization"]["type"]} {token}")
def healthy():
    return subprocess.run({compose["healthcheck"]["test"][1:]!r}, capture_output=True).returncode == 0
def metrics():
    return urllib.request.urlopen(asked, timeout=60).read().decode()
until = time.monotonic() + 300
while not (healthy() and 'vidfer_frames_total{{camera="door"}}' in metrics()):
    assert time.monotonic() < until and watching.poll() is None
    time.sleep(0.2)
watching.terminate()
print(json.dumps(dict(code=watching.wait(100))))
"""
    files = {"/etc/vidfer/cameras.toml": cameras}
    done = image.run(["python", "-c", asking], data=data, files=files)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"code": 0}
