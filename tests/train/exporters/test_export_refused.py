"""What cannot be exported, or says something else than torch, is one line, and nothing is left behind."""

from __future__ import annotations

import json
import sys

import pytest

torch = pytest.importorskip("torch", reason="EXPORTS ARE NOT TESTED: no torch")
onnx = pytest.importorskip("onnx", reason="EXPORTS ARE NOT TESTED: no onnx")

import numpy as np  # noqa: E402
from exported_runs import SIDE, make_run, make_table, recipe  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from vidfer.cli import app as cli  # noqa: E402
from vidfer.errors import ModelError  # noqa: E402
from vidfer.train.exporters import formats, onnx_file  # noqa: E402
from vidfer.train.exporters.checkpoint import load_checkpoint  # noqa: E402
from vidfer.train.exporters.compare import agreement  # noqa: E402
from vidfer.train.exporters.half import half_graph  # noqa: E402


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), recipe("fast"))


def export(*args: object) -> int:
    return cli.run(["train", "export", *map(str, args)])


@pytest.mark.parametrize(
    ("args", "code", "line"),
    [
        (["--format", "onx"], 2, "unknown format 'onx', did you mean 'onnx'?"),
        (["--format", "onnx-int8"], 2, "is calibrated on pictures: give a training table with --data"),
        (["--format", "tflite", "--data", "t.parquet"], 2, "--data is for --format onnx-int8"),
        (["--run", "other"], 2, "--run is for face_detector and face_analyzer"),
        (["-o", "net.tflite"], 2, "onnx is written to *.onnx, got net.tflite: choose --format tflite"),
        (["-o", "net.bin"], 2, "choose another --format"),
        (["--format", "onnx-int8", "--data", "missing.parquet"], 3, "missing.parquet"),
    ],
)
def test_options_that_do_not_fit_are_one_line(args, code, line, run, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert export(run, *args) == code
    said = capfd.readouterr()
    assert line in said.err
    assert said.err.count("\n") == 1
    assert not said.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--format", "tflite"], "face_detector is exported as onnx, got --format tflite"),
        ([], "is exported with --run RUN and --data DATA"),
    ],
)
def test_packaged_networks_are_exported_as_they_were(args, line, capfd):
    assert export("face_detector", *args) == 2
    assert line in capfd.readouterr().err


def test_a_folder_without_a_run_is_one_line(tmp_path, capfd):
    assert export(tmp_path / "nothing") == 3
    assert "there is no run at" in capfd.readouterr().err
    assert export(tmp_path) == 3
    assert "holds no best weights of a run" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_replaced_when_that_is_wanted(run, tmp_path, capfd):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"mine")
    assert export(run, "-o", path) == 2
    assert "is there already: choose --overwrite" in capfd.readouterr().err
    assert path.read_bytes() == b"mine"
    assert export(run, "-o", path, "--overwrite") == 0
    assert path.stat().st_size > 1000


def test_weights_beside_the_file_are_not_replaced_either(run, tmp_path, capfd):
    (tmp_path / "net.bin").write_bytes(b"mine")
    assert export(run, "--format", "openvino", "-o", tmp_path / "net.xml") == 2
    assert "net.bin is there already: choose --overwrite" in capfd.readouterr().err
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]


def test_an_exporter_that_cannot_be_loaded_is_one_line(run, tmp_path, monkeypatch, capfd):
    def broken(name):
        raise ImportError("libtensorflow.so: cannot open\nmore")

    monkeypatch.setattr(formats, "import_module", broken)
    assert export(run, "--format", "keras", "-o", tmp_path / "net.h5") == 2
    said = capfd.readouterr().err
    assert "export as keras needs what is installed but cannot be loaded: libtensorflow.so" in said
    assert said.count("\n") == 1


def test_the_card_of_the_last_weights_says_nothing_of_the_best(tmp_path, capfd):
    run = make_run(tmp_path / "run", recipe("fast", epochs=2))  # whose score stays the same: the first one is the best
    cards = {}
    for which in ("best", "last"):
        path = tmp_path / f"{which}.safetensors"
        assert export(run, "--format", "checkpoint", "--which", which, "-o", path) == 0
        cards[which] = json.loads(capfd.readouterr().out)
    assert [cards[which]["version"] for which in cards] == ["best, epoch 1 of 2", "last, epoch 2 of 2"]
    state = json.loads((run / "state.json").read_text())
    assert [card["trained_git_sha"] for card in cards.values()] == [state["git_sha"]] * 2
    assert cards["best"]["metrics"] == {"held_out_train_groups": {"score": 0.5}}
    assert cards["last"]["metrics"] == {"held_out_train_groups": "not measured"}
    assert cards["last"]["command"].endswith("vidfer train export RUN --format checkpoint --which last")


