from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidfer.vision.geometry import (
    CROP_PX,
    CROP_SCALE,
    apply_transform,
    crop,
    crop_transform,
    invert_transform,
    iou,
    letterbox_size,
)
from vidfer.vision.pose import head_pose, mean_mesh

coordinate = st.floats(-500, 2000)
side = st.floats(8, 900)
boxes = st.builds(lambda x, y, w, h: np.array([[x, y, x + w, y + h]], np.float32), coordinate, coordinate, side, side)
angles = st.floats(-180, 180)


@given(boxes, angles)
def test_crop_transform_puts_the_box_in_the_middle(box: np.ndarray, roll: float) -> None:
    transform = crop_transform(box, roll)
    centre = (box[:, None, :2] + box[:, None, 2:]) / 2 - 0.5
    assert apply_transform(transform, centre)[0, 0] == pytest.approx((CROP_PX - 1) / 2, abs=0.05)
    scale = np.hypot(transform[0, 0, 0], transform[0, 1, 0])
    longer = (box[0, 2:] - box[0, :2]).max()
    assert scale * longer * CROP_SCALE == pytest.approx(CROP_PX, rel=1e-3)


@given(boxes, angles)
def test_crop_levels_a_turned_line(box: np.ndarray, roll: float) -> None:
    centre = (box[0, :2] + box[0, 2:]) / 2
    direction = np.array([np.cos(np.deg2rad(roll)), np.sin(np.deg2rad(roll))]) * 50
    line = np.stack([centre - direction, centre + direction])[None].astype(np.float32)
    left, right = apply_transform(crop_transform(box, roll), line)[0]
    assert left[1] == pytest.approx(right[1], abs=0.2)
    assert left[0] < right[0]


@given(boxes, angles)
def test_inverse_transform(box: np.ndarray, roll: float) -> None:
    transform = crop_transform(box, roll)
    points = np.array([[[0, 0], [111, 0], [50, 80]]], np.float32)
    back = apply_transform(transform, apply_transform(invert_transform(transform), points))
    assert back == pytest.approx(points, abs=0.1)


@settings(max_examples=40, deadline=None)
@given(st.floats(20, 240), st.floats(20, 240), st.floats(20, 300), angles)
def test_crop_shows_what_the_transform_says(x: float, y: float, size: float, roll: float) -> None:
    """On a picture whose colours are its coordinates a crop's colours tell where they come from, shrunk or enlarged."""
    ramp = np.zeros((260, 260, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.minimum(np.arange(260), 255)[None, :], np.minimum(np.arange(260), 255)[:, None]
    box = np.array([[x - size / 2, y - size / 2, x + size / 2, y + size / 2]], np.float32)
    transform = crop_transform(box, roll)
    image = crop(ramp, transform[0])
    rows, columns = np.mgrid[0:CROP_PX:9, 0:CROP_PX:9]
    places = np.stack([columns.ravel(), rows.ravel()], 1).astype(np.float32)[None]
    source = apply_transform(invert_transform(transform), places)[0]
    inside = ((source > 4) & (source < 250)).all(1)
    shown = image[rows.ravel(), columns.ravel(), :2].astype(float)
    assert np.abs(shown - source)[inside].max(initial=0) <= 1.6


@given(boxes, boxes)
def test_iou_is_symmetric_and_bounded(a: np.ndarray, b: np.ndarray) -> None:
    forward, backward = iou(a, b)[0, 0], iou(b, a)[0, 0]
    assert forward == pytest.approx(backward, abs=1e-5)
    assert 0 <= forward <= 1 + 1e-5
    assert iou(a, a)[0, 0] == pytest.approx(1, abs=1e-3)


@given(st.integers(1, 8000), st.integers(1, 8000), st.sampled_from([8, 32]))
def test_letterbox_keeps_the_aspect_and_never_enlarges(width: int, height: int, multiple: int) -> None:
    w, h, padded_w, padded_h = letterbox_size(width, height, 640, multiple)
    assert w <= min(width, 640)
    assert h <= min(height, 640)
    assert padded_w % multiple == padded_h % multiple == 0
    assert 0 <= padded_w - w < multiple
    assert 0 <= padded_h - h < multiple
    assert abs(w * height - h * width) <= max(width, height)


def rotation(axis: int, degrees: float) -> np.ndarray:
    """Right-handed turn about x, y or z."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    out = np.eye(3)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    out[i, i], out[i, j], out[j, i], out[j, j] = cos, -sin, sin, cos
    return out


@given(st.floats(-80, 80), st.floats(-80, 80), st.floats(-170, 170), st.floats(1, 500))
def test_head_pose_reads_back_a_turned_mesh(pitch: float, yaw: float, roll: float, scale: float) -> None:
    turn = rotation(2, -roll) @ rotation(1, -yaw) @ rotation(0, -pitch)
    mesh = mean_mesh()[0] @ turn.T * scale + (300, 200, 10)
    assert head_pose(mesh[None].astype(np.float32))[0] == pytest.approx((pitch, yaw, roll), abs=0.1)


@pytest.mark.parametrize(
    ("pose", "axis", "sign"),
    [((20, 0, 0), 1, -1), ((0, 20, 0), 0, 1)],
    ids=["looking up moves the nose up", "turning to the subject's left moves the nose to the right of the picture"],
)
def test_signs_of_the_head_pose(pose: tuple[float, ...], axis: int, sign: int) -> None:
    turn = rotation(1, -pose[1]) @ rotation(0, -pose[0])
    mean = mean_mesh()[0]
    moved = mean @ turn.T
    assert np.sign((moved - mean)[1, axis]) == sign
    assert head_pose(moved[None].astype(np.float32))[0] == pytest.approx(pose, abs=0.01)


def test_tilting_to_the_subjects_right_shoulder_moves_the_forehead_to_the_left_of_the_picture() -> None:
    mean = mean_mesh()[0]
    moved = mean @ rotation(2, -20).T
    assert (moved - mean)[10, 0] < 0  # 10: top of the forehead
    assert head_pose(moved[None].astype(np.float32))[0] == pytest.approx((0, 0, 20), abs=0.01)
