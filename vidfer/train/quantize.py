"""From a float network to its int8 twin: a graph whose convolutions ONNX Runtime runs on bytes.

Static quantisation with QuantizeLinear/DequantizeLinear pairs (Jacob et al., 2018): activations uint8 per tensor,
weights int8 per output channel, biases int32. Everything from the picture to the last activations before the heads is
quantised, so that ONNX Runtime fuses all of it and no value travels as a float in between. Matrices of the heads read
bytes and have int8 weights, too, and give floats; convolutions that feed the outputs directly stay in float32.

Tried and left out: bias correction (landmarks 1.7 times as far from the float network's), weights of 7 bits for
processors without VNNI (1.4 times as far), single layers in float32 (none stands out: the best brings landmarks 18 %).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, helper

from vidfer.errors import ModelError
from vidfer.train.graph import PIXELS, Graph
from vidfer.train.ranges import Observe, best_ranges, scale_and_zero

# What gives a value at several places or in another order, but no new ones: such a node keeps the range of its input.
_SAME_VALUES = ("Transpose", "Reshape", "Flatten", "Resize", "Slice", "MaxPool")
# Activations that only cut values off: what goes into them needs no range of its own.
_CUTTING = ("Relu", "Clip")
_ACTIVATIONS = (*_CUTTING, "LeakyRelu")
_QUANTISED = ("Conv", "Gemm", *_ACTIVATIONS, "Add", "Mul", "Concat", "GlobalAveragePool", "Sigmoid", *_SAME_VALUES)
# Where the quantised part may end. Outputs of a convolution without an activation are raw heads: they need floats.
_LAST = _ACTIVATIONS
_WITH_WEIGHTS = ("Conv", "Gemm")
# Weights of a matrix below which bytes save nothing, but where it is for every cell of a map.
_SMALL_MATRIX = 20_000


def quantize_graph(network: ModelProto, observe: Observe) -> ModelProto:
    """The int8 twin of a network whose input is uint8[B,H,W,3].

    Args:
        network: A float network as `export` writes it; stays as it is.
        observe: Runs a graph on the calibration data.

    Raises:
        ModelError: The graph does not begin as the exported networks do, or nothing in it can be quantised.
    """
    graph = _Quantizer(network)
    graph.lift_constants()
    graph.pool_means()
    graph.transpose_first()
    graph.take_bytes_or_floats()
    graph.repeat_pixels()
    nodes = graph.quantisable()
    if not any(node.op_type == "Conv" for node in nodes):
        raise ModelError("nothing in this network can be quantised: no convolution of bytes is followed by a ReLU")
    graph.insert(nodes, best_ranges(graph.model, graph.measured(nodes), observe))
    return graph.model


class _Quantizer(Graph):
    """A graph whose nodes become integers.

    Attributes:
        source: The tensor that the first convolution reads.
    """

    source = PIXELS

    def take_bytes_or_floats(self) -> None:
        """Take the picture's bytes as they are, or normalise it in float32 and make bytes of that.

        The latter where colours are normalised differently, or made one grey: 3 zero points are not one.
        """
        if self.reads_bytes():
            self.take_bytes()
            self.widen_stem()
        else:
            sources = [node.input[0] for node in self.nodes if node.op_type == "Conv"]
            if sources and sources[0] != self.picture:
                self.source = sources[0]

    def quantisable(self) -> list[NodeProto]:
        """Nodes between the picture and the last ReLU on every way to the outputs."""
        constants, inside, reads = set(self.values()), {self.source}, {}
        for node in self.nodes:
            read = node.input[:1] if node.op_type == "Slice" else node.input  # the others are where it begins and ends
            data = [name for name in read if name and name not in constants]
            lone = node.op_type in ("Add", "Mul") and len(data) < 2
            if node.op_type in _QUANTISED and not lone and not self._is_small(node) and inside.issuperset(data):
                inside.add(node.output[0])
                reads[node.output[0]] = data
        nodes = [node for node in self.nodes if node.output[0] in reads]
        while True:
            chosen = {self.source, *(node.output[0] for node in nodes)}
            left = [
                node
                for node in nodes
                if chosen.issuperset(reads[node.output[0]])
                and (node.op_type in _LAST or self._is_head(node) or self._is_read(node, chosen))
            ]
            if len(left) == len(nodes):
                return nodes
            nodes = left

    def _is_read(self, node: NodeProto, chosen: set[str]) -> bool:
        """Whether bytes are wanted of a node: by all that read it, or by one of the heads that read a vector."""
        readers = [reader.output[0] in chosen for reader in self.readers(node.output[0])]
        return any(readers) if node.op_type == "Flatten" else bool(readers) and all(readers)

    def _is_head(self, node: NodeProto) -> bool:
        """A matrix whose output stays a float."""
        if node.op_type != "Gemm" or any(reader.op_type in _ACTIVATIONS for reader in self.readers(node.output[0])):
            return False
        return not self._is_small(node)

    def _is_small(self, node: NodeProto) -> bool:
        weight = self.values().get(node.input[1]) if node.op_type == "Gemm" else None
        if weight is None or weight.size >= _SMALL_MATRIX:
            return False
        return not any(writer.op_type == "Reshape" for writer in self.nodes if node.input[0] in writer.output)

    def measured(self, nodes: Sequence[NodeProto]) -> dict[str, str]:
        """Tensors that become bytes -> the tensor whose range they take; what goes into a ReLU does not."""
        found = {} if self.source == PIXELS else {self.source: self.source}
        for node in nodes:
            out = node.output[0]
            readers = self.readers(out)
            if self._is_head(node):
                continue
            cut = [reader.op_type in _CUTTING for reader in readers] == [True]
            if node.op_type in (*_WITH_WEIGHTS, "Add", "Mul") and cut:
                continue
            found[out] = found[node.input[0]] if node.op_type in _SAME_VALUES else out
        return found

    def insert(self, nodes: Sequence[NodeProto], ranges: Mapping[str, tuple[float, float]]) -> None:
        """Put Quantize/DequantizeLinear behind every tensor with a range; weights and biases become integers."""
        weighted = {node.output[0] for node in nodes if node.op_type in _WITH_WEIGHTS}
        values = self.values()
        scale = {PIXELS: np.float32(values[f"{PIXELS}_scale"])} if self.source == PIXELS else {}
        behind: dict[str, str] = {}
        new: list[NodeProto] = []
        for node in list(self.nodes):
            out = node.output[0]
            if out in weighted:
                new += self._integer_weights(node, values, scale[node.input[0]])
            for i, name in enumerate(node.input):
                node.input[i] = behind.get(name, name)
            new.append(node)
            if out in ranges:
                scale[out], zero = scale_and_zero(*ranges[out])
                parameters = [self.store(f"{out}_scale", scale[out]), self.store(f"{out}_zero", zero)]
                behind[out] = f"{out}_dequantized"
                new.append(helper.make_node("QuantizeLinear", [out, *parameters], [f"{out}_quantized"]))
                new.append(helper.make_node("DequantizeLinear", [f"{out}_quantized", *parameters], [behind[out]]))
        del self.nodes[:]
        self.nodes.extend(new)
        used = {name for node in self.nodes for name in node.input}
        for tensor in [t for t in self.model.graph.initializer if t.name not in used]:
            self.model.graph.initializer.remove(tensor)

    def _integer_weights(
        self, node: NodeProto, values: Mapping[str, npt.NDArray[Any]], input_scale: np.float32
    ) -> list[NodeProto]:
        """Store a convolution's or matrix's weights as int8, its bias as int32; gives the nodes that read them."""
        weight = values[node.input[1]]
        scale = np.maximum(np.abs(weight).reshape(len(weight), -1).max(1), 1e-8).astype(np.float32) / np.float32(127)
        steps = weight / scale.reshape(-1, *(1,) * (weight.ndim - 1))
        rounded = np.clip(np.rint(steps), -127, 127).astype(np.int8)
        bias_scale = (scale * input_scale).astype(np.float32)
        integer = [(1, rounded, scale)]
        if len(node.input) > 2:
            bias = np.rint(values[node.input[2]].astype(np.float64) / bias_scale)
            integer.append((2, np.clip(bias, -(2**31) + 1, 2**31 - 1).astype(np.int32), bias_scale))
        new = []
        for i, integers, of in integer:
            stem = f"{node.output[0]}_{'weight' if i == 1 else 'bias'}"
            parameters = [self.store(stem, integers), self.store(f"{stem}_scale", of)]
            parameters.append(self.store(f"{stem}_zero", np.zeros(len(of), integers.dtype)))
            node.input[i] = f"{stem}_dequantized"
            new.append(helper.make_node("DequantizeLinear", parameters, [node.input[i]], axis=0))
        return new
