"""`process` for several files and folders: one after the other, and none stops the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from vidfer.errors import VidferError
from vidfer.media.inputs import find_videos
from vidfer.pipeline.models import Models
from vidfer.pipeline.options import ProcessOptions
from vidfer.pipeline.results import OnProgress, ProcessResult, Progress, result_names
from vidfer.pipeline.run import process_file

_log = logging.getLogger(__name__)

Outcome = ProcessResult | tuple[Path, VidferError]


def process_many(
    inputs: Sequence[Path], options: ProcessOptions, progress: Callable[[str, Progress], None] | None = None
) -> Iterator[Outcome]:
    """Process files and folders one after the other; a source that fails, however it does, does not stop the others.

    Args:
        inputs: Files and folders.
        options: For all of them.
        progress: Called often with the name of the source and how far it is.

    Yields:
        The result of each video, or the input with what went wrong, as soon as it is known.

    Raises:
        VidferError: What concerns all sources: the networks.
    """
    videos, without = find_videos(inputs)
    yield from without
    if not videos:
        return
    models = Models(options.device, options.precision)
    for path, name in zip(videos, result_names(videos, options.output_dir), strict=True):
        report = None if progress is None else _named(progress, path.name)
        try:
            outcome: Outcome = process_file(path, options, name=name, models=models, progress=report)
        except Exception as error:  # noqa: BLE001 (a fault of ours in one video is no reason to leave out the others)
            _log.debug("%s failed", path, exc_info=True)
            outcome = (path, error if isinstance(error, VidferError) else _fault(path, error))
        yield outcome


def _named(progress: Callable[[str, Progress], None], name: str) -> OnProgress:
    return lambda moment: progress(name, moment)


def _fault(path: Path, error: Exception) -> VidferError:
    hint = "(a fault of vidfer's: run again with --debug and report what it prints)"
    fault = VidferError(f"{path}: {type(error).__name__}: {error} {hint}")
    for note in getattr(error, "__notes__", []):
        fault.add_note(note)
    return fault
