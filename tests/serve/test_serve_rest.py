"""What programs get."""

import re
import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("starlette", reason="THE LIVE PAGE IS NOT TESTED: pip install 'vidfer[serve]'")

from asking import Client, parts_of
from fake_cameras import FakeCamera, playing
from prometheus_client.parser import text_string_to_metric_families

import vidfer
from vidfer.pipeline.board import CAMERA_STATES, EMOTION_SMOOTH, Board
from vidfer.pipeline.still import still_analysis
from vidfer.schema import columns
from vidfer.serve import pictures as pictures_module
from vidfer.serve.faces import as_json
from vidfer.serve.openapi import document
from vidfer.serve.server import serve
from vidfer.types import EMOTIONS

README = Path(__file__).parents[2] / "README.md"
PHOTO = "multi_face.jpg"
FAST = {".webp": (cv2.IMWRITE_WEBP_QUALITY, 80)}


@pytest.fixture
def camera(board, clip):
    return FakeCamera(board, "front", clip)


@pytest.fixture(scope="module")
def desk(looking):
    """Asks a server that takes pictures."""
    with serve(Board(), "127.0.0.1", 0, analyze=still_analysis(looking)) as server:
        client = Client(server.url)
        client.ask("POST", "/api/v1/analyze", encoded(np.zeros((9, 9, 3), np.uint8)), Content_Type="image/png")
        yield client  # its thread is there


def encoded(image, suffix=".png", *options):
    return cv2.imencode(suffix, image[:, :, ::-1], options)[1].tobytes()


def box_of(face):
    return [face[f"face_{side}"] for side in "xywh"]


def wait_until(true, seconds=10):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.005)


# ---- cameras and faces


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


