"""Timecodes as people write them."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidfer.errors import UsageError
from vidfer.media.timecode import Sampling, Timecode, parse_timecode


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", Fraction(0)),
        ("90", Fraction(90)),
        ("90.5", Fraction(181, 2)),
        ("1:30", Fraction(90)),
        ("75:00", Fraction(4500)),
        ("00:01:30.5", Fraction(181, 2)),
        ("10:00:00.001", Fraction(36000001, 1000)),
        (" 7 ", Fraction(7)),
    ],
)
def test_times(text, seconds):
    assert parse_timecode(text) == Timecode(seconds=seconds)


def test_frame_numbers():
    assert parse_timecode("120f") == Timecode(frame=120)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "f",
        "-1",
        "1:",
        ":1",
        "1:60",
        "1:60:00",
        "1:2:3:4",
        "1.5f",
        "-3f",
        "1e3",
        "nan",
        "ten",
        "1,5",
        "１２",
        "1:2.",
        ".5",
    ],
)
def test_everything_else_is_refused_in_one_line(text):
    with pytest.raises(UsageError) as caught:
        parse_timecode(text)
    message = str(caught.value)
    assert repr(text) in message
    assert "120f" in message
    assert "\n" not in message


@given(hours=st.integers(0, 99), minutes=st.integers(0, 59), seconds=st.integers(0, 59), millis=st.integers(0, 999))
def test_all_ways_to_write_a_time_agree(hours, minutes, seconds, millis):
    total = Fraction(hours * 3600 + minutes * 60 + seconds) + Fraction(millis, 1000)
    as_clock = parse_timecode(f"{hours}:{minutes:02}:{seconds:02}.{millis:03}")
    as_seconds = parse_timecode(f"{hours * 3600 + minutes * 60 + seconds}.{millis:03}")
    assert as_clock == as_seconds == Timecode(seconds=total)
    assert parse_timecode(str(as_clock)) == as_clock


@given(frame=st.integers(0, 10**9))
def test_a_frame_number_survives_writing_and_reading(frame):
    assert parse_timecode(str(Timecode(frame=frame))) == Timecode(frame=frame)


@given(text=st.text(alphabet="0123456789:.f-+ e", max_size=12))
def test_any_text_is_read_or_refused(text):
    try:
        timecode = parse_timecode(text)
    except UsageError:
        return
    assert (timecode.seconds is None) != (timecode.frame is None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"fps": 5.0, "stride": 2},
        {"fps": 0.0},
        {"fps": -1.0},
        {"fps": float("nan")},
        {"fps": float("inf")},
        {"stride": 0},
        {"start": parse_timecode("2"), "end": parse_timecode("1")},
        {"start": parse_timecode("2"), "end": parse_timecode("2")},
        {"start": parse_timecode("20f"), "end": parse_timecode("20f")},
    ],
)
def test_samplings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UsageError):
        Sampling(**wrong)
