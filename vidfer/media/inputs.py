"""Which files the user means, and their fingerprints."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from vidfer.alive import sign
from vidfer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_log = logging.getLogger(__name__)

VIDEO_SUFFIXES = (
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv",
    ".ts", ".vob", ".webm", ".wmv",
)  # fmt: skip
PHOTO_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# What the videos that we make are called, by whether faces are blurred and whether there is a panel.
DRAWN_SUFFIXES = {
    (False, False): ".annotated.mp4",
    (True, False): ".blurred.mp4",
    (False, True): ".panel.mp4",
    (True, True): ".blurred.panel.mp4",
}
_BLOCK = 1 << 20


def find_videos(
    inputs: Iterable[Path | str], *, or_photos: bool = False
) -> tuple[list[Path], list[tuple[Path, InputError]]]:
    """The videos that files and folders stand for, each once: files as given, folders searched to the bottom, sorted.

    A file counts whatever its name, even if it is missing: opening it says why it cannot be read. In folders the suffix
    decides; hidden files and folders and annotated videos are left out, and so are other videos drawn from a table that
    lies beside them. Both also among several files (`*.mp4`), where their table lies beside them.

    Args:
        inputs: Files and folders.
        or_photos: Photos were looked for as well, without success: only for what errors say.

    Returns:
        The videos, and the folders without any, each with the error that says so.
    """
    found: dict[str, Path] = {}
    failed: list[tuple[Path, InputError]] = []
    paths = [Path(path) for path in inputs]
    for path in paths:
        try:
            videos = _videos_in(path, or_photos) if path.is_dir() else [path]
        except InputError as error:
            failed.append((path, error))
            continue
        except OSError:  # no name that the system takes: opening it says so
            videos = [path]
        if len(paths) > 1 and _is_made_here(path):
            _log.warning("%s is left out: it was drawn from the table beside it", path)
            continue
        for video in videos:
            found.setdefault(os.path.realpath(video), video)  # unlike resolve, takes links in circles
    return list(found.values()), failed


def sha256_of(path: Path | str, is_wanted: Callable[[], bool] = lambda: True) -> str | None:
    """SHA-256 of a file as 64 hexadecimal digits; None when it is not wanted any more.

    Raises:
        InputError: It cannot be read.
    """
    digest = hashlib.sha256()
    try:
        check_is_no_pipe(Path(path))
        with Path(path).open("rb", buffering=0) as file:
            while is_wanted():
                if not (block := file.read(_BLOCK)):
                    return digest.hexdigest()
                digest.update(block)
                sign()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    return None


def check_is_no_pipe(path: Path) -> None:
    """Refuse pipes, sockets and devices: opening one may wait for ever, and reading one may never end.

    Raises:
        InputError: It is one.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{path} is no file but a pipe, a socket or a device: store the video in a file first")


def _is_made_here(path: Path) -> bool:
    """Whether a file is called as what is drawn from a table, and the table lies beside it."""
    names = [path.name.removesuffix(suffix) for suffix in DRAWN_SUFFIXES.values() if path.name.endswith(suffix)]
    return any(path.with_name(f"{name}.parquet").is_file() for name in names)


def is_utf8(path: Path) -> bool:
    """Whether a path is text: FFmpeg and Arrow take no other bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def holds_videos(folder: Path) -> bool:
    """Whether there are videos in a folder."""
    return any(_videos_of(folder))


def _videos_of(folder: Path) -> Iterator[Path]:
    def is_video(path: Path) -> bool:
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        # The others may be somebody's own names: a panel is also a talk.
        ours = path.name.endswith(DRAWN_SUFFIXES[False, False]) or _is_made_here(path)
        return path.suffix.lower() in VIDEO_SUFFIXES and not ours and not hidden and path.is_file()

    return (path for path in folder.rglob("*") if is_video(path))


def _videos_in(folder: Path, or_photos: bool) -> list[Path]:
    videos = sorted(_videos_of(folder))
    if not videos:
        what, known = "videos", " ".join(VIDEO_SUFFIXES)
        if or_photos:
            what, known = "videos or photos", f"{known} and {' '.join(PHOTO_SUFFIXES)}"
        raise InputError(f"{folder} is a folder without {what}: known are {known}; name other files one by one")
    return videos
