"""Analysis in parallel: the same results with any number of threads, from any interval on, and no thread is left."""

from __future__ import annotations

import dataclasses
import itertools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import RATE, World, moving, run

from vidfer.media.picture import ArrayPicture
from vidfer.pipeline.analyze import Analyzer, Follower, Interval
from vidfer.pipeline.segments import MOST_FRAMES, Segmenter
from vidfer.types import Detections, Frame, FrameResult
from vidfer.vision.track import FaceTracker

seeds = st.integers(0, 2**32 - 1)
every = st.sampled_from([None, None, 1, 3, 40])


def random_world(seed: int) -> World:
    """Faces that come, go, cross and jump; cuts, holes in time, frames without a time, a new epoch."""
    rng = np.random.default_rng(seed)
    n, people = int(rng.integers(1, 90)), int(rng.integers(0, 4))
    place, speed = rng.uniform(20, 220, (people, 2)), rng.normal(0, 2, (people, 2))
    boxes, scenes, times, epochs = [], [], [], []
    shot, epoch, now = 0, 0, 0.0
    there = rng.random(people) < 0.7
    for _ in range(n):
        place = np.clip(place + speed, 5, 230)
        there ^= rng.random(people) < 0.03
        boxes.append([(*p, p[0] + 30, p[1] + 40) for p in place[there].tolist()])
        shot += rng.random() < 0.05
        epoch += rng.random() < 0.01
        now += rng.choice([1, 1, 1, 0.2, 4]) / RATE
        scenes.append(shot)
        times.append(None if rng.random() < 0.05 else now)
        epochs.append(epoch)
    return World(boxes, scenes, times, epochs)


def analyzer(world: World, **options: object) -> Analyzer:
    tracker = options.pop("tracker", None) or FaceTracker(frame_interval_s=1 / RATE)
    return Analyzer(world, world, tracker, frame_interval_s=1 / RATE, **options)  # type: ignore[arg-type]


def assert_same(found: list[FrameResult], wanted: list[FrameResult]) -> None:
    assert [r.index for r in found] == [r.index for r in wanted]
    for a, b in zip(found, wanted, strict=True):
        for field in dataclasses.fields(FrameResult):
            if field.name != "faces":
                assert getattr(a, field.name) == getattr(b, field.name)
        for name in ("box_px", "score", "status", "track_id"):
            np.testing.assert_array_equal(getattr(a.faces, name), getattr(b.faces, name))
        assert a.faces.heads.keys() == b.faces.heads.keys()
        for name, values in a.faces.heads.items():
            np.testing.assert_array_equal(values, b.faces.heads[name])


@settings(max_examples=25)
@given(seed=seeds, detect_every=every)
def test_results_do_not_depend_on_the_number_of_threads(seed: int, detect_every: int | None) -> None:
    one, two, four = ([*all_of(random_world(seed), detect_every, workers)] for workers in (1, 2, 4))
    assert [r.index for r in one] == list(range(len(one)))
    assert_same(two, one)
    assert_same(four, one)


def all_of(world: World, detect_every: int | None, workers: int) -> list[FrameResult]:
    intervals = analyzer(world, detect_every=detect_every, workers=workers).intervals(world.frames())
    results = [result for interval in intervals for result in interval.results]
    assert len(results) == len(world.boxes)
    return results


@settings(max_examples=20)
@given(seed=seeds, detect_every=every, at=st.floats(0, 1))
def test_going_on_from_any_interval_gives_what_an_uninterrupted_run_gives(
    seed: int, detect_every: int | None, at: float
) -> None:
    world = random_world(seed)
    done: list[tuple[list[FrameResult], dict]] = [
        (interval.results, json.loads(json.dumps(interval.state())))
        for interval in analyzer(world, detect_every=detect_every).intervals(world.frames())
    ]
    stop = min(int(at * len(done)), len(done) - 1)
    before = [result for results, _ in done[: stop + 1] for result in results]
    after = [result for results, _ in done[stop + 1 :] for result in results]
    state = done[stop][1]

    tracker = FaceTracker(frame_interval_s=1 / RATE)
    follower = Follower(tracker, 1 / RATE)
    for result in before:  # from what the parts hold
        seen = Detections(box_px=result.faces.box_px, score=result.faces.score)
        stored = result.faces.heads.get("embedding", np.zeros((0, 128))).astype(np.float16).astype(np.float32)
        ids = follower.update(result.time_s, result.shot, seen, stored)
        np.testing.assert_array_equal(ids, result.faces.track_id)
    resumed = analyzer(world, detect_every=detect_every, state=state, tracker=tracker, workers=2)
    found = [r for interval in resumed.intervals(world.frames(len(before))) for r in interval.results]
    assert_same(found, after)


