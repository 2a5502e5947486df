"""Pictures that strangers send."""

import io
import struct
import zlib

import numpy as np
import pytest

pytest.importorskip("starlette", reason="THE LIVE PAGE IS NOT TESTED: pip install 'vidfer[serve]'")

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vidfer.errors import InputError
from vidfer.serve.photo import TooLargeError, read_photo

FORMATS = ("JPEG", "PNG", "WEBP")
BEST = {"JPEG": {"quality": 98, "subsampling": 0}, "WEBP": {"lossless": True}, "PNG": {}}


def picture(width=40, height=24):
    """Red on the left, green on the right, blue below."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0], image[:, width // 2 :, 1] = 200, 200
    image[height // 2 :, :] = (0, 0, 200)
    return image


def saved(image, kind="PNG", **options):
    data = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(data, kind, **options)
    return data.getvalue()


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width, height):
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", [(2, 2), (3, 5), (40, 24), (333, 2)])
def test_pixels_come_as_they_are(kind, size):
    image = picture(*size)
    found = read_photo(saved(image, kind, **BEST[kind]))
    assert found.dtype == np.uint8
    assert found.shape == image.shape
    assert np.abs(found.astype(int) - image).mean() < 6


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("turn", range(1, 9))
def test_photos_of_phones_come_upright(turn, kind):
    """EXIF says how the camera was held, and whether it is a mirror."""
    undo = {2: "fliplr", 3: "rot90 2", 4: "flipud", 5: "T", 6: "rot90 1", 7: "T2", 8: "rot90 3"}.get(turn, "")
    upright = picture()
    stored = {
        "": upright,
        "fliplr": np.fliplr(upright),
        "flipud": np.flipud(upright),
        "T": upright.transpose(1, 0, 2),
        "T2": np.rot90(upright, 2).transpose(1, 0, 2),
        "rot90 1": np.rot90(upright, 1),
        "rot90 2": np.rot90(upright, 2),
        "rot90 3": np.rot90(upright, 3),
    }[undo]
    exif = Image.Exif()
    exif[0x0112] = turn
    found = read_photo(saved(np.ascontiguousarray(stored), kind, exif=exif, **BEST[kind]))
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 6


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_pixels_becomes_rgb(mode):
    grey = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (24, 1))
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(grey).convert("RGB").convert(mode)
    found = read_photo(saved(image, "JPEG" if mode == "CMYK" else "PNG"))
    assert found.shape == (24, 40, 3)
    assert found.std(axis=2).max() <= (25 if mode == "P" else 3)
    assert np.abs(found[:, :, 0].mean(axis=0) - grey[0]).mean() < (90 if mode in "1P" else 4)


@pytest.mark.parametrize(("width", "height"), [(10_000, 5_001), (50_000, 1_000), (1, 16_385), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused_before_a_pixel_is_decoded(width, height):
    bomb = png_header(width, height) + png_chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + png_chunk(b"IEND", b"")
    with pytest.raises(TooLargeError, match="send at most 50 megapixels and 16384 px a side"):
        read_photo(bomb)


@pytest.mark.parametrize("size", [(3024, 4032), (8160, 6120), (16_384, 2)])
def test_photos_of_phones_are_not_too_large(size, monkeypatch):
    monkeypatch.setattr("vidfer.serve.photo._upright", lambda image: image.size)
    assert read_photo(png_header(*size) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")) == size


def test_a_jpeg_that_would_take_minutes_is_refused():
    """Each scan is a pass over all pixels and takes ten bytes: a million of them would keep us busy for days."""
    data = saved(picture(), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    with pytest.raises(InputError, match="more than 64 scans"):
        read_photo(data[:at] + data[at:-2] * 100 + data[-2:])


def test_texts_that_grow_when_they_are_unpacked_are_refused():
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 5_000_000))
    image = saved(picture())
    with pytest.raises(InputError, match="damaged"):
        read_photo(image[:33] + text + image[33:])


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "ICO", "PPM"])
def test_other_formats_are_none_of_ours(kind):
    with pytest.raises(InputError, match="send a JPEG, PNG or WebP"):
        read_photo(saved(Image.fromarray(picture()), kind))


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1)])
def test_less_than_two_pixels_are_no_picture(size):
    with pytest.raises(InputError, match="at least 2x2"):
        read_photo(saved(Image.new("RGB", size)))


WHOLE = {kind: saved(np.random.default_rng(0).integers(0, 255, (24, 40, 3), np.uint8), kind) for kind in FORMATS}


@settings(max_examples=300)
@given(st.sampled_from(FORMATS), st.data())
def test_damage_is_told_or_does_not_matter(kind, data):
    broken = bytearray(WHOLE[kind])
    for _ in range(data.draw(st.integers(0, 6))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(broken)))
    found, line = None, ""
    try:
        found = read_photo(bytes(broken[:cut]))
    except InputError as error:
        line = str(error)
    assert "send" in line or found.shape[2:] == (3,)
    assert "\n" not in line


@given(st.binary(max_size=200))
def test_no_bytes_whatever_do_harm(data):
    with pytest.raises(InputError):
        read_photo(data)
