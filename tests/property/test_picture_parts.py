"""Parts and halved pictures of decoded frames: the very pixels that converting the whole picture gives."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidfer.media.picture import ArrayPicture, Layout, VideoPicture

widths = st.one_of(st.integers(2, 700), st.integers(1, 45).map(lambda steps: 16 * steps))
sizes = st.tuples(widths, st.one_of(st.integers(2, 500), st.integers(16, 125).map(lambda steps: 4 * steps)))
FORMATS = ("yuv420p", "yuvj420p", "yuv420p10le", "yuv444p", "nv12", "rgb24")


def video_picture(width: int, height: int, pixels: str, space: int, seed: int, aspect: int = 1) -> VideoPicture:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(noise, format="rgb24")
    frame = frame.reformat(format=pixels) if pixels != "rgb24" else frame
    if pixels != "rgb24":
        frame.colorspace = space
    return VideoPicture(frame, Layout.of_frame(frame, Fraction(aspect)))


@settings(max_examples=120)
@given(
    size=sizes,
    pixels=st.sampled_from(FORMATS),
    space=st.sampled_from([1, 2, 5]),  # BT.709, unknown, BT.601
    aspect=st.sampled_from([1, 1, 1, 2]),
    edges=st.tuples(*[st.floats(0, 1)] * 4),
    seed=st.integers(0, 99),
)
def test_a_part_is_the_slice_of_the_whole(size, pixels, space, aspect, edges, seed):
    picture = video_picture(*size, pixels, space, seed, aspect)
    left, right = sorted(int(edge * picture.width) for edge in edges[:2])
    top, bottom = sorted(int(edge * picture.height) for edge in edges[2:])
    left, top = min(left, picture.width - 1), min(top, picture.height - 1)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    whole = picture.rgb()[top:bottom, left:right]
    part = picture.part(left, top, right, bottom)
    np.testing.assert_array_equal(part, whole)


@settings(max_examples=80)
@given(size=sizes, to=st.floats(0.26, 0.5), seed=st.integers(0, 99))
def test_shrinking_is_that_of_the_whole(size, to, seed):
    picture = video_picture(*size, "yuv420p", 1, seed)
    width, height = max(1, int(to * picture.width)), max(1, int(to * picture.height))
    small, wanted = picture.rgb(width, height), ArrayPicture(picture.rgb()).rgb(width, height)
    if min(picture.width / width, picture.height / height) < 4:  # from there the decoder's scaler does it
        np.testing.assert_array_equal(small, wanted)


@pytest.mark.parametrize("pixels", FORMATS)
def test_parts_of_full_hd(pixels):
    picture = video_picture(1920, 1080, pixels, 1, 7)
    whole = picture.rgb()
    for left, top, right, bottom in ((0, 0, 1, 1), (1, 3, 301, 290), (1700, 900, 1920, 1080), (0, 500, 1920, 600)):
        np.testing.assert_array_equal(picture.part(left, top, right, bottom), whole[top:bottom, left:right])
