"""What programs get."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette", reason="THE LIVE PAGE IS NOT TESTED: pip install 'vidfer[serve]'")

from asking import box_of
from fake_cameras import FakeCamera
from prometheus_client.parser import text_string_to_metric_families

from vidfer.pipeline.board import CAMERA_STATES, EMOTION_SMOOTH
from vidfer.schema import columns
from vidfer.serve.faces import as_json
from vidfer.serve.openapi import document
from vidfer.types import EMOTIONS

README = Path(__file__).parents[2] / "README.md"


def test_cameras_are_told_as_they_stand_on_the_board(serving, camera):
    camera.step()
    camera.say(dropped=7, reconnects=2, last_error="refused")
    with serving() as (_, client):
        (told,) = client.json("GET", "/api/v1/cameras")[1]["cameras"]
    status = camera.status
    for name in ("name", "url", "state", "width", "height", "epoch", "frames", "faces", "fps", "dropped", "reconnects"):
        assert told[name] == getattr(status, name)
    assert told["last_frame_utc"] == status.last_frame_utc.isoformat()
    assert (told["latency_p50_ms"], told["latency_p95_ms"]) == (21.4, 38.2)
    assert (told["last_error"], told["writing"], told["paused"]) == ("refused", "on", False)


def test_the_newest_faces_have_the_columns_of_the_table(serving, camera, clip):
    camera.step()
    camera.step()
    with serving() as (_, client):
        status, said = client.json("GET", "/api/v1/faces/latest")
    assert status == 200
    (frame,) = said["frames"]
    assert (frame["camera"], frame["frame"], frame["n_faces"]) == ("front", 1, 2)
    names = {column.name for column in columns("observations")}
    for row, face in enumerate(frame["faces"]):
        assert set(face) <= names
        faces = clip[1][1]
        assert face["face_id"] == row
        x0, y0, x1, y1 = faces.box_px[row]
        assert box_of(face) == pytest.approx([x0, y0, x1 - x0, y1 - y0], abs=0.01)
        for ending in ("", "_smooth"):
            assert sum(face[f"emotion_{name}{ending}"] for name in EMOTIONS) == pytest.approx(1, abs=0.001)
        assert face["emotion"] == max(EMOTIONS, key=lambda name: face[f"emotion_{name}"])
        assert face["emotion_happiness_smooth"] == pytest.approx(faces.heads[EMOTION_SMOOTH][row, 1], abs=1e-3)


def test_what_was_not_measured_is_null(clip):
    faces = clip[0][1]
    nothing = {name: np.full_like(values, np.nan) for name, values in faces.heads.items()}
    for face in as_json(replace(faces, heads=nothing), 68) + as_json(replace(faces, heads={}), 478):
        measured = {name for name, value in face.items() if value is not None}
        of_box = {"face_x", "face_y", "face_w", "face_h"}
        assert measured - {"landmarks", "landmarks_z"} == {"face_id", "face_status", "confidence", *of_box}
        assert set(face["landmarks"]) == {None}


def test_one_camera_may_be_chosen_and_an_unknown_one_is_one_line(serving, board, clip):
    for name in ("front", "back"):
        FakeCamera(board, name, clip).step()
    with serving() as (_, client):
        said = client.json("GET", "/api/v1/faces/latest?camera=back")[1]
        assert [frame["camera"] for frame in said["frames"]] == ["back"]
        for method, path in (
            ("GET", "/api/v1/faces/latest?camera=bakc"),
            ("GET", "/api/v1/cameras/bakc/picture"),
            ("POST", "/api/v1/pause?camera=bakc"),
            ("POST", "/api/v1/resume?camera=bakc"),
        ):
            assert client.refused(method, path) == (404, "there is no camera 'bakc': there are front, back")
    assert not board.paused("front")


def test_pausing_and_going_on(serving, board, clip):
    for name in ("front", "back"):
        FakeCamera(board, name, clip)
    with serving() as (_, client):
        assert client.json("POST", "/api/v1/pause?camera=back") == (200, {"paused": ["back"]})
        assert not board.paused("front")
        assert client.json("POST", "/api/v1/pause") == (200, {"paused": ["front", "back"]})
        assert client.json("POST", "/api/v1/resume?camera=front") == (200, {"paused": ["back"]})
        assert client.json("POST", "/api/v1/resume") == (200, {"paused": []})


def test_other_methods_and_paths_are_one_line(serving):
    with serving() as (_, client):
        assert client.refused("GET", "/nothing")[0] == 404
        assert client.refused("POST", "/api/v1/cameras")[0] == 405
        assert client.refused("GET", "/api/v1/quit")[0] == 405
        assert client.refused("POST", "/api/v1/analyze")[0] == 404  # nobody analyses


def test_health_follows_the_cameras(serving, camera):
    with serving() as (_, client):
        for state in CAMERA_STATES:
            camera.say(state=state)
            well = state in ("live", "connecting", "paused")
            expected = (200, "ok") if well else (503, "no camera gives frames")
            status, said = client.json("GET", "/healthz")
            assert (status, said["status"]) == expected


def test_prometheus_reads_the_metrics(serving, camera):
    for _ in range(3):
        camera.step()
    camera.say(dropped=5)
    with serving() as (_, client):
        _, headers, text = client.ask("GET", "/metrics")
        _, other, _ = client.ask("GET", "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert other["Content-Type"].startswith("application/openmetrics-text")
    families = {family.name: family for family in text_string_to_metric_families(text.decode())}
    samples = [sample for family in families.values() for sample in family.samples]
    values = {sample.name: sample.value for sample in samples if sample.labels == {"camera": "front"}}
    assert values["vidfer_frames_total"] == 3
    assert values["vidfer_faces_total"] == 6
    assert values["vidfer_dropped_frames_total"] == 5
    assert (values["vidfer_camera_up"], values["vidfer_writing"], values["vidfer_looked_at"]) == (1, 1, 0)
    latency = {sample.labels["quantile"]: sample.value for sample in families["vidfer_latency_seconds"].samples}
    assert latency == {"0.5": 0.0214, "0.95": 0.03825}
    states = {sample.labels["state"]: sample.value for sample in families["vidfer_camera_state"].samples}
    assert states == {name: float(name == "live") for name in CAMERA_STATES}
    assert all(family.documentation for family in families.values())


def test_every_answer_and_parameter_is_described(serving, board):
    with serving() as (_, client):
        described = client.json("GET", "/openapi.json")[1]
    assert described == document(with_analyze=False, with_token=False)
    with_all = document(with_analyze=True, with_token=True)
    assert set(with_all["paths"]) - set(described["paths"]) == {"/api/v1/analyze"}
    assert with_all["security"]
    for methods in with_all["paths"].values():
        for method in methods.values():
            assert method["summary"]
            assert all(answer["description"] for answer in method["responses"].values())


def test_every_path_is_in_the_readme():
    section = README.read_text(encoding="utf-8").split("## Live page and REST")[1].split("\n## ")[0]
    paths = {*document(with_analyze=True, with_token=True)["paths"], "/openapi.json"}
    assert {path for path in paths if f" {path.split('{')[0]}" not in section} == set()
