"""The time of frames from their stamps."""

from fractions import Fraction

import pytest

from vidfer.media.clock import Clock

RATE = Fraction(25)


def run(clock, stamps, duration=None):
    return [clock.moment(stamp, duration) for stamp in stamps]


def test_time_is_counted_from_the_first_stamp():
    moments = run(Clock(Fraction(1, 90000), RATE), [126000, 129003, 132006])
    assert [moment.pts for moment in moments] == [126000, 129003, 132006]
    assert [moment.time_s for moment in moments] == [0.0, 3003 / 90000, 6006 / 90000]
    assert {moment.epoch for moment in moments} == {0}


def test_missing_stamps_are_placed_by_duration_or_rate():
    by_rate = run(Clock(Fraction(1, 1000), RATE), [None, None, 90, None, 170])
    assert [moment.time_s for moment in by_rate] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    by_duration = run(Clock(Fraction(1, 1000), RATE), [0, None, None], duration=20)
    assert [moment.time_s for moment in by_duration] == pytest.approx([0, 0.02, 0.04])


def test_stamps_that_start_anew_begin_an_epoch():
    moments = run(Clock(Fraction(1, 1000), RATE), [0, 40, 5000, 4990, 0, 40])
    assert [moment.epoch for moment in moments] == [0, 0, 0, 0, 1, 1]


def test_time_goes_on_over_stamps_that_start_anew():
    clock = Clock(Fraction(1, 1000), RATE)
    moments = run(clock, [7000, 7040, 7080, 20, 60, 3060, 3100, 0, 40])
    assert [moment.time_s for moment in moments] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 3.16, 3.2, 3.24, 3.28])
    assert [moment.epoch for moment in moments] == [0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert clock.epochs == 2


def test_frames_out_of_order_after_a_jump_are_no_new_epoch():
    moments = run(Clock(Fraction(1, 1000), RATE), [0, 40, 3640, 80, 120, 3680])
    assert [moment.time_s for moment in moments] == [0, 0.04, 3.64, 0.08, 0.12, 3.68]
    assert {moment.epoch for moment in moments} == {0}


@pytest.mark.parametrize(
    ("stamps", "holes"),
    [
        (list(range(0, 4000, 40)), (0, 0)),
        ([*range(0, 2000, 40), *range(2400, 4000, 40)], (10, 1)),
        ([*range(0, 800, 40), *range(840, 2000, 40), *range(2400, 4000, 40)], (11, 2)),
        ([0, 40, 80, 3640, *range(120, 3640, 40), 3680], (0, 0)),  # only out of order
        ([0, 40, 110, 170, 300, 310, 350, 420], (0, 0)),  # a phone: no frame is missing
    ],
)
def test_holes_in_regular_stamps_are_missing_frames(stamps, holes):
    clock = Clock(Fraction(1, 1000), RATE)
    run(clock, stamps)
    assert clock.holes == holes


def test_a_clock_goes_on_from_its_state():
    stamps = [7000, 7040, None, 20, 60, 3060, 80, 100, None, 0, 40]
    whole = Clock(Fraction(1, 1000), RATE)
    moments = run(whole, stamps)
    for at in range(len(stamps)):
        before, after = Clock(Fraction(1, 1000), RATE), Clock(Fraction(1, 1000), RATE)
        run(before, stamps[:at])
        after.restore([str(v) if isinstance(v, Fraction) else v for v in before.state()])
        assert run(after, stamps[at:]) == moments[at:]
        assert after.state() == whole.state()


@pytest.mark.parametrize(
    ("tick", "stamps", "variable"),
    [
        (Fraction(1, 1000), [0, 33, 67, 100, 133, 167, 200], False),
        (Fraction(1, 600), [0, 20, 40, 60, 80, 101, 121], False),
        (Fraction(1, 90000), [0, 3003, 6006, 9009], False),
        (Fraction(1, 90000), [0, 3003, 6106, 9009], True),
        (Fraction(1, 25), [0, 1, 2, 3, 4], False),
        (Fraction(1, 25), [0, 1, 2, 4, 5], True),  # a frame was left out
        (Fraction(1, 1000), [0], False),
        (Fraction(1, 1000), [0, 40, 80, 1240, 1280], True),
    ],
)
def test_uneven_intervals(tick, stamps, variable):
    clock = Clock(tick, RATE)
    run(clock, stamps)
    assert clock.is_variable == variable


def test_the_latest_time_and_stamps_that_stand_still_are_known():
    clock = Clock(Fraction(1, 1000), RATE)
    run(clock, [0, 40, 120, 80])
    assert (clock.last_s, clock.latest_s, clock.repeated) == (0.08, 0.12, 0)
    run(clock, [160, 160, 160])
    assert (clock.latest_s, clock.repeated) == (0.16, 2)
    run(clock, range(200, 4200, 40))
    assert clock.repeated == 0, "few"
