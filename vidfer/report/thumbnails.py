"""Faces cut out of the video by their stored boxes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from vidfer.media.file import VideoFile
from vidfer.media.stills import stills
from vidfer.output.page import picture_address
from vidfer.report.gather import Face, Look
from vidfer.types import U8, Picture

_PORTRAIT_PX, _FILM_PX = 192, 144  # twice what the page shows, for sharp screens
_MARGIN = 1.5  # side of the picture / longer side of the box
# Faces with a portrait, the longest on screen first: a film of an hour may have a thousand.
MOST_PORTRAITS = 96

Pictures = dict[tuple[int, int], str]  # (face, frame) -> data URL


def cut_out(video: Path, stream: int, faces: Iterable[Face], charted: Iterable[Face]) -> tuple[Pictures, Pictures]:
    """Portraits of the best frames, and the strips of those with charts.

    Args:
        video: The file of the table.
        stream: Which of its video streams.
        faces: Those that get a portrait.
        charted: Those that get a strip, too.

    Raises:
        InputError: The video cannot be read.
    """
    wanted: dict[int, list[tuple[int, Look, int]]] = {}
    for face in faces:
        if face.best is not None:
            wanted.setdefault(face.best.frame, []).append((face.id, face.best, _PORTRAIT_PX))
    for face in charted:
        for look in face.film.values():
            wanted.setdefault(look.frame, []).append((face.id, look, _FILM_PX))
    portraits: Pictures = {}
    film: Pictures = {}
    for index, picture in _pictures(video, stream, [look for looks in wanted.values() for _, look, _ in looks]):
        for face_id, look, side in wanted[index]:
            kept = portraits if side == _PORTRAIT_PX else film
            kept[face_id, index] = picture_address(_cut(picture, look, side))
    return portraits, film


def _pictures(video: Path, stream: int, looks: list[Look]) -> Iterable[tuple[int, Picture]]:
    if not looks:
        return
    # Where stamps start anew the same one comes twice: only counting finds the right frame.
    ambiguous = any(look.epoch for look in looks)
    with VideoFile(video, stream=stream) as file:
        ambiguous |= file.info.container == "avi"  # whose stamps are those of decoding
    yield from stills(video, stream, {look.frame: None if ambiguous else look.pts for look in looks})


def _cut(picture: Picture, look: Look, side: int) -> U8:
    """A square around the face; what lies outside of the picture is left out, the face then is not in the middle."""
    x, y, width, height = look.box_px
    half = min(max(width, height, 2.0) * _MARGIN, picture.width, picture.height) / 2
    middle_x = min(max(x + width / 2, half), picture.width - half)
    middle_y = min(max(y + height / 2, half), picture.height - half)
    left, top = max(0, round(middle_x - half)), max(0, round(middle_y - half))
    size = max(2, int(2 * half))
    part = picture.part(left, top, min(picture.width, left + size), min(picture.height, top + size))
    how = cv2.INTER_AREA if part.shape[0] > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(part, (side, side), interpolation=how), np.uint8)
