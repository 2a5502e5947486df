"""Numbered pictures as a video: joined as they are, without encoding them again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2

from vidfer.errors import InputError
from vidfer.media.photos import PhotoSet, exif_turn_of, read_photo

_NUMBER = re.compile(r"[0-9]+")
_KINDS = {".jpg": ".jpg", ".jpeg": ".jpg", ".png": ".png"}
_BEST = {".jpg": [cv2.IMWRITE_JPEG_QUALITY, 98], ".png": []}


def number_pictures(pictures: PhotoSet) -> list[tuple[int, Path]]:
    """The pictures of a sequence by the last number in their names, counted from the first one; a gap stays a gap.

    Raises:
        InputError: They are no sequence: of several kinds, without numbers, or with one number twice.
    """
    if not pictures.photos:
        raise InputError(f"{pictures.path} has no pictures: a sequence is of JPEG or PNG files with numbers")
    kinds = {path.suffix.lower() for path in pictures.photos}
    if not kinds <= _KINDS.keys() or len({_KINDS[kind] for kind in kinds}) > 1:
        raise InputError(
            f"{pictures.path} has pictures of {', '.join(sorted(kinds))}: a sequence is all JPEG or all PNG"
        )
    found: dict[int, Path] = {}
    for path in pictures.photos:
        numbers = _NUMBER.findall(path.stem)
        if not numbers:
            raise InputError(f"{path} has no number in its name: a sequence is numbered, such as frame_0001.png")
        at = int(numbers[-1])
        if at in found:
            raise InputError(f"{found[at]} and {path} have the same number: a sequence has every one once")
        found[at] = path
    first = min(found)
    return [(at - first, found[at]) for at in sorted(found)]


def join_pictures(numbered: Sequence[tuple[int, Path]], fps: Fraction, path: Path) -> None:
    """Write a video of pictures, each shown at number / fps.

    They are stored as they are. Only mirrored ones (by EXIF) are turned and encoded again: of mirroring PyAV says
    nothing when it reads them.

    Raises:
        InputError: A picture cannot be read.
    """
    opening = numbered[0][1]
    try:
        with (
            av.open(str(opening.absolute())) as first,
            # The same pictures give the same bytes.
            av.open(str(path.absolute()), "w", format="mov", options={"fflags": "+bitexact"}) as joined,
        ):
            stream = joined.add_stream_from_template(first.streams.video[0])
            stream.time_base = 1 / fps
            for number, picture in numbered:
                packet = av.Packet(_stored(picture))
                packet.stream, packet.time_base, packet.is_keyframe = stream, 1 / fps, True
                packet.pts = packet.dts = number
                packet.duration = 1
                joined.mux(packet)
    except (av.InvalidDataError, IndexError) as error:
        raise InputError(f"{opening} is no picture that can be read: get it again from its source") from error


def _stored(picture: Path) -> bytes:
    try:
        data = picture.read_bytes()
    except OSError as error:
        raise InputError(f"{picture} cannot be read: {error.strerror or error}") from error
    if not data:
        raise InputError(f"{picture} is empty (0 bytes): get it again from its source")
    if not exif_turn_of(data).mirrors:
        return data
    kind = _KINDS[picture.suffix.lower()]
    try:
        upright = read_photo(picture).image
    except InputError as error:
        raise InputError(f"{picture} cannot be read: {error}") from error
    return cv2.imencode(kind, cv2.cvtColor(upright, cv2.COLOR_RGB2BGR), _BEST[kind])[1].tobytes()
