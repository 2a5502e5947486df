"""What training needs besides vidfer, named when it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vidfer.errors import UsageError


@contextmanager
def torch_needed() -> Iterator[None]:
    """Turn a missing package of the extra `train` into one line that says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("onnx", "safetensors", "scipy", "torch"):
            raise
        raise UsageError(f"training needs {error.name}: pip install 'vidfer[train]'") from error
