"""The analyzer against a scripted world: a detector that sees true boxes, a network that confirms them or not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import World, moving, run

from vidfer.pipeline.looks import Key, is_off, match_apart, share_of_way, where_last_seen
from vidfer.types import DETECTED, TRACKED, Detections, Picture


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


def asked_of(world: World) -> dict[int, list[np.ndarray]]:
    """Where a face was looked at, frame by frame; to be asked for before the run."""
    asked: dict[int, list[np.ndarray]] = {}
    analyse = world.analyse

    def analysed(pictures: Sequence[Picture], boxes_px: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
        for picture, boxes in zip(pictures, boxes_px, strict=True):
            asked.setdefault(world.number(picture), []).extend(boxes[:, None])
        return analyse(pictures, boxes_px)

    world.analyse = analysed  # type: ignore[method-assign]
    return asked


def jumpy(world: World, px: float) -> None:
    """The detector's boxes lie to the left and to the right of the face by turns."""
    detect = world.detect

    def detected(picture: Picture) -> Detections:
        found = detect(picture)
        return dataclasses.replace(found, box_px=found.box_px + np.float32(px * (-1) ** world.number(picture)))

    world.detect = detected  # type: ignore[method-assign]


@settings(max_examples=30, deadline=None)
@given(st.floats(-3, 3), st.floats(0, 6))
def test_faces_are_cropped_by_the_network_s_box_on_key_frames(speed: float, px: float) -> None:
    world = World(moving(26, start=100, speed=speed))
    jumpy(world, px)
    asked = asked_of(world)
    results = run(world)
    for key in range(0, 26, 5):
        assert len(asked[key]) <= 2
        assert not is_off(asked[key][-1], world.boxes[key]).any()
    for result in results:
        assert np.allclose(result.faces.box_px, world.boxes[result.index])


def test_a_face_that_holds_still_is_looked_at_once() -> None:
    world = World(moving(26, speed=0))
    jumpy(world, 4)
    asked = asked_of(world)
    run(world)
    assert [len(asked[i]) for i in range(26)] == [2] + [1] * 25


def test_another_face_beside_the_one_before_is_looked_at_where_it_was_found() -> None:
    boxes = moving(11, speed=0)
    for i in range(1, 11):
        boxes[i] = [(31, 40, 71, 90)]
    world = World(boxes)

    def look(number: int, asked: np.ndarray) -> dict[str, np.ndarray]:  # takes the old place for a face of its own
        heads = World.look(world, number, asked)
        old = asked[:, :1] == 20
        heads["box"] = np.where(old, asked - np.float32(8), heads["box"])
        return heads

    world.look = look  # type: ignore[method-assign]
    for result in run(world)[1:]:
        assert np.allclose(result.faces.box_px, world.boxes[result.index])


@pytest.mark.parametrize(("score", "presence"), [(0.7, 0.25), (0.9, 1.0)])
def test_what_may_be_no_face_is_judged_where_it_was_found(score: float, presence: float) -> None:
    """The network takes many things for a face once it has put them into the middle."""
    world = World(moving(6, speed=0))
    jumpy(world, 4)
    detect = world.detect
    world.detect = lambda picture: dataclasses.replace(  # type: ignore[method-assign]
        detect(picture), score=np.full(1, score, np.float32)
    )

    def look(number: int, asked: np.ndarray) -> dict[str, np.ndarray]:
        heads = World.look(world, number, asked)
        return heads | {"presence": np.where(asked[:, :1] == 20, 1, 0.25).astype(np.float32)}

    world.look = look  # type: ignore[method-assign]
    results = run(world, detect_every=1)
    assert [float(r.faces.heads["presence"][0, 0]) for r in results] == [presence] * 6
    assert all(np.allclose(r.faces.box_px, world.boxes[r.index]) for r in results)


def test_where_last_seen_is_one_to_one() -> None:
    before = np.array([[0, 0, 50, 60], [300, 0, 350, 60]], np.float32)
    found = np.array([[4, 0, 54, 60], [302, 2, 352, 62], [8, 0, 58, 60], [600, 0, 650, 60]], np.float32)
    got = where_last_seen(found, before)
    assert (got == np.array([before[0], before[1], found[2], found[3]])).all()
    assert where_last_seen(found[:0], before).shape == (0, 4)
    assert (where_last_seen(found, before[:0]) == found).all()
