"""Orders of points: mirrored twice is nothing, left stays left, and fewer points lie where their names say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidfer.train import points
from vidfer.vision.pose import mean_mesh

COUNTS = (4, 5, 15, 68, 478)
NAMES = {4: points.NAMES4, 5: points.NAMES5, 15: points.NAMES15}
WIDTH = 96


@pytest.mark.parametrize("count", COUNTS)
@given(seed=st.integers(0, 1000))
def test_mirrored_twice_is_nothing(count, seed):
    face = np.random.default_rng(seed).uniform(0, WIDTH, (2, count, 3 if count == 478 else 2)).astype(np.float32)
    once = points.flipped(face, WIDTH)
    np.testing.assert_allclose(points.flipped(once, WIDTH), face, atol=1e-4)
    assert sorted(points.mirror(count)) == list(range(count))


@pytest.mark.parametrize("count", [4, 5, 15])
def test_mirroring_swaps_left_and_right_in_the_names(count):
    swapped = [
        name.replace("left", "?").replace("right", "left").replace("?", "right") for name in NAMES[count]
    ]  # fmt: skip
    assert [NAMES[count][i] for i in points.mirror(count)] == swapped


def face478():
    mean, _ = mean_mesh()
    return (mean * 40 + (47.5, 40, 0)).astype(np.float32)[None]


@pytest.mark.parametrize("count", COUNTS)
def test_a_symmetric_face_is_its_own_mirror_image(count):
    face = face478() if count == 478 else points.filled({478: face478()}, count)
    if count == 68:
        assert face is None  # a plain choice of the mesh's points would be off by itself
        return
    np.testing.assert_allclose(points.flipped(face, WIDTH), face, atol=1e-3)


def test_points_of_the_mesh_lie_where_their_names_say():
    four, five, fifteen = (points.filled({478: face478()}, count)[0] for count in (4, 5, 15))
    np.testing.assert_array_equal(four, five[[0, 1, 3, 4]])
    assert five[0, 0] < five[2, 0] < five[1, 0]
    assert five[0, 1] < five[2, 1] < five[3, 1]
    at = dict(zip(points.NAMES15, fifteen, strict=True))
    assert at["left_eye_center"][0] > at["right_eye_center"][0]  # of the person shown
    assert at["left_eye_inner_corner"][0] < at["left_eye_center"][0] < at["left_eye_outer_corner"][0]
    assert at["left_eyebrow_inner_end"][1] < at["left_eye_inner_corner"][1]
    assert at["left_eyebrow_inner_end"][0] < at["left_eyebrow_outer_end"][0]
    assert at["nose_tip"][1] < at["mouth_center_top_lip"][1] < at["mouth_center_bottom_lip"][1]
    np.testing.assert_array_equal(points.reduced(fifteen, 5), five)


def test_rows_with_points_of_their_own_keep_them():
    own = np.full((2, 4, 2), np.nan, np.float32)
    own[0] = 7
    of_68 = np.arange(2 * 68 * 2, dtype=np.float32).reshape(2, 68, 2)
    found = points.filled({4: own, 68: of_68}, 4)
    np.testing.assert_array_equal(found[0], own[0])
    np.testing.assert_array_equal(found[1], points.reduced(of_68, 4)[1])
    np.testing.assert_array_equal(found[1, 2], of_68[1, 48])
    assert points.filled({5: np.ones((1, 5, 2), np.float32)}, 15) is None
