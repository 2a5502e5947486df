"""`vidfer train`: what the command line adds to `vidfer.train`, which has its own tests."""

import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from vidfer.cli import app as cli

FILES = ("faces.parquet", "scenes.parquet", "mesh_basis.npz")


@pytest.fixture
def data(tmp_path):
    for name in FILES:
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize("network", ["face_detector", "face_analyzer"])
def test_without_torch_one_line_says_how_to_get_it(network, data, tmp_path):
    code = "import sys; sys.modules['torch'] = None; from vidfer.cli.app import run; sys.exit(run(sys.argv[1:]))"
    args = ["train", "fit", network, "--data", str(data), "--run", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "vidfer: error: training needs torch: pip install 'vidfer[train]'\n"


@pytest.mark.parametrize("lacking", FILES)
def test_a_folder_without_the_data_is_named(data, lacking, tmp_path, capfd):
    pytest.importorskip("torch")
    (data / lacking).unlink()
    assert cli.run(["train", "fit", "face_detector", "--data", str(data), "--run", str(tmp_path / "run")]) == 3
    assert f"lacks {lacking}" in capfd.readouterr().err


def test_export_wants_a_run(data, tmp_path, capfd):
    pytest.importorskip("torch")
    assert cli.run(["train", "export", "face_detector", "--data", str(data), "--run", str(tmp_path / "run")]) == 3
    assert "holds no run" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("network", "function"), [("face_detector", "detector_run.fit_detector"), ("face_analyzer", "faces_run.fit_faces")]
)
def test_options_reach_the_training(network, function, data, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    calls = []
    monkeypatch.setattr(f"vidfer.train.{function}", lambda *args, **kwargs: calls.append((args, kwargs)))
    line = f"train fit {network} --data {data} --run {tmp_path / 'run'} --epochs 3 --seed 7 --threads 2 --resume"
    assert cli.run(line.split()) == 0
    (args, kwargs) = calls[0]
    assert args[:2] == (data, tmp_path / "run")
    assert kwargs["resume"] is True
    config = asdict(args[2]) if len(args) > 2 else kwargs
    assert (config["epochs"], config["seed"], config["threads"]) == (3, 7, 2)


@pytest.mark.parametrize(
    ("network", "function"),
    [("face_detector", "detector_run.export_detector"), ("face_analyzer", "faces_run.export_faces")],
)
def test_the_card_gets_the_command_without_folders_of_this_machine(
    network, function, data, tmp_path, monkeypatch, capfd
):
    pytest.importorskip("torch")
    calls = []
    monkeypatch.setattr(
        f"vidfer.train.{function}", lambda *args, **kwargs: calls.append((args, kwargs)) or {"name": network}
    )
    run = tmp_path / "run"
    run.mkdir()
    (run / "state.json").write_text(json.dumps({"config": {"epochs": 3, "seed": 7, "threads": 2}}))
    assert cli.run(["train", "export", network, "--data", str(data), "--run", str(run), "--which", "last"]) == 0
    args, kwargs = calls[0]
    assert args == (run, run / f"{network}.onnx")
    assert kwargs == {
        "data_dir": data,
        "command": f"vidfer train fit {network} --data DATA --run RUN --epochs 3 --seed 7 --threads 2",
        "which": "last",
    }
    assert json.loads(capfd.readouterr().out) == {"name": network}


@pytest.mark.parametrize(
    ("network", "function"), [("face_detector", "report_detector"), ("face_analyzer", "report_faces")]
)
def test_evaluate_prints_the_report_as_one_object(network, function, data, tmp_path, monkeypatch, capfd):
    pytest.importorskip("torch")
    calls = []
    monkeypatch.setattr(f"vidfer.train.report.{function}", lambda *args: calls.append(args) or {"figures": {}})
    assert cli.run(["train", "evaluate", network, "--data", str(data), "--model", str(tmp_path / "net.onnx")]) == 0
    assert calls == [(tmp_path / "net.onnx", data)]
    assert json.loads(capfd.readouterr().out) == {"figures": {}}
