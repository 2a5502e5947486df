"""An ONNX graph as a Keras model of plain layers.

The converters on the package index either do not live beside numpy 2 and today's onnx (onnx2tf) or bring jax and
transformers along (litert-torch). The networks here need a dozen kinds of layers, so they are put together one by one:
a `.h5` of them opens in any Keras, without a class of ours, and TensorFlow turns it into TFLite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers
from onnx import ModelProto, NodeProto

from vidfer.errors import ModelError
from vidfer.train.graph import Graph, attributes

_NCHW = [0, 3, 1, 2]


def keras_model(network: ModelProto) -> Any:
    """A Keras model with the values of an ONNX graph that reads uint8[B,H,W,3].

    Its outputs are a dict with the names of the graph's. Maps are [B,C,H,W] in the graph and [B,H,W,C] in Keras.

    Raises:
        ModelError: The graph holds an operator, or uses one in a way, that has no layer here.
    """
    return _Builder(network).build()


class _Builder:
    def __init__(self, network: ModelProto) -> None:
        self.graph = Graph(network)
        self.graph.lift_constants()
        self.values = self.graph.values()
        self.tensors: dict[str, Any] = {}
        self.maps: set[str] = set()  # which of the tensors are [B,C,H,W] in the graph
        self.not_negative: set[str] = set()

    def build(self) -> Any:
        given = self.graph.model.graph
        shape = [size.dim_value for size in given.input[0].type.tensor_type.shape.dim]
        image = keras.Input(shape=shape[1:], dtype="uint8", name=given.input[0].name)
        self.tensors[given.input[0].name] = image
        for node in self.graph.nodes:
            make = _LAYERS.get(node.op_type)
            if make is None:
                raise ModelError(f"no Keras layer is known here for {node.op_type}: export this network as onnx")
            self.tensors[node.output[0]] = make(self, node)
        named = {out.name: layers.Identity(name=out.name)(self.tensors[out.name]) for out in given.output}
        return keras.Model(image, named)

    def cast(self, node: NodeProto) -> Any:
        return layers.Rescaling(1.0)(self.tensors[node.input[0]])  # gives floats whatever it gets

    def transpose(self, node: NodeProto) -> Any:
        x = self.tensors[node.input[0]]
        self.require(node, attributes(node)["perm"] == _NCHW and node.input[0] not in self.maps)
        self.maps.add(node.output[0])
        return x

    def conv(self, node: NodeProto) -> Any:
        given, weight = attributes(node), self.values[node.input[1]]
        group, dilation, stride = given.get("group", 1), given.get("dilations", [1, 1]), given.get("strides", [1, 1])
        self.require(node, given.get("auto_pad", b"NOTSET") == b"NOTSET" and group in (1, len(weight)))
        x, padding = self.padded(node, [d * (k - 1) // 2 for d, k in zip(dilation, weight.shape[2:], strict=True)])
        common: dict[str, Any] = dict(
            strides=tuple(stride), dilation_rate=tuple(dilation), padding=padding, use_bias=len(node.input) == 3
        )
        if group == 1:
            layer = layers.Conv2D(len(weight), weight.shape[2:], **common)
            kernel = weight.transpose(2, 3, 1, 0)
        else:
            self.require(node, weight.shape[1] == 1 and x.shape[-1] == group)
            layer = layers.DepthwiseConv2D(weight.shape[2:], **common)
            kernel = weight.transpose(2, 3, 0, 1)
        self.maps.add(node.output[0])
        return self.weighted(layer, x, kernel, *(self.values[name] for name in node.input[2:]))

    def pool(self, node: NodeProto) -> Any:
        given = attributes(node)
        plain = not given.get("ceil_mode") and set(given.get("dilations", [1])) == {1}
        # Zeros around a map change no largest value of cells that are not below zero themselves.
        self.require(node, plain and (node.input[0] in self.not_negative or not any(given.get("pads", []))))
        x, padding = self.padded(node, None)
        self.maps.add(node.output[0])
        return layers.MaxPooling2D(tuple(given["kernel_shape"]), tuple(given["strides"]), padding)(x)

    def padded(self, node: NodeProto, same: list[int] | None) -> tuple[Any, str]:
        """The input with zeros around it, unless the layer adds the same ones itself; and that layer's `padding`."""
        given, x = attributes(node), self.tensors[node.input[0]]
        top, left, bottom, right = given.get("pads", [0] * 4)
        if not any((top, left, bottom, right)):
            return x, "valid"
        if [top, left] == [bottom, right] == same and set(given.get("strides", [1])) == {1}:
            return x, "same"
        return layers.ZeroPadding2D(((top, bottom), (left, right)))(x), "valid"

    def gemm(self, node: NodeProto) -> Any:
        given = attributes(node)
        self.require(node, given.get("transB") == 1 and not given.get("transA") and len(node.input) == 3)
        self.require(node, given.get("alpha", 1) == given.get("beta", 1) == 1)
        weight, bias = (self.values[name] for name in node.input[1:])
        return self.weighted(layers.Dense(len(bias)), self.tensors[node.input[0]], weight.T, bias)

    def weighted(self, layer: Any, x: Any, *weights: npt.NDArray[Any]) -> Any:
        y = layer(x)
        layer.set_weights(list(weights))
        return y

    def mean(self, node: NodeProto) -> Any:
        given = attributes(node)
        self.require(node, node.input[0] in self.maps and [axis % 4 for axis in given["axes"]] == [2, 3])
        if given.get("keepdims", 1):
            self.maps.add(node.output[0])
        return layers.GlobalAveragePooling2D(keepdims=bool(given.get("keepdims", 1)))(self.tensors[node.input[0]])

    def total(self, node: NodeProto) -> Any:
        """Colours as one grey value: a matrix of ones."""
        x = self.tensors[node.input[0]]
        axes = [axis % len(x.shape) for axis in self.values[node.input[1]]]
        self.require(node, axes == [len(x.shape) - 1] and attributes(node).get("keepdims", 1) and not self.is_map(node))
        return self.weighted(layers.Dense(1, use_bias=False), x, np.ones((x.shape[-1], 1), np.float32))

    def binary(self, node: NodeProto) -> Any:
        """Two tensors, or one and numbers that are the same for every picture."""
        left, right = node.input
        tensor, other = (left, right) if left in self.tensors else (right, left)
        self.like(node, tensor)
        if other in self.tensors:
            self.require(node, node.op_type in ("Add", "Mul") and (left in self.maps) == (right in self.maps))
            both = layers.Add() if node.op_type == "Add" else layers.Multiply()
            return both([self.tensors[left], self.tensors[right]])
        value = self.values[other].astype(np.float32)
        self.require(node, value.size == 1 or (value.ndim == 1 and tensor not in self.maps))
        self.require(node, tensor == left or node.op_type in ("Add", "Mul"))
        if node.op_type in ("Sub", "Div"):
            value = -value if node.op_type == "Sub" else np.float32(1) / value
        number = value.tolist() if value.size > 1 else value.item()
        scale, offset = (1.0, number) if node.op_type in ("Add", "Sub") else (number, 0.0)
        return layers.Rescaling(scale, offset)(self.tensors[tensor])

    def activation(self, node: NodeProto) -> Any:
        self.like(node, node.input[0])
        if node.op_type in ("Relu", "Clip", "Sigmoid"):
            self.not_negative.add(node.output[0])
        if node.op_type == "LeakyRelu":
            # Not LeakyReLU: TensorFlow 2.21 with oneDNN fuses Conv2D, Add and LeakyReLU, and forgets the slope: 0.7 px.
            slope = keras.initializers.Constant(attributes(node).get("alpha", 0.01))
            layer = layers.PReLU(slope, shared_axes=[1, 2])
        elif node.op_type == "Clip":
            low, high = (float(self.values[limit]) for limit in node.input[1:])
            self.require(node, low == 0)
            layer = layers.ReLU(high)
        else:
            layer = layers.Activation({"Identity": "linear"}.get(node.op_type, node.op_type.lower()))
        return layer(self.tensors[node.input[0]])

    def like(self, node: NodeProto, name: str) -> None:
        """What a node gives is a map if what it reads is one."""
        if name in self.maps:
            self.maps.add(node.output[0])

    def concat(self, node: NodeProto) -> Any:
        maps = [name in self.maps for name in node.input]
        self.require(node, attributes(node)["axis"] == 1 and len(set(maps)) == 1)
        if maps[0]:
            self.maps.add(node.output[0])
        return layers.Concatenate()([self.tensors[name] for name in node.input])

    def flatten(self, node: NodeProto) -> Any:
        x = self.tensors[node.input[0]]
        self.require(node, attributes(node).get("axis", 1) == 1)
        if self.is_map(node) and tuple(x.shape[1:3]) != (1, 1):
            x = layers.Permute((3, 1, 2))(x)
        return layers.Flatten()(x)

    def reshape(self, node: NodeProto) -> Any:
        first, *shape = self.values[node.input[1]].tolist()
        self.require(node, first == -1 and min(shape) > 0 and not self.is_map(node))
        return layers.Reshape(tuple(shape))(self.tensors[node.input[0]])

    def is_map(self, node: NodeProto) -> bool:
        return node.input[0] in self.maps

    def require(self, node: NodeProto, known: object) -> None:
        if not known:
            raise ModelError(f"{node.op_type} is used in a way that has no Keras layer: export this network as onnx")


_ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "Identity")
_LAYERS: dict[str, Callable[[_Builder, NodeProto], Any]] = {
    "Cast": _Builder.cast,
    "Transpose": _Builder.transpose,
    "Conv": _Builder.conv,
    "MaxPool": _Builder.pool,
    "Gemm": _Builder.gemm,
    "ReduceMean": _Builder.mean,
    "ReduceSum": _Builder.total,
    "Concat": _Builder.concat,
    "Flatten": _Builder.flatten,
    "Reshape": _Builder.reshape,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _Builder.binary),
    **dict.fromkeys(_ACTIVATIONS, _Builder.activation),
}
