"""Networks whose answers are known by hand, and tables to ask them about.

Every picture has one colour. The networks see nothing but the mean of red, green and blue: the strongest of them is the
class, valence is red minus blue, arousal is green minus blue, points and box stand where they always stand.
"""

from __future__ import annotations

import json

import cv2
import numpy as np

from vidfer.train.datasets.rows import Face, Labels
from vidfer.train.datasets.table import write_table
from vidfer.types import EMOTIONS
from vidfer.vision.session import CARD_KEY

SIDE = 32
POINTS5 = np.array([[10, 12], [22, 12], [16, 18], [11, 24], [21, 24]], np.float32)  # px of 32x32
BOX = np.array([3.5, 3.5, 27.5, 27.5], np.float32)  # of the face from 4 to 28: pixels count from their centres
COLOURS = {"happiness": (200, 60, 60), "neutral": (60, 200, 60), "sadness": (60, 60, 200)}


def save_network(path, *, labels=EMOTIONS, heads=("emotion", "valence_arousal", "landmarks5", "box"), right=True,
                 crop="none", card=None):  # fmt: skip
    """An ONNX file with a card. Where it is not `right`, it takes happiness for sadness."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.zeros((3, len(labels)), np.float32)
    for k, name in enumerate(("happiness", "neutral", "sadness")):
        told = name if right or name != "happiness" else "sadness"
        weights[k, list(labels).index(told)] += 4
    values = {
        "emotion": weights,
        "valence_arousal": np.array([[1, 0], [0, 1], [-1, -1]], np.float32),
        "landmarks5": POINTS5.ravel(),
        "box": BOX,
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real"], ["sum"], axes=[1, 2], keepdims=0),
        helper.make_node("Div", ["sum", "full"], ["mean"]),
        helper.make_node("MatMul", ["mean", "nothing"], ["zero"]),  # [B, 1]: carries the batch to constants
    ]
    constants = {"full": np.array(255, np.float32), "nothing": np.zeros((3, 1), np.float32)}
    shapes = {"emotion": [len(labels)], "valence_arousal": [2], "landmarks5": [5, 2], "box": [4]}
    for name in heads:
        constants[f"w_{name}"] = values[name]
        if name in ("emotion", "valence_arousal"):
            nodes.append(helper.make_node("MatMul", ["mean", f"w_{name}"], [name]))
        else:
            constants[f"s_{name}"] = np.array([-1, *shapes[name]], np.int64)
            nodes.append(helper.make_node("Add", ["zero", f"w_{name}"], [f"flat_{name}"]))
            nodes.append(helper.make_node("Reshape", [f"flat_{name}", f"s_{name}"], [name]))
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["B", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", *shapes[name]]) for name in heads],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    about = {
        "name": path.stem,
        "version": "1",
        "licence": "CC0-1.0",
        "input": {"name": "image", "dtype": "uint8", "shape": [None, SIDE, SIDE, 3], "colour": "RGB"},
        "heads": [{"name": name, "labels": list(labels) if name == "emotion" else []} for name in heads],
        "recipe": {"data": {"crop": crop, "margin": 1.2}},
        "trained_on": "nothing <at all>",
    }
    entry = model.metadata_props.add()
    entry.key, entry.value = CARD_KEY, json.dumps({**about, **(card or {})})
    onnx.save(model, str(path))
    return path


def picture(colour, size=(SIDE, SIDE)):
    """A PNG of one colour."""
    image = np.empty((size[1], size[0], 3), np.uint8)
    image[:] = colour
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def face(name, *, label=None, group="g", set_name="made", split="val", size=(SIDE, SIDE), image=None, **labels):
    """A row whose picture has the colour of class `name`; its label may be another."""
    shown = COLOURS[name]
    return Face(
        image=picture(shown, size) if image is None else image,
        size=size,
        set_name=set_name,
        split=split,
        group=group,
        labels=Labels(**{"emotion": label or name, **labels}),
    )


def affect_of(name):
    """What the networks say of valence and arousal."""
    red, green, blue = (value / 255 for value in COLOURS[name])
    return red - blue, green - blue


def usual_faces(n=24):
    """All labels, in two sets; of every six rows one is called sadness though it shows happiness."""
    names = ("happiness", "neutral", "sadness", "neutral", "happiness", "happiness")
    rng = np.random.default_rng(0)
    for k in range(n):
        name = names[k % 6]
        label = "sadness" if k % 6 == 5 else name
        valence, arousal = (float(np.clip(v + rng.normal() * 0.1, -1, 1)) for v in affect_of(name))
        points = POINTS5 + rng.normal(size=POINTS5.shape).astype(np.float32) * 0.5
        known = {"valence_arousal": (valence, arousal), "points": {5: points}, "box": (4, 4, 24, 24)}
        yield face(name, label=label, group=f"g{k}", set_name=("made", "wild")[k % 2], **known)


def save_table(path, faces=None):
    """A training table."""
    write_table(path, usual_faces() if faces is None else faces)
    return path
