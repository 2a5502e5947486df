"""ONNX Runtime behind one small door: packaged networks with their cards, and the provider that really runs them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from vidfer.errors import ModelError, UsageError

if TYPE_CHECKING:
    import onnxruntime as ort

_log = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "float32", "int8")
MODELS = ("face_detector", "face_analyzer")
CARD_KEY = "vidfer_card"
SUMS = "SHA256SUMS"
_NO_RUNTIME = "ONNX Runtime is not installed: pip install 'vidfer[cpu]' (or 'vidfer[gpu]')"
_FOLDER = Path(__file__).resolve().parent.parent / "models"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What a network file says of itself; the rest of the card (data, metrics, command) stands in `details`."""

    name: str
    version: str
    licence: str
    sha256: str
    details: dict[str, Any]

    @property
    def precision(self) -> str:
        """What it computes in: "float32", or "int8" for a twin."""
        return str(self.details.get("precision", "float32"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An input of a network: its name, its shape (None where that is open), and its type as ONNX Runtime calls it."""

    name: str
    shape: tuple[int | None, ...]
    type: str


class AnySession:
    """A loaded network of whoever made it.

    Args:
        path: ONNX file.
        device: "auto" (CUDA where it works, else CPU), "cpu" or "cuda".
        threads: Threads inside one operator. 1 beside other work: ONNX Runtime's threads spin while they wait.

    Raises:
        ModelError: The file is missing or damaged.
        UsageError: The device is unknown, or CUDA was asked for and does not work.
    """

    def __init__(self, path: Path, *, device: str = "auto", threads: int = 1) -> None:
        _check_device(device)
        data, self.sha256 = _read(path)
        self._session = _create(path, data, device, threads)
        self._card_text = self._session.get_modelmeta().custom_metadata_map.get(CARD_KEY)
        self.has_card = self._card_text is not None
        self.provider: str = self._session.get_providers()[0].removesuffix("ExecutionProvider").lower()
        self.outputs = [str(output.name) for output in self._session.get_outputs()]
        self.inputs = [
            Tensor(
                name=str(given.name),
                shape=tuple(side if isinstance(side, int) else None for side in given.shape),
                type=str(given.type),
            )
            for given in self._session.get_inputs()
        ]

    def run(self, inputs: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """All outputs by name."""
        return dict(zip(self.outputs, self._session.run(None, inputs), strict=True))


class Session(AnySession):
    """A loaded network of ours, whose file holds a card.

    Raises:
        ModelError: As `AnySession`, and where there is no valid card.
    """

    def __init__(self, path: Path, *, device: str = "auto", threads: int = 1) -> None:
        super().__init__(path, device=device, threads=threads)
        self.card = _parse_card(path, self._card_text, self.sha256)


def load(name: str, *, device: str = "auto", threads: int = 1, precision: str = "auto") -> Session:
    """Load one of the packaged networks (`MODELS`), checking its sha256.

    Args:
        name: Which one.
        device: As for `Session`.
        threads: As for `Session`.
        precision: "float32"; "int8", the twin for CPUs; or "auto": the twin on a CPU with VNNI, if its card says that
            it lost less than half a point of every figure, else float32.

    Raises:
        ModelError: The file is missing or damaged.
        UsageError: Device or precision is unknown, or they don't go together.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    _check_device(device)
    if precision == "int8" and device == "cuda":
        raise UsageError("precision int8 runs on the CPU: choose --device cpu with it, or --precision float32")
    if precision == "float32" or device == "cuda":
        return Session(model_path(name), device=device, threads=threads)
    if precision == "auto" and device == "auto" and "cuda" in available_providers():
        session = Session(model_path(name), device=device, threads=threads)
        if session.provider == "cuda":  # that it is listed does not mean that it works
            return session
    if precision == "int8" or (has_vnni() and has_twin(name)):
        session = Session(model_path(name, "int8"), device="cpu", threads=threads)
        if precision == "int8" or session.card.details["default"]:
            return session
    return Session(model_path(name), device=device, threads=threads)


def load_card(name: str, precision: str = "float32") -> ModelCard:
    """The card of a packaged network or of its twin."""
    return Session(model_path(name, precision), device="cpu").card


def has_twin(name: str) -> bool:
    """Whether an int8 twin of a packaged network is there."""
    return model_path(name, "int8").is_file()


def available_providers() -> list[str]:
    """What the installed ONNX Runtime was built for; what really runs is `Session.provider`."""
    ort = _runtime()
    return [str(name).removesuffix("ExecutionProvider").lower() for name in ort.get_available_providers()]


def _runtime() -> Any:
    """ONNX Runtime, told to report nothing: from 1.31 on it sends its maker what runs here, and keeps an id at home."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # looked at when it is loaded
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise ModelError(_NO_RUNTIME) from error
    ort.disable_telemetry_events()  # what Windows looks at
    return ort


def model_path(name: str, precision: str = "float32") -> Path:
    """Where a packaged network, or its twin in int8, lies."""
    if name not in MODELS:
        raise ModelError(f"unknown network {name!r}: choose one of {', '.join(MODELS)}")
    return _FOLDER / (f"{name}.int8.onnx" if precision == "int8" else f"{name}.onnx")


def _check_device(device: str) -> None:
    if device not in DEVICES:
        raise UsageError(f"unknown device {device!r}: choose one of {', '.join(DEVICES)}")


@cache
def has_vnni() -> bool:
    """Whether the processor is known to multiply bytes fast and without overflow; only Linux tells."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return "avx512_vnni" in flags or "avx_vnni" in flags


@cache
def _sums() -> dict[str, str]:
    lines = (_FOLDER / SUMS).read_text().splitlines() if (_FOLDER / SUMS).is_file() else []
    return {name: digest for digest, name in (line.split() for line in lines)}


def _read(path: Path) -> tuple[bytes, str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        hint = "; install vidfer again" if path.parent == _FOLDER else ""
        raise ModelError(f"cannot read the network {path}: {error.strerror}{hint}") from error
    digest = hashlib.sha256(data).hexdigest()
    if path.parent == _FOLDER and _sums().get(path.name) != digest:
        raise ModelError(f"the network {path} is damaged: its sha256 is not the one in {SUMS}; install vidfer again")
    return data, digest


def _create(path: Path, data: bytes, device: str, threads: int) -> ort.InferenceSession:
    ort = _runtime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Patterns are kept for every shape of the inputs, of which there are many: 14 MB less, and no slower.
    options.enable_mem_pattern = False
    if not has_vnni():
        # Else sums of products overflow 16 bits on such processors. Where it is not needed it costs a factor of 2.4.
        options.add_session_config_entry("session.x64quantprecision", "1")
    wanted = {"cpu": ["CPUExecutionProvider"], "cuda": ["CUDAExecutionProvider"]}.get(
        device, ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    available = [provider for provider in wanted if provider in ort.get_available_providers()]
    if not available:
        raise UsageError(
            "--device cuda: this ONNX Runtime has no CUDA; pip install 'vidfer[gpu]' in place of 'vidfer[cpu]'"
        )
    try:
        session = ort.InferenceSession(data, options, providers=available)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"ONNX Runtime cannot load the network {path.name}: {reason}") from error
    # ONNX Runtime lists CUDA and silently falls back: only the created session tells the truth.
    if device == "cuda" and session.get_providers()[0] != "CUDAExecutionProvider":
        raise UsageError("--device cuda: CUDA does not work here (driver, CUDA or cuDNN missing); use --device cpu")
    return session


def _parse_card(path: Path, text: str | None, sha256: str) -> ModelCard:
    try:
        details = json.loads(text or "")
        return ModelCard(
            name=details["name"],
            version=details["version"],
            licence=details["licence"],
            sha256=sha256,
            details=details,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"the network {path.name} has no valid card in its metadata: export it with vidfer train"
        ) from error
