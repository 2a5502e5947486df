"""The files in `docker/` say what `vidfer watch` understands."""

import re
import shlex
import tomllib
from pathlib import Path

import typer
import yaml

from vidfer.cli import app as cli
from vidfer.errors import InputError, UsageError
from vidfer.pipeline.watch_options import watch_options

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
# Of the Compose Specification, those that are used here and what they may be.
SERVICE = {
    "build": dict,
    "command": list,
    "env_file": list,
    "volumes": list,
    "restart": str,
    "stop_grace_period": str,
    "read_only": bool,
    "tmpfs": list,
}


def test_compose_starts_watch_with_what_there_is():
    assert set(COMPOSE) == {"services", "volumes"}
    (service,) = COMPOSE["services"].values()
    assert {key: type(value) for key, value in service.items()} == SERVICE
    assert understood(service["command"])["log_json"]
    context = FOLDER / service["build"]["context"]
    assert (context / service["build"]["dockerfile"]).is_file()
    assert service["env_file"] == [{"path": "logins.env", "required": False}]
    mounted = dict(volume.split(":")[:2] for volume in service["volumes"])
    assert mounted == {"./cameras.toml": "/etc/vidfer/cameras.toml", "faces": "/data"}
    assert list(COMPOSE["volumes"]) == ["faces"]
    assert service["command"][1:5] == ["--config", mounted["./cameras.toml"], "-o", mounted["faces"]]
    assert service["restart"] == "on-failure"
    assert re.fullmatch("[0-9]+s", service["stop_grace_period"])


def test_the_image_is_made_of_what_the_package_needs():
    root = FOLDER.parent
    _, *taken = [line for line in (root / ".dockerignore").read_text().splitlines() if not line.startswith(("#", "**"))]
    assert all((root / line.removeprefix("!")).exists() for line in taken)
    project = tomllib.loads((root / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*included["packages"], *included["force-include"], project["project"]["readme"], "pyproject.toml"}
    made = (FOLDER / "Dockerfile").read_text()
    needed |= set(re.findall(r"--constraint /src/(\S+)", made))
    assert needed <= {line.removeprefix("!") for line in taken}
    (extras,) = re.findall(r"'/src\[(.*)\]'", made)
    assert set(extras.split(",")) <= set(project["project"]["optional-dependencies"])
    assert 'ENTRYPOINT ["vidfer"]' in made


def test_the_example_of_a_configuration_can_be_read():
    options = watch_options(config=FOLDER / "cameras.toml")
    assert [camera.name for camera in options.cameras] == ["door", "yard"]
