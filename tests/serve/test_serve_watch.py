"""The server beside real watching: of the demo clip, as if it were a camera."""

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette", reason="THE LIVE PAGE IS NOT TESTED: pip install 'vidfer[serve]'")

from asking import parts_of
from clips import again_and_again
from patience import until

from vidfer.pipeline.models import Models
from vidfer.pipeline.watch import watch
from vidfer.pipeline.watch_options import watch_options

CLIP = Path(__file__).parents[2] / "examples" / "two_faces.mp4"


def test_a_camera_is_shown_paused_and_ended_from_the_page(serving, board, tmp_path):
    clip = again_and_again(CLIP, tmp_path, 30)
    options = watch_options([str(clip)], None, {"output": tmp_path / "out", "max_fps": 5.0})
    ended = []
    watching = threading.Thread(target=lambda: ended.extend(watch(options, board, models=Models(device="cpu"))))
    with serving() as (_, client):
        watching.start()
        try:

            def cameras():
                return client.json("GET", "/api/v1/cameras")[1]["cameras"]

            def faces_and_pictures():
                see = "&".join(f"see=640:-1:{camera['name']}" for camera in cameras())
                said, pictures = parts_of(client.ask("GET", f"/live?{see}")[2])
                shown = said["cameras"][0]["shown"] if said["cameras"] else None
                return (shown["faces"], pictures) if shown and shown["faces"] else None

            faces, pictures = until(faces_and_pictures, "faces are shown")
            (name,) = pictures
            picture = cv2.imdecode(np.frombuffer(pictures[name], np.uint8), cv2.IMREAD_COLOR)
            assert picture.shape == (360, 640, 3)
            for face in faces:
                assert face["face_id"] >= 0
                assert face["emotion_smooth"] in ("happiness", "neutral")
                assert -1 <= face["valence_smooth"] <= 1
            assert client.json("POST", "/api/v1/pause") == (200, {"paused": [name]})
            until(lambda: cameras()[0]["state"] == "paused", "it is paused")
            assert client.json("POST", "/api/v1/quit")[0] == 202
        finally:
            board.stop_requested.set()
            watching.join()
    assert [camera.name for camera in ended] == [name]
    assert ended[0].frames > 0
    assert list(tmp_path.rglob("*.parquet"))
