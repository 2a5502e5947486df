"""Summaries of whole tables: time as it was, in whatever pieces the table lies there."""

from __future__ import annotations

import itertools
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from columns import column_array

import vidfer
from vidfer.errors import InputError, UsageError
from vidfer.output.parquet import TableWriter
from vidfer.pipeline.summary import SummaryOptions, parse_baseline, summarize_table
from vidfer.schema import observation_schema
from vidfer.stats.baseline import Span
from vidfer.stats.synchrony import SynchronyOptions
from vidfer.types import EMOTIONS

ABOUT = {
    "schema_version": 1,
    "vidfer_version": "0.1.0",
    "source": {"name": "talk.mp4", "average_frame_rate": "25/1"},
    "sampling": {"fps": None, "stride": None},
}


def write_table(path, time_s, faces, *, shot=None, identity=None, about=ABOUT):
    """A table of frames at some times.

    Args:
        faces: For each face (frames, neutral, valence): in which frames it is, how neutral and how pleasant there; NaN
            for a predicted row.
        identity: Person of each face.
    """
    rows = []
    for face, (frames, neutral, valence) in enumerate(faces):
        rows += [(*one[:1], face, *one[1:]) for one in zip(frames, neutral, valence, strict=True)]
    with_face = {row[0] for row in rows}
    rows += [(frame, -1, np.nan, np.nan) for frame in range(len(time_s)) if frame not in with_face]
    rows.sort()
    frame, face, neutral, valence = (np.array(column) for column in zip(*rows, strict=True))
    seen = np.isfinite(valence)
    values = {
        "source": ["talk.mp4"] * len(rows),
        "frame": frame,
        "timestamp": np.array(time_s, float)[frame],
        "epoch": np.zeros(len(rows), int),
        "shot": np.zeros(len(rows), int) if shot is None else np.array(shot)[frame],
        "frame_status": ["ok"] * len(rows),
        "n_faces": np.array([sum(frame[seen] == one) for one in frame]),
        "face_id": np.where(face < 0, np.nan, face),
        "identity": np.array([np.nan if identity is None or one < 0 else identity[one] for one in face]),
        "face_status": np.where(face < 0, None, np.where(seen, "detected", "predicted").astype(object)),
    }
    for kind in ("", "_smooth"):
        labels = np.where(neutral >= 0.5, "neutral", "happiness").astype(object)
        values[f"emotion{kind}"] = np.where(seen, labels, None)
        for name in EMOTIONS:
            values[f"emotion_{name}{kind}"] = {"neutral": neutral, "happiness": 1 - neutral}.get(name, neutral * 0)
        values |= {f"valence{kind}": valence, f"arousal{kind}": valence / 2}
    schema = observation_schema(None, identity=identity is not None)
    empty = np.full(len(rows), np.nan)
    columns = []
    for field in schema:
        given = values.get(field.name, empty)
        plain = pa.nulls(len(rows), field.type) if given is empty else column_array(given, field.type)
        columns.append(plain)
    with TableWriter(path, schema) as writer:
        writer.write(pa.table(columns, schema=schema))
        writer.set_metadata(about)
    return path


def steady(frames, neutral=0.9, valence=0.1):
    return frames, [neutral] * len(frames), [valence] * len(frames)


def test_time_is_that_of_the_stamps_at_a_variable_rate_and_with_gaps(tmp_path):
    """0.1 s, 0.4 s, a gap of 10 s that counts for half a second, 0.04 s; the last frame for one usual step."""
    path = write_table(tmp_path / "a.parquet", [0, 0.1, 0.5, 10.5, 10.54], [steady([0, 1, 2, 3, 4]), steady([1, 4])])
    one = summarize_table(path)
    assert one.video.seconds == pytest.approx(0.1 + 0.4 + 0.5 + 0.04 + 0.04)
    assert [face.on_screen_s for face in one.faces] == pytest.approx([one.video.seconds, 0.4 + 0.04])
    assert (one.source, one.table) == ("talk.mp4", str(path))
    assert (one.video.frames, one.video.faces, one.video.most_faces) == (5, 2, 2)
    assert one.video.face_s == pytest.approx(sum(face.on_screen_s for face in one.faces))


def test_time_of_a_real_video_of_a_variable_rate_is_that_of_ffprobe(shared_videos, ffprobe, tmp_path):
    clip = shared_videos / "face_noface.mov"
    found = vidfer.process(clip, output_dir=tmp_path, render=False, landmarks=None)
    one = summarize_table(found.table_path)
    (stream,) = ffprobe.ask(clip, "-select_streams", "v:0", "-show_entries", "stream=time_base")["streams"]
    step_s = np.diff(ffprobe.frame_pts(clip)) * float(Fraction(stream["time_base"]))
    assert np.ptp(step_s) > 0.005
    until_next = np.append(step_s, np.median(step_s)).clip(max=0.5)
    assert one.video.seconds == pytest.approx(until_next.sum(), abs=0.02)
    seen = found.table.dropna(subset=["face_id"]).groupby("face_id")["frame"].unique()
    assert [face.on_screen_s for face in one.faces] == pytest.approx(
        [until_next[frames.astype(int)].sum() for frames in seen], abs=0.02
    )
    assert 0 < one.video.with_faces_s < 0.6 * one.video.seconds


