"""The formats by name, and what each of them needs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from vidfer.errors import UsageError

if TYPE_CHECKING:
    from vidfer.train.exporters.base import Exporter


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format.

    Attributes:
        about: What it is for.
        suffix: What its files' names end with.
        tolerance: Largest difference from torch / the largest value of the output (at least 1); None: bytes cannot be
            so near, see `compare.agreement`.
        precision: What it computes in.
        maker: Module and class that write it.
        extra: What has to be installed for it besides `vidfer[train]`.
        beside: What the name of a second file ends with.
    """

    about: str
    suffix: str
    tolerance: float | None
    precision: str = "float32"
    maker: tuple[str, str]
    extra: str | None = None
    beside: str | None = None

    @property
    def ending(self) -> str:
        """The last suffix, which a file of a name of its own must have, too."""
        return f".{self.suffix.rsplit('.', 1)[-1]}"

    def files(self, path: Path) -> list[Path]:
        """All files of a network, the one that names it last."""
        return [*([path.with_suffix(self.beside)] if self.beside else []), path]


# Networks of the registry were off by up to 6e-6 in programs that add up in another order, and by 3.5e-3 in float16
# (faces and noise); new ones, which make more of rounding, by 5e-5 and 7e-3, MobileNetV2 alone by 8e-2 in float16.
_OTHER_SUMS = 1e-4
FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "checkpoint": Format(
            about="weights and recipe for torch",
            suffix=".safetensors",
            tolerance=0.0,
            maker=("checkpoint", "Checkpoint"),
        ),
        "torchscript": Format(
            about="libtorch, and Python without vidfer",
            suffix=".pt",
            tolerance=1e-6,
            maker=("torchscript", "TorchScript"),
        ),
        "onnx": Format(
            about="ONNX Runtime, TensorRT, and vidfer itself",
            suffix=".onnx",
            tolerance=_OTHER_SUMS,
            maker=("onnx_file", "Onnx"),
        ),
        "onnx-fp16": Format(
            about="graphics cards",
            suffix=".fp16.onnx",
            tolerance=1e-2,
            precision="float16",
            maker=("onnx_file", "HalfOnnx"),
        ),
        "onnx-int8": Format(
            about="ONNX Runtime on CPUs",
            suffix=".int8.onnx",
            tolerance=None,
            precision="int8",
            maker=("onnx_file", "Int8Onnx"),
        ),
        "openvino": Format(
            about="processors and graphics of Intel",
            suffix=".xml",
            tolerance=_OTHER_SUMS,
            maker=("openvino_file", "OpenVino"),
            extra="openvino",
            beside=".bin",
        ),
        "tflite": Format(
            about="phones and small boards",
            suffix=".tflite",
            tolerance=_OTHER_SUMS,
            maker=("tflite_file", "TfLite"),
            extra="tflite",
        ),
        "keras": Format(
            about="Keras and TensorFlow",
            suffix=".h5",
            tolerance=_OTHER_SUMS,
            maker=("keras_file", "Keras"),
            extra="keras",
        ),
    }
)


def find_format(name: str) -> Format:
    """A format by name.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in FORMATS:
        near = get_close_matches(name, FORMATS, 1, 0.0)[0]
        raise UsageError(f"unknown format {name!r}, did you mean {near!r}? ({', '.join(FORMATS)})")
    return FORMATS[name]


def make_exporter(name: str) -> Exporter:
    """What writes a format.

    Raises:
        UsageError: There is none of that name, or what it needs is not installed.
    """
    wanted = find_format(name)
    module, maker = wanted.maker
    # Read when they are loaded: TensorFlow would tell about the processor and, whatever the level, about oneDNN, and
    # Keras could run on something else.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        made: Exporter = getattr(import_module(f"vidfer.train.exporters.{module}"), maker)()
    except ModuleNotFoundError as error:
        if wanted.extra is None or (error.name or "").startswith("vidfer"):
            raise
        raise UsageError(f"export as {name} needs {error.name}: pip install 'vidfer[{wanted.extra}]'") from error
    except ImportError as error:
        raise UsageError(f"export as {name} needs what is installed but cannot be loaded: {error}") from error
    return made
