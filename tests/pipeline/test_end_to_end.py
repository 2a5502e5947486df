"""`vidfer.process` end to end, with the packaged networks: what its tables, report and video promise."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import vidfer
from vidfer import schema
from vidfer.types import EMOTIONS
from vidfer.vision.face import FaceNetwork

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "examples" / "two_faces.mp4"
RAW = [f"emotion_{name}" for name in EMOTIONS]
SMOOTH = [f"{name}_smooth" for name in RAW]
BOX = ["face_x", "face_y", "face_w", "face_h"]
FACE_COLUMNS = [column.name for column in schema.columns("observations")]
FACE_COLUMNS = [
    name for name in FACE_COLUMNS[FACE_COLUMNS.index("face_id") :] if name not in ("identity", "landmarks_z")
]
# Predicted rows have a box and nothing else.
MEASURED = [name for name in FACE_COLUMNS if name not in ("face_id", "face_status", *BOX)]
NO_FACE = ("no_face", "car-detection", "bottle-detection", "one-by-one-person-detection", "bigbuckbunny")


def module_from(path):
    """A file that is no part of the package, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    sys.modules[path.stem] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


mot_score = module_from(ROOT / "benchmarks" / "mot_score.py")
json_schema = module_from(ROOT / "tests" / "contract" / "json_schema.py")


def id_score(truth, result):
    return mot_score.score(mot_score.read_truth(truth), mot_score.read_table(result.table_path))


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """The demo clip, processed once."""
    return vidfer.process(CLIP, output_dir=tmp_path_factory.mktemp("process"), landmarks=68, render=True)


@pytest.fixture(scope="module")
def table(result):
    return result.table


@pytest.fixture(scope="module")
def faces(table):
    """The detected and tracked rows."""
    return table[table.face_status.isin(["detected", "tracked"])]


