"""`process` for numbered pictures: a video is made of them, without loss, and processed as any other."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction

from vidfer.errors import UsageError
from vidfer.media.inputs import sha256_of
from vidfer.media.photos import PhotoSet
from vidfer.media.sequence import join_pictures, number_pictures
from vidfer.output.files import put_in_place, writing
from vidfer.pipeline.models import Models
from vidfer.pipeline.options import ProcessOptions
from vidfer.pipeline.photos import name_of
from vidfer.pipeline.results import OnProgress, Outputs, ProcessResult, make_folder
from vidfer.pipeline.run import process_file

_SUFFIX = ".mov"


def process_sequence(
    pictures: PhotoSet,
    options: ProcessOptions,
    *,
    name: str | None = None,
    models: Models | None = None,
    progress: OnProgress | None = None,
) -> ProcessResult:
    """Join pictures into NAME.mov beside the results, `options.sequence_fps` of them a second, and process that.

    Args:
        pictures: All of one folder.
        options: As for any video.
        name: Name of the results without suffix; that of the folder by default.
        models: Loaded networks; loaded here by default.
        progress: Called after every few frames.

    Raises:
        InputError: They are no sequence, or one cannot be read.
        UsageError: Another video is in the place of theirs, or results made otherwise.
        OutputError: The results cannot be written.
    """
    assert options.sequence_fps is not None
    numbered = number_pictures(pictures)
    fps = Fraction(options.sequence_fps).limit_denominator(1001)
    name = name or name_of(pictures)
    outputs = Outputs.of(options.output_dir, name)
    make_folder(outputs)
    video = outputs.table.with_suffix(_SUFFIX)
    part = video.with_name(f"{video.name}.part")
    try:
        with writing(video):
            join_pictures(numbered, fps, part)
            is_there = video.exists() and sha256_of(video) == sha256_of(part)
            if not is_there and video.exists() and not options.overwrite:
                raise UsageError(
                    f"{video} is there already, and is not made of these pictures: choose --overwrite, or another "
                    "folder with -o"
                )
            if not is_there:  # else its time of change stays, by which it is known again
                put_in_place(part, video)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return process_file(video, options, name=name, models=models, progress=progress)