def test_other_files_than_checkpoints_are_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    with pytest.raises(ModelError, match="FileNotFoundError"):
        load_checkpoint(path)
    path.write_bytes(b"junk")
    with pytest.raises(ModelError, match="is no checkpoint that vidfer train export wrote"):
        load_checkpoint(path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ModelError, match="is no checkpoint that vidfer train export wrote"):
        load_checkpoint(path)
    save_file(
        {"weight": torch.zeros(2)}, path, metadata={"vidfer_card": json.dumps({"recipe": recipe("fast").as_dict()})}
    )
    with pytest.raises(ModelError, match="holds weights of another network"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("form", "package", "extra"),
    [
        ("openvino", "openvino", "openvino"),
        ("keras", "keras", "keras"),
        ("tflite", "ai_edge_litert", "tflite"),
        ("tflite", "tensorflow", "tflite"),
    ],
)
def test_a_missing_exporter_is_named_with_its_extra(form, package, extra, run, tmp_path, monkeypatch, capfd):
    for module in [
        name for name in sys.modules if name.startswith("vidfer.train.exporters.") and name.endswith("_file")
    ]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, "vidfer.train.exporters.keras_layers", raising=False)
    for other in {"openvino", "keras", "h5py", "ai_edge_litert", "tensorflow"} - {package}:
        monkeypatch.setitem(sys.modules, other, sys)  # is there, as far as an import can tell
    monkeypatch.setitem(sys.modules, package, None)
    path = tmp_path / f"net.{dict(openvino='xml', keras='h5', tflite='tflite')[form]}"
    assert export(run, "--format", form, "-o", path) == 2
    assert f"export as {form} needs {package}: pip install 'vidfer[{extra}]'" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (lambda said: {**said, "box": said["box"] + 1}, "box is off by"),
        (lambda said: {**said, "box": said["box"] * np.float32("nan")}, "box is no number"),
        (lambda said: {**said, "box": said["box"][:, :2]}, "box must be float32[1, 4], got float32[1, 2]"),
        (lambda said: {name: said[name] for name in said if name != "box"}, "box must be float32[1, 4], got only"),
    ],
)
def test_an_export_that_says_something_else_is_refused(wrong, line, run, tmp_path, monkeypatch, capfd):
    load = onnx_file.Onnx.load

    def loaded(self, path):
        predict = load(self, path)
        return lambda given: wrong(dict(predict(given)))

    monkeypatch.setattr(onnx_file.Onnx, "load", loaded)
    assert export(run, "-o", tmp_path / "net.onnx") == 1
    assert line in capfd.readouterr().err
    assert not list(tmp_path.iterdir())
    (tmp_path / "net.onnx").write_bytes(b"older")
    assert export(run, "-o", tmp_path / "net.onnx", "--overwrite") == 1
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"older"]


def test_int8_that_varies_otherwise_is_refused(run, tmp_path, monkeypatch, capfd):
    load = onnx_file.Onnx.load

    def loaded(self, path):
        predict = load(self, path)
        return lambda given: {name: -said for name, said in predict(given).items()}

    monkeypatch.setattr(onnx_file.Onnx, "load", loaded)
    table = make_table(tmp_path / "faces.parquet", 12)
    assert export(run, "--format", "onnx-int8", "--data", table, "-o", tmp_path / "net.onnx") == 1
    assert "emotion varies otherwise than in float32 (correlation -" in capfd.readouterr().err
    assert not (tmp_path / "net.onnx").exists()


def compared(wanted, got):
    given = np.zeros((len(wanted), 4, 4, 3), np.uint8)
    return agreement("net", lambda _: {"box": wanted}, lambda _: {"box": got.astype(np.float32)}, [given])["box"]


SAID = np.random.default_rng(3).normal(50, 5, (8, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("got", "line"),
    [
        (0 * SAID, r"varies otherwise than in float32 \(correlation 0, needed is 0\.9\)"),
        (SAID + 20, r"off by 20 on average, allowed is \d"),
        (50 + 3 * (SAID - 50), r"off by \d+ on average"),
    ],
)
def test_int8_that_is_dead_shifted_or_stretched_is_refused(got, line):
    with pytest.raises(ModelError, match=f"net: box .*{line}"):
        compared(SAID, got)


def test_a_head_that_says_the_same_of_all_pictures_may_do_so_in_int8():
    still = np.repeat(SAID[:1], 8, 0)
    assert compared(still, still + SAID / 500)["correlation"] == 1
    with pytest.raises(ModelError, match="off by 5 on average"):
        compared(still, still + 5)


def test_int8_wants_some_pictures(run, tmp_path, capfd):
    table = make_table(tmp_path / "faces.parquet", 11)
    assert export(run, "--format", "onnx-int8", "--data", table, "-o", tmp_path / "net.onnx") == 3
    assert "int8 needs 12 or more pictures of split train that can be decoded, got 11" in capfd.readouterr().err


def graph(*nodes, **constants):
    return helper.make_model(
        helper.make_graph(
            nodes,
            "made",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["B", SIDE, SIDE, 3])],
            [helper.make_tensor_value_info("box", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        )
    )


def test_weights_beyond_float16_are_refused():
    cast = helper.make_node("Cast", ["image"], ["x"], to=TensorProto.FLOAT)
    flat = helper.make_node("Flatten", ["x"], ["y"])
    matrix = helper.make_node("MatMul", ["y", "w"], ["box"])
    with pytest.raises(ModelError, match="above 65504"):
        half_graph(graph(cast, flat, matrix, w=np.full((SIDE * SIDE * 3, 4), 1e5, np.float32)))


def test_operators_without_a_keras_layer_are_refused():
    pytest.importorskip("keras", reason="EXPORT AS KERAS IS NOT TESTED: no keras")
    from vidfer.train.exporters.keras_layers import keras_model

    cast = helper.make_node("Cast", ["image"], ["x"], to=TensorProto.FLOAT)
    with pytest.raises(ModelError, match="no Keras layer is known here for Erf"):
        keras_model(graph(cast, helper.make_node("Erf", ["x"], ["box"])))
    with pytest.raises(ModelError, match="Transpose is used in a way that has no Keras layer"):
        keras_model(graph(cast, helper.make_node("Transpose", ["x"], ["box"], perm=[0, 2, 1, 3])))
