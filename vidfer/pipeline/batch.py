"""`process` for several files and folders: one after the other, and none stops the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from vidfer.errors import UsageError, VidferError
from vidfer.media.inputs import find_videos
from vidfer.media.photos import PhotoSet, find_photos
from vidfer.pipeline.models import Models
from vidfer.pipeline.options import ProcessOptions
from vidfer.pipeline.photos import name_of, process_photos
from vidfer.pipeline.results import OnProgress, ProcessResult, Progress, result_names
from vidfer.pipeline.run import process_file
from vidfer.pipeline.sequence import process_sequence

_log = logging.getLogger(__name__)

Outcome = ProcessResult | tuple[Path, VidferError]

_NO_SEQUENCE = "--sequence-fps is for folders of numbered pictures: leave it out for anything else"


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
    photos, others = find_photos(inputs, sequence=options.sequence_fps is not None)
    if options.sequence_fps is None:
        videos, without = find_videos(others, or_photos=True)
        yield from without
    else:
        videos = []
        yield from ((path, UsageError(f"{path}: {_NO_SEQUENCE}")) for path in others)
    sources: list[Path | PhotoSet] = [*videos, *photos]
    if not sources:
        return
    models = Models(options.device, options.precision)
    named = [source if isinstance(source, Path) else _as_file(source) for source in sources]
    for source, name in zip(sources, result_names(named, options.output_dir), strict=True):
        path = source if isinstance(source, Path) else source.path
        report = None if progress is None else _named(progress, path.name)
        try:
            if isinstance(source, PhotoSet):
                process = process_photos if options.sequence_fps is None else process_sequence
                outcome: Outcome = process(source, options, name=name, models=models, progress=report)
            else:
                outcome = process_file(source, options, name=name, models=models, progress=report)
        except Exception as error:  # noqa: BLE001 (a fault of ours in one video is no reason to leave out the others)
            _log.debug("%s failed", path, exc_info=True)
            outcome = (path, error if isinstance(error, VidferError) else _fault(path, error))
        yield outcome


def _as_file(photos: PhotoSet) -> Path:
    """A file whose results would be called as those of the photos."""
    place = photos.path.resolve()
    return place if photos.path.is_file() else place.with_name(f"{name_of(photos)}.photos")


def _named(progress: Callable[[str, Progress], None], name: str) -> OnProgress:
    return lambda moment: progress(name, moment)


def _fault(path: Path, error: Exception) -> VidferError:
    hint = "(a fault of vidfer's: run again with --debug and report what it prints)"
    fault = VidferError(f"{path}: {type(error).__name__}: {error} {hint}")
    for note in getattr(error, "__notes__", []):
        fault.add_note(note)
    return fault
