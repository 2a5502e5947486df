"""Builds what a Dockerfile describes without Docker: COPY and RUN lines as they are, each in a root of its own.

In place of the base image stands Debian of the same release with its own Python of the same minor version; nothing of
this machine is visible in it but, while building, how to reach the package index.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from dockerfile import Stage, Step, stages

_HERE = Path(__file__).parent
REPOSITORY = _HERE.parents[1]
# `docker build` shows the host's resolv.conf to RUN lines, too; the others are how this machine gets to its index.
_TO_THE_INDEX = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
NEEDED = ("mmdebstrap", "unshare")


def base_image(folder: Path, release: str) -> Path:
    """A small Debian with Python and pip under the names of the official image."""
    root = folder / f"base-{release}"
    packages = "ca-certificates,python3-pip,python3-venv"
    subprocess.run(
        [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            "--dpkgopt=force-unsafe-io",
            f"--include={packages}",
            release,
            root,
        ],
        check=True,
    )
    for name in ("python", "python3"):
        (root / "usr/local/bin" / name).symlink_to("/usr/bin/python3")
    return root


class Image:
    """The last stage of a Dockerfile, built into a folder.

    Args:
        dockerfile: What to build.
        base: Root of what stands for the base image.
        folder: Where; gets one root for each stage.
    """

    def __init__(self, dockerfile: Path, *, base: Path, folder: Path) -> None:
        self._built: dict[str | None, Path] = {}
        self.context = make_context(folder / "context")
        for number, stage in enumerate(stages(dockerfile)):
            self.root = folder / f"stage-{number}"
            self.root.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", base, self.root], check=True)
            for step in stage.steps:
                self._carry_out(stage, step)
            self._built[stage.name] = self.root
            self.stage: Stage = stage
        (self.root / self.stage.directory.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def _carry_out(self, stage: Stage, step: Step) -> None:
        print(f"line {step.line}: {step.kind} {step.value}", flush=True)
        if step.kind == "COPY":
            self._copy(step)
            return
        assert set(step.flags) <= {"mount"}, step.flags
        binds = [(path, path, True) for path in _TO_THE_INDEX if Path(path).exists()]
        if mounted := dict(part.split("=", 1) for part in step.flags.get("mount", "").split(",") if part):
            assert mounted["type"] == "cache", mounted
            binds.append((_pip_cache(), mounted["target"], False))
        env = step.env | {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        (self.root / step.directory.lstrip("/")).mkdir(parents=True, exist_ok=True)
        self._enter(
            ["/bin/sh", "-c", step.value], binds, env=env, directory=step.directory, user=step.user
        ).check_returncode()

    def _copy(self, step: Step) -> None:
        assert set(step.flags) <= {"from"}, step.flags
        source = self._built[step.flags["from"]] if "from" in step.flags else self.context
        *names, target = shlex.split(step.value)
        into = self.root / Path(step.directory, target).relative_to("/")
        assert "from" not in step.flags or not into.exists(), "only a new folder can be linked"
        for name in names:
            path = source / name.lstrip("/")
            if "from" in step.flags:  # nothing changes files of a stage that is over, so links will do for gigabytes
                subprocess.run(["cp", "-al", path, into], check=True)
            elif path.is_dir():
                shutil.copytree(path, into, symlinks=True, dirs_exist_ok=True)
            else:
                to = into / path.name if target.endswith("/") else into
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, to)

    def run(
        self, args: list[str], *, data: Path, files: dict[str, Path] | None = None, user: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """As `docker run --read-only --tmpfs /tmp --network none -v DATA:/data` does.

        Args:
            args: The whole command, the entry point too.
            data: Folder that is mounted at /data.
            files: What else is mounted, read-only: path inside to file outside.
            user: UID:GID as of `--user`; the image's own by default.
        """
        binds = [(str(data), "/data", False)] + [(str(path), inside, True) for inside, path in (files or {}).items()]
        user, directory = user or self.stage.user, self.stage.directory
        return self._enter(args, binds, env=self.stage.env, directory=directory, user=user, sealed=True)

    def _enter(
        self,
        args: list[str],
        binds: list[tuple[str, str, bool]],
        *,
        env: dict[str, str],
        directory: str,
        user: str,
        sealed: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        spec = {
            "root": str(self.root),
            "binds": binds,
            "tmpfs": ["/tmp", "/dev/shm"] if sealed else [],
            "read_only": sealed,
        }
        spec |= {"own_network": sealed, "directory": directory, "user": user, "env": env, "args": args}
        namespaces = ["--mount", "--pid", "--fork", "--kill-child", *(["--net"] if sealed else [])]
        command = ["unshare", *namespaces, sys.executable, str(_HERE / "container.py"), json.dumps(spec)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1000)
        print(done.stdout, done.stderr, sep="\n", flush=True)
        return done


def make_context(folder: Path) -> Path:
    """What `.dockerignore` leaves of the repository."""
    rules = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    everything, *kept, never = rules
    assert (everything, never) == ("*", "**/__pycache__"), "the tests understand no other kinds of rules"
    for rule in kept:
        assert rule[0] == "!", rule
        source, target = REPOSITORY / rule[1:], folder / rule[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    return folder


def _pip_cache() -> str:
    folder = Path(os.environ.get("PIP_CACHE_DIR") or Path.home() / ".cache/pip")
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)
