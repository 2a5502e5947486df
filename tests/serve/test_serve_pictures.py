"""Pictures for those who look: when they are made, how large, and what is drawn on them."""

import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette", reason="THE LIVE PAGE IS NOT TESTED: pip install 'vidfer[serve]'")

from asking import parts_of
from fake_cameras import FakeCamera, playing
from patience import until

from vidfer.serve import pictures as pictures_module


@pytest.fixture
def drawn(monkeypatch):
    """What was drawn and encoded."""
    calls, real = [], pictures_module._annotated
    monkeypatch.setattr(pictures_module, "_annotated", lambda *given: calls.append(given) or real(*given))
    return calls


def test_nobody_looks_and_nothing_is_drawn_encoded_or_kept(serving, camera, monkeypatch, drawn):
    monkeypatch.setattr(pictures_module, "LEASE_S", 0.3)
    with serving() as (server, client), playing(camera):
        until(lambda: camera.index > 5)
        for path in ("/", "/metrics", "/healthz", "/api/v1/cameras", "/api/v1/faces/latest", "/live"):
            assert client.ask("GET", path)[0] == 200
        assert (camera.pictures, drawn) == (0, [])
        # On a busy machine nothing may come while this looks: it is asked again.
        until(lambda: parts_of(client.ask("GET", "/live?see=640:-1:front")[2])[1])
        assert camera.pictures > 0
        assert len(drawn) == 1
        until(lambda: not camera.board.wanted("front"))
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


def test_landmarks_are_drawn_unless_faces_are_hidden(serving, camera, clip):
    """They show the shape of a face."""
    image, faces = clip[0]
    eye = faces.heads["landmarks68"][0].reshape(-1, 2)[36:42].round().astype(int)
    with serving() as (_, client), camera.board.look("front"):
        for blurred in (False, True):
            camera.step()
            newest = camera.board.latest("front")
            camera.board.publish(
                replace(newest, image=image, result=replace(newest.result, faces=faces), blurred=blurred)
            )
            _, pictures = parts_of(client.ask("GET", "/live?see=9999:-1:front")[2])
            shown = cv2.imdecode(np.frombuffer(pictures["front"], np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
            changed = np.abs(shown.astype(int) - image).max(axis=2)
            assert (changed[eye[:, 1], eye[:, 0]].mean() < 25) == blurred


def test_the_page_gets_each_picture_once_and_none_but_the_newest(serving, camera, monkeypatch):
    monkeypatch.setattr("vidfer.serve.app._LIVE_WAIT_S", 0.1)
    with serving() as (_, client), camera.board.look("front"):
        for _ in range(5):
            camera.step()
        said, pictures = parts_of(client.ask("GET", "/live?see=640:-1:front")[2])
        assert said["cameras"][0]["shown"]["frame"] == 4
        assert list(pictures) == ["front"]
        said, pictures = parts_of(client.ask("GET", "/live?see=640:4:front")[2])
        assert (said["cameras"][0]["shown"], pictures) == (None, {})  # how the cameras are doing is told all the same


def test_a_slow_camera_is_looked_at_beside_a_fast_one(serving, board, clip):
    fast, slow = FakeCamera(board, "fast", clip), FakeCamera(board, "slow", clip)
    with serving() as (_, client), board.look("fast"):
        fast.step()
        assert list(parts_of(client.ask("GET", "/live?see=640:-1:fast&see=640:-1:slow")[2])[1]) == ["fast"]
        fast.step()
        slow.step()
        pictures = parts_of(client.ask("GET", "/live?see=640:0:fast&see=640:-1:slow")[2])[1]
    assert list(pictures) == ["fast", "slow"]


def test_a_waiting_page_is_answered_as_soon_as_there_is_a_picture(serving, camera, monkeypatch):
    monkeypatch.setattr("vidfer.serve.app._LIVE_WAIT_S", 100)
    monkeypatch.setattr(pictures_module, "LEASE_S", 100)
    with serving() as (_, client):
        answers = []
        asking = threading.Thread(target=lambda: answers.append(client.ask("GET", "/live?see=640:-1:front")))
        asking.start()
        until(lambda: camera.board.wanted("front"))
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


def test_the_picture_of_a_camera_has_its_full_size(serving, camera, monkeypatch):
    monkeypatch.setattr("vidfer.serve.app._PICTURE_WAIT_S", 100)
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
        until(lambda: camera.board.wanted("front"))
    asking.join()
    assert answers[0][0] == 503
    assert not camera.board.wanted("front")
