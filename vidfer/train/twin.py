"""`vidfer train quantize`: the int8 twin of a network, compared with it figure by figure."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, TensorProto, helper

from vidfer.errors import DataError, ModelError
from vidfer.media.picture import ArrayPicture
from vidfer.train.commit import git_sha
from vidfer.train.data import crops_of, jittered_boxes, read_faces
from vidfer.train.detector_run import evaluate_detector
from vidfer.train.evaluate import evaluate_faces
from vidfer.train.export import store_card, write_sum
from vidfer.train.mesh import MeshBasis
from vidfer.train.quantize import quantize_graph
from vidfer.train.scenes import load_scenes
from vidfer.types import U8
from vidfer.vision.detect import FaceDetector
from vidfer.vision.session import Session

DETECTOR = "face_detector"
HALF_A_POINT = 0.005
SEED = 0
_FACES_PER_SET, _SCENES = 96, 96
_BATCH = 8
# Figures of which less is better; of all others more is.
_ERRORS = ("error", "ece", "false_faces", "rmse")
_UNITS = {"points15_rmse_px_lfpw": 96}  # px of a picture as shares of its side, as all others are shares
_COUNTS = ("pictures", "faces_20px", "faces_12px")


def make_twin(
    network: str, source: Path, destination: Path, *, data_dir: Path, command: str, seed: int = SEED
) -> dict[str, Any]:
    """Write the int8 twin of an exported network, with what it loses in its card.

    Args:
        network: "face_detector" or "face_analyzer".
        source: A float network with a card.
        destination: The twin; appears only when all went well, and gets its line in the SHA256SUMS beside it.
        data_dir: Folder of the training data; rows of split train calibrate, rows of split val measure.
        command: The command that makes the twin, for the card.
        seed: Decides which rows calibrate.

    Returns:
        The card: `default` says whether the twin loses less than half a point of every figure.

    Raises:
        ModelError: The network cannot be quantised.
        DataError: There is nothing to calibrate with.
    """
    parent = Session(source, device="cpu")
    inputs = calibration(network, parent, data_dir, seed)
    twin = quantize_graph(onnx.load(str(source)), lambda graph, names: observe(graph, names, inputs))
    card = {
        **parent.card.details,
        "version": f"{parent.card.version}+int8",
        "precision": "int8",
        "parent_sha256": parent.card.sha256,
        "calibrated_on": {"split": "train", "pictures": sum(len(batch) for batch in inputs), "seed": seed},
        "git_sha": git_sha(),
        "command": command,
    }
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / destination.name
        onnx.save(twin, str(draft))
        onnx.checker.check_model(str(draft))
        store_card(draft, card)
        card["verification"] = _compare(parent, Session(draft, device="cpu"), inputs)
        before, card["metrics"] = evaluate(network, source, data_dir), evaluate(network, draft, data_dir)
        card["lost"] = lost(before, card["metrics"])
        card["default"] = max(card["lost"].values()) < HALF_A_POINT
        store_card(draft, card)
        destination.parent.mkdir(parents=True, exist_ok=True)
        temporary = destination.with_name(f"{destination.name}.part")
        temporary.write_bytes(draft.read_bytes())
        temporary.replace(destination)
    write_sum(destination)
    return card


def evaluate(network: str, path: Path, data_dir: Path) -> dict[str, Any]:
    """All figures of a detector or a face network on the split `val`."""
    if network == DETECTOR:
        return evaluate_detector(path, data_dir)
    return {name: figure.as_dict() for name, figure in evaluate_faces(path, data_dir).items()}


def lost(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, float]:
    """How much worse every figure has become; what has become better is negative."""
    found = {}
    for name, value in before.items():
        if name in _COUNTS or name.endswith("_interval"):
            continue
        old, new = (v["value"] if isinstance(v, dict) else v for v in (value, after[name]))
        worse = new - old if any(word in name for word in _ERRORS) else old - new
        found[name] = round(worse / _UNITS.get(name, 1), 4)
    return found


def calibration(network: str, session: Session, data_dir: Path, seed: int) -> list[U8]:
    """Inputs from the split `train`: faces of every set in equal shares, or whole scenes, as the pipeline cuts them."""
    rng = np.random.default_rng(seed)
    if network == DETECTOR:
        scenes = load_scenes(data_dir / "scenes.parquet", "train")
        seen = _Seen(session)
        detector = FaceDetector(seen)
        for i in rng.permutation(len(scenes))[:_SCENES]:
            detector.detect(ArrayPicture(scenes[i].image))
        inputs = seen.inputs
    else:
        rows = read_faces(data_dir, "train", MeshBasis(data_dir / "mesh_basis.npz"))
        sets = [np.flatnonzero(rows.set_name == name) for name in np.unique(rows.set_name)]
        rows = rows.take(np.concatenate([rng.permutation(of_set)[:_FACES_PER_SET] for of_set in sets]))
        crops = np.stack([image for image, _ in crops_of(rows, jittered_boxes(rows.box_px, seed))])
        inputs = [crops[i : i + _BATCH] for i in range(0, len(crops), _BATCH)]
    if not inputs:
        raise DataError(f"{data_dir} holds no rows of split train: there is nothing to calibrate with")
    return inputs


class _Seen:
    """A network that remembers what it is shown."""

    def __init__(self, network: Session) -> None:
        self._network, self.card = network, network.card
        self.inputs: list[U8] = []

    def run(self, inputs: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        self.inputs.append(inputs["image"])
        return self._network.run(inputs)


def observe(graph: ModelProto, names: Sequence[str], inputs: Iterable[U8]) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """The named tensors of a graph for every input."""
    watched = ModelProto()
    watched.CopyFrom(graph)
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "watched.onnx"
        onnx.save(watched, str(path))
        session = Session(path, device="cpu")
    for image in inputs:
        yield session.run({"image": image})


def _compare(parent: Session, twin: Session, inputs: Sequence[U8]) -> dict[str, Any]:
    """Root mean square difference of every output from the parent's, on what calibrated the twin."""
    squares: dict[str, list[npt.NDArray[np.float64]]] = {}
    for image in inputs:
        wanted, got = parent.run({"image": image}), twin.run({"image": image})
        for name, expected in wanted.items():
            if got[name].shape != expected.shape or not np.isfinite(got[name]).all():
                raise ModelError(f"the twin gives no numbers, or of another shape, for the output {name}")
            squares.setdefault(name, []).append(((got[name].astype(np.float64) - expected) ** 2).ravel())
    return {
        "rms_difference": {n: float(f"{np.sqrt(np.concatenate(s).mean()):.2g}") for n, s in squares.items()},
    }
