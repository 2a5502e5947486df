"""A float network's graph, rewritten in steps that keep what it computes, until bytes run through it fast.

What costs time between 8-bit convolutions in ONNX Runtime: pixels that are made floats first, channels that don't
come in fours, doubling of a map. Each is here put as something that costs little.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, helper, numpy_helper

from vidfer.errors import ModelError
from vidfer.types import F32

PIXELS = "pixels"  # a tensor that the rewritten graph has and the float one has not
_STEM = "stem"
_SCALING = ("Sub", "Div", "Mul")  # by a constant, which comes second


class Graph:
    """A copy of a network's graph; every method keeps what it computes, but for rounding."""

    def __init__(self, network: ModelProto) -> None:
        self.model = ModelProto()
        self.model.CopyFrom(network)
        self.nodes = self.model.graph.node
        self.picture = self.model.graph.input[0].name

    def values(self) -> dict[str, npt.NDArray[Any]]:
        """Weights and constants by name."""
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer}

    def store(self, name: str, value: npt.ArrayLike) -> str:
        """Add or replace a constant; gives its name."""
        tensors = self.model.graph.initializer
        for tensor in [t for t in tensors if t.name == name]:
            tensors.remove(tensor)
        tensors.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(np.shape(value)), name))
        return name

    def readers(self, tensor: str) -> list[NodeProto]:
        """Nodes that take a tensor."""
        return [node for node in self.nodes if tensor in node.input]

    def replace(self, old: Sequence[NodeProto], new: Sequence[NodeProto]) -> None:
        """Put nodes where the first of the old ones was."""
        place = list(self.nodes).index(old[0])
        for node in old:
            self.nodes.remove(node)
        for i, node in enumerate(new):
            self.nodes.insert(place + i, node)

    def lift_constants(self) -> None:
        """Constants become initialisers, and so do those that an exporter found to be equal to another one."""
        for node in [n for n in self.nodes if n.op_type == "Constant"]:
            self.store(node.output[0], numpy_helper.to_array(node.attribute[0].t))
            self.nodes.remove(node)
        values = self.values()
        for node in [n for n in self.nodes if n.op_type == "Identity" and n.input[0] in values]:
            self.store(node.output[0], values[node.input[0]])
            self.nodes.remove(node)

    def pool_means(self) -> None:
        """Means over height and width become pooling, which ONNX Runtime has for bytes."""
        for node in [n for n in self.nodes if n.op_type == "ReduceMean"]:
            given = attributes(node)
            if [axis % 4 for axis in given.get("axes", [])] != [2, 3]:
                continue
            (source,), (target,) = node.input, node.output
            flat = not given.get("keepdims", 1)
            pooled = f"{target}_pooled" if flat else target
            new = [helper.make_node("GlobalAveragePool", [source], [pooled])]
            self.replace([node], new + ([helper.make_node("Flatten", [pooled], [target])] if flat else []))

    def transpose_first(self) -> None:
        """A picture that is normalised in the same way in all colours is transposed as bytes, before that."""
        chain, values = self._ways_in(), self.values()
        if [node.op_type for node in chain] != ["Cast"]:
            return
        while len(following := self.readers(chain[-1].output[0])) == 1:
            chain += following
            if chain[-1].op_type not in _SCALING or chain[-1].input[1] not in values:
                break
        if not _makes_channels_first(chain[-1]):
            return
        cast, *scaling, transpose = chain
        numbers = [np.unique(values[node.input[1]]) for node in scaling]
        if any(len(found) != 1 for found in numbers):
            return
        first, last = transpose.output[0], f"{PIXELS}_first"
        for node, number in zip(scaling, numbers, strict=True):
            node.input[1] = self.store(f"{node.output[0]}_number", number.reshape(()))
        moved = helper.make_node("Transpose", [self.picture], [last], perm=attributes(transpose)["perm"])
        cast.input[0] = last
        (scaling or [cast])[-1].output[0] = first
        self.nodes.remove(transpose)
        self.nodes.insert(list(self.nodes).index(cast), moved)

    def reads_bytes(self) -> bool:
        """Whether `take_bytes` can turn the first layers into bytes."""
        ways = self._ways_in()
        return len(ways) == 1 and _makes_channels_first(ways[0])

    def take_bytes(self) -> None:
        """Transpose, Cast and normalisation in front of the first convolution become one DequantizeLinear.

        Half a grey level that a zero point cannot express goes into the bias of the convolution.
        """
        chain = self._ways_in()
        while chain[-1].op_type != "Conv":
            following = self.readers(chain[-1].output[0])
            if len(following) != 1 or chain[-1].op_type not in ("Transpose", "Cast", *_SCALING):
                raise ModelError("the network does not begin with Transpose, Cast, Sub, Div or Mul, and Conv")
            chain += following
        if [node.op_type for node in chain[:2]] != ["Transpose", "Cast"] or len(chain[-1].input) != 3:
            raise ModelError("the network does not begin with Transpose and Cast, and a convolution with a bias")
        transpose, cast, *scaling, conv = chain
        values, scale, shift = self.values(), 1.0, 0.0
        for node in scaling:
            if node.op_type not in _SCALING or np.size(values.get(node.input[1], ())) != 1:
                raise ModelError("the network does not normalise all colours with the same numbers")
            factor = float(values[node.input[1]].item())
            if node.op_type == "Sub":
                shift += factor * scale
            else:
                scale *= factor if node.op_type == "Mul" else 1 / factor
                shift *= factor if node.op_type == "Mul" else 1 / factor
        zero = round(shift / scale)
        if not 0 <= zero <= 255:
            raise ModelError(f"the network takes {zero} as the middle of pixels, which are 0 to 255")
        weight, bias = values[conv.input[1]], values[conv.input[2]]
        bias = bias + weight.sum((1, 2, 3)) * (zero * scale - shift)
        conv.input[2] = self.store(f"{PIXELS}_bias", bias.astype(np.float32))
        parameters = [self.store(f"{PIXELS}_scale", np.float32(scale)), self.store(f"{PIXELS}_zero", np.uint8(zero))]
        dequantize = helper.make_node("DequantizeLinear", [transpose.output[0], *parameters], [PIXELS])
        self.replace([cast, *scaling], [dequantize])
        conv.input[0] = PIXELS

    def _ways_in(self) -> list[NodeProto]:
        """What reads the picture's pixels; others read its size."""
        return [node for node in self.readers(self.picture) if node.op_type != "Shape"]

    def widen_stem(self) -> None:
        """A first convolution 3x3 or 3x2 with stride 2 reads four columns at once and writes two.

        The kernels for bytes want channels in fours; three colours took 1.5 of the detector's 4.3 ms, then 0.6 of 3.3
        with three columns and 0.45 with two. As bytes lie [H,W,3], four pixels are one of 12 channels without a copy;
        the weights move, with zeros between.
        """
        (conv,) = self.readers(PIXELS)
        columns = self.values()[conv.input[1]].shape[-1]
        given = attributes(conv)
        readers = self.readers(conv.output[0])
        wanted = {"strides": [2, 2], "pads": [1, columns - 2] * 2, "dilations": [1, 1], "group": 1}
        if self.values()[conv.input[1]].shape[1:] not in ((3, 3, 3), (3, 3, 2)):
            return
        if any(given.get(k, v) != v for k, v in wanted.items()) or [node.op_type for node in readers] != ["Relu"]:
            return
        (relu,) = readers
        values = self.values()
        weight, bias = values[conv.input[1]], values[conv.input[2]]
        conv.input[1] = self.store(f"{_STEM}_weight", _widened(weight))
        conv.input[2] = self.store(f"{_STEM}_bias", np.tile(bias, 2))
        widened = helper.make_node(
            "Conv",
            list(conv.input),
            list(conv.output),
            name=conv.name,
            kernel_shape=[3, columns - 1],
            strides=[2, 1],
            pads=[1, columns - 2, 1, 0],
        )
        self.replace([conv], [widened])
        (transpose,) = self._ways_in()
        fold = self.store(f"{PIXELS}_fold", np.array([0, 0, -1, 12]))
        folded = helper.make_node("Transpose", [f"{PIXELS}_folded"], [transpose.output[0]], perm=[0, 3, 1, 2])
        self.replace([transpose], [helper.make_node("Reshape", [self.picture, fold], [f"{PIXELS}_folded"]), folded])
        wide, out = f"{_STEM}_wide", relu.output[0]
        unfold = self.store(f"{_STEM}_unfold", np.array([0, 0, -1, len(weight)]))
        self.replace(
            [relu],
            [
                helper.make_node("Relu", [conv.output[0]], [wide], name=relu.name),
                helper.make_node("Transpose", [wide], [f"{_STEM}_rows"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{_STEM}_rows", unfold], [f"{_STEM}_narrow"]),
                helper.make_node("Transpose", [f"{_STEM}_narrow"], [out], perm=[0, 3, 1, 2]),
            ],
        )

    def repeat_pixels(self) -> None:
        """Doubling of a map by nearest neighbours becomes copies of rows and columns: 20 us in place of 110."""
        values = self.values()
        for node in [n for n in self.nodes if n.op_type == "Resize"]:
            given = attributes(node)
            scales = values.get(node.input[2]) if len(node.input) == 3 else None
            if given.get("mode") != b"nearest" or scales is None or scales.tolist() != [1, 1, 2, 2]:
                continue
            (source, *_), (target,) = node.input, node.output
            rows, pairs, flat = f"{target}_rows", f"{target}_pairs", f"{target}_doubled"
            # The channels are what the convolution in front of it writes.
            (writer,) = (n for n in self.nodes if source in n.output)
            shape = self.store(f"{target}_shape", np.array([0, -1, 0, len(values[writer.input[1]])]))
            self.replace(
                [node],
                [
                    helper.make_node("Transpose", [source], [f"{target}_last"], perm=[0, 2, 3, 1]),
                    helper.make_node("Concat", [f"{target}_last"] * 2, [rows], axis=2),
                    helper.make_node("Concat", [rows] * 2, [pairs], axis=3),
                    helper.make_node("Reshape", [pairs, shape], [flat]),
                    helper.make_node("Transpose", [flat], [target], perm=[0, 3, 1, 2]),
                ],
            )


def _makes_channels_first(node: NodeProto) -> bool:
    return node.op_type == "Transpose" and attributes(node).get("perm") == [0, 3, 1, 2]


def attributes(node: NodeProto) -> dict[str, Any]:
    """Attributes of a node by name."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _widened(weight: F32) -> F32:
    """Weights on the columns of one output as weights on fours of pixels (12 channels), for two outputs.

    f32[C,3,3,3] on pixels -1, 0, 1 and 1, 2, 3 becomes f32[2C,12,3,2]; f32[C,3,3,2] on 0, 1 and 2, 3 f32[2C,12,3,1].
    """
    outputs, columns = len(weight), weight.shape[-1]
    wide = np.zeros((2 * outputs, 12, 3, columns - 1), np.float32)
    for second in range(2):
        for column in range(columns):
            pixel = 2 * second + column - (columns - 2)
            colours = slice(3 * (pixel % 4), 3 * (pixel % 4) + 3)
            wide[second * outputs : (second + 1) * outputs, colours, :, pixel // 4 + columns - 2] = weight[..., column]
    return wide
