"""The board: one status and one frame for each camera, whoever reads and writes."""

from datetime import UTC, datetime

import numpy as np
import pytest

from vidfer.pipeline.board import Board, CameraStatus, LiveFrame
from vidfer.types import Faces, FrameResult


def live_frame(index):
    now = datetime.now(UTC)
    none = np.zeros(0)
    faces = Faces(
        box_px=np.zeros((0, 4), np.float32),
        score=none.astype(np.float32),
        status=none.astype(np.uint8),
        track_id=none.astype(np.int64),
        heads={},
    )
    result = FrameResult(
        index=index, epoch=0, pts=index, time_s=index / 25, captured_utc=now, shot=0, corrupt=False, faces=faces
    )
    return LiveFrame(
        camera="door", index=index, epoch=0, time_s=index / 25, captured_utc=now, image=None, result=result
    )


def test_cameras_keep_their_order_and_their_newest_status():
    board = Board()
    board.update(CameraStatus(name="door", url="rtsp://door"))
    board.update(CameraStatus(name="yard", url="rtsp://yard"))
    board.update(CameraStatus(name="door", url="rtsp://door", state="live"))
    assert [(camera.name, camera.state) for camera in board.cameras()] == [("door", "live"), ("yard", "connecting")]


def test_the_latest_frame_is_the_last_published():
    board = Board()
    assert board.latest("door") is None
    board.publish(live_frame(1))
    board.publish(live_frame(2))
    assert board.latest("door").index == 2
    assert board.latest("yard") is None


def test_pictures_are_wanted_while_anybody_looks_even_if_one_of_them_fails():
    board = Board()
    assert not board.wanted("door")
    with board.look("door"):
        with pytest.raises(RuntimeError), board.look("door"):
            raise RuntimeError("the browser is gone")
        assert board.wanted("door")
        assert not board.wanted("yard")
    assert not board.wanted("door")


def test_one_camera_or_all_are_paused():
    board = Board()
    for name in ("door", "yard"):
        board.update(CameraStatus(name=name, url=f"rtsp://{name}"))
    board.pause("door")
    assert [board.paused(name) for name in ("door", "yard")] == [True, False]
    board.pause()
    assert [board.paused(name) for name in ("door", "yard")] == [True, True]
    board.resume("door")
    assert [board.paused(name) for name in ("door", "yard")] == [False, True]
    board.resume()
    assert [board.paused(name) for name in ("door", "yard")] == [False, False]
