"""Files that appear under their name whole and safe on the disk, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vidfer.errors import OutputError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in one line why `path` cannot be written.

    Raises:
        OutputError: In place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error).splitlines()[0]
        raise OutputError(f"cannot write {path}: {reason}; free the disk or choose another folder") from error


def put_in_place(part: Path, path: Path) -> None:
    """Give a finished file its name, such that a power cut leaves the old file or the new one, never a torn one."""
    _sync(part)
    part.replace(path)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # Windows syncs what is open for writing
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears under its name when the block is left without an error.

    Raises:
        OutputError: It cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with writing(path):
            with part.open("wb") as file:
                yield file
            put_in_place(part, path)
    finally:
        with suppress(OSError):  # the error that brought us here says more
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    with written_whole(path) as file:
        file.write(text.encode())
