"""A picture that somebody sends, read with distrust: its size is known and judged before a pixel of it is decoded."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vidfer.errors import InputError
from vidfer.types import U8

FORMATS = ("JPEG", "PNG", "WEBP")
_MOST_PIXELS = 50_000_000  # what phones take; 0.5 GB while it is decoded
_LONGEST_SIDE = 16_384  # OpenCV does not warp beyond 32767
# Each scan of a progressive JPEG costs a pass over all of its pixels, and one takes 10 bytes; encoders write about 10.
_MOST_SCANS = 64
_SCAN = b"\xff\xda"  # cannot occur inside compressed data


class TooLargeError(InputError):
    """The picture has too many pixels."""


def read_photo(data: bytes) -> U8:
    """The pixels of a JPEG, PNG or WebP, upright, RGB uint8[H,W,3].

    Raises:
        TooLargeError: It has more than 50 million pixels, or a very long side.
        InputError: It is nothing of the kind, or damaged.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(*image.size)
            if image.format == "JPEG" and data.count(_SCAN) > _MOST_SCANS:
                raise InputError(f"the JPEG has more than {_MOST_SCANS} scans: save it again with an ordinary program")
            return _upright(image)
    except (InputError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise TooLargeError(_too_large("far too many pixels")) from None
    except UnidentifiedImageError:
        raise InputError(f"this is no picture ({len(data)} bytes): send a JPEG, PNG or WebP") from None
    except Exception as error:
        raise InputError(f"the picture is damaged ({type(error).__name__}): send a whole JPEG, PNG or WebP") from error


def _check_size(width: int, height: int) -> None:
    if width * height > _MOST_PIXELS or max(width, height) > _LONGEST_SIDE:
        raise TooLargeError(_too_large(f"{width}x{height} px"))
    if min(width, height) < 2:
        raise InputError(f"the picture has {width}x{height} px: send one of at least 2x2")


def _too_large(got: str) -> str:
    most = _MOST_PIXELS // 1_000_000
    return f"the picture has {got}: send at most {most} megapixels and {_LONGEST_SIDE} px a side"


def _upright(image: Image.Image) -> U8:
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):  # 16 bits of grey; Pillow would cut them off at 255
        grey = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    return np.asarray(image.convert("RGB"))
