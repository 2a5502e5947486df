"""Photos: which of them the user means, and their pixels, upright."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from vidfer.errors import InputError
from vidfer.media.inputs import PHOTO_SUFFIXES, holds_videos
from vidfer.media.picture import Turn
from vidfer.types import U8

ANNOTATED_FOLDER = ".annotated"
_LEAST_PX = 2
_LONGEST_SIDE = 32_767  # OpenCV does not warp beyond
# By the value of EXIF's orientation, from 1 on.
_TURNS = (
    Turn(),
    Turn(mirror_x=True),
    Turn(mirror_x=True, mirror_y=True),
    Turn(mirror_y=True),
    Turn(transpose=True),
    Turn(transpose=True, mirror_x=True),
    Turn(transpose=True, mirror_x=True, mirror_y=True),
    Turn(transpose=True, mirror_y=True),
)
_ORIENTATION, _SHORT = 0x0112, 3
_HEAD_BYTES = 1 << 16  # a JPEG has its EXIF in its first segments


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoSet:
    """Photos that go into one table.

    Attributes:
        root: The folder that their names are relative to.
        path: What the user gave: that folder, or the one photo.
        photos: All of them, sorted.
    """

    root: Path
    path: Path
    photos: Sequence[Path]

    def names(self) -> list[str]:
        """Their paths below the root, with slashes on every system."""
        return [photo.relative_to(self.root).as_posix() for photo in self.photos]


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A photo that was read: RGB uint8[H,W,3], upright; its file's size in bytes and SHA-256."""

    image: U8
    size: int
    sha256: str


def is_photo(path: Path) -> bool:
    """Whether a name is that of a photo."""
    return path.suffix.lower() in PHOTO_SUFFIXES


def find_photos(inputs: Iterable[Path | str], *, sequence: bool = False) -> tuple[list[PhotoSet], list[Path]]:
    """The photos among files and folders, and the inputs that are none.

    Photos that are named one by one go into one table, those of a folder into another. A folder that holds videos is
    one of videos: previews and covers that lie beside them are no subject.

    Args:
        inputs: Files and folders.
        sequence: The photos are those of a sequence: of a folder those directly in it, whatever else it holds.
    """
    sets: list[PhotoSet] = []
    single: dict[Path, Path] = {}
    others: list[Path] = []
    for path in map(Path, inputs):
        if _is_folder(path):
            if sequence:
                found = sorted(one for one in path.iterdir() if is_photo(one) and one.is_file())
            else:
                found = [] if holds_videos(path) else _photos_in(path)
            if found:
                sets.append(PhotoSet(root=path, path=path, photos=found))
            else:
                others.append(path)
        elif is_photo(path):
            single.setdefault(Path(os.path.realpath(path)), path)
        else:
            others.append(path)
    if len(single) == 1:
        (path,) = single.values()
        sets.append(PhotoSet(root=path.parent, path=path, photos=[path]))
    elif single:
        root = Path(os.path.commonpath([path.parent for path in single]))
        sets.append(PhotoSet(root=root, path=root, photos=sorted(single)))
    return sets, others


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # no name that the system takes: opening it says so
        return False


def _photos_in(folder: Path) -> list[Path]:
    def is_wanted(path: Path) -> bool:
        parts = path.relative_to(folder).parts
        ours = any(part.startswith(".") or part.endswith(ANNOTATED_FOLDER) for part in parts)
        return is_photo(path) and not ours and path.is_file()

    return sorted(path for path in folder.rglob("*") if is_wanted(path))


def read_photo(path: Path) -> Photo:
    """Read a photo and put it upright, as EXIF tells: all eight ways, mirrored ones too.

    Raises:
        InputError: It cannot be read; the message is the reason alone.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(error.strerror or str(error)) from error
    if not data:
        raise InputError("the file is empty")
    image = _upright(data)
    if min(image.shape[:2]) < _LEAST_PX or max(image.shape[:2]) > _LONGEST_SIDE:
        height, width = image.shape[:2]
        raise InputError(f"{width}x{height} px: allowed are {_LEAST_PX} to {_LONGEST_SIDE} a side")
    return Photo(image=image, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def _upright(data: bytes) -> U8:
    cv2.setLogLevel(0)  # what is wrong with a file is told by us
    try:
        # It turns as EXIF tells, but for WebP.
        blue_first = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"it cannot be decoded ({str(error).splitlines()[0]})") from error
    if blue_first is None:
        raise InputError("it is damaged, cut off, or no JPEG, PNG, WebP, TIFF or BMP")
    image = cast(U8, cv2.cvtColor(blue_first, cv2.COLOR_BGR2RGB))
    return np.ascontiguousarray(_webp_turn(data).apply(image))


def exif_turn_of(data: bytes) -> Turn:
    """The turn that EXIF in a JPEG or PNG asks for."""
    at = data.find(b"Exif\0\0", 0, _HEAD_BYTES)
    if data[:2] == b"\xff\xd8":
        return _exif_turn(data[at + 6 :]) if at >= 0 else Turn()
    at = data.find(b"eXIf")
    return _exif_turn(data[at + 4 :]) if at >= 0 else Turn()


def _webp_turn(data: bytes) -> Turn:
    """The turn that the EXIF chunk of a WebP asks for; none for other files."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return Turn()
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"EXIF":
            return _exif_turn(data[at + 8 : at + 8 + size].removeprefix(b"Exif\0\0"))
        at += 8 + size + size % 2
    return Turn()


def _exif_turn(exif: bytes) -> Turn:
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return Turn()
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for entry in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * entry)
            if (tag, kind) == (_ORIENTATION, _SHORT) and 1 <= value <= len(_TURNS):
                return _TURNS[value - 1]
    except struct.error:  # cut off
        pass
    return Turn()
