"""TFLite, for phones and small boards; Google calls what runs it LiteRT."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from vidfer.train.exporters.base import Exporter, Predict, Source
from vidfer.train.exporters.keras_layers import keras_model
from vidfer.train.exporters.trace import INPUT
from vidfer.vision.session import CARD_KEY

_IDENTIFIER = b"TFL3"
_ALIGNMENT = 16


class TfLite(Exporter):
    """Float32; one signature with the names of the heads, and the card among the metadata."""

    def write(self, source: Source, path: Path) -> None:
        """See `Exporter`."""
        with tempfile.TemporaryDirectory() as folder:
            keras_model(source.onnx).export(folder, verbose=False)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            path.write_bytes(converter.convert())

    def put_card(self, path: Path, card: Mapping[str, Any]) -> None:
        """See `Exporter`."""
        model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
        if not (entries := _entries(model)):
            entries = [schema.MetadataT()]
            entries[0].name, entries[0].buffer = CARD_KEY, len(model.buffers)
            model.metadata = [*(model.metadata or ()), *entries]
            model.buffers.append(schema.BufferT())
        model.buffers[entries[0].buffer].data = np.frombuffer(json.dumps(card).encode(), np.uint8)
        builder = _Builder(0)
        builder.Finish(model.Pack(builder), _IDENTIFIER)
        path.write_bytes(bytes(builder.Output()))

    def read_card(self, path: Path) -> dict[str, Any]:
        """See `Exporter`."""
        model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
        (entry,) = _entries(model)
        card: dict[str, Any] = json.loads(bytes(model.buffers[entry.buffer].data))
        return card

    def load(self, path: Path) -> Predict:
        """See `Exporter`."""
        run = Interpreter(str(path)).get_signature_runner()
        return lambda pictures: dict(run(**{INPUT: pictures}))


class _Builder(flatbuffers.Builder):  # type: ignore[misc]
    """Puts what buffers hold at multiples of 16 bytes, as the format wants it and its own Python code forgets."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
        return super().StartVector(elemSize, numElems, max(alignment, _ALIGNMENT) if elemSize == 1 else alignment)


def _entries(model: Any) -> list[Any]:
    return [entry for entry in model.metadata or () if entry.name == CARD_KEY.encode()]