class BrokenError(Exception):
    """What a test raises inside a stage."""


def breaking(world: World, stage: str, after: int, error: type[BaseException]) -> World:
    """The world with one stage that fails at a random call."""
    calls = itertools.count()
    working = getattr(world, stage)

    def fails(*given: object) -> object:
        if next(calls) >= after:
            raise error
        return working(*given)

    def frames_fail(start: int = 0) -> Iterator[Frame]:
        for frame in working(start):
            if next(calls) >= after:
                raise error
            yield frame

    setattr(world, stage, frames_fail if stage == "frames" else fails)
    return world


@settings(max_examples=60)
@given(
    seed=seeds,
    stage=st.sampled_from(["frames", "detect", "analyse", "update"]),
    after=st.integers(0, 40),
    workers=st.sampled_from([1, 2, 4]),
    error=st.sampled_from([BrokenError, KeyboardInterrupt, MemoryError]),
)
def test_an_error_anywhere_ends_everything(
    seed: int, stage: str, after: int, workers: int, error: type[BaseException]
) -> None:
    before = set(threading.enumerate())
    world = breaking(random_world(seed), stage, after, error)
    found: list[FrameResult] = []
    try:
        for interval in analyzer(world, workers=workers, tracker=world).intervals(world.frames()):
            found += interval.results
    except error:
        pass
    else:  # fewer calls than it takes
        assert len(found) == len(world.boxes)
    assert [result.index for result in found] == list(range(len(found)))
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_closing_early_ends_all_threads(workers: int) -> None:
    before = set(threading.enumerate())
    world = World(moving(2000, speed=0))
    with closing(analyzer(world, workers=workers, tracker=world).intervals(world.frames())) as intervals:
        next(intervals)
        assert set(threading.enumerate()) > before
    assert set(threading.enumerate()) <= before


def test_an_error_comes_after_all_results_before_it() -> None:
    world = World(moving(50))
    detect = world.detect
    world.detect = lambda picture: fail() if world.number(picture) == 30 else detect(picture)  # type: ignore[method-assign]

    def fail() -> Detections:
        raise BrokenError

    found: list[Interval] = []
    with pytest.raises(BrokenError):
        found.extend(analyzer(world, workers=4).intervals(world.frames()))
    assert found[-1].results[-1].index == 25


def test_few_frames_wait_however_slow_the_reader_is() -> None:
    taken: list[int] = []
    world = World(moving(400, speed=0))

    def frames() -> Iterator[Frame]:
        for frame in world.frames():
            taken.append(frame.index)
            yield frame

    with closing(analyzer(world, workers=2, tracker=world).intervals(frames())) as intervals:
        given_out = next(intervals).results[-1].index
        time.sleep(0.05)
        assert taken[-1] - given_out <= 5 * (2 * 2 + 4)


def test_the_detector_rests_for_a_bounded_number_of_frames() -> None:
    for segmenter in (
        Segmenter(frame_interval_s=1 / RATE, detect_every=10**6),
        Segmenter(frame_interval_s=1e-4),
    ):
        world = World(moving(100, speed=0), times=[i * 1e-4 for i in range(100)])
        segments = list(segmenter.segments(world.frames()))
        assert [len(segment.frames) for segment in segments] == [1, MOST_FRAMES, MOST_FRAMES, MOST_FRAMES, 3]


@pytest.mark.parametrize(("size", "most"), [((1920, 1080), 12), ((3840, 2160), 3), ((15360, 8640), 2)])
def test_large_pictures_make_short_segments(size: tuple[int, int], most: int) -> None:
    class Large(ArrayPicture):
        width, height = size  # type: ignore[assignment]

    frames = [dataclasses.replace(f, picture=Large(f.picture.rgb())) for f in World(moving(25, speed=0)).frames()]
    for frame_interval_s, detect_every in ((1 / 25, 32), (1e-4, 100)):
        segments = Segmenter(frame_interval_s=frame_interval_s, detect_every=detect_every).segments(frames)
        assert [len(segment.frames) for segment in segments][1:3] == [most, most]


def test_workers_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        run(World(moving(3)), workers=0)
