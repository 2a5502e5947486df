"""What the networks cost on one core, against a fixed convolution in the same run; prints one JSON object.

    python benchmarks/networks.py [NETWORK.onnx ...] [--turns 30]

Without arguments: the packaged networks in float32 and their int8 twins. Everything is called in turn, four times of
which the last three count, so that what else the machine does falls on all alike; the numbers are medians of processor
time.

The reference is one dense 3x3 convolution in float32, 64 to 64 channels on 56x56, without a bias: 0.231 GFLOP. `ratio`
is a call's time / the time that ONNX Runtime takes for as many GFLOP of it (in proportion, so that its tensors stay
small). GFLOP are 2 x multiply-adds of convolutions and matrix products, counted in the graph. A twin does as many as
its parent, so give that, too: its own graph has more, since its first convolution is widened with zeros.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from vidfer.types import U8
from vidfer.vision.geometry import CROP_PX, letterbox_size
from vidfer.vision.session import MODELS, Session, has_vnni, model_path

_CHANNELS, _SIDE = 64, 56
REFERENCE_GFLOP = 2 * 9 * _CHANNELS**2 * _SIDE**2 / 1e9
_PICTURE = (640, 360)
_WARM_UP = 3  # turns
_BURST = 4  # calls in a turn; the first finds weights of others in the caches and does not count
_COUNTED = ("Conv", "ConvInteger", "QLinearConv", "Gemm", "MatMul")


def reference() -> Callable[[], object]:
    """A call of the fixed convolution."""
    weight = np.random.default_rng(0).normal(size=(_CHANNELS, _CHANNELS, 3, 3)).astype(np.float32)
    shape = [1, _CHANNELS, _SIDE, _SIDE]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "weight"], ["y"], pads=[1, 1, 1, 1])],
        "reference",
        [value("x", TensorProto.FLOAT, shape)],
        [value("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    return lambda: session.run(None, {"x": x})


def inputs(name: str, multiple: int = 8) -> dict[str, U8]:
    """What a network is shown: crops of one and of eight faces, or a picture of 640x360 with padded sides."""
    rng = np.random.default_rng(0)
    if name == "face_detector":
        _, _, width, height = letterbox_size(*_PICTURE, max(_PICTURE), multiple)
        return {"640x360": rng.integers(0, 256, (1, height, width, 3), dtype=np.uint8)}
    sizes = {"1 face": 1, "8 faces": 8}
    return {what: rng.integers(0, 256, (n, CROP_PX, CROP_PX, 3), dtype=np.uint8) for what, n in sizes.items()}


def gflop(path: Path, image: U8) -> float:
    """2 x multiply-adds of one call, from the shapes that the tensors of a graph really have."""
    model = onnx.load(str(path))
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    made = {node.output[0]: node for node in model.graph.node}
    counted: dict[str, int] = {}
    for node in model.graph.node:
        name = node.input[1] if node.op_type in _COUNTED else ""
        while name in made and made[name].input:  # integers on their way to a convolution, or a transposed matrix
            name = made[name].input[0]
        if name in weights:  # and not a product of two values, such as the detector's grid of cells
            counted[node.output[0]] = int(np.prod(weights[name].dims))
    outputs = {output.name for output in model.graph.output}
    wanted = sorted(counted.keys() - outputs)
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in wanted)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    shapes = [found.shape for found in session.run(list(counted), {"image": image})]
    total = 0
    for size, shape in zip(counted.values(), shapes, strict=True):
        total += size * (shape[0] * shape[2] * shape[3] if len(shape) == 4 else int(np.prod(shape[:-1])))
    return 2 * total / 1e9


def measure(calls: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Median ms of processor time of every call, in turns."""
    spent: dict[str, list[float]] = defaultdict(list)
    for turn in range(repeat + _WARM_UP):
        for name, call in calls.items():
            for again in range(_BURST):
                began = time.process_time()
                call()
                if turn >= _WARM_UP and again:
                    spent[name].append(1e3 * (time.process_time() - began))
    return {name: float(np.median(times)) for name, times in spent.items()}


def run(paths: list[Path], repeat: int) -> dict[str, Any]:
    """All networks on all of their inputs."""
    calls: dict[str, Callable[[], object]] = {"reference": reference()}
    found: dict[str, dict[str, Any]] = {}
    sessions = {path: Session(path, device="cpu") for path in paths}
    parents = {session.card.sha256: path for path, session in sessions.items()}
    for path, session in sessions.items():
        card = session.card
        counted = parents.get(card.details.get("parent_sha256", ""), path)
        for what, image in inputs(card.name, card.details["input"].get("sides_multiple_of", 1)).items():
            key = f"{path.stem} {what}"
            about = {"network": card.name, "version": card.version, "precision": card.precision, "input": what}
            found[key] = about | {"gflop": gflop(counted, image)}
            calls[key] = partial(session.run, {"image": image})
    times = measure(calls, repeat)
    for key, entry in found.items():
        entry["cpu_ms"] = times[key]
        entry["reference_ms"] = times["reference"] * entry["gflop"] / REFERENCE_GFLOP
        entry["ratio"] = entry["cpu_ms"] / entry["reference_ms"]
    return {
        "turns": repeat,
        "machine": {"platform": platform.platform(), "cores": os.cpu_count(), "vnni": has_vnni()},
        "onnxruntime": ort.__version__,
        "reference": {"gflop": REFERENCE_GFLOP, "cpu_ms": times["reference"]},
        "networks": found,
    }


def rounded(value: Any) -> Any:
    """Numbers with four digits, all the way down."""
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the networks against a fixed convolution.")
    parser.add_argument("networks", nargs="*", type=Path, metavar="NETWORK.onnx", help="the packaged ones by default")
    parser.add_argument("--turns", type=int, default=30, metavar="N")
    options = parser.parse_args(arguments)
    if options.turns < 1:
        parser.error("--turns must be at least 1")
    packaged = [model_path(name, precision) for name in MODELS for precision in ("float32", "int8")]
    print(json.dumps(rounded(run(options.networks or packaged, options.turns)), indent=1))


if __name__ == "__main__":
    main()
