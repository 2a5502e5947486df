"""A float32 ONNX graph in float16.

Half the size, and what graphics cards run fastest. onnxconverter-common does the same for any graph; ours hold a dozen
operators, none of which needs an exception.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from vidfer.errors import ModelError
from vidfer.train.graph import Graph

# What only moves or scales the heads' values stays in float32: at 200 px, neighbours of float16 are 1/8 px apart.
_SCALING = ("Add", "Mul", "Reshape")
_LARGEST = float(np.finfo(np.float16).max)


def half_graph(network: ModelProto) -> ModelProto:
    """A graph in float16 whose input and outputs are those of the given one.

    Raises:
        ModelError: A weight is too large for float16.
    """
    graph = Graph(network)
    graph.lift_constants()
    tail = _scaling_of_heads(graph)
    kept = {name for node in tail for name in node.input}
    for name, value in graph.values().items():
        if value.dtype == np.float32 and name not in kept:
            if np.abs(value).max(initial=0) > _LARGEST:
                raise ModelError("the network has weights above 65504, which float16 cannot hold: export it as onnx")
            graph.store(name, value.astype(np.float16))
    for node in graph.nodes:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    _back_to_float32(graph, tail)
    return graph.model


def _scaling_of_heads(graph: Graph) -> list[NodeProto]:
    """Nodes between the last matrix of a head and its output."""
    values = graph.values()
    outputs = {out.name for out in graph.model.graph.output}
    tail: list[NodeProto] = []
    for node in reversed(graph.nodes):
        (out,), data = node.output, [name for name in node.input if name not in values]
        readers = graph.readers(out)
        ends = all(reader in tail for reader in readers) if readers else out in outputs
        if node.op_type in _SCALING and len(data) == 1 and ends:
            tail.append(node)
    return tail


def _back_to_float32(graph: Graph, tail: list[NodeProto]) -> None:
    """Put a cast in front of the scaling of a head, or at its end where it has none."""
    values = graph.values()
    written = {node.output[0] for node in tail}
    for node in tail:
        for i, name in enumerate(node.input):
            if name not in values and name not in written:
                node.input[i] = f"{name}_float32"
                _insert_before(graph, node, name, node.input[i])
    for out in graph.model.graph.output:
        if out.name not in written:
            (writer,) = (node for node in graph.nodes if out.name in node.output)
            raw = f"{out.name}_float16"
            writer.output[0] = raw
            for reader in graph.readers(out.name):
                reader.input[:] = [raw if name == out.name else name for name in reader.input]
            graph.nodes.append(helper.make_node("Cast", [raw], [out.name], to=TensorProto.FLOAT))


def _insert_before(graph: Graph, node: NodeProto, source: str, target: str) -> None:
    cast = helper.make_node("Cast", [source], [target], to=TensorProto.FLOAT)
    graph.nodes.insert(list(graph.nodes).index(node), cast)
