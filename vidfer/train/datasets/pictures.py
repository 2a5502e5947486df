"""Pictures of data sets: read, checked, and cut to the face where they are larger than asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from vidfer.errors import DataError
from vidfer.train.data import decode_image
from vidfer.train.datasets.rows import Labels
from vidfer.train.datasets.samples import Sample
from vidfer.train.points import box_around
from vidfer.types import F32, F64, U8

# First bytes of the kinds of files that stand in the table as they are; others become PNG.
_KEPT = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")
_ROOM = 2.0  # side of what is cut / longer side of the face: training moves, turns and scales its crops
_QUALITY = 95


def load(sample: Sample) -> tuple[bytes, U8] | str:
    """The file and the pixels uint8[H,W] or uint8[H,W,3] RGB of a sample, or why there are none."""
    source = sample.picture
    if isinstance(source, np.ndarray):
        return encode(source, ".png"), source
    if isinstance(source, str):
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            return "picture is missing" if isinstance(error, FileNotFoundError) else "picture cannot be read"
    else:
        data = source()
    try:
        pixels = decode_image(data)
    except DataError:
        return "picture cannot be decoded"
    return (data if data.startswith(_KEPT) else encode(pixels, ".png")), pixels


def encode(pixels: U8, kind: str) -> bytes:
    """A picture uint8[H,W] or uint8[H,W,3] RGB as a file."""
    image = pixels if pixels.ndim == 2 else pixels[..., ::-1]
    return bytes(cv2.imencode(kind, image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes())


def smaller(data: bytes, pixels: U8, labels: Labels, longest: int) -> tuple[bytes, U8, Labels]:
    """A picture no larger than `longest` px: cut to the face with room around it, then shrunk; labels move along."""
    height, width = pixels.shape[:2]
    if max(height, width) <= longest:
        return data, pixels, labels
    x0, y0, x1, y1 = _part(labels, width, height, longest)
    pixels = pixels[y0:y1, x0:x1]
    scale = min(1.0, longest / max(pixels.shape[:2]))
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in (x1 - x0, y1 - y0))
        pixels = cast("U8", cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    factor = np.array(pixels.shape[1::-1]) / (x1 - x0, y1 - y0)
    pixels = np.ascontiguousarray(pixels)
    return encode(pixels, ".jpg"), pixels, _moved(labels, np.array([x0, y0], np.float64), factor)


def _part(labels: Labels, width: int, height: int, longest: int) -> tuple[int, int, int, int]:
    """What is kept: a square around the face, as far as it is in the picture; all where nobody knows where it is."""
    known = [p for p in labels.points.values() if not np.isnan(p).all()]
    box = labels.box or (box_around(known[-1]) if known else None)
    if box is None:
        return 0, 0, width, height
    x, y, w, h = box
    half = max(max(w, h) * _ROOM, min(longest, width, height)) / 2
    x0, y0 = (int(np.clip(middle - half, 0, side - 1)) for middle, side in ((x + w / 2, width), (y + h / 2, height)))
    x1, y1 = (
        int(np.clip(np.ceil(middle + half), first + 1, side))
        for middle, first, side in ((x + w / 2, x0, width), (y + h / 2, y0, height))
    )
    return x0, y0, x1, y1


def _moved(labels: Labels, origin: F64, factor: F64) -> Labels:
    box = labels.box
    if box is not None:
        (x, y), (w, h) = (np.array(box[:2]) - origin) * factor, np.array(box[2:]) * factor
        box = (float(x), float(y), float(w), float(h))
    # Points count from the centre of the first pixel, boxes from its edge.
    moved: Mapping[int, F32] = {k: _points(points, origin, factor) for k, points in labels.points.items()}
    return replace(labels, box=box, points=moved)


def _points(points: F32, origin: F64, factor: F64) -> F32:
    moved = points.astype(np.float32).copy()
    moved[:, :2] = (points[:, :2] + 0.5 - origin) * factor - 0.5
    moved[:, 2:] *= factor.mean()
    return moved
