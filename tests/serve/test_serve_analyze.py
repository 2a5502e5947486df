"""Pictures that programs send to be analysed."""

import io
import re
import threading

import cv2
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("starlette", reason="THE LIVE PAGE IS NOT TESTED: pip install 'vidfer[serve]'")

from asking import Client, box_of
from patience import PATIENCE_S, until
from PIL import Image

import vidfer
from vidfer.pipeline.board import Board
from vidfer.pipeline.still import still_analysis
from vidfer.serve.server import serve

PHOTO = "multi_face.jpg"
FAST = {".webp": (cv2.IMWRITE_WEBP_QUALITY, 80)}


@pytest.fixture(scope="module")
def desk(looking):
    """Asks a server that takes pictures."""
    with serve(Board(), "127.0.0.1", 0, analyze=still_analysis(looking)) as server:
        client = Client(server.url)
        client.ask("POST", "/api/v1/analyze", encoded(np.zeros((9, 9, 3), np.uint8)), Content_Type="image/png")
        yield client  # its thread is there


def encoded(image, suffix=".png", *options):
    return cv2.imencode(suffix, image[:, :, ::-1], options)[1].tobytes()


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


@pytest.mark.parametrize("turn", [2, 5, 6, 7])
def test_faces_are_where_they_are_in_the_upright_picture(desk, clip, turn):
    """The camera was held otherwise, or shows a mirror."""
    image, faces = clip[0]
    turned = np.fliplr(image) if turn in (2, 5) else image
    turned = np.rot90(turned, 3 if turn == 7 else 1) if turn > 2 else turned
    turned = np.flipud(turned) if turn == 7 else turned
    exif = Image.Exif()
    exif[0x0112] = turn
    photo = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(turned)).save(photo, "PNG", exif=exif)
    _, said = desk.json("POST", "/api/v1/analyze", photo.getvalue(), Content_Type="image/png")
    assert (said["width"], said["height"]) == (854, 480)
    boxes = [box_of(face)[:2] for face in said["faces"]]
    assert np.array(boxes) == pytest.approx(faces.box_px[:, :2], abs=3)


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
        go_on.wait(PATIENCE_S)
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
        assert begun.acquire(timeout=PATIENCE_S)
        until(lambda: server._app._desk._waiting == 4)
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
