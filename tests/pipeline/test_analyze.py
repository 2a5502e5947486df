"""The analyzer against a scripted world: a detector that sees true boxes, a network that confirms them or not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import World, moving, run

from vidfer.pipeline.looks import Key, match_apart, share_of_way
from vidfer.types import DETECTED, TRACKED, Detections


def test_every_frame_comes_out_once_and_in_order() -> None:
    world = World(moving(23))
    assert [result.index for result in run(world)] == list(range(23))


def test_detector_rests_between_key_frames() -> None:
    world = World(moving(51))
    results = run(world)
    assert sorted(world.detected) == list(range(0, 51, 5))  # 0.2 s at 25 frames/s
    assert [r.faces.status[0] for r in results[:7]] == [DETECTED, *[TRACKED] * 4, DETECTED, TRACKED]
    for result in results:
        assert np.allclose(result.faces.box_px, world.boxes[result.index])


def test_new_and_leaving_faces_are_found_on_their_very_frames() -> None:
    boxes = moving(40)
    for i in range(13, 28):
        boxes[i] = [*boxes[i], (150, 30, 190, 80)]
    results = run(World(boxes))
    assert [len(r.faces) for r in results] == [len(b) for b in boxes]


def test_faces_that_touch_are_detected_on_every_frame() -> None:
    boxes = [[(20 + 4 * i, 40, 60 + 4 * i, 90), (220 - 4 * i, 40, 260 - 4 * i, 90)] for i in range(41)]
    world = World(boxes)
    run(world)
    crossing = set(range(21, 30))
    assert crossing <= set(world.detected)


def test_interpolation_that_the_network_denies_is_detected_again() -> None:
    boxes = moving(11, speed=0)
    boxes[3] = [(100, 40, 140, 90)]  # jumps away for one frame, between two key frames
    results = run(World(boxes))
    assert np.allclose(results[3].faces.box_px, boxes[3])
    assert results[3].faces.status[0] == DETECTED


def test_cut_closes_the_shot_and_nothing_is_interpolated_over_it() -> None:
    boxes = moving(20, speed=0)
    for i in range(8, 20):
        boxes[i] = [(120, 40, 160, 90)]
    world = World(boxes, scenes=[0] * 8 + [1] * 12)
    results = run(world)
    assert [r.shot for r in results] == [0] * 8 + [1] * 12
    assert {7, 8} <= set(world.detected)
    for result in results:
        assert np.allclose(result.faces.box_px, world.boxes[result.index])


@pytest.mark.parametrize(
    ("times", "share"),
    [((1.0, 1.15, 1.2), 0.75), ((None, 1.15, 1.2), 0.4), ((1.0, None, 1.2), 0.4), ((1.0, 1.0, 1.0), 0.4)],
)
def test_frames_lie_between_key_frames_by_time_where_it_is_known(times: tuple, share: float) -> None:
    none = np.zeros((0, 4), np.float32)
    start, end = (Key(index=i, time_s=t, box_px=none) for i, t in ((10, times[0]), (15, times[2])))
    frame = dataclasses.replace(next(World([[]]).frames()), index=12, time_s=times[1])
    assert share_of_way(frame, start, end) == pytest.approx(share)


@pytest.mark.parametrize("every", [1, 3, 7])
def test_detect_every(every: int) -> None:
    world = World(moving(30))
    run(world, detect_every=every)
    assert sorted(world.detected)[:3] == [0, every, 2 * every]


def test_detections_that_the_network_rejects_are_dropped() -> None:
    world = World(moving(6))
    truth = world.boxes
    world.detect = lambda picture: Detections(  # type: ignore[method-assign]
        box_px=np.array([[200, 100, 240, 150], *truth[world.number(picture)]], np.float32),
        score=np.array([0.99, 0.8], np.float32),
    )
    assert [len(r.faces) for r in run(world)] == [1] * 6


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 6), st.randoms(use_true_random=False))
def test_match_apart_finds_any_order(n: int, random: object) -> None:
    start = np.array([[100 * i, 0, 100 * i + 50, 60] for i in range(n)], np.float32).reshape(-1, 4)
    order = np.array(random.sample(range(n), n), np.int64)  # type: ignore[attr-defined]
    partner = match_apart(start, start[order] + 5)
    assert partner is not None
    assert (order[partner] == np.arange(n)).all()


def test_match_apart_refuses_what_it_would_have_to_guess() -> None:
    one = np.array([[0, 0, 50, 60]], np.float32)
    assert match_apart(one, np.zeros((0, 4), np.float32)) is None
    assert match_apart(one, one + 200) is None
    touching = np.array([[0, 0, 50, 60], [40, 0, 90, 60]], np.float32)
    assert match_apart(touching, touching) is None
