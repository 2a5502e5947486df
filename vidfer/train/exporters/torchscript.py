"""TorchScript: runs in libtorch and in Python without vidfer."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vidfer.train.exporters.base import Exporter, Predict, Source
from vidfer.types import F32, U8
from vidfer.vision.session import CARD_KEY


class TorchScript(Exporter):
    """A traced network that gives the heads as a dict; the card is one of its extra files."""

    def write(self, source: Source, path: Path) -> None:
        """See `Exporter`."""
        example = torch.zeros(2, source.net.input_px, source.net.input_px, 3, dtype=torch.uint8)
        with _no_warnings():
            # Not strict, since the heads are a dict: its keys never change.
            traced = torch.jit.trace(source.net, example, strict=False)  # type: ignore[no-untyped-call]
            torch.jit.save(traced, str(path))

    def put_card(self, path: Path, card: Mapping[str, Any]) -> None:
        """See `Exporter`."""
        net = _load(path, {})
        with _no_warnings():
            torch.jit.save(net, str(path), _extra_files={CARD_KEY: json.dumps(card)})

    def read_card(self, path: Path) -> dict[str, Any]:
        """See `Exporter`."""
        stored = {CARD_KEY: ""}
        _load(path, stored)
        card: dict[str, Any] = json.loads(stored[CARD_KEY])
        return card

    def load(self, path: Path) -> Predict:
        """See `Exporter`."""
        net = _load(path, {})

        def predict(pictures: U8) -> Mapping[str, F32]:
            with torch.no_grad():
                return {name: values.numpy() for name, values in net(torch.from_numpy(pictures)).items()}

        return predict


def _load(path: Path, extra: dict[str, str]) -> Any:
    with _no_warnings():
        return torch.jit.load(str(path), map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Not that TorchScript is to go one day, and not about sizes taken as constants, which comparing finds out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
