"""A Keras model as HDF5 (`.h5`)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import keras

from vidfer.train.exporters.base import Exporter, Predict, Source
from vidfer.train.exporters.keras_layers import keras_model
from vidfer.vision.session import CARD_KEY


class Keras(Exporter):
    """Plain layers in one file; the card is an attribute of it."""

    def write(self, source: Source, path: Path) -> None:
        """See `Exporter`."""
        logging.getLogger("absl").setLevel(logging.ERROR)  # it says that there is a newer format
        keras_model(source.onnx).save(str(path))

    def put_card(self, path: Path, card: Mapping[str, Any]) -> None:
        """See `Exporter`."""
        with h5py.File(path, "r+") as file:
            file.attrs[CARD_KEY] = json.dumps(card)

    def read_card(self, path: Path) -> dict[str, Any]:
        """See `Exporter`."""
        with h5py.File(path) as file:
            card: dict[str, Any] = json.loads(file.attrs[CARD_KEY])
        return card

    def load(self, path: Path) -> Predict:
        """See `Exporter`."""
        model = keras.models.load_model(str(path), compile=False)
        return lambda pictures: dict(model.predict(pictures, verbose=0))
