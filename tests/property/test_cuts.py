"""The cut detector on synthetic scenes: every hard cut on its frame, nothing on motion, light, fades and dropouts."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidfer.pipeline.cuts import CutDetector

FULL_H, FULL_W = 216, 384
seeds = st.integers(0, 2**32 - 1)
# The examples are always the same ones: among random scenes one in some hundreds truly looks like another.


def canvas(seed):
    """A picture three times as large as the view: blurred noise of three sizes and a few hard-edged ellipses."""
    rng = np.random.default_rng(seed)
    image = np.zeros((FULL_H, FULL_W), np.float32)
    for cells, gain in ((4, 60), (10, 40), (30, 25)):
        noise = rng.standard_normal((cells, cells * 2)).astype(np.float32)
        image += gain * cv2.resize(noise, (FULL_W, FULL_H), interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        centre = (int(rng.integers(FULL_W)), int(rng.integers(FULL_H)))
        axes = (int(rng.integers(8, 40)), int(rng.integers(8, 40)))
        cv2.ellipse(image, centre, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.uniform(-90, 90)), -1)
    return np.clip(image + rng.uniform(90, 150), 0, 255)


def view(image, x=0.5, y=0.5, zoom=1.0):
    """The thumbnail of a camera that looks at (x, y) in [0, 1] of the canvas."""
    h, w = FULL_H / 2 / zoom, FULL_W / 2 / zoom
    x0, y0 = x * (FULL_W - w), y * (FULL_H - h)
    matrix = np.array([[w / 256, 0, x0], [0, h / 144, y0]], np.float64)
    part = cv2.warpAffine(image, matrix, (256, 144), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return cv2.resize(part, (64, 36), interpolation=cv2.INTER_AREA)


def to_gray(frames, seed, noise=1.5):
    rng = np.random.default_rng(seed)
    frames = np.asarray(frames, np.float32)
    return np.clip(frames + noise * rng.standard_normal(frames.shape), 0, 255).astype(np.uint8)


def cuts(frames):
    detector = CutDetector()
    return [i for i, gray in enumerate(frames) if detector.is_cut(gray)]


@given(seed=seeds, first=st.integers(1, 8), second=st.integers(1, 8))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_hard_cut_is_seen_on_its_frame(seed, first, second):
    a, b = view(canvas(seed)), view(canvas(seed + 1))
    assert cuts(to_gray([a] * first + [b] * second + [a], seed)) == [first, first + second]


@given(seed=seeds, speed=st.floats(0, 0.09), zoom=st.floats(0.97, 1.03), shake=st.floats(0, 0.02))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_pans_zooms_and_shakes_are_no_cuts(seed, speed, zoom, shake):
    image, rng, frames = canvas(seed), np.random.default_rng(seed), []
    for i in range(12):
        dx, dy = rng.uniform(-shake, shake, 2)
        # The canvas is twice as wide as the view: speed is in picture widths per frame.
        frames.append(view(image, np.clip(speed * i + dx, 0, 1), 0.5 + dy, zoom ** (i - 6)))
    assert cuts(to_gray(frames, seed)) == []


@given(seed=seeds, gain=st.floats(1.2, 5), offset=st.floats(0, 80), length=st.integers(1, 3))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_flash_is_no_cut(seed, gain, offset, length):
    frames = np.repeat(view(canvas(seed))[None], 12, 0)
    frames[5 : 5 + length] = frames[5 : 5 + length] * gain + offset
    assert cuts(to_gray(frames, seed)) == []


@given(seed=seeds, level=st.sampled_from([0, 16, 235, 255]), length=st.integers(2, 12), hold=st.integers(0, 3))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_fades_and_dropouts_of_one_scene_are_no_cuts(seed, level, length, hold):
    shares = np.concatenate([[1] * 3, np.linspace(1, 0, length), [0] * hold, np.linspace(0, 1, length), [1] * 3])
    scene = view(canvas(seed))
    assert cuts(to_gray([scene * s + level * (1 - s) for s in shares], seed, noise=0.5)) == []


@given(seed=seeds, step=st.integers(3, 6), size=st.floats(0.25, 0.32))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_face_that_passes_close_to_the_camera_is_no_cut(seed, step, size):
    scene, face = view(canvas(seed)), view(canvas(seed + 1), zoom=2)
    frames = []
    for x in range(-30, 94, step):
        mask = cv2.ellipse(np.zeros((36, 64), np.uint8), (x, 20), (int(40 * size), int(50 * size)), 0, 0, 360, 1, -1)
        shift = np.array([[1, 0, x - 32], [0, 1, 0]], np.float64)
        moved = cv2.warpAffine(face, shift, (64, 36), borderMode=cv2.BORDER_REFLECT)
        frames.append(np.where(mask > 0, moved, scene))
    assert cuts(to_gray(frames, seed)) == []


@given(seed=seeds)
@settings(max_examples=20, deadline=None, derandomize=True)
def test_a_cut_through_black_is_one_cut_where_the_new_scene_shows(seed):
    a, b, black = view(canvas(seed)), view(canvas(seed + 1)), np.zeros((36, 64))
    assert cuts(to_gray([black, a, a, black, black, b, b, black], seed, noise=0)) == [5]


@given(seed=seeds, at=st.integers(0, 30))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_it_goes_on_from_its_state_and_copies_go_their_own_way(seed, at):
    rng = np.random.default_rng(seed)
    frames = to_gray([view(canvas(s)) * rng.choice([1, 1, 0, 3]) for s in rng.integers(0, 3, 30)], seed)
    whole = [i in cuts(frames) for i in range(len(frames))]
    first = CutDetector()
    assert [first.is_cut(gray) for gray in frames[:at]] == whole[:at]
    aside, second = first.copy(), CutDetector(json.loads(json.dumps(first.state())))
    aside.is_cut(frames[0])
    for detector in (first, second):
        assert [detector.is_cut(gray) for gray in frames[at:]] == whole[at:]


@given(seed=seeds)
@settings(max_examples=20, deadline=None, derandomize=True)
def test_the_same_frames_give_the_same_cuts_and_are_left_alone(seed):
    rng = np.random.default_rng(seed)
    frames = to_gray([view(canvas(s)) for s in rng.integers(0, 3, 10)], seed)
    before = frames.copy()
    frames.flags.writeable = False
    assert cuts(frames) == cuts(frames)
    np.testing.assert_array_equal(frames, before)


def test_flat_and_odd_frames_do_no_harm():
    flat = [np.full((36, 64), level, np.uint8) for level in (0, 255, 16, 0)]
    assert cuts(flat) == []
    checker = (np.indices((36, 64)).sum(0) % 2 * 200).astype(np.uint8)
    half = np.zeros((36, 64), np.uint8)
    half[:, 32:] = 200
    assert cuts([flat[0], half, half, flat[0], checker, checker]) == [4]


@pytest.mark.parametrize("shape", [(64, 36), (36, 64, 1)])
def test_a_wrong_thumbnail_is_refused_with_its_shape(shape):
    with pytest.raises(ValueError, match=r"uint8\[36,64\].*got uint8"):
        CutDetector().is_cut(np.zeros(shape, np.uint8))


def test_blocks_are_searched_for_only_where_the_picture_has_changed(monkeypatch):
    """Which is all that takes time: `benchmarks/steps.py` measures it."""
    searched, real = [], cv2.matchTemplate
    monkeypatch.setattr(cv2, "matchTemplate", lambda *args: searched.append(args) or real(*args))
    frames = to_gray([view(canvas(i)) for i in range(2)], 0)
    detector = CutDetector()
    assert not any(detector.is_cut(frames[0]) for _ in range(20))
    assert searched == []
    assert detector.is_cut(frames[1])
    assert len(searched) == 7  # the whole and six blocks


def test_on_real_videos_the_cuts_are_those_seen_by_eye(shared_videos):
    av = pytest.importorskip("av")
    expected = {
        "short_hamilton_clip.mp4": [20, 82, 211],  # 211 puts another person into the same place
        "face_noface.mov": [73],  # 72 is a black frame
        "noface_face.mov": [96],
        "bigbuckbunny.mp4": [],
        "composite_dev.mp4": [],
        "d12.mp4": [],  # a face that moves fast and near
    }
    for name, wanted in expected.items():
        with av.open(str(shared_videos / name)) as container:
            grays = [frame.reformat(64, 36, "gray").to_ndarray() for frame in container.decode(video=0)]
        assert cuts(grays) == wanted, name
