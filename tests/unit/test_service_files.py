"""The files in `docker/` say what `vidfer watch` understands."""

import re
import shlex
from pathlib import Path

import typer
import yaml

from vidfer.cli import app as cli
from vidfer.errors import InputError, UsageError
from vidfer.pipeline.watch_options import watch_options
from vidfer.serve.server import parse_address

FOLDER = Path(__file__).parents[2] / "docker"


def understood(args):
    assert args[0] == "watch"
    command = typer.main.get_command(cli.app).commands["watch"]
    return command.make_context("watch", args[1:]).params


def test_the_unit_starts_watch():
    unit = (FOLDER / "vidfer-watch.service").read_text()
    program, *args = shlex.split(re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1])
    assert Path(program).name == "vidfer"
    assert understood(args)["log_json"]


def test_the_unit_starts_again_when_all_cameras_have_failed():
    unit = (FOLDER / "vidfer-watch.service").read_text()
    prevented = re.search(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)[1].split()
    assert prevented == [str(UsageError.exit_code)]
    assert str(InputError.exit_code) not in prevented


COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
WATCH, PROMETHEUS = COMPOSE["services"]["watch"], COMPOSE["services"]["prometheus"]
# Of the Compose Specification, those that are used here and what they may be.
SERVICE = {
    "build": dict,
    "image": str,
    "command": list,
    "environment": dict,
    "env_file": list,
    "volumes": list,
    "ports": list,
    "secrets": list,
    "healthcheck": dict,
    "restart": str,
    "stop_grace_period": str,
    "read_only": bool,
    "tmpfs": list,
    "cap_drop": list,
    "security_opt": list,
}


def mounts(service):
    return dict(volume.split(":")[:2] for volume in service["volumes"])


def test_compose_says_what_the_specification_knows():
    assert set(COMPOSE) == {"services", "secrets", "volumes"}
    assert list(COMPOSE["services"]) == ["watch", "prometheus"]
    for service in COMPOSE["services"].values():
        assert {key: type(value) for key, value in service.items()}.items() <= SERVICE.items()
        assert service["restart"] == "on-failure"
        assert service["cap_drop"] == ["ALL"]
        assert {name for name in mounts(service) if "/" not in name} <= set(COMPOSE["volumes"])
        assert all((FOLDER / name).is_file() for name in mounts(service) if name.startswith("./"))
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), "open to nobody else unless wanted"


def test_compose_starts_watch_with_what_there_is():
    assert understood(WATCH["command"])["log_json"]
    assert (FOLDER / WATCH["build"]["context"] / WATCH["build"]["dockerfile"]).is_file()
    assert WATCH["env_file"] == [{"path": "logins.env", "required": False}]
    mounted = mounts(WATCH)
    assert mounted == {"./cameras.toml": "/etc/vidfer/cameras.toml", "faces": "/data"}
    assert WATCH["command"][1:5] == ["--config", mounted["./cameras.toml"], "-o", mounted["faces"]]
    assert WATCH["read_only"]
    assert WATCH["tmpfs"] == ["/tmp"]
    assert re.fullmatch("[0-9]+s", WATCH["stop_grace_period"])
    port = parse_address(understood(WATCH["command"])["serve"]).port
    assert WATCH["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"http://127.0.0.1:{port}/healthz" in WATCH["healthcheck"]["test"][-1]


def test_prometheus_asks_watch_with_its_token():
    """That vidfer answers is tested where the image is run, in tests/docker."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    (scraped,) = config["scrape_configs"]
    port = parse_address(understood(WATCH["command"])["serve"]).port
    assert scraped["static_configs"] == [{"targets": [f"watch:{port}"]}]
    (secret,) = PROMETHEUS["secrets"]
    assert scraped["authorization"] == {"type": "Bearer", "credentials_file": f"/run/secrets/{secret}"}
    variable = COMPOSE["secrets"][secret]["environment"]
    assert re.match(r"\$\{(\w+):\?", WATCH["environment"][variable])[1] == variable
    assert mounts(PROMETHEUS)["./prometheus.yml"] == "/etc/prometheus/prometheus.yml"
    assert re.fullmatch(r"prom/prometheus:v\d+\.\d+\.\d+", PROMETHEUS["image"])


def test_the_example_of_a_configuration_can_be_read():
    options = watch_options(config=FOLDER / "cameras.toml")
    assert [camera.name for camera in options.cameras] == ["door", "yard"]
