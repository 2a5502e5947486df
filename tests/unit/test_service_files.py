"""The files in `docker/` say what `vidfer watch` understands."""

import json
import re
import shlex
from pathlib import Path

import typer

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


def test_compose_starts_watch():
    args = json.loads(re.search(r"^ +command: (.*)$", (FOLDER / "compose.yaml").read_text(), re.MULTILINE)[1])
    assert understood(args)["log_json"]


def test_the_example_of_a_configuration_can_be_read():
    options = watch_options(config=FOLDER / "cameras.toml")
    assert [camera.name for camera in options.cameras] == ["door", "yard"]