def test_bridged_rows_are_on_screen_but_not_measured(tmp_path):
    frames = list(range(50))
    valence = [np.nan if 20 <= i < 30 else 0.2 for i in frames]
    path = write_table(tmp_path / "a.parquet", np.arange(60) / 25, [(frames, valence, valence)])
    (face,) = summarize_table(path).faces
    assert (face.on_screen_s, face.measured_s) == pytest.approx((2.0, 1.6))
    assert face.raw.valence.mean == pytest.approx(0.2)
    video = summarize_table(path).video
    assert (video.seconds, video.with_faces_s) == pytest.approx((2.4, 2.0))


def test_labels_change_neither_over_cuts_nor_over_gaps(tmp_path):
    neutral = [0.9] * 10 + [0.1] * 10
    time_s = np.arange(20) / 25
    shown = (list(range(20)), neutral, [0.0] * 20)
    plain, cut, gap = tmp_path / "plain.parquet", tmp_path / "cut.parquet", tmp_path / "gap.parquet"
    write_table(plain, time_s, [shown])
    write_table(cut, time_s, [shown], shot=[0] * 10 + [1] * 10)
    write_table(gap, np.where(np.arange(20) < 10, time_s, time_s + 3), [shown])
    assert summarize_table(plain).faces[0].transitions[0, 1] == 1
    assert summarize_table(cut).faces[0].transitions.sum() == 0
    assert summarize_table(gap).faces[0].transitions.sum() == 0


def some_faces(rows=600, seed=3):
    random = np.random.default_rng(seed)
    for begin, end in ((0, rows), (50, rows - 100), (rows - 90, rows)):
        frames = [i for i in range(begin, end) if random.random() > 0.02]
        wave = np.sin(np.array(frames) / 17 + begin)
        yield frames, (wave + 1) / 2, wave / 2


def test_pieces_of_the_file_change_nothing(tmp_path, monkeypatch):
    """A face may change its row group in the middle of a frame."""
    time_s = np.cumsum(np.random.default_rng(1).choice([0.02, 0.04, 0.3], 600))
    whole = write_table(tmp_path / "whole.parquet", time_s, list(some_faces()))
    monkeypatch.setattr("vidfer.output.parquet.ROW_GROUP_ROWS", 7)
    pieces = write_table(tmp_path / "pieces.parquet", time_s, list(some_faces()))
    options = SummaryOptions(baseline="auto")
    mine, theirs = (summarize_table(path, options) for path in (whole, pieces))
    assert str(mine.faces) == str(theirs.faces)
    assert str(mine.video) == str(theirs.video)
    assert mine.synchrony == theirs.synchrony
    assert mine.synchrony


def test_a_lag_planted_in_a_table_is_found(tmp_path):
    random = np.random.default_rng(5)
    noise = np.convolve(random.standard_normal(1300), np.hanning(41), "same")
    noise = noise / np.abs(noise).max()
    frames = list(range(1000))
    follows = noise[100 - 20 : 1100 - 20]  # 20 frames, 0.8 s, later
    shown = [(frames, [0.5] * 1000, values) for values in (noise[100:1100], follows)]
    path = write_table(tmp_path / "a.parquet", np.arange(1000) / 25, shown)
    valence = summarize_table(path).synchrony[0]
    assert (valence.first, valence.second, valence.signal) == (0, 1, "valence")
    assert valence.lag_s == pytest.approx(0.8)
    assert valence.correlation > 0.95
    assert valence.surrogate_p == pytest.approx(0.05)
    assert summarize_table(path, SummaryOptions(synchrony=None)).synchrony == ()


def test_only_the_faces_longest_on_screen_are_compared(tmp_path, monkeypatch):
    monkeypatch.setattr("vidfer.pipeline.summary.MOST_COMPARED", 2)
    waves = [(list(range(i, 400)), *[np.sin(np.arange(i, 400) / (9 + i)) / 2 + 0.5] * 2) for i in range(4)]
    path = write_table(tmp_path / "a.parquet", np.arange(400) / 25, waves)
    assert {(pair.first, pair.second) for pair in summarize_table(path).synchrony} == {(0, 1)}