def test_what_may_be_no_face_is_neither_told_nor_drawn(serving, board, clip):
    image, faces = clip[0]
    unsure = replace(faces, track_id=np.array([-1, 5], np.int64))
    camera = FakeCamera(board, "front", [(image, unsure)])
    with serving() as (_, client), board.look("front"):
        camera.step()
        said, pictures = parts_of(client.ask("GET", "/live?see=9999:-1:front")[2])
        latest = client.json("GET", "/api/v1/faces/latest")[1]["frames"][0]
    assert said["cameras"][0]["shown"] == latest
    assert (latest["n_faces"], [face["face_id"] for face in latest["faces"]]) == (1, [5])
    shown = cv2.imdecode(np.frombuffer(pictures["front"], np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    changed = np.abs(shown.astype(int) - image).max(axis=2)
    (x0, y0, x1, y1), sure = faces.box_px.round().astype(int)
    assert changed[y0 - 4 : y1 + 4, x0 - 4 : x1 + 4].max() < 60
    assert changed[sure[1] - 4 : sure[3] + 4, sure[0] - 4 : sure[2] + 4].max() > 60


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


# ---- pictures


@pytest.fixture
def drawn(monkeypatch):
    """What was drawn and encoded."""
    calls, real = [], pictures_module._annotated
    monkeypatch.setattr(pictures_module, "_annotated", lambda *given: calls.append(given) or real(*given))
    return calls


def test_nobody_looks_and_nothing_is_drawn_encoded_or_kept(serving, camera, monkeypatch, drawn):
    monkeypatch.setattr(pictures_module, "LEASE_S", 0.3)
    with serving() as (server, client), playing(camera):
        wait_until(lambda: camera.index > 5)
        for path in ("/", "/metrics", "/healthz", "/api/v1/cameras", "/api/v1/faces/latest", "/live"):
            assert client.ask("GET", path)[0] == 200
        assert (camera.pictures, drawn) == (0, [])
        assert client.ask("GET", "/live?see=640:-1:front")[0] == 200
        assert camera.pictures > 0
        assert len(drawn) == 1
        wait_until(lambda: not camera.board.wanted("front"))
        assert server._app.pictures._looks == {}
        assert b'vidfer_looked_at{camera="front"} 0.0' in client.ask("GET", "/metrics")[2]


def test_what_two_look_at_is_encoded_once(serving, camera, drawn):
    with serving() as (_, client), camera.board.look("front"):
        camera.step()
        one, other = (client.ask("GET", "/live?see=500:-1:front")[2] for _ in range(2))
        assert one == other
        assert len(drawn) == 1
        client.ask("GET", "/live?see=300:-1:front")
        assert len(drawn) == 2


def test_pictures_are_as_wide_as_asked_but_never_wider_than_they_are(serving, camera):
    with serving() as (_, client), camera.board.look("front"):
        camera.step()
        for asked, width in [(1, 320), (320, 320), (321, 480), (700, 854), (854, 854), (9999, 854)]:
            said, pictures = parts_of(client.ask("GET", f"/live?see={asked}:-1:front")[2])
            assert said["cameras"][0]["shown"]["frame"] == 0
            picture = cv2.imdecode(np.frombuffer(pictures["front"], np.uint8), cv2.IMREAD_COLOR)
            assert picture.shape[1] == width
            assert picture.shape[0] == pytest.approx(width * 480 / 854, abs=1)


def test_faces_are_drawn_where_they_are_in_every_size(serving, camera, clip):
    image, faces = clip[0]
    with serving() as (_, client), camera.board.look("front"):
        camera.step()
        for width in (480, 854):
            _, pictures = parts_of(client.ask("GET", f"/live?see={width}:-1:front")[2])
            shown = cv2.imdecode(np.frombuffer(pictures["front"], np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
            plain = cv2.resize(image, shown.shape[1::-1], interpolation=cv2.INTER_AREA)
            changed = np.abs(shown.astype(int) - plain).max(axis=2) > 40
            scale = width / 854
            for x0, y0, x1, _ in (faces.box_px * scale).round().astype(int):
                assert changed[y0 - 2 : y0 + 3, x0 + 8 : x1 - 8].any(axis=0).mean() > 0.9  # the upper edge
            assert changed.mean() < 0.2


def test_the_page_gets_each_picture_once_and_none_but_the_newest(serving, camera):
    with serving() as (_, client), camera.board.look("front"):
        for _ in range(5):
            camera.step()
        said, pictures = parts_of(client.ask("GET", "/live?see=640:-1:front")[2])
        assert said["cameras"][0]["shown"]["frame"] == 4
        assert list(pictures) == ["front"]
        started = time.monotonic()
        said, pictures = parts_of(client.ask("GET", "/live?see=640:4:front")[2])
        assert (said["cameras"][0]["shown"], pictures) == (None, {})
        assert time.monotonic() - started > 0.5  # it has waited, and then told how the cameras are doing all the same


def test_a_slow_camera_is_looked_at_beside_a_fast_one(serving, board, clip):
    fast, slow = FakeCamera(board, "fast", clip), FakeCamera(board, "slow", clip)
    with serving() as (_, client), board.look("fast"):
        fast.step()
        assert list(parts_of(client.ask("GET", "/live?see=640:-1:fast&see=640:-1:slow")[2])[1]) == ["fast"]
        fast.step()
        slow.step()
        pictures = parts_of(client.ask("GET", "/live?see=640:0:fast&see=640:-1:slow")[2])[1]
    assert list(pictures) == ["fast", "slow"]


def test_a_waiting_page_is_answered_as_soon_as_there_is_a_picture(serving, camera):
    with serving() as (_, client):
        answers = []
        asking = threading.Thread(target=lambda: answers.append(client.ask("GET", "/live?see=640:-1:front")))
        asking.start()
        wait_until(lambda: camera.board.wanted("front"))
        camera.step()
        asking.join()
        assert parts_of(answers[0][2])[0]["cameras"][0]["shown"]["frame"] == 0


def test_a_page_that_asks_for_nonsense_is_refused(serving, camera):
    nonsense = ["", "x", "640", "640:1", "640:1:", "640:x:front", "-1:1:front", "1" * 40 + ":1:front", "640::front"]
    with serving() as (_, client):
        for see in nonsense:
            assert client.refused("GET", f"/live?see={see}")[0] == 422


def test_names_with_colons_and_cameras_that_are_gone(serving, board, clip):
    FakeCamera(board, "a:b", clip)
    with serving() as (_, client), board.look("a:b"):
        board_camera = FakeCamera(board, "a:b", clip)
        board_camera.step()
        _, pictures = parts_of(client.ask("GET", "/live?see=640:-1:a:b&see=640:-1:gone")[2])
    assert list(pictures) == ["a:b"]


def test_the_picture_of_a_camera_has_its_full_size(serving, camera):
    with serving() as (_, client), playing(camera):
        status, headers, body = client.ask("GET", "/api/v1/cameras/front/picture")
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert int(headers["X-Frame"]) >= 0
    assert cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR).shape == (480, 854, 3)


def test_a_camera_that_gives_no_picture_is_one_line(serving, camera, monkeypatch):
    monkeypatch.setattr("vidfer.serve.app._PICTURE_WAIT_S", 0.1)
    with serving() as (_, client):
        status, line = client.refused("GET", "/api/v1/cameras/front/picture")
    assert (status, line) == (503, "camera front gives no picture now: try again later")


def test_the_server_ends_though_somebody_waits_and_looks_no_more(serving, camera, monkeypatch):
    monkeypatch.setattr("vidfer.serve.app._PICTURE_WAIT_S", 60)
    answers = []
    with serving() as (_, client):
        asking = threading.Thread(target=lambda: answers.append(client.ask("GET", "/api/v1/cameras/front/picture")))
        asking.start()
        wait_until(lambda: camera.board.wanted("front"))
    asking.join()
    assert answers[0][0] == 503
    assert not camera.board.wanted("front")


# ---- analysing what is sent


def test_a_photo_gives_what_process_gives(desk, shared_videos, tmp_path):

    result = vidfer.process(shared_videos / PHOTO, output_dir=tmp_path, render=False, device="cpu")
    table = pd.read_parquet(result.table_path).sort_values("face_x")
    photo = (shared_videos / PHOTO).read_bytes()
    status, said = desk.json("POST", "/api/v1/analyze?landmarks=68", photo, Content_Type="image/jpeg")
    assert status == 200
    assert len(said["faces"]) == len(table) >= 2
    for face, (_, row) in zip(said["faces"], table.iterrows(), strict=True):
        # Decoders differ by a shade in the colours of a JPEG.
        assert box_of(face) == pytest.approx(box_of(row), abs=2)
        assert face["emotion_happiness"] == pytest.approx(row["emotion_happiness"], abs=0.1)
        assert face["landmarks"] == pytest.approx(row["landmarks"].tolist(), abs=3)


@pytest.mark.parametrize(
    ("suffix", "media_type"),
    [(".png", "image/png"), (".jpg", "image/jpeg"), (".webp", "image/webp; q=1"), (".png", "image/jpeg")],
)
def test_pictures_of_every_kind_are_taken_whatever_they_are_called(desk, clip, suffix, media_type):
    image, faces = clip[0]
    photo = encoded(image, suffix, *FAST.get(suffix, ()))
    status, said = desk.json("POST", "/api/v1/analyze", photo, Content_Type=media_type)
    assert status == 200
    assert (said["width"], said["height"]) == (854, 480)
    boxes = [box_of(face)[:2] for face in said["faces"]]
    assert np.array(boxes) == pytest.approx(faces.box_px[:, :2], abs=3)
    assert all(face["face_id"] is None and "landmarks" not in face for face in said["faces"])


@pytest.mark.parametrize(("landmarks", "numbers"), [("68", 136), ("478", 956)])
def test_landmarks_come_if_asked_for(desk, clip, landmarks, numbers):
    path = f"/api/v1/analyze?landmarks={landmarks}"
    _, said = desk.json("POST", path, encoded(clip[0][0]), Content_Type="image/png")
    assert {len(face["landmarks"]) for face in said["faces"]} == {numbers}
    assert all(("landmarks_z" in face) == (landmarks == "478") for face in said["faces"])


def test_a_picture_without_a_face_has_none(desk):
    blank = encoded(np.full((240, 320, 3), 127, np.uint8))
    assert desk.json("POST", "/api/v1/analyze", blank, Content_Type="image/png") == (
        200,
        {"width": 320, "height": 240, "faces": []},
    )


@pytest.mark.parametrize(
    ("body", "media_type", "status", "line"),
    [
        (b"", "image/png", 422, "the body is empty"),
        (b"GIF89a", "image/png", 422, "this is no picture"),
        (b"hello", "text/plain", 415, "Content-Type is text/plain: send a picture as one of"),
        (b"hello", "application/x-www-form-urlencoded", 415, "send a picture as one of"),
    ],
)
def test_what_is_no_picture_is_one_line(desk, body, media_type, status, line):
    got, said = desk.refused("POST", "/api/v1/analyze", body, Content_Type=media_type)
    assert got == status
    assert re.search(line, said)


def test_unknown_landmarks_are_one_line(desk):
    answer = desk.refused("POST", "/api/v1/analyze?landmarks=5", b"x", Content_Type="image/png")
    assert answer == (422, "landmarks is '5': choose one of none, 68, 478")


@pytest.mark.parametrize("chunked", [False, True])
def test_too_many_bytes_are_refused(desk, monkeypatch, chunked):
    monkeypatch.setattr("vidfer.serve.bodies.MOST_BYTES", 1000)
    body = iter([b"x" * 600] * 2) if chunked else b"x" * 1200
    status, line = desk.refused("POST", "/api/v1/analyze", body, Content_Type="image/png")
    assert status == 413
    assert "1000" in line


def test_a_body_that_never_comes_is_given_up(desk, monkeypatch):
    monkeypatch.setattr("vidfer.serve.bodies._BODY_S", 0.1)
    status, line = desk.refused("POST", "/api/v1/analyze", b"", Content_Type="image/png", Content_Length="10")
    assert (status, line) == (408, "the body did not arrive within 0 s: send it again")


def test_pictures_wait_for_each_other_and_too_many_are_sent_away(serving, clip):
    begun, go_on = threading.Semaphore(0), threading.Event()
    at_once, most = [], []

    def analyze(image):
        at_once.append(1)
        most.append(len(at_once))
        begun.release()
        go_on.wait(10)
        at_once.pop()
        return clip[0][1]

    answers = []
    picture = encoded(np.zeros((20, 20, 3), np.uint8))
    with serving(analyze=analyze) as (server, client):

        def send():
            answers.append(client.ask("POST", "/api/v1/analyze", picture, Content_Type="image/png")[0])

        senders = [threading.Thread(target=send) for _ in range(4)]
        for sender in senders:
            sender.start()
        assert begun.acquire(timeout=10)
        wait_until(lambda: server._app._desk._waiting == 4)
        assert client.refused("POST", "/api/v1/analyze", picture, Content_Type="image/png")[0] == 503
        go_on.set()
        for sender in senders:
            sender.join()
    assert (answers, max(most)) == ([200] * 4, 1)


def test_a_fault_of_ours_is_one_line_and_the_log_says_more(serving, caplog):
    def analyze(image):
        raise RuntimeError("the secret is 42")

    with serving(analyze=analyze) as (_, client):
        picture = encoded(np.zeros((20, 20, 3), np.uint8))
        status, line = client.refused("POST", "/api/v1/analyze", picture, Content_Type="image/png")
        assert client.ask("GET", "/healthz")[0] == 200
    assert (status, line) == (500, "RuntimeError (a fault of vidfer's: its log says more)")
    assert "the secret is 42" in caplog.text
