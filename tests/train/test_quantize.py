"""The int8 twin of a tiny network, from graph to card."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from vidfer.errors import ModelError  # noqa: E402
from vidfer.train import twin  # noqa: E402
from vidfer.train.detector_net import DetectorNet  # noqa: E402
from vidfer.train.detector_run import _Shipped  # noqa: E402
from vidfer.train.export import export_onnx  # noqa: E402
from vidfer.train.faces import NAME  # noqa: E402
from vidfer.train.graph import Graph  # noqa: E402
from vidfer.train.model import OUTPUTS, ExportedFaceNet, FaceNet  # noqa: E402
from vidfer.train.quantize import quantize_graph  # noqa: E402
from vidfer.vision import session  # noqa: E402
from vidfer.vision.geometry import CROP_PX  # noqa: E402
from vidfer.vision.session import Session  # noqa: E402

CARD = dict.fromkeys(("input", "heads", "trained_on", "metrics", "licence", "git_sha", "command"), "x")


def picture(seed: int, *shape: int) -> np.ndarray:
    """Noise with large structures, as pictures have."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (shape[0], -(-shape[1] // 16), -(-shape[2] // 16), 3)).repeat(16, 1).repeat(16, 2)
    coarse = coarse[:, : shape[1], : shape[2]]
    return np.clip(coarse + rng.normal(0, 10, coarse.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained face network as it ships."""
    torch.manual_seed(0)
    net = FaceNet(stem=6, stages=((8, 1), (16, 1)), features=16).eval()
    path = tmp_path_factory.mktemp("faces") / "net.onnx"
    example = torch.from_numpy(picture(0, 2, CROP_PX, CROP_PX))
    export_onnx(
        ExportedFaceNet(net, 1.0),
        path,
        example=example,
        input_name="image",
        output_names=OUTPUTS,
        dynamic_axes={"image": {0: "faces"}, **{name: {0: "faces"} for name in OUTPUTS}},
        card={**CARD, "name": NAME, "version": "9"},
        verify=[example],
    )
    return path


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained detector as it ships."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("detector") / "net.onnx"
    example = torch.from_numpy(picture(0, 1, 64, 96))
    export_onnx(
        _Shipped(DetectorNet().eval()),
        path,
        example=example,
        input_name="image",
        output_names=("box", "score"),
        dynamic_axes={"image": {1: "h", 2: "w"}, "box": {1: "cells"}, "score": {1: "cells"}},
        card={**CARD, "name": "face_detector", "version": "9", "threshold": 0.5, "input": {"sides_multiple_of": 8}},
        verify=[example],
    )
    return path


def quantized(path: Path, inputs: list[np.ndarray]) -> Any:
    return quantize_graph(onnx.load(str(path)), lambda graph, names: twin.observe(graph, names, inputs))


def fused(model: Any, tmp_path: Path) -> Counter[str]:
    """Kinds of nodes that ONNX Runtime makes of a graph."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)


def test_the_face_network_becomes_integers_up_to_its_heads(faces: Path, tmp_path: Path) -> None:
    inputs = [picture(seed, 4, CROP_PX, CROP_PX) for seed in range(3)]
    model = quantized(faces, inputs)
    onnx.checker.check_model(model)
    kinds = fused(model, tmp_path)
    assert kinds["QLinearConv"] == sum(node.op_type == "Conv" for node in onnx.load(str(faces)).graph.node)
    assert kinds["Conv"] == kinds["QuantizeLinear"] == 0
    assert kinds["DequantizeLinear"] == 2  # in front of affect and of the box, whose matrices are small
    assert kinds["QGemm"] == 3  # mesh, 68 points, identity
    assert kinds["QLinearConcat"] == 1
    onnx.save(model, str(tmp_path / "twin.onnx"))
    parent, small = Session(faces, device="cpu"), Session(tmp_path / "twin.onnx", device="cpu")
    seen = {"image": picture(9, 5, CROP_PX, CROP_PX)}
    wanted, got = parent.run(seen), small.run(seen)
    for name, values in wanted.items():
        # The heads' weights are bytes, too: 3.6 % at most in this untrained network, 3 % with weights in floats.
        assert np.abs(got[name] - values).max() <= 0.05 * np.abs(values).max(), name


def test_the_detector_becomes_integers_up_to_its_outputs_at_every_size(detector: Path, tmp_path: Path) -> None:
    inputs = [picture(seed, 1, 64, 96) for seed in range(4)]
    model = quantized(detector, inputs)
    kinds = fused(model, tmp_path)
    assert (kinds["QLinearConv"], kinds["QGemm"]) == (17, 3)
    assert kinds["Conv"] == kinds["QuantizeLinear"] == kinds["DequantizeLinear"] == kinds["Resize"] == 0
    onnx.save(model, str(tmp_path / "twin.onnx"))
    parent, small = Session(detector, device="cpu"), Session(tmp_path / "twin.onnx", device="cpu")
    for height, width in ((64, 96), (96, 32), (128, 160), (72, 104), (8, 40)):
        seen = {"image": picture(9, 1, height, width)}
        wanted, got = parent.run(seen), small.run(seen)
        assert np.abs(got["score"] - wanted["score"]).max() < 0.01
        assert np.abs(got["box"] - wanted["box"]).max() < 1.5  # px


@pytest.mark.parametrize("name", [name for name in session.MODELS if session.has_twin(name)])
def test_nothing_in_a_packaged_twin_is_left_unfused(name: str, tmp_path: Path) -> None:
    kinds = fused(onnx.load(str(session.model_path(name, "int8"))), tmp_path)
    assert kinds["QuantizeLinear"] == 0
    assert kinds["DequantizeLinear"] <= 3
    assert kinds["QLinearConv"] >= 5 * kinds["Conv"]


def test_the_same_data_give_the_same_twin(detector: Path) -> None:
    inputs = [picture(seed, 1, 64, 96) for seed in range(2)]
    assert quantized(detector, inputs).SerializeToString() == quantized(detector, inputs).SerializeToString()


def test_a_network_of_another_kind_is_refused() -> None:
    weight = numpy_helper.from_array(np.ones((1, 3, 1, 1), np.float32), "w")
    value = helper.make_tensor_value_info
    nodes = [helper.make_node("Conv", ["image", "w"], ["out"])]
    image, out = value("image", 1, [1, 3, 8, 8]), value("out", 1, None)
    model = helper.make_model(helper.make_graph(nodes, "g", [image], [out], [weight]))
    with pytest.raises(ModelError, match="nothing in this network can be quantised"):
        quantize_graph(model, lambda graph, names: [])


def of_pixels(*nodes: Any, shape: tuple[Any, ...] = ("B", 8, 8, 3), kind: int = TensorProto.UINT8) -> Any:
    """A network of nodes that ends with `out`; constants are a number, three, and the weights of a convolution."""
    value = helper.make_tensor_value_info
    constants = {"one": np.float32(128), "three": np.ones((3, 1, 1), np.float32), "far": np.float32(-900)}
    constants |= {"w": np.ones((4, 3, 3, 3), np.float32), "b": np.zeros(4, np.float32)}
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    return helper.make_model(
        helper.make_graph(nodes, "g", [value("image", kind, shape)], [value("out", 1, list("bchw"))], stored)
    )


def node(kind: str, given: str, out: str, **more: Any) -> Any:
    return helper.make_node(kind, given.split(), [out], **more)


CAST, FIRST = node("Cast", "image", "x", to=1), node("Transpose", "image", "t", perm=[0, 3, 1, 2])
LAST = [node("Conv", "in w b", "c"), node("Relu", "c", "out")]


@pytest.mark.parametrize(
    ("nodes", "line"),
    [
        ([node("Relu", "one", "out")], "nothing in this network"),
        ([CAST, node("Relu", "x", "out")], "nothing in this network"),
        ([FIRST, node("Cast", "t", "in", to=1), node("Conv", "in w b", "out", strides=[2, 2])], "nothing in this"),
        (
            [FIRST, node("Cast", "t", "x", to=1), node("Mul", "x three", "in"), *LAST],
            "all colours with the same numbers",
        ),
        ([FIRST, node("Cast", "t", "x", to=1), node("Sub", "one x", "in"), *LAST], "all colours with the same numbers"),
        ([FIRST, node("Cast", "t", "x", to=1), node("Sub", "x far", "in"), *LAST], "-900 as the middle of pixels"),
    ],
)
def test_unusual_networks_are_refused_in_one_line(nodes: list[Any], line: str) -> None:
    with pytest.raises(ModelError, match=line):
        quantize_graph(of_pixels(*nodes), lambda graph, names: [])


def test_a_network_of_floats_is_refused() -> None:
    model = of_pixels(
        node("Conv", "image w b", "c"), node("Relu", "c", "out"), shape=(1, 3, 8, 8), kind=TensorProto.FLOAT
    )
    with pytest.raises(ModelError, match="no convolution of bytes"):
        quantize_graph(model, lambda graph, names: [])


TURN = node("Transpose", "y", "in", perm=[0, 3, 1, 2])


@pytest.mark.parametrize(
    ("nodes", "moved"),
    [
        ([CAST, node("Sub", "x one", "y"), TURN, *LAST], True),
        ([node("Cast", "image", "y", to=1), TURN, *LAST], True),
        # Another node reads what would be turned.
        ([CAST, node("Sub", "x one", "y"), TURN, node("Relu", "y", "z"), *LAST], False),
        ([CAST, node("Cast", "image", "x2", to=1), node("Sub", "x x2", "y"), TURN, *LAST], False),
        ([CAST, node("Sub", "one x", "y"), TURN, *LAST], False),
        ([CAST, node("Cast", "x", "x2", to=1), node("Sub", "x2 one", "y"), TURN, *LAST], False),
        ([CAST, node("Sub", "x one", "y"), node("Transpose", "y", "in", perm=[0, 3, 2, 1]), *LAST], False),
    ],
)
def test_a_picture_is_turned_first_only_where_that_changes_nothing(nodes: list[Any], moved: bool) -> None:
    graph = Graph(of_pixels(*nodes))
    graph.transpose_first()
    onnx.checker.check_model(graph.model)
    assert (graph.nodes[0].op_type == "Transpose") is moved
    pixels = {"image": picture(1, 2, 8, 8)}
    before, after = (ReferenceEvaluator(model).run(None, pixels)[0] for model in (of_pixels(*nodes), graph.model))
    np.testing.assert_allclose(after, before, rtol=1e-5)


@pytest.mark.parametrize(("after", "default"), [(0.796, True), (0.795, False), (0.9, True)])
def test_the_card_says_what_was_lost(
    after: float, default: bool, detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = iter(
        [
            {"pictures": 3, "ap50_20px": 0.8, "false_faces": 0.01},
            {"pictures": 3, "ap50_20px": after, "false_faces": 0.01},
        ]
    )
    monkeypatch.setattr(twin, "calibration", lambda *_: [picture(0, 1, 64, 96)])
    monkeypatch.setattr(twin, "evaluate", lambda *_: next(figures))
    path = tmp_path / "net.int8.onnx"
    card = twin.make_twin("face_detector", detector, path, data_dir=tmp_path, command="quantize")
    stored = Session(path, device="cpu").card
    assert stored.details == card
    assert (stored.precision, stored.version) == ("int8", "9+int8")
    assert card["parent_sha256"] == Session(detector, device="cpu").card.sha256
    assert card["lost"] == {"ap50_20px": round(0.8 - after, 4), "false_faces": 0}
    assert card["default"] is default
    assert sorted(p.name for p in tmp_path.iterdir()) == ["SHA256SUMS", "net.int8.onnx"]
    assert stored.sha256 in (tmp_path / "SHA256SUMS").read_text()


def test_errors_count_the_other_way() -> None:
    before = {
        "mesh_error": {"value": 0.036, "low": 0, "high": 1},
        "ferplus_ece": {"value": 0.02},
        "accuracy": {"value": 0.5},
    }
    after = {
        "mesh_error": {"value": 0.04, "low": 0, "high": 1},
        "ferplus_ece": {"value": 0.01},
        "accuracy": {"value": 0.6},
    }
    assert twin.lost(before, after) == {"mesh_error": 0.004, "ferplus_ece": -0.01, "accuracy": -0.1}


def test_px_count_as_shares_of_the_picture() -> None:
    assert twin.lost({"points15_rmse_px_lfpw": 1.8}, {"points15_rmse_px_lfpw": 1.896}) == {
        "points15_rmse_px_lfpw": 0.001
    }


def test_rows_of_val_never_calibrate(detector: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []
    monkeypatch.setattr(twin, "load_scenes", lambda path, split: asked.append(split) or [])
    with pytest.raises(twin.DataError, match="nothing to calibrate"):
        twin.calibration("face_detector", Session(detector, device="cpu"), tmp_path, 0)
    assert asked == ["train"]
