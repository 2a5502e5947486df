"""Options from Python: what is meant is taken, everything else refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vidfer
from vidfer import ProcessOptions, UsageError

SAME = [
    *(("start", value, "90") for value in (90, 90.0, "90", "90.0", "1:30", "00:01:30", " 90 ", np.float32(90))),
    *(("end", value, "0.1") for value in (0.1, "0.1", "0:00.1", "00:00:00.10")),
    ("end", 1e-7, "0.0000001"),
    ("start", "0120f", "120f"),
    *(("fps", value, 5.0) for value in (5, 5.0, "5", np.int64(5))),
    *(("stride", value, 2) for value in (2, 2.0, "2", np.int8(2))),
    *(("detect_every", value, 3) for value in (3, "3")),
    *(("detect_every", value, None) for value in (None, "auto")),
    *(("landmarks", value, None) for value in (None, "none")),
    *(("landmarks", value, 478) for value in (478, "478", 478.0)),
    *(("output_dir", value, Path("out")) for value in ("out", Path("out"))),
]

WRONG = [
    *(("start", value) for value in (-1, "-1", float("nan"), float("inf"), True, [], "soon", b"1", "")),
    *(("fps", value) for value in ("fast", 0, -2, float("nan"), True, [5], 10**400)),
    *(("stride", value) for value in (2.5, 0, "two", True, float("inf"))),
    *(("stream", value) for value in (None, "a", -1, 0.5)),
    *(("detect_every", value) for value in (0, "often", 1.5, False)),
    *(("landmarks", value) for value in (5, "all", [68], True)),
    *(("smooth", value) for value in (None, 1, "much", ["off"])),
    *(("device", value) for value in (None, 0, "tpu")),
    *(("overwrite", value) for value in ("yes", 1, None)),
    *(("render", value) for value in ("no", 0, None)),
    *(("output_dir", value) for value in (None, 1, b"out")),
]


@pytest.mark.parametrize(("name", "value", "meant"), SAME)
def test_what_means_the_same_is_the_same_option(name, value, meant):
    options = ProcessOptions(**{name: value})
    assert getattr(options, name) == meant
    assert type(getattr(options, name)) is type(meant) or isinstance(meant, Path)
    assert options == ProcessOptions(**{name: meant})
    assert options.deciding() == ProcessOptions(**{name: meant}).deciding()


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_the_rest_is_refused_in_one_line_that_names_it(name, value):
    with pytest.raises(UsageError) as caught:
        ProcessOptions(**{name: value})
    message = str(caught.value)
    assert name in message or "timecode" in message
    assert "\n" not in message


@pytest.mark.parametrize("path", [None, 3, b"v.mp4"])
def test_a_path_is_a_path(path):
    with pytest.raises(UsageError, match="give the name of a video file"):
        vidfer.process(path)
