"""Stretches of one emotion of one face: they cover what the table says, and nothing else."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from observed import face, nobody, predicted, write_observed

from vidfer.output.export.reader import open_reader
from vidfer.output.export.stretches import find_stretches
from vidfer.output.export.where import Condition, Where


def found(path: Path, rows: list[dict[str, Any]], *where: str, **about: Any) -> list[tuple[int, int, int, str]]:
    table = write_observed(path / "t.parquet", rows, None, at_once=3, **about)
    with open_reader(table, Where(Condition.parse(text) for text in where)) as reader:
        return [(one.start_ms, one.end_ms, one.face_id, one.label) for one in find_stretches(reader)]


def test_a_predicted_box_or_a_short_absence_does_not_end_a_stretch(tmp_path: Path) -> None:
    rows = [face(0, 0), predicted(1, 0), face(2, 0), nobody(3), nobody(4), face(5, 0)]
    assert found(tmp_path, rows) == [(0, 240, 0, "neutral")]


def test_another_emotion_in_a_gap_ends_it_before_the_gap(tmp_path: Path) -> None:
    rows = [face(0, 0), predicted(1, 0), predicted(2, 0), face(3, 0, "fear")]
    assert found(tmp_path, rows) == [(0, 40, 0, "neutral"), (120, 160, 0, "fear")]


def test_a_long_absence_ends_it(tmp_path: Path) -> None:
    rows = [face(0, 0), *(nobody(frame) for frame in range(1, 15)), face(15, 0)]
    assert found(tmp_path, rows) == [(0, 40, 0, "neutral"), (600, 640, 0, "neutral")]


@pytest.mark.parametrize("change", [{"shot": 1}, {"epoch": 1}])
def test_a_cut_or_another_connection_ends_it(tmp_path: Path, change: dict[str, int]) -> None:
    rows = [face(0, 0), face(1, 0), face(2, 0, **change), face(3, 0, **change)]
    assert found(tmp_path, rows) == [(0, 80, 0, "neutral"), (80, 160, 0, "neutral")]


def test_frames_far_apart_are_those_that_were_analysed(tmp_path: Path) -> None:
    rows = [face(frame, 0) for frame in (0, 50, 100)]
    sampled = {"start": None, "end": None, "fps": 0.5, "stride": None}
    assert found(tmp_path, rows, sampling=sampled) == [(0, 6000, 0, "neutral")]


def test_in_an_outage_nothing_is_shown(tmp_path: Path) -> None:
    rows = [face(0, 0), face(1, 0), face(100, 0)]
    assert found(tmp_path, rows) == [(0, 80, 0, "neutral"), (4000, 4040, 0, "neutral")]


def test_conditions_leave_rows_out_and_change_no_times(tmp_path: Path) -> None:
    rows = [face(0, 0), face(0, 1), face(1, 0, quality=0.1), face(1, 1), face(2, 0, quality=0.1), face(2, 1)]
    assert found(tmp_path, rows, "face_id=0", "quality>=0.3") == [(0, 40, 0, "neutral")]


labels = st.sampled_from(["neutral", "fear", None])


@settings(max_examples=40)
@given(
    shown=st.lists(st.tuples(labels, labels), min_size=1, max_size=40),
    steps=st.lists(st.sampled_from([0.02, 0.04, 0.09]), min_size=40, max_size=40),
)
def test_every_row_lies_in_one_stretch_of_its_label(
    shown: list[tuple[str | None, str | None]], steps: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    times = [round(sum(steps[:i]), 2) for i in range(len(shown))]
    rows = []
    for frame, (time, pair) in enumerate(zip(times, shown, strict=True)):
        faces = [face(frame, i, label, timestamp=time) for i, label in enumerate(pair) if label]
        rows += faces or [nobody(frame, timestamp=time)]
    stretches = found(tmp_path_factory.getbasetemp(), rows)
    for row in rows:
        if row.get("face_id") is not None:
            at = round(row["timestamp"] * 1000)
            inside = [one for one in stretches if one[0] <= at < one[1] and one[2] == row["face_id"]]
            assert [one[3] for one in inside] == [row["emotion_smooth"]]
    for face_id in (0, 1):
        own = [one for one in stretches if one[2] == face_id]
        assert all(before[1] <= after[0] for before, after in pairwise(own))
        starts = {round(row["timestamp"] * 1000) for row in rows if row.get("face_id") == face_id}
        assert {one[0] for one in own} <= starts
