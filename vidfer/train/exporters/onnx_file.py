"""ONNX, in float32, float16 and int8."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from vidfer.train.export import set_card, store_card
from vidfer.train.exporters.base import Exporter, Predict, Source
from vidfer.train.exporters.half import half_graph
from vidfer.train.exporters.trace import INPUT
from vidfer.train.quantize import quantize_graph
from vidfer.train.twin import observe
from vidfer.vision.session import CARD_KEY, Session


class Onnx(Exporter):
    """Float32; the card stands in the metadata, as in the packaged networks."""

    def write(self, source: Source, path: Path) -> None:
        """See `Exporter`."""
        self._save(source.onnx, path)

    def put_card(self, path: Path, card: Mapping[str, Any]) -> None:
        """See `Exporter`."""
        store_card(path, card)

    def read_card(self, path: Path) -> dict[str, Any]:
        """See `Exporter`."""
        stored = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
        card: dict[str, Any] = json.loads(stored[CARD_KEY])
        return card

    def load(self, path: Path) -> Predict:
        """See `Exporter`."""
        session = Session(path, device="cpu")
        return lambda pictures: session.run({INPUT: pictures})

    def _save(self, graph: onnx.ModelProto, path: Path) -> None:
        onnx.checker.check_model(graph, full_check=True)
        onnx.save(graph, str(path))


class HalfOnnx(Onnx):
    """Float16 inside, for graphics cards; what goes in and out stays as it is."""

    def write(self, source: Source, path: Path) -> None:
        """See `Exporter`."""
        self._save(half_graph(source.onnx), path)


class Int8Onnx(Onnx):
    """Bytes inside, calibrated on pictures, for CPUs; see `train.quantize`."""

    def write(self, source: Source, path: Path) -> None:
        """See `Exporter`."""
        network = onnx.ModelProto()
        network.CopyFrom(source.onnx)
        set_card(network, {"name": source.recipe.name, "version": "", "licence": ""})  # no session without one
        self._save(quantize_graph(network, lambda graph, names: observe(graph, names, source.calibration)), path)
