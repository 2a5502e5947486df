"""Which frames a sampling takes, against a definition that is slow and obvious."""

from fractions import Fraction

from hypothesis import assume, example, given
from hypothesis import strategies as st

from vidfer.media.timecode import Sampler, Sampling, Timecode

TICKS = [Fraction(1, 1000), Fraction(1, 12800), Fraction(1, 90000), Fraction(1001, 30000)]
streams = st.tuples(
    st.sampled_from(TICKS),
    st.lists(st.integers(1, 5000), min_size=0, max_size=60).map(
        lambda steps: [sum(steps[:i]) for i in range(len(steps) + 1)]
    ),
)
rates = st.one_of(
    st.sampled_from([0.5, 1.0, 2.0, 5.0, 10.0, 12.5, 15.0, 23.976, 25.0, 29.97, 30.0, 60.0, 240.0]),
    st.floats(0.01, 500),
)


def taken(sampling, tick, stamps):
    sampler = Sampler(sampling, tick)
    result = []
    for index, ticks in enumerate(stamps):
        if sampler.is_past(index, Fraction(ticks)):
            break
        if sampler.takes(index, Fraction(ticks)):
            result.append(index)
    return result


def by_definition(rate, tick, stamps):
    """The first frame at or after each k/rate; half a tick is no difference."""
    rate = Fraction(str(rate))
    times = [(ticks + Fraction(1, 2)) * tick for ticks in stamps]
    result, k = set(), 0
    while k / rate <= times[-1]:
        first = next(i for i, time in enumerate(times) if time >= k / rate)
        result.add(first)
        k += 1
    return sorted(result)


@given(stream=streams, rate=rates)
@example(stream=(Fraction(1, 1000), [0, 33, 67, 100, 133, 167, 200]), rate=30.0)
def test_fps_takes_the_first_frame_at_or_after_each_step(stream, rate):
    tick, stamps = stream
    assume(stamps[-1] * tick * Fraction(str(rate)) < 500)
    assert taken(Sampling(fps=rate), tick, stamps) == by_definition(rate, tick, stamps)


@given(stream=streams, rate=rates)
def test_fps_never_takes_a_frame_early_or_more_than_there_are(stream, rate):
    tick, stamps = stream
    indices = taken(Sampling(fps=rate), tick, stamps)
    assert indices == sorted(set(indices))
    assert indices[0] == 0
    duration_s = float((stamps[-1] + 0.5) * tick)
    assert len(indices) <= min(len(stamps), duration_s * rate * (1 + 1e-9) + 1)


@given(rate=st.sampled_from([24.0, 25.0, 30.0, 50.0, 60.0]), count=st.integers(1, 200))
def test_its_own_rate_takes_every_frame_even_where_stamps_are_rounded_to_milliseconds(rate, count):
    stamps = [round(1000 * index / rate) for index in range(count)]
    assert taken(Sampling(fps=rate), Fraction(1, 1000), stamps) == list(range(count))


@given(stream=streams, stride=st.integers(1, 10))
def test_stride(stream, stride):
    tick, stamps = stream
    assert taken(Sampling(stride=stride), tick, stamps) == list(range(0, len(stamps), stride))


@given(stream=streams, rate=rates, points=st.tuples(st.integers(0, 30), st.integers(0, 30)), frames=st.booleans())
def test_a_part_gives_the_same_frames_as_the_whole(stream, rate, points, frames):
    tick, stamps = stream
    first, last = sorted(points)
    assume(first < last)
    if frames:
        start, end, inside = Timecode(frame=first), Timecode(frame=last), set(range(first, last))
    else:
        start, end = Timecode(seconds=Fraction(first, 3)), Timecode(seconds=Fraction(last, 3))
        times = [(ticks + Fraction(1, 2)) * tick for ticks in stamps]
        inside = {i for i, time in enumerate(times) if start.seconds <= time < end.seconds}
    whole = taken(Sampling(fps=rate), tick, stamps)
    assert taken(Sampling(fps=rate, start=start, end=end), tick, stamps) == [i for i in whole if i in inside]
