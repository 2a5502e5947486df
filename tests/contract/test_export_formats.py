"""What each format of `export` holds, read by the programs that people open it with."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import motmetrics
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pympi
import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st
from observed import face, nobody, predicted, write_observed

from vidfer.errors import InputError
from vidfer.output.export.formats import ExportOptions, export_table, export_to
from vidfer.output.export.tools import turns_of
from vidfer.output.parquet import read_footer

ROWS = [
    face(0, 0, "happiness"),
    face(0, 1, "fear", confidence=0.25, source='a "b", c.mp4'),
    predicted(1, 0),
    face(1, 1, "fear"),
    nobody(2),
    face(3, 0, "happiness", emotion="contempt", timestamp=65.5, face_status="tracked"),
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_observed(tmp_path / "t.parquet", ROWS, at_once=4)


def exported(table: Path, to: str, **options: Any) -> str:
    out = io.BytesIO()
    export_to(table, out, ExportOptions(to=to, **options))
    return out.getvalue().decode()


def lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def number(text: str) -> float | None:
    return np.float32(text).item() if text else None


@pytest.mark.parametrize("landmarks", [None, 68, 478])
def test_csv_holds_every_value(tmp_path: Path, landmarks: Any) -> None:
    table = write_observed(tmp_path / "t.parquet", ROWS, landmarks, identity=True)
    rows, wanted = lines(exported(table, "csv")), pq.read_table(table)
    assert list(rows[0]) == wanted.column_names
    for field in wanted.schema:
        texts, values = [row[field.name] for row in rows], wanted[field.name].to_pylist()
        if pa.types.is_list(field.type):
            assert [json.loads(text) if text else None for text in texts] == [
                None if value is None else pytest.approx(value) for value in values
            ]
        elif field.type == pa.float32():
            assert [number(text) for text in texts] == values
        elif field.type == pa.float64():
            assert [float(text) for text in texts] == values
        else:
            assert texts == ["" if value is None else str(value) for value in values]


def test_csv_in_pandas_and_polars(table: Path, tmp_path: Path) -> None:
    export_table(table, tmp_path / "t.csv", ExportOptions(to="csv", wide=True))
    wanted = pq.read_table(table)
    for read in (pd.read_csv(tmp_path / "t.csv"), pl.read_csv(tmp_path / "t.csv").to_pandas()):
        assert read["frame"].tolist() == wanted["frame"].to_pylist()
        assert read["face_id"].isna().tolist() == [False, False, False, False, True, False]
        assert read["source"].tolist() == wanted["source"].to_pylist()
        assert read["y_67"].iloc[3] == wanted["landmarks"][3].as_py()[-1]
        assert read["x_0"].isna().tolist() == wanted["landmarks"].is_null().to_pylist()
        assert "landmarks" not in read.columns


@pytest.mark.parametrize("wide", [False, True])
def test_jsonl_holds_every_value(tmp_path: Path, wide: bool) -> None:
    table = write_observed(tmp_path / "t.parquet", ROWS, 478)
    rows = [json.loads(line) for line in exported(table, "jsonl", wide=wide).splitlines()]
    for row, wanted in zip(rows, pq.read_table(table).to_pylist(), strict=True):
        if wide:
            points, depth = wanted.pop("landmarks") or [None] * 956, wanted.pop("landmarks_z") or [None] * 478
            spread = {f"{axis}_{i}": points[2 * i + at] for at, axis in enumerate("xy") for i in range(478)}
            wanted |= spread | {f"z_{i}": value for i, value in enumerate(depth)}
        assert list(row) == list(wanted)
        for name, value in wanted.items():
            assert row[name] == pytest.approx(value), name


def test_a_wallclock_is_written_as_iso_8601(tmp_path: Path) -> None:
    moment = pd.Timestamp("2026-11-21T14:00:00.25Z")
    table = write_observed(tmp_path / "t.parquet", [nobody(0, wallclock=moment), nobody(1)])
    texts = [row["wallclock"] for row in lines(exported(table, "csv"))]
    assert texts == ["2026-11-21T14:00:00.250000Z", ""]
    assert json.loads(exported(table, "jsonl").splitlines()[0])["wallclock"] == texts[0]


def test_arrow_has_types_values_and_footer(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.arrow"
    export_table(table, out, ExportOptions(to="arrow"))
    with pa.ipc.open_file(out) as file:
        read = file.read_all()
    wanted = pq.read_table(table)
    assert json.loads(read.schema.metadata[b"vidfer"]) == read_footer(table)
    assert read.schema.field("landmarks").type == pa.list_(pa.float32(), 136)
    for name in wanted.column_names:
        assert read[name].to_pylist() == wanted[name].to_pylist(), name
    assert set(pd.read_feather(out)["emotion"].cat.categories) >= {"happiness", "surprise"}
    assert pl.read_ipc(out)["face_id"].to_list() == wanted["face_id"].to_pylist()


def test_openface(table: Path) -> None:
    rows = lines(exported(table, "openface"))
    points = [f"{axis}_{i}" for axis in "xy" for i in range(68)]
    names = ["frame", "face_id", "timestamp", "confidence", "success", "pose_Rx", "pose_Ry", "pose_Rz", *points]
    assert list(rows[0]) == names
    assert [row["frame"] for row in rows] == ["1", "1", "2", "2", "3", "4"]
    assert [row["success"] for row in rows] == ["1", "1", "0", "1", "0", "1"]
    for row in (rows[2], rows[4]):
        assert {row[name] for name in names[3:] if name != "success"} == {""}
    assert (rows[1]["x_0"], rows[1]["y_0"]) == ("10", "10.125")
    # Up, to the right of the subject and to the right shoulder: Rx and Rz are negative, Ry is positive.
    assert [np.sign(float(rows[0][f"pose_R{axis}"])) for axis in "xyz"] == [-1, 1, -1]
    assert abs(float(rows[0]["pose_Ry"])) == pytest.approx(np.deg2rad(10), rel=0.05)


def axis_turn(angle: float, axis: int) -> Any:
    one, other = (axis + 1) % 3, (axis + 2) % 3
    turn = np.eye(3)
    turn[[one, one, other, other], [one, other, one, other]] = (
        np.cos(angle),
        -np.sin(angle),
        np.sin(angle),
        np.cos(angle),
    )
    return turn


angles = st.floats(-80, 80)


@given(pitch=angles, yaw=angles, roll=angles)
def test_openface_turns_are_the_same_turns(pitch: float, yaw: float, roll: float) -> None:
    """Ours: pitch, then yaw, then roll, about fixed axes, with signs turned; theirs: R = Rx Ry Rz."""
    batch = pa.record_batch({name: [value] for name, value in (("pitch", pitch), ("yaw", yaw), ("roll", roll))})
    x, y, z = turns_of(batch)[0]
    ours = axis_turn(-np.deg2rad(roll), 2) @ axis_turn(-np.deg2rad(yaw), 1) @ axis_turn(-np.deg2rad(pitch), 0)
    theirs = axis_turn(x, 0) @ axis_turn(y, 1) @ axis_turn(z, 2)
    assert np.allclose(ours, theirs, atol=1e-6)


def test_pyfeat(table: Path) -> None:
    """The columns by which the class Fex knows its parts; test_pyfeat.py opens it there."""
    rows = lines(exported(table, "pyfeat"))
    points = [f"{axis}_{i}" for axis in "xy" for i in range(68)]
    box = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore"]
    emotions = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]
    about = ["contempt", "valence", "arousal", "input", "frame", "approx_time", "Identity"]
    assert list(rows[0]) == [*box, *points, "Pitch", "Roll", "Yaw", *emotions, *about]
    assert [row["Identity"] for row in rows] == ["Person_0", "Person_1", "Person_0", "Person_1", "", "Person_0"]
    assert [row["approx_time"] for row in rows] == ["00:00"] * 5 + ["01:05"]
    assert rows[2]["FaceRectX"] == "7.5"
    assert (rows[2]["FaceScore"], rows[2]["anger"], rows[4]["FaceRectX"]) == ("", "", "")
    assert number(rows[0]["anger"]) == np.float32(7 / 36)
    assert [np.sign(float(rows[0][name])) for name in ("Pitch", "Roll", "Yaw")] == [1, -1, 1]


def test_pyfeat_takes_the_identity_where_there_is_one(tmp_path: Path) -> None:
    rows = [face(0, 0, identity=4), face(1, 7, identity=4)]
    table = write_observed(tmp_path / "t.parquet", rows, identity=True)
    assert [row["Identity"] for row in lines(exported(table, "pyfeat"))] == ["Person_4", "Person_4"]


@pytest.mark.parametrize("to", ["openface", "pyfeat"])
@pytest.mark.parametrize("landmarks", [None, 478])
def test_points_that_are_not_the_68_are_left_out(tmp_path: Path, to: str, landmarks: Any, caplog: Any) -> None:
    table = write_observed(tmp_path / "t.parquet", ROWS, landmarks)
    assert not {"x_0", "y_0", "x_477"} & set(lines(exported(table, to))[0])
    assert all("x_0 to y_67 are left out" in record.getMessage() for record in caplog.records)
    assert bool(caplog.records) == bool(landmarks)


def test_mot_in_motmetrics(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.mot.txt"
    export_table(table, out, ExportOptions(to="mot"))
    assert out.read_text().splitlines()[0] == "1,1,1.1,2.1,2.1,3.1,0.9,-1,-1,-1"
    read = motmetrics.io.loadtxt(out, fmt=motmetrics.io.Format.MOT15_2D)
    assert read.index.tolist() == [(1, 1), (1, 2), (2, 2), (4, 1)]
    # motmetrics takes the 1 away again by which MOTChallenge counts pixels.
    wanted = pq.read_table(table, columns=["face_x", "face_y", "face_w", "face_h"]).take([0, 1, 3, 5]).to_pandas()
    assert np.allclose(read[["X", "Y", "Width", "Height"]], wanted, atol=1e-5)
    # Evaluated against itself it is perfect; the distances are ours, motmetrics' own fail on numpy 2.
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    for _, rows in read.groupby("FrameId"):
        ids = rows.index.get_level_values("Id")
        accumulator.update(ids, ids, 1 - np.eye(len(ids)))
    score = motmetrics.metrics.create().compute(accumulator, metrics=["num_matches", "mota", "idf1"])
    assert score.to_numpy().tolist() == [[4, 1.0, 1.0]]


TALK = [
    *(face(frame, 0, "happiness" if frame < 50 else "fear") for frame in range(75)),
    *(face(frame, 1, "anger") for frame in range(10, 20)),
]
TALK.sort(key=lambda row: (row["frame"], row["face_id"]))
CUES = [(0.0, 2.0, 0, "happiness"), (0.4, 0.8, 1, "anger"), (2.0, 3.0, 0, "fear")]


def test_elan_in_pympi(tmp_path: Path) -> None:
    table = write_observed(tmp_path / "t.parquet", TALK, source={"name": 'a & "b".mp4', "average_frame_rate": "25"})
    export_table(table, tmp_path / "t.eaf", ExportOptions(to="elan"))
    read = pympi.Eaf(tmp_path / "t.eaf")
    assert list(read.get_tier_names()) == ["face 0", "face 1"]
    found = [
        (start / 1000, end / 1000, int(tier[5:]), label)
        for tier in read.get_tier_names()
        for start, end, label in read.get_annotation_data_for_tier(tier)
    ]
    assert sorted(found) == CUES
    assert list(read.get_controlled_vocabulary_names()) == ["emotion"]
    assert read.get_linked_files()[0]["RELATIVE_MEDIA_URL"] == './a & "b".mp4'
    assert len(read.timeslots) == 2 * len(CUES)
    assert list(read.timeslots.values()) == sorted(read.timeslots.values())
    read.to_file(tmp_path / "again.eaf")  # what it writes of ours is whole, too
    assert list(pympi.Eaf(tmp_path / "again.eaf").get_tier_names()) == ["face 0", "face 1"]


@pytest.mark.parametrize(("to", "read"), [("srt", webvtt.from_srt), ("vtt", webvtt.read)])
def test_subtitles_in_webvtt(tmp_path: Path, to: str, read: Any) -> None:
    table, out = write_observed(tmp_path / "t.parquet", TALK), tmp_path / f"t.{to}"
    export_table(table, out, ExportOptions(to=to))
    found = [(cue.start_in_seconds, cue.end_in_seconds, cue.text) for cue in read(str(out))]
    assert [(int(start), int(end), text) for start, end, text in found] == [
        (int(start), int(end), f"face {face_id}: {label}") for start, end, face_id, label in CUES
    ]
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d[.,]\d{3}", str(cue.start)) for cue in read(str(out)))


def test_srt_to_the_letter(tmp_path: Path) -> None:
    rows = [face(0, 3, "fear", timestamp=36_000.0), face(1, 3, "fear", timestamp=36_000.0415)]
    table = write_observed(tmp_path / "t.parquet", rows)
    assert exported(table, "srt") == "1\n10:00:00,000 --> 10:00:00,082\nface 3: fear\n\n"
    assert exported(table, "vtt") == "WEBVTT\n\n10:00:00.000 --> 10:00:00.082\nface 3: fear\n"


@pytest.mark.parametrize("to", ["elan", "srt", "vtt"])
def test_photos_have_no_time_to_stand_on(tmp_path: Path, to: str) -> None:
    table = write_observed(tmp_path / "t.parquet", [face(0, 0, timestamp=None, pts=None)])
    with pytest.raises(InputError, match=r"has no times, as of photos: export it with --to csv"):
        exported(table, to)


def test_a_table_without_faces_gives_empty_exports(tmp_path: Path) -> None:
    table = write_observed(tmp_path / "t.parquet", [nobody(0), nobody(1)])
    assert exported(table, "mot") == exported(table, "srt") == ""
    assert exported(table, "vtt") == "WEBVTT\n"
    assert "<TIER" not in exported(table, "elan")
    assert [row["success"] for row in lines(exported(table, "openface"))] == ["0", "0"]
