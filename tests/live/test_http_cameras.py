"""Cameras that speak HTTP, webcams and files, by the same door as RTSP."""

import numpy as np
import pytest
from http_camera import HttpCamera
from streams import clip
from watching import Watching, events, footers, table

from vidfer.cli import app as cli


@pytest.fixture(scope="module")
def web(loops):
    with HttpCamera(clip(loops)) as camera:
        yield camera


@pytest.fixture(autouse=True)
def _threads_of_the_server(web):
    """It is there before anybody counts threads."""


def on_the_wall(rows):
    return (rows["wallclock"] - rows["wallclock"].iloc[0]).dt.total_seconds()


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.slow, id="twenty")])
def test_stamps_that_jump_back_begin_an_epoch_and_time_goes_on(web, tmp_path, times):
    with Watching(tmp_path, web.url("/jumps_back")) as watching:
        for epoch in range(times):
            watching.until(lambda c, epoch=epoch: c.epoch > epoch)
        watching.until_frames(10)
    rows = table(tmp_path)
    assert watching.result[0].reconnects == 0
    assert (np.diff(rows["timestamp"]) >= 0).all()
    first = rows[rows["epoch"] == 0]
    assert np.diff(first["pts"]) == pytest.approx(np.diff(first["timestamp"]) * 90_000, abs=2)
    begins, back = np.diff(rows["epoch"]) > 0, np.diff(rows["pts"]) < 0
    assert begins[back].all()
    assert (np.diff(rows["frame"])[begins & ~back] > 1).all(), "only where a busy machine has left frames out"


def test_a_stream_without_pictures_is_left_although_it_goes_on(web, tmp_path):
    with Watching(tmp_path, web.url("/goes_silent"), stall=2.0) as watching:
        watching.until(lambda c: c.reconnects >= 1)
        watching.until_frames(5)
    reasons = [reason for event, reason in events(tmp_path) if event == "lost"]
    assert reasons
    assert all("2 s" in reason for reason in reasons)


def test_mjpeg_is_timed_by_the_wall(web, tmp_path):
    with Watching(tmp_path, web.url("/mjpeg")) as watching:
        watching.until_frames(12)
    rows = table(tmp_path)
    assert rows["pts"].isna().all()
    wall = on_the_wall(rows)
    assert np.abs(rows["timestamp"] - wall).max() < wall.iloc[-1] / 2  # they stand still, or go along
    assert footers(tmp_path)[0]["source"]["codec"] == "mjpeg"


def test_hls_is_shown_at_the_pace_of_its_stamps(web, tmp_path):
    with Watching(tmp_path, web.url("/hls.m3u8")) as watching:
        watching.until_frames(50)
    rows = table(tmp_path)
    assert rows["epoch"].max() == 0
    late = on_the_wall(rows) - rows["timestamp"]
    assert late.min() > -1, "no frame comes before its time, though they arrive seconds at once"


@pytest.mark.parametrize(
    ("path", "state", "reason"),
    [
        ("/404", "waiting", "nothing is there under this path (404)"),
        ("/401", "waiting", "wrong user or password"),
        ("/503", "waiting", "Server returned 5XX Server Error reply"),
        ("/page", "failed", "cannot be opened as video"),
    ],
)
def test_answers_without_a_video_are_named(web, tmp_path, path, state, reason):
    with Watching(tmp_path, web.url(path)) as watching:
        found = watching.until(lambda c: c.last_error is not None)
        assert reason in found.last_error
        watching.until(lambda c: c.state == state)


def test_a_file_is_watched_in_its_own_time_and_ends(tmp_path, loops):
    path = clip(loops, seconds=1)
    with Watching(tmp_path, str(path)) as watching:
        watching.join()
    (camera,) = watching.result
    assert camera.state == "ended"
    rows = table(tmp_path)
    assert camera.frames == len(rows) == 25 - camera.dropped
    assert rows["timestamp"].to_numpy() == pytest.approx(rows["frame"] / 25, abs=1e-6)
    assert on_the_wall(rows).iloc[-1] >= rows["timestamp"].iloc[-1] - rows["timestamp"].iloc[0] - 0.5


def test_a_codec_that_nothing_decodes_is_named(tmp_path, loops):
    path = tmp_path / "unknown.mp4"
    path.write_bytes(clip(loops, seconds=1).read_bytes().replace(b"avc1\0\0\0\0", b"zzzz\0\0\0\0"))
    with Watching(tmp_path / "out", str(path)) as watching:
        watching.join()
    (camera,) = watching.result
    assert camera.state == "failed"
    assert camera.last_error == f"{path}: no decoder for video stream 0: convert the file to H.264 first"


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["gopher://me:geheim4711@old"], 3, "gopher://***@old: unknown scheme gopher"),
        (["--camera", "99"], 3, "camera:99: there is no camera /dev/video99"),
        (["nothing.mp4"], 3, "neither a URL nor a file"),
        ([], 2, "no camera to watch"),
        (["rtsp://a/1", "--segment", "0"], 2, "segment is 0: give a number above 0"),
        (["rtsp://a/1", "--lag", "5"], 2, "lag is 5: give 0 to 2 seconds"),
        (["rtsp://a/1", "--blur"], 2, "give --record or --serve too"),
        (["rtsp://a/1", "--config", "nothing.toml"], 3, "nothing.toml cannot be read"),
        (["rtsp://a/1", "-o", "/proc/nothing"], 1, "cannot write /proc/nothing"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(args, code, words, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["watch", *args, "--quiet"]) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err
    assert "geheim4711" not in err
