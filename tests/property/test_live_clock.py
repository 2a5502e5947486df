"""Times of cameras: never back, true to the stamps where these go on, true to the wall where they do not."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidfer.media.clock import LiveClock

TICK = Fraction(1, 90_000)
STEP = 3600

stamps = st.one_of(st.none(), st.integers(-(2**40), 2**40))
steps = st.floats(0, 100)


def play(frames, clock=None, arrivals=True):
    """Moments of (connects, pts, came) frames."""
    clock = clock or LiveClock(epoch=0, time_s=0.0)
    clock.connect(arrivals=arrivals)
    found = []
    for connects, pts, came in frames:
        if connects:
            clock.connect(arrivals=arrivals)
        found.append(clock.moment(pts, TICK, came))
    return found


@given(st.lists(st.tuples(st.booleans(), stamps, steps), min_size=1), st.booleans())
def test_time_and_epoch_never_go_back(frames, arrivals):
    now, timed = 0.0, []
    for connects, pts, step in frames:
        now += step
        timed.append((connects, pts, now))
    found = play(timed, arrivals=arrivals)
    assert found == sorted(found)
    assert found[0] == (0, 0.0)


@given(st.integers(0, 2**40), st.lists(st.integers(1, 90_000), min_size=1), st.floats(0, 3))
def test_stamps_that_go_on_decide_whenever_the_frames_come(first, steps, jitter):
    pts, frames = first, [(False, first, 0.0)]
    for step in steps:
        pts += step
        frames.append((False, pts, max(frames[-1][2], (pts - first) / 90_000 + jitter * (len(frames) % 2))))
    found = play(frames)
    assert {epoch for epoch, _ in found} == {0}
    assert [time for _, time in found] == pytest.approx([(pts - first) / 90_000 for _, pts, _ in frames], abs=1e-6)


@given(st.integers(1, 2**30), st.floats(0.0, 1e6))
def test_a_new_connection_begins_an_epoch_and_goes_on_at_the_wall(first, away):
    frames = [(False, 0, 0.0), (False, STEP, 0.04), (True, first, 0.04 + away), (False, first + STEP, 0.08 + away)]
    (_, _), (_, before), (epoch, after), (_, then) = play(frames)
    assert epoch == 1
    assert after - before == pytest.approx(away, abs=1e-6)
    assert then - after == pytest.approx(0.04, abs=1e-6)


@pytest.mark.parametrize("jump", [-(2**33), -10 * 90_000, 10 * 90_000, 2**33])
def test_stamps_that_jump_begin_an_epoch(jump):
    frames = [(False, i * STEP + jump * (i >= 5), i * 0.04) for i in range(10)]
    found = play(frames)
    assert [epoch for epoch, _ in found] == [0] * 5 + [1] * 5
    assert [time for _, time in found] == pytest.approx([i * 0.04 for i in range(10)], abs=1e-6)


def test_a_long_gap_is_no_jump_if_the_wall_says_the_same():
    found = play([(False, 0, 0.0), (False, 60 * 90_000, 60.2), (False, 60 * 90_000 + STEP, 60.24)])
    assert [epoch for epoch, _ in found] == [0, 0, 0]
    assert found[1][1] == 60.0


def test_a_recording_is_not_timed_by_how_fast_it_is_read():
    found = play([(False, i * STEP * 300, i * 0.001) for i in range(5)], arrivals=False)
    assert found == [(0, pytest.approx(i * 12.0)) for i in range(5)]


def test_frames_without_stamps_are_timed_by_the_wall():
    assert play([(False, None, 5.0), (False, None, 5.5), (False, None, 7.0)]) == [(0, 0.0), (0, 0.5), (0, 2.0)]


def test_first_frames_without_a_stamp_come_one_frame_before_the_next():
    """RTSP: they come at once, and only the second one has a stamp."""
    clock = LiveClock(epoch=3, time_s=100.0)
    clock.connect(arrivals=True, frame_rate=Fraction(25))
    assert clock.moment(None, TICK, 50.0) == (3, 100.0)
    assert clock.moment(STEP, TICK, 50.001) == (3, 100.04)
    assert clock.moment(2 * STEP, TICK, 50.002) == (3, pytest.approx(100.08))
