"""The benchmark of how tables look, on tables of which one knows what it has to say."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

_PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "looks.py"
_SPEC = importlib.util.spec_from_file_location("looks", _PATH)
looks = sys.modules["looks"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(looks)

FPS = 25.0
EYES_PX = 50.0


def table(path, face_id=0, *, frames=200, label=None, noise_px=0.0, drift_px=0.0, yaw=0.0, status=None, seed=0):
    """One face that holds still but for noise and drift; happiness is as probable as it is labelled."""
    random = np.random.default_rng(seed)
    label = np.array(["neutral"] * frames if label is None else label)
    points = np.zeros((frames, 68, 2)) + random.uniform(10, 90, (68, 2))
    points[:, 36], points[:, 45] = (25, 50), (25 + EYES_PX, 50)
    points += random.normal(0, noise_px, points.shape) + drift_px * np.arange(frames)[:, None, None]
    status = np.array(["tracked"] * frames if status is None else status)
    seen = status != "predicted"
    columns = {
        "frame": np.arange(frames),
        "timestamp": np.arange(frames) / FPS,
        "shot": np.zeros(frames, np.int32),
        "face_id": np.full(frames, face_id, np.int32),
        "face_status": pa.array(status).dictionary_encode(),
        **{f"emotion{kind}": pa.array(label, mask=~seen).dictionary_encode() for kind in ("", "_smooth")},
        **dict.fromkeys(("confidence", "quality"), np.ones(frames)),
        **dict.fromkeys(("valence", "arousal", "valence_smooth", "arousal_smooth"), np.zeros(frames)),
        "yaw": np.full(frames, yaw),
        "face_x": np.zeros(frames),
        "face_y": np.zeros(frames),
        **dict.fromkeys(("face_w", "face_h"), np.full(frames, 100.0)),
        **{f"emotion_{n}{k}": (label == n) * 1.0 for k in ("", "_smooth") for n in looks.EMOTIONS},
        "landmarks": pa.array(list(points.reshape(frames, -1).astype(np.float32)), mask=~seen),
    }
    pq.write_table(pa.table(columns), path)
    return path


def measured(path):
    return looks.measure([path])["clips"][path.stem]


@pytest.mark.parametrize(
    ("labels", "visits"),
    [
        ("aabaa", "..v.."),
        ("aabba", "..vv."),
        ("aab", "..."),
        ("abab", ".vv."),
        ("aabca", "....."),
        ("a" * 5 + "b" * 20 + "a" * 5, "." * 30),
        ("a", "."),
    ],
)
def test_visits(labels, visits):
    """Short, and back to where it came from."""
    time_s = np.arange(len(labels)) / FPS
    found = looks.on_visit(np.array(list(labels)), time_s, np.zeros(len(labels) - 1, bool))
    assert "".join("v" if one else "." for one in found) == visits


def test_a_visit_beside_a_gap_may_have_been_longer():
    assert not looks.on_visit(np.array(list("aba")), np.arange(3.0), np.array([False, True])).any()


def test_white_noise_keeps_its_deviation_and_a_straight_line_has_none():
    noise = np.random.default_rng(0).normal(0, 3, 100_000)
    assert looks.deviation(noise).std() == pytest.approx(3, rel=0.02)
    assert looks.deviation(np.arange(9) * 7).tolist() == [0] * 7


def test_what_a_table_says(tmp_path):
    label = (["neutral"] * 20 + ["happiness"] * 5) * 8
    got = measured(table(tmp_path / "a.parquet", label=label, noise_px=0.5))
    assert (got["frames"], got["rows"], got["tracks"], got["gaps"], got["short_tracks"]) == (200, 200, 1, 0, 0)
    assert got["emotion"] == {"neutral": 0.8, "happiness": 0.2}
    assert got["flicker"] == pytest.approx(35 / 200)  # the last visit does not come back
    assert got["changes_per_s"] == pytest.approx(15 / (199 / FPS), abs=1e-3)
    assert got["jitter"]["landmarks tracked"] == pytest.approx(1.0, rel=0.1)  # 0.5 px of 50, median of the points
    assert got["jitter"]["box tracked"] == 0
    assert got["jitter"]["rows"] == 198
    assert got["noise"]["valence"] == 0
    assert got["noise"]["emotion"] > 0.1


def test_a_moving_head_is_not_still(tmp_path):
    got = measured(table(tmp_path / "a.parquet", drift_px=1.0, noise_px=0.1))
    assert got["jitter"]["rows"] == 0
    assert got["turned"]["0-15"]["jitter"] == pytest.approx(0.2, rel=0.1)


def test_points_outside_of_the_box_of_a_turned_head(tmp_path):
    got = measured(table(tmp_path / "a.parquet", yaw=-50.0, drift_px=0.5))["turned"]
    assert list(got) == ["45-60"]
    assert got["45-60"]["outside"] > 0.2


def test_rows_that_bridge_a_gap_only_count_as_such(tmp_path):
    status = ["tracked"] * 90 + ["predicted"] * 20 + ["detected"] * 90
    got = measured(table(tmp_path / "a.parquet", status=status))
    assert (got["rows"], got["predicted"], got["gaps"]) == (180, 0.1, 1)
    assert got["jitter"]["rows"] == 176


def test_a_table_without_faces_and_the_command_line(tmp_path, capsys):
    empty = table(tmp_path / "empty.parquet", frames=3)
    rows = pq.read_table(empty)
    nobody = rows.set_column(3, "face_id", pa.nulls(3, pa.int32()))
    pq.write_table(nobody, empty)
    looks.main([str(empty), str(table(tmp_path / "one.parquet")), str(tmp_path / "one.tracks.parquet"), "--tracks"])
    got = json.loads(capsys.readouterr().out)
    assert list(got["clips"]) == ["empty", "one"]
    assert (got["clips"]["empty"]["rows"], got["clips"]["empty"]["emotion"]) == (0, {})
    assert len(got["clips"]["one"]["by_track"]) == 1
    assert (got["all"]["frames"], got["all"]["rows"]) == (203, 200)