def test_baselines_are_those_of_persons_where_the_table_knows_them(tmp_path):
    """Faces 0 and 1 are one person, neutral in the second track only; nobody knows who face 2 is."""
    faces = [
        steady(list(range(50)), neutral=0.2, valence=0.6),
        steady(list(range(60, 110)), neutral=0.9, valence=0.1),
        steady(list(range(110)), neutral=0.4, valence=-0.3),
    ]
    path = write_table(tmp_path / "a.parquet", np.arange(110) / 25, faces, identity=[7, 7, np.nan])
    told = summarize_table(path, SummaryOptions(baseline="auto")).faces
    assert [face.identity for face in told] == [7, 7, None]
    assert [face.baseline.valence.mean for face in told] == pytest.approx([0.1, 0.1, -0.3])
    apart = write_table(tmp_path / "b.parquet", np.arange(110) / 25, faces)
    told = summarize_table(apart, SummaryOptions(baseline="auto")).faces
    assert [face.baseline.valence.mean for face in told] == pytest.approx([0.6, 0.1, -0.3])
    told = summarize_table(apart, SummaryOptions(baseline=Span(start_s=0.0, end_s=1.0))).faces
    assert [face.baseline is None for face in told] == [False, True, False]


def test_spans_are_read_as_people_write_them():
    assert parse_baseline("0:05-0:15") == Span(start_s=5, end_s=15)
    assert parse_baseline(" auto ") == "auto"
    for wrong in ("0:15-0:05", "5", "5-5", "10f-20f", "-", "neutral", "1:90-2:00", "1-2-3"):
        with pytest.raises(UsageError):
            parse_baseline(wrong)


def test_options_that_mean_nothing_are_refused():
    for wrong in (0, 2.5, float("nan")):
        with pytest.raises(UsageError, match="prominence"):
            SummaryOptions(least_prominence=wrong)
    for window_s, max_lag_s in ((0.5, 0.2), (5, 0), (5, 6), (float("nan"), 1)):
        with pytest.raises(UsageError):
            SummaryOptions(synchrony=SynchronyOptions(window_s=window_s, max_lag_s=max_lag_s))


def test_frames_without_a_face_are_a_summary_too(tmp_path):
    one = summarize_table(write_table(tmp_path / "a.parquet", np.arange(10) / 25, []))
    assert (one.faces, one.synchrony, one.video.raw) == ((), (), None)
    assert one.video.seconds == pytest.approx(0.4)


def test_what_is_no_table_is_one_line_with_a_way_on(tmp_path):
    time_s, faces = np.arange(5) / 25, [steady(list(range(5)))]
    other = write_table(tmp_path / "other.parquet", time_s, faces, about=ABOUT | {"schema_version": 9})
    timeless = write_table(tmp_path / "photos.parquet", [np.nan] * 5, faces)
    lacking, empty = tmp_path / "lacking.parquet", tmp_path / "empty.parquet"
    for path, columns, rows in (
        (lacking, ["frame", "timestamp"], [[0], [0.0]]),
        (empty, observation_schema(None).names, None),
    ):
        fields = [observation_schema(None).field(name) for name in columns]
        data = (
            pa.table([pa.array(v, f.type) for v, f in zip(rows, fields, strict=True)], pa.schema(fields))
            if rows
            else None
        )
        with TableWriter(path, pa.schema(fields)) as writer:
            if data is not None:
                writer.write(data)
            writer.set_metadata(ABOUT)
    broken, foreign = tmp_path / "broken.parquet", tmp_path / "foreign.parquet"
    broken.write_bytes(timeless.read_bytes()[:500])
    pa.parquet.write_table(pa.table({"a": [1]}), foreign)
    wanted = {
        other: "schema version 9, this vidfer reads version 1: use the vidfer",
        timeless: "has no times",
        lacking: "lacks shot, epoch, .* `vidfer schema`",
        empty: "has no rows",
        broken: "not a complete Parquet file",
        foreign: "pandas drops it",
        tmp_path / "missing.parquet": "does not exist: give a table made by `vidfer process`",
        tmp_path / "a.tracks.parquet": "one row per track: give the table beside it",
    }  # fmt: skip
    for path, message in wanted.items():
        with pytest.raises(InputError, match=message) as caught:
            summarize_table(path)
        assert "\n" not in str(caught.value)


def test_every_column_is_documented():
    from vidfer.stats.tables import TABLES, summary_schema

    text = (Path(__file__).resolve().parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    named = set(
        itertools.chain.from_iterable(row.split("|")[1].replace("`", "").replace(" ", "").split(",") for row in rows)
    )
    there = {name for table in TABLES for name in summary_schema(table, baseline=True).names}
    spread = {name.replace("_X", f"_{one}") for name in named for one in (EMOTIONS if "_X" in name else [""])}
    assert spread == there
    assert json.dumps(sorted(named))  # plain names only
