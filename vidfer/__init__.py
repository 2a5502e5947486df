"""Faces in video as a table you can publish and an annotated MP4.

>>> import vidfer
>>> result = vidfer.process("interview.mp4", output_dir="results")  # doctest: +SKIP
>>> result.table  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidfer.errors import DataError, InputError, ModelError, OutputError, UsageError, VidferError
from vidfer.version import __version__

if TYPE_CHECKING:
    from vidfer.pipeline.options import ProcessOptions
    from vidfer.pipeline.results import ProcessResult, Progress
    from vidfer.types import EMOTIONS

__all__ = [
    "EMOTIONS",
    "DataError",
    "InputError",
    "ModelError",
    "OutputError",
    "ProcessOptions",
    "ProcessResult",
    "Progress",
    "UsageError",
    "VidferError",
    "__version__",
    "process",
]

# Loaded at first use: importing vidfer must cost nothing, video and network libraries cost most of a second.
_LAZY = {
    "EMOTIONS": "vidfer.types",
    "ProcessOptions": "vidfer.pipeline.options",
    "ProcessResult": "vidfer.pipeline.results",
    "Progress": "vidfer.pipeline.results",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


def process(
    path: str | os.PathLike[str], *, progress: Callable[[Progress], None] | None = None, **options: Any
) -> ProcessResult:
    """Analyse one video, a photo or a folder of photos: tables of faces and of tracks, a report, annotated pictures.

    Args:
        path: The video, the photo or the folder.
        progress: Called now and then with how far the run is.
        **options: The attributes of `ProcessOptions` by name, as on the command line: output_dir, overwrite, render,
            landmarks, start, end, fps, stride, sequence_fps, stream, detect_every, smooth, identity, embeddings,
            device.

    Returns:
        Where the results lie, the report, and the tables as pandas DataFrames (`table` and `tracks`).

    Raises:
        UsageError: An option is unknown or has a value that is not allowed.
        InputError: The video cannot be read.
        OutputError: The results cannot be written.
    """
    from dataclasses import fields

    from vidfer.media.photos import find_photos
    from vidfer.pipeline.options import ProcessOptions
    from vidfer.pipeline.photos import process_photos
    from vidfer.pipeline.run import process_file
    from vidfer.pipeline.sequence import process_sequence

    known = [field.name for field in fields(ProcessOptions)]
    if unknown := [name for name in options if name not in known]:
        raise UsageError(f"unknown option {', '.join(unknown)}: known are {', '.join(known)}")
    if not isinstance(path, (str, os.PathLike)):
        raise UsageError(f"path is {path!r}: give the name of a video file")
    chosen = ProcessOptions(**options)
    is_sequence = chosen.sequence_fps is not None
    for photos in find_photos([Path(path)], sequence=is_sequence)[0]:
        return (process_sequence if is_sequence else process_photos)(photos, chosen, progress=progress)
    if is_sequence:
        raise UsageError(f"{path}: sequence_fps is for folders of numbered pictures: leave it out for anything else")
    return process_file(Path(path), chosen, progress=progress)