@pytest.fixture(scope="module")
def faceless(tmp_path_factory):
    """A clip of one grey: no faces."""
    folder = tmp_path_factory.mktemp("faceless")
    with av.open(str(folder / "grey.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        image = np.full((240, 320, 3), 128, np.uint8)
        for _ in range(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return vidfer.process(folder / "grey.mp4", output_dir=folder, render=False)


def same_type(stored, wanted):
    if pa.types.is_fixed_size_list(wanted) and pa.types.is_list(stored):  # before pyarrow 26
        return stored.value_type == wanted.value_type
    return stored == wanted


@pytest.mark.parametrize("which", ["table", "tracks"])
def test_files_have_the_columns_of_the_schema_in_their_order(result, which):
    path, wanted = {
        "table": (result.table_path, schema.observation_schema(68)),
        "tracks": (result.tracks_path, schema.tracks_schema()),
    }[which]
    stored = pq.read_schema(path)
    assert stored.names == wanted.names
    assert [f.name for f in stored if not same_type(f.type, wanted.field(f.name).type)] == []
    assert [f.name for f in stored if f.nullable != wanted.field(f.name).nullable] == []


def test_rows_are_sorted_and_every_analysed_frame_has_some(result, table):
    keys = list(zip(table.frame, table.face_id.fillna(-1), strict=True))
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
    counts = result.report["counts"]
    with av.open(str(CLIP)) as container:
        there = sum(1 for _ in container.decode(video=0))
    assert table.frame.nunique() == counts["analysed"] == counts["decoded"] == there
    assert list(table.frame.unique()) == list(range(there))


def test_times_are_those_of_the_file(table):
    with av.open(str(CLIP)) as container:
        pts = [frame.pts for frame in container.decode(video=0)]
        base = container.streams.video[0].time_base
    per_frame = table.groupby("frame")[["pts", "timestamp", "n_faces", "shot", "epoch"]].nunique(dropna=False)
    assert (per_frame == 1).all(axis=None)
    first = table.drop_duplicates("frame")
    assert list(first.pts) == pts
    assert np.allclose(first.timestamp.to_numpy(float), [float((p - pts[0]) * base) for p in pts], atol=1e-9)


def test_a_frame_without_a_face_has_one_row_of_nulls(faceless, table):
    for observed in (table, faceless.table):
        empty = observed[observed.face_id.isna()]
        assert empty[[name for name in FACE_COLUMNS if name in observed]].isna().all(axis=None)
        assert (empty.n_faces == 0).all()
        rows = observed.groupby("frame").size()
        assert (rows[empty.frame.unique()] == 1).all()
    assert len(faceless.table) == faceless.table.frame.nunique() == 12
    assert faceless.table.face_id.isna().all()
    assert len(faceless.tracks) == 0
    assert faceless.report["counts"]["faces"] == faceless.report["counts"]["tracks"] == 0


def test_missing_is_null_and_never_nan(result):
    for path in (result.table_path, result.tracks_path):
        for name, column in zip((read := pq.read_table(path)).column_names, read.columns, strict=True):
            for chunk in column.chunks:
                values = chunk.flatten() if pa.types.is_nested(chunk.type) else chunk
                if pa.types.is_floating(values.type):
                    assert not pc.any(pc.is_nan(values)).as_py(), name


def test_detected_and_tracked_rows_are_complete(faces):
    assert len(faces)
    assert faces[FACE_COLUMNS].notna().all(axis=None)
    assert set(faces.face_status) == {"detected", "tracked"}
    assert (faces.landmarks.map(len) == 2 * 68).all()


def test_probabilities_sum_to_one_and_name_the_label(faces):
    for names in (RAW, SMOOTH):
        probability = faces[names].to_numpy(float)
        assert probability.min() >= 0
        assert np.abs(probability.sum(axis=1) - 1).max() <= 1e-4
    assert list(faces.emotion) == [EMOTIONS[i] for i in faces[RAW].to_numpy(float).argmax(axis=1)]


def test_values_lie_in_the_ranges_of_the_schema(result, table):
    for name, observed in (("observations", table), ("tracks", result.tracks)):
        for column in schema.columns(name):
            if column.range is None or column.name not in observed:
                continue
            values = observed[column.name].dropna().to_numpy(float)
            low, high = column.range
            assert low is None or (values >= low - 1e-6).all(), column.name
            assert high is None or (values <= high + 1e-6).all(), column.name


def test_boxes_and_landmarks_are_where_a_picture_has_faces(result, table, faces):
    width, height = result.report["source"]["width"], result.report["source"]["height"]
    seen = table[table.face_id.notna()]
    x, y, w, h = (seen[name].to_numpy(float) for name in BOX)
    assert w.min() > 8
    assert h.min() > 8
    assert (w < width).all()
    assert (h < height).all()
    # A box may stand out of the picture, its centre may not.
    assert ((x + w / 2 > 0) & (x + w / 2 < width) & (y + h / 2 > 0) & (y + h / 2 < height)).all()
    points = np.stack(faces.landmarks.to_numpy()).reshape(-1, 68, 2)
    corner = faces[BOX[:2]].to_numpy(float)[:, None]
    size = faces[BOX[2:]].to_numpy(float)[:, None]
    inside = (np.abs((points - corner) / size - 0.5) < 0.75).all(axis=2)
    assert inside.mean() > 0.99


def test_predicted_rows_are_boxes_inside_a_track_and_nothing_else(table, faces):
    predicted = table[table.face_status == "predicted"]
    assert predicted[["face_id", *BOX]].notna().all(axis=None)
    assert predicted[MEASURED].isna().all(axis=None)
    span = faces.groupby("face_id").frame.agg(["min", "max"])
    first, last = (predicted.face_id.map(span[name]) for name in ("min", "max"))
    assert ((predicted.frame > first) & (predicted.frame < last)).all()


def test_n_faces_counts_detected_and_tracked_rows(table, faces):
    found = faces.groupby("frame").size().reindex(table.frame, fill_value=0)
    assert list(table.n_faces) == list(found)


def test_face_ids_are_dense_in_order_of_appearance(table):
    seen = table[table.face_id.notna()]
    first = seen.sort_values("frame", kind="stable").drop_duplicates("face_id").sort_values(["frame", "face_x"])
    assert list(first.face_id) == list(range(len(first)))
    assert len(first)


def test_tracks_are_what_pandas_makes_of_the_rows(result, table, faces):
    tracks = result.tracks.set_index("face_id")
    plain = faces.astype(dict.fromkeys([*RAW, *BOX, "valence", "arousal", "confidence", "quality", "timestamp"], float))
    groups = plain.groupby("face_id")
    assert list(tracks.index) == sorted(groups.groups)
    exact = {
        "first_frame": groups.frame.min(),
        "last_frame": groups.frame.max(),
        "frames": groups.size(),
        "best_frame": plain.loc[groups.quality.idxmax()].set_index("face_id").frame,
    }
    analysed = np.sort(table.frame.unique())
    wanted = {
        "first_timestamp": groups.timestamp.min(),
        "last_timestamp": groups.timestamp.max(),
        "coverage": groups.size() / groups.frame.agg(lambda f: ((analysed >= f.min()) & (analysed <= f.max())).sum()),
        **{f"{name}_median": groups[name].median() for name in ("face_w", "face_h", "confidence", "quality")},
        **{f"{name}_mean": groups[name].mean() for name in (*RAW, "valence", "arousal")},
        **{f"{name}_sd": groups[name].std(ddof=0) for name in ("valence", "arousal")},
    }
    assert {*exact, *wanted, "source", "emotion"} == set(tracks.columns)
    for name, values in exact.items():
        assert list(tracks[name]) == list(values), name
    for name, values in wanted.items():
        assert np.allclose(tracks[name].to_numpy(float), values.to_numpy(float), atol=1e-4), name
    means = groups[RAW].mean().to_numpy()
    assert list(tracks.emotion) == [EMOTIONS[i] for i in means.argmax(axis=1)]


def test_the_report_is_what_its_schema_says_and_adds_up(result, table, faces):
    report = json.loads(result.report_path.read_text())
    assert report == result.report
    assert list(json_schema.violations(report, schema.document("run"))) == []
    counts = report["counts"]
    assert counts["packets"] == counts["decoded"] + counts["undecodable"] + counts["discarded"]
    assert counts["decoded"] == counts["analysed"] + counts["not_sampled"] + counts["dropped"]
    assert counts["faces"] == len(faces)
    assert counts["tracks"] == len(result.tracks) == table.face_id.nunique()
    assert report["state"] == "done"
    assert report["warnings"] == []
    for path in (result.table_path, result.tracks_path):
        footer = json.loads(pq.read_metadata(path).metadata[b"vidfer"])
        assert footer == {key: report[key] for key in footer}
        assert set(report) - set(footer) == {"state", "source_modified_utc", "warnings", "outputs", "timings"}


def test_the_files_named_are_all_there_is(result):
    folder = result.table_path.parent
    names = {path.name for path in folder.iterdir()}
    assert names == {*result.report["outputs"], result.report_path.name}
    assert result.video_path.name in names
    assert not (folder / ".two_faces.vidfer").exists()


def test_the_annotated_video_has_every_frame_at_its_time(result):
    times = []
    for path in (CLIP, result.video_path):
        with av.open(str(path)) as container:
            times.append([float(frame.pts * frame.time_base) for frame in container.decode(video=0)])
    source, annotated = (np.array(t) - t[0] for t in times)
    assert len(source) == len(annotated)
    assert np.allclose(source, annotated, atol=1e-3)


def test_the_same_again_is_given_back(result, monkeypatch):
    monkeypatch.setattr(FaceNetwork, "analyse", refuse)
    before = result.table_path.stat().st_mtime_ns
    again = vidfer.process(CLIP, output_dir=result.table_path.parent, landmarks=68, render=True)
    assert again.report == result.report
    assert again.video_path == result.video_path
    assert result.table_path.stat().st_mtime_ns == before


def test_a_video_asked_for_later_is_drawn_from_the_table(tmp_path, monkeypatch):
    short = {"end": "0.4", "output_dir": tmp_path}
    first = vidfer.process(CLIP, **short, render=False)
    written = first.table_path.stat().st_mtime_ns
    monkeypatch.setattr(FaceNetwork, "analyse", refuse)
    second = vidfer.process(CLIP, **short)
    assert second.video_path is not None
    assert second.video_path.is_file()
    assert second.table_path.stat().st_mtime_ns == written
    assert second.report["outputs"] == [*first.report["outputs"], second.video_path.name]


def refuse(*_):
    raise AssertionError("the face network must not run")


def test_overwriting_leaves_no_video_of_the_earlier_run(tmp_path):
    short = {"end": "0.4", "output_dir": tmp_path}
    video = vidfer.process(CLIP, **short).video_path
    vidfer.process(CLIP, **short, smooth="strong", overwrite=True, render=False)
    assert not video.exists()


def test_a_file_of_somebody_else_is_not_replaced(tmp_path):
    theirs = tmp_path / "two_faces.parquet"
    pq.write_table(pa.table({"a": [1]}), theirs)
    with pytest.raises(vidfer.UsageError, match="no table of vidfer"):
        vidfer.process(CLIP, output_dir=tmp_path, render=False)
    assert pq.read_table(theirs).column_names == ["a"]


def test_other_options_are_refused_by_name(result):
    with pytest.raises(vidfer.UsageError, match=r"smooth='off' instead of 'medium'|smooth='medium' instead of 'off'"):
        vidfer.process(CLIP, output_dir=result.table_path.parent, smooth="off")


def test_overwrite_replaces_and_the_second_run_gives_the_same_table(tmp_path):
    short = {"end": "0.4", "render": False, "output_dir": tmp_path}
    first = vidfer.process(CLIP, **short, smooth="off")
    unsmoothed = first.table
    second = vidfer.process(CLIP, **short, overwrite=True)
    assert second.report["options"]["smooth"] == "medium"
    third = vidfer.process(CLIP, **short, overwrite=True, smooth="off")
    # Without landmarks: lists do not compare.
    columns = [name for name in unsmoothed if name != "landmarks"]
    pd.testing.assert_frame_equal(third.table[columns], unsmoothed[columns])
    assert np.array_equal(unsmoothed[RAW].to_numpy(float), unsmoothed[SMOOTH].to_numpy(float), equal_nan=True)


class BrokenError(Exception):
    """What a test raises inside a run."""


@pytest.mark.parametrize("there_already", [False, True])
def test_an_error_in_the_middle_leaves_nothing_half_made(tmp_path, monkeypatch, there_already):
    short = {"end": "1", "render": False, "output_dir": tmp_path}
    if there_already:
        vidfer.process(CLIP, **short)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    calls, analyse = [], FaceNetwork.analyse

    def breaks(self, *given):
        calls.append(1)
        if len(calls) > 3:
            raise BrokenError
        return analyse(self, *given)

    monkeypatch.setattr(FaceNetwork, "analyse", breaks)
    with pytest.raises(BrokenError):
        vidfer.process(CLIP, **short, overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_ids_on_the_demo_clip(result):
    found = id_score(CLIP.with_suffix(".gt.txt"), result)
    assert found.idf1 >= 0.9, found


@pytest.mark.shared
@pytest.mark.parametrize(("name", "least_idf1", "most_switches"), [("interview2", 0.98, 0), ("composite_dev", 0.90, 3)])
def test_ids_on_real_videos(shared_videos, tmp_path, name, least_idf1, most_switches):
    path = shared_videos / f"{name}.mp4"
    done = vidfer.process(path, output_dir=tmp_path, render=False, landmarks=None)
    found = id_score(path.with_suffix(".gt.txt"), done)
    assert found.idf1 >= least_idf1, found
    assert found.switches <= most_switches, found


@pytest.mark.shared
def test_hardly_a_face_where_there_is_none(shared_videos, tmp_path):
    frames = with_face = 0
    for name in NO_FACE:
        done = vidfer.process(shared_videos / f"{name}.mp4", output_dir=tmp_path, render=False, landmarks=None)
        n_faces = done.table.drop_duplicates("frame").n_faces
        frames += len(n_faces)
        with_face += int((n_faces > 0).sum())
    assert frames > 3000
    assert with_face <= 0.01 * frames
