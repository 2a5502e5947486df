"""The command line itself: help, usage errors, one-line errors, exit codes. `test_process.py` runs real videos."""

import importlib
import json
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import typer

from vidfer.cli import app as cli
from vidfer.cli.process import exit_code
from vidfer.errors import InputError, OutputError, UsageError

run_module = "vidfer.pipeline.batch"


def command(*path):
    found = typer.main.get_command(cli.app)
    for name in path:
        found = found.commands[name]
    return found


@pytest.fixture
def process_many(monkeypatch):
    """Stands for the pipeline; `outcome` says what it gives or raises, `calls` what it was asked."""
    pipeline = importlib.import_module(run_module)

    class Fake:
        def __init__(self):
            self.calls, self.outcome = [], []

        def __call__(self, inputs, options, progress=None):
            self.calls.append((inputs, options, progress))
            if isinstance(self.outcome, BaseException):
                raise self.outcome
            return self.outcome

    fake = Fake()
    monkeypatch.setattr(pipeline, "process_many", fake)
    return fake


def result(tmp_path, warnings=(), video=True):
    pipeline = importlib.import_module(run_module)
    return pipeline.ProcessResult(
        source=Path("a.mp4"),
        table_path=tmp_path / "a.parquet",
        tracks_path=tmp_path / "a.tracks.parquet",
        report_path=tmp_path / "a.run.json",
        video_path=tmp_path / "a.annotated.mp4" if video else None,
        report={
            "source": {"name": "a.mp4"},
            "counts": {"analysed": 30, "tracks": 2, "faces": 40},
            "timings": {"wall_s": 0.5, "frames_per_second": 60.0},
            "warnings": list(warnings),
        },
    )


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["process", "--help"], ["train", "fit", "--help"]])
def test_help_loads_nothing_heavy(args):
    """Which is what makes it quick: `benchmarks/steps.py` measures it."""
    code = f"""
import sys
from vidfer.cli.app import run
assert run({args!r}) == 0
heavy = {{"av", "cv2", "norfair", "numpy", "onnxruntime", "pandas", "pyarrow", "rich", "torch"}} & sys.modules.keys()
assert not heavy, heavy
assert len(sys.modules) < 350, sorted(sys.modules)  # 229, and what an environment loads at its start
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["process"], "INPUT"),
        (["process", "a.mp4", "--smooth", "much"], "'much' is not one of 'off', 'light', 'medium', 'strong'"),
        (["process", "a.mp4", "--landmarks", "5"], "'5' is not one of '68', '478', 'none'"),
        (["process", "a.mp4", "--device", "tpu"], "'tpu' is not one of 'auto', 'cpu', 'cuda'"),
        (["process", "a.mp4", "--detect-every", "often"], "detect_every is 'often': give a whole number or auto"),
        (["process", "a.mp4", "--detect-every", "0"], "detect_every"),
        (["process", "a.mp4", "--fps", "fast"], "'fast' is not a valid float"),
        (["process", "a.mp4", "--fps", "-1"], "fps must be a number above 0"),
        (["process", "a.mp4", "--fps", "5", "--stride", "2"], "exclude each other"),
        (["process", "a.mp4", "--stride", "0"], "stride must be 1 or more"),
        (["process", "a.mp4", "--stream", "-1"], "stream"),
        (["process", "a.mp4", "--start", "soon"], "timecode 'soon' cannot be read"),
        (["process", "a.mp4", "--end", "1:75"], "timecode '1:75'"),
        (["process", "a.mp4", "--start", "9", "--end", "8"], "start 9 must be before end 8"),
        (["process", "a.mp4", "--overwite"], "--overwite"),
        (["schema", "faces"], "'faces' is not one of"),
        (["precess"], "'precess'. Did you mean 'process'?\n"),
    ],
)
def test_usage_errors_are_one_line_with_exit_code_2(args, words, capfd):
    assert cli.run(args) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("vidfer: error: ")
    assert err.count("\n") == 1
    assert words in err


def test_without_arguments_there_is_help(capfd):
    assert cli.run([]) == 2
    assert "process" in capfd.readouterr().err


def test_options_reach_the_pipeline(process_many, tmp_path):
    process_many.outcome = [result(tmp_path)]
    line = (
        f"process a.mp4 b.mp4 -o {tmp_path} --overwrite --no-render --landmarks none --start 1:30 --end 120f --fps 5 "
        "--stream 1 --detect-every 3 --smooth strong --device cpu --quiet"
    )
    assert cli.run(line.split()) == 0
    inputs, options, progress = process_many.calls[0]
    assert list(inputs) == [Path("a.mp4"), Path("b.mp4")]
    assert progress is None
    assert options.output_dir == tmp_path
    wanted = dict(overwrite=True, render=False, landmarks=None, start="90", end="120f", fps=5.0, stride=None)
    wanted |= dict(stream=1, detect_every=3, smooth="strong", device="cpu")
    assert {name: getattr(options, name) for name in wanted} == wanted


def test_defaults_are_those_of_the_library(process_many, tmp_path):
    process_many.outcome = [result(tmp_path)]
    assert cli.run(["process", "a.mp4"]) == 0
    options = process_many.calls[0][1]
    assert {f.name: getattr(options, f.name) for f in fields(options)} == {f.name: f.default for f in fields(options)}
    assert all(f.default is not MISSING for f in fields(options))


def test_the_summary_says_where_the_results_are(process_many, tmp_path, capfd):
    process_many.outcome = [result(tmp_path, warnings=["the file is cut off after 1.2 s"])]
    assert cli.run(["process", "a.mp4"]) == 0
    out = capfd.readouterr().out
    for name in ("a.parquet", "a.tracks.parquet", "a.run.json", "a.annotated.mp4"):
        assert str(tmp_path / name) in out
    assert "warning: the file is cut off after 1.2 s" in out


def test_quiet_prints_nothing(process_many, tmp_path, capfd):
    process_many.outcome = [result(tmp_path)]
    assert cli.run(["process", "a.mp4", "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")


def test_json_is_one_object_with_results_and_errors(process_many, tmp_path, capfd):
    process_many.outcome = [result(tmp_path, video=False), (Path("b.mp4"), InputError("b.mp4 is\nempty"))]
    assert cli.run(["process", "a.mp4", "b.mp4", "--json"]) == 4
    out, err = capfd.readouterr()
    printed = json.loads(out)
    assert printed["results"][0]["table"] == str(tmp_path / "a.parquet")
    assert printed["results"][0]["video"] is None
    assert printed["results"][0]["report"]["counts"]["tracks"] == 2
    assert printed["errors"] == [{"source": "b.mp4", "error": "b.mp4 is empty", "exit_code": 3}]
    assert err == "vidfer: error: b.mp4 is empty\n"


@pytest.mark.parametrize(
    ("done", "errors", "code"),
    [
        (2, [], 0),
        (1, [InputError("x")], 4),
        (0, [InputError("x"), InputError("y")], 3),
        (0, [OutputError("x")], 1),
        (0, [InputError("x"), OutputError("y")], 1),
        (0, [UsageError("x")], 2),
    ],
)
def test_exit_codes(done, errors, code):
    assert exit_code(done, errors) == code


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("nothing here"), 3, "nothing here"),
        (OutputError("disk full"), 1, "disk full"),
        (UsageError("no CUDA"), 2, "no CUDA"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (RuntimeError("first\nsecond"), 1, "RuntimeError: first second (a fault of vidfer's"),
    ],
)
def test_errors_become_one_line(process_many, error, code, words, capfd):
    process_many.outcome = error
    assert cli.run(["process", "a.mp4"]) == code
    err = capfd.readouterr().err
    assert words in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


def test_debug_shows_the_traceback(process_many, capfd):
    process_many.outcome = InputError("nothing here")
    assert cli.run(["process", "a.mp4", "--debug"]) == 3
    err = capfd.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1] == "vidfer: error: nothing here"


def test_version(capfd):
    import vidfer

    assert cli.run(["--version"]) == 0
    assert capfd.readouterr().out == f"vidfer {vidfer.__version__}\n"
