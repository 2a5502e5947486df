"""OpenVINO's own format, for processors and graphics of Intel: NAME.xml with NAME.bin beside it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Importing OpenVINO tells its maker so, from a thread; without this package it has a stand-in that sends nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

from vidfer.train.exporters.base import Exporter, Predict, Source  # noqa: E402
from vidfer.vision.session import CARD_KEY  # noqa: E402


class OpenVino(Exporter):
    """Float32; the card stands in the runtime information of the .xml."""

    def __init__(self) -> None:
        self._core = openvino.Core()

    def write(self, source: Source, path: Path) -> None:
        """See `Exporter`."""
        # `openvino.convert_model` would report to its maker that it was used; the core reads ONNX itself.
        openvino.save_model(self._core.read_model(source.onnx.SerializeToString()), path, compress_to_fp16=False)

    def put_card(self, path: Path, card: Mapping[str, Any]) -> None:
        """See `Exporter`."""
        model = self._core.read_model(path.read_bytes(), path.with_suffix(".bin").read_bytes())
        model.set_rt_info(json.dumps(card), [CARD_KEY])
        openvino.save_model(model, path, compress_to_fp16=False)

    def read_card(self, path: Path) -> dict[str, Any]:
        """See `Exporter`."""
        card: dict[str, Any] = json.loads(self._core.read_model(path).get_rt_info([CARD_KEY]).astype(str))
        return card

    def load(self, path: Path) -> Predict:
        """See `Exporter`."""
        # Processors with bfloat16 would take that unless told: fast, and less exact than what is compared here.
        model = self._core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        names = [output.any_name for output in model.outputs]
        return lambda pictures: dict(zip(names, model(pictures).to_tuple(), strict=True))
