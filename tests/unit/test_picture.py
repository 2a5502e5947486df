"""Pictures from arrays, and the scaling that all pictures share."""

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidfer.media.file import VideoFile
from vidfer.media.picture import ArrayPicture, Turn


def noise(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_full_size_is_the_array_itself_read_only():
    image = noise(64, 48)
    picture = ArrayPicture(image)
    assert np.array_equal(picture.rgb(), image)
    assert not picture.rgb().flags.writeable
    image[0, 0] = 0  # the owner's array stays the owner's
    assert (picture.width, picture.height) == (64, 48)


def test_odd_borders_are_left_out():
    picture = ArrayPicture(noise(65, 49))
    assert (picture.width, picture.height) == (64, 48)


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((1, 4, 3), np.uint8)]
)
def test_wrong_arrays_are_refused(wrong):
    with pytest.raises(ValueError, match="uint8"):
        ArrayPicture(wrong)


@given(width=st.integers(1, 200), height=st.integers(1, 200))
def test_scaling_gives_the_size_asked_for_and_keeps_the_brightness(width, height):
    picture = ArrayPicture(cv2.GaussianBlur(noise(160, 90), (0, 0), 6))
    small = picture.rgb(width, height)
    assert small.shape == (height, width, 3)
    if width > 8 and height > 8:
        assert abs(small.mean() - picture.rgb().mean()) < 3


@given(ratio=st.floats(1, 6))
def test_shrinking_averages(ratio):
    """Noise shrinks about as it does when every pixel counts the same: none is just left out."""
    image = noise(240, 240)
    side = max(8, int(240 / ratio))
    reference = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    assert ArrayPicture(image).rgb(side, side).std() <= reference.std() * 1.65


def test_gray_is_luma():
    picture = ArrayPicture(noise(64, 36))
    assert picture.gray(16, 9).shape == (9, 16)
    flat = ArrayPicture(np.full((36, 64, 3), (200, 100, 50), np.uint8))
    assert np.all(np.abs(flat.gray(16, 9).astype(int) - 124) <= 1)


@given(transpose=st.booleans(), mirror_x=st.booleans(), mirror_y=st.booleans())
def test_turns_are_transpose_then_mirror(transpose, mirror_x, mirror_y):
    image = noise(6, 4)
    expected = image.transpose(1, 0, 2) if transpose else image
    expected = expected[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]
    turn = Turn(transpose, mirror_x, mirror_y)
    assert np.array_equal(turn.apply(image), expected)
    assert turn.size(6, 4) == (expected.shape[1], expected.shape[0])
    unmirrored = np.rot90(image, -turn.rotation // 90)
    assert np.array_equal(expected, unmirrored) or np.array_equal(expected, unmirrored[:, ::-1])


@pytest.mark.parametrize(("orientation", "quarters"), [(1, 0), (3, 2), (6, 1), (8, 3)])
def test_photos_come_upright_as_their_exif_says(tmp_path, orientation, quarters):
    upright = np.zeros((64, 96, 3), np.uint8)
    upright[:32, :48], upright[:32, 48:], upright[32:] = (200, 0, 0), (0, 200, 0), (0, 0, 200)
    jpeg = cv2.imencode(".jpg", np.rot90(upright, quarters)[:, :, ::-1])[1].tobytes()
    tiff = b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 3, 1, orientation) + bytes(4)
    exif = b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff
    (tmp_path / "photo.jpg").write_bytes(jpeg[:2] + exif + jpeg[2:])
    with VideoFile(tmp_path / "photo.jpg") as photo:
        (frame,) = photo
        found = frame.picture.rgb()
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 5
