"""A Dockerfile as its stages, with build arguments and variables put in."""

from __future__ import annotations

import io
import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

dockerfile_parse = pytest.importorskip("dockerfile_parse", reason="DOCKERFILES ARE NOT READ: no dockerfile-parse")

_STEPS = ("COPY", "RUN")
_CONFIGURED = ("LABEL", "USER", "WORKDIR", "HEALTHCHECK", "ENTRYPOINT", "CMD")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A line that changes the files of a stage, as it is carried out: where, as whom and with which variables."""

    kind: str
    flags: dict[str, str]
    value: str
    directory: str
    user: str
    env: dict[str, str]
    line: int


@dataclass(kw_only=True)
class Stage:
    """One FROM, up to the next."""

    base: str
    name: str | None
    steps: list[Step] = field(default_factory=list)
    args: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    )
    directory: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    health_options: dict[str, str] = field(default_factory=dict)


def stages(path: Path) -> list[Stage]:
    """What a Dockerfile says; an instruction that is not known here is an error, so that none is left out of a test."""
    parser = dockerfile_parse.DockerfileParser(fileobj=io.BytesIO(path.read_bytes()))
    found: list[Stage] = []
    for instruction in parser.structure:
        kind, value = instruction["instruction"], instruction["value"]
        if kind == "COMMENT":
            continue
        if kind == "FROM":
            base, _, name = value.partition(" AS ")
            found.append(Stage(base=base, name=name or None))
        else:
            _add(found[-1], kind, value, instruction["startline"] + 1)
    return found


def _add(stage: Stage, kind: str, value: str, line: int) -> None:
    known = stage.env | stage.args
    if kind in _STEPS:
        flags, rest = split_flags(value)
        rest = rest if kind == "RUN" else _filled(rest, known)  # in RUN the shell does that
        where = dict(directory=stage.directory, user=stage.user, env=dict(known))
        stage.steps.append(Step(kind=kind, flags=flags, value=rest, line=line, **where))
    elif kind in ("ARG", "ENV"):
        given = dict(word.split("=", 1) for word in shlex.split(_filled(value, known)))
        (stage.args if kind == "ARG" else stage.env).update(given)
    elif kind in _CONFIGURED:
        _configure(stage, kind, value)
    else:
        raise AssertionError(f"line {line}: the tests do not know {kind}")


def _configure(stage: Stage, kind: str, value: str) -> None:
    if kind == "WORKDIR":
        stage.directory = value
    elif kind == "USER":
        stage.user = value
    elif kind == "ENTRYPOINT":
        stage.entrypoint = json.loads(value)
    elif kind == "CMD":
        stage.command = json.loads(value)
    elif kind == "HEALTHCHECK":
        stage.health_options, rest = split_flags(value)
        stage.health = json.loads(rest.removeprefix("CMD").strip())


def split_flags(value: str) -> tuple[dict[str, str], str]:
    """`--name=what` before anything else, and the rest."""
    flags = {}
    while match := re.match(r"--([a-z-]+)=(\S+)\s+", value):
        flags[match[1]] = match[2]
        value = value[match.end() :]
    return flags, value


def _filled(value: str, known: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda match: known[match[1] or match[2]], value)


def structure(path: Path) -> list[dict[str, Any]]:
    """The instructions in their order."""
    parser = dockerfile_parse.DockerfileParser(fileobj=io.BytesIO(path.read_bytes()))
    return [step for step in parser.structure if step["instruction"] != "COMMENT"]
