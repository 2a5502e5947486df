import io
import logging
from dataclasses import dataclass

import pytest

from vidfer.cli.progress import ProgressLine, clock, describe, is_live, logs_shown


@dataclass
class Moment:
    stage: str = "analyse"
    frames_done: int = 100
    frames_total: int | None = 400
    time_s: float = 4.0
    seconds: float = 2.0
    faces: int = 150
    frames_before: int = 0


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (750, "12:30"), (3723, "1:02:03")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_describe_tells_frames_speed_real_time_rest_and_faces():
    assert describe(Moment()) == "analysing · 100/400 frames · 50 frames/s · 2.0x real time · 0:06 left · 150 faces"


def test_what_an_interrupted_run_did_does_not_count_as_speed():
    moment = Moment(frames_before=60)
    assert describe(moment) == "analysing · 100/400 frames · 20 frames/s · 0.8x real time · 0:15 left · 150 faces"


def test_describe_leaves_out_what_is_not_known():
    assert describe(Moment(frames_total=None, time_s=0.0)) == "analysing · 100 frames · 50 frames/s · 150 faces"
    assert describe(Moment(frames_done=0, seconds=0.0, time_s=0.0)) == "analysing"
    assert (
        describe(Moment(stage="render", frames_done=400)) == "drawing · 400/400 frames · 200 frames/s · 2.0x real time"
    )


def test_on_a_terminal_one_line_is_written_over_and_taken_away():
    stream, now = Terminal(), iter([0.0, 0.0, 0.05, 0.2]).__next__
    line = ProgressLine(stream, live=True, now=now)
    for done in (1, 2, 3):
        line.update("a.mp4", Moment(frames_done=done))
    line.clear()
    line.clear()
    pieces = stream.getvalue().split("\r")
    assert [piece[:17] for piece in pieces] == [
        "",
        "a.mp4: analysing ",
        "a.mp4: analysing ",
        "\x1b[K",
    ]  # the 2nd came too soon
    assert "\n" not in stream.getvalue()


def test_elsewhere_a_line_every_ten_seconds():
    stream, now = io.StringIO(), iter([0.0, *range(1, 31)]).__next__
    line = ProgressLine(stream, live=False, now=now)
    for done in range(1, 31):
        line.update("a.mp4", Moment(frames_done=done))
    line.clear()
    lines = stream.getvalue().splitlines()
    assert [text.split("·")[1].strip() for text in lines] == ["10/400 frames", "20/400 frames", "30/400 frames"]
    assert "\r" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(
    ("stream", "term", "live"),
    [(Terminal(), "xterm", True), (Terminal(), "dumb", False), (io.StringIO(), "xterm", False)],
)
def test_is_live(stream, term, live, monkeypatch):
    monkeypatch.setenv("TERM", term)
    assert is_live(stream) is live


@pytest.mark.parametrize(
    ("debug", "quiet", "shown"),
    [(False, False, ["warning", "error"]), (True, False, ["debug", "warning", "error"]), (False, True, ["error"])],
)
def test_log_lines(debug, quiet, shown):
    stream = io.StringIO()
    logger = logging.getLogger("vidfer.somewhere")
    with logs_shown(ProgressLine(stream, live=False), stream, debug=debug, quiet=quiet):
        logger.debug("one")
        logger.warning("two")
        logger.error("three")
    logger.error("not shown any more")
    assert [line.split(": ")[1] for line in stream.getvalue().splitlines()] == shown
