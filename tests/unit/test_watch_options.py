"""Options of `watch`: from the command line, from TOML, logins from the environment."""

from pathlib import Path

import pytest

from vidfer.errors import InputError, UsageError
from vidfer.pipeline.watch_options import watch_options

CONFIG = """
output = "faces"
segment = 30
max_fps = 12.5
record = true
landmarks = "none"

[camera.door]
url = "rtsp://10.0.0.5/live"
username = "me"
password = "geheim/4711"

[camera.yard]
url = "rtsp://a:b@10.0.0.6/live"
transport = "udp"
max_fps = 5
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "cameras.toml"
    path.write_text(CONFIG)
    return path


def test_a_file_names_cameras_and_options(config):
    options = watch_options(config=config)
    assert (options.output, options.segment, options.record, options.landmarks) == (Path("faces"), 30, True, None)
    door, yard = options.cameras
    assert (door.name, door.transport, door.max_fps) == ("door", "tcp", 12.5)
    assert door.address().url == "rtsp://me:geheim%2F4711@10.0.0.5/live"
    assert (yard.name, yard.transport, yard.max_fps) == ("yard", "udp", 5)
    assert yard.address().url == "rtsp://a:b@10.0.0.6/live"
    assert "geheim" not in repr(options)


def test_the_command_line_wins_and_adds_cameras(config):
    options = watch_options(["rtsp://10.0.0.7/x"], config, {"segment": 10.0, "transport": "udp", "lag": None})
    assert options.segment == 10
    assert [camera.name for camera in options.cameras] == ["door", "yard", "10.0.0.7-x"]
    assert [camera.transport for camera in options.cameras] == ["udp", "udp", "udp"]


def test_cameras_get_names_of_their_own():
    urls = ["rtsp://h/live", "rtsp://h:8554/live", "gopher://old", "nothing.mp4"]
    names = [camera.name for camera in watch_options(urls).cameras]
    assert names == ["h-live", "h-live-2", "camera", "camera-2"]


def test_cameras_with_ipv6_addresses_are_taken():
    assert [camera.name for camera in watch_options(["rtsp://[fe80::1]/live"]).cameras] == ["fe80-1-live"]


def test_logins_come_from_the_environment(monkeypatch, config):
    monkeypatch.setenv("VIDFER_USERNAME", "all")
    monkeypatch.setenv("VIDFER_PASSWORD", "common")
    monkeypatch.setenv("VIDFER_PASSWORD_H_LIVE", "own")
    by_name = {camera.name: camera.address().url for camera in watch_options(["rtsp://h/live", "rtsp://i/x"]).cameras}
    assert by_name == {"h-live": "rtsp://all:own@h/live", "i-x": "rtsp://all:common@i/x"}
    assert watch_options(config=config).cameras[0].address().url == "rtsp://me:geheim%2F4711@10.0.0.5/live"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("segmnt = 3", "unknown key 'segmnt', did you mean 'segment'?"),
        ("max_fsp = 3", "did you mean 'max_fps'?"),
        ("[cameras.door]\nurl = 'x'", "unknown key 'cameras', did you mean 'camera'?"),
        (
            "[camera.door]\nurl = 'x'\npasword = 'geheim'",
            "camera.door: unknown key 'pasword', did you mean 'password'?",
        ),
        ("[camera.door]\nurl = 'x'\npassword = 4711", "camera.door: password must be a text in quotes, got not shown"),
        ("[camera.door]\ntransport = 'udp'", "camera.door has no url"),
        ("[camera.door]\nurl = 'rtsp://x'\ntransport = 'ucp'", "transport is 'ucp': choose one of tcp, udp"),
        ("[camera.'a b']\nurl = 'rtsp://x'", "a camera is called 'a b'"),
        ("[camera.a]\nurl = 'rtsp://x'\n[camera.A]\nurl = 'rtsp://y'", "two cameras are called a"),
        ("camera = 'rtsp://x'", r"write each camera as \[camera.NAME\]"),
        ("segment = 'long'", "segment must be a number, got 'long'"),
        ("record = 1", "record must be true or false, got 1"),
        ("landmarks = 5", "landmarks is 5: choose one of 68, 478, none"),
        ("segment = 6000", "segment is 6000: give at most 600"),
        ("stall = inf", "stall is inf: give a number above 0"),
    ],
)
def test_what_a_file_may_not_say(tmp_path, text, words):
    path = tmp_path / "cameras.toml"
    path.write_text(f"{text}\n" if "camera" in text else f"{text}\n[camera.door]\nurl = 'rtsp://x'")
    with pytest.raises(UsageError, match=words) as caught:
        watch_options(config=path)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("contents", [b"= =", b"\xff\xfe", None])
def test_a_file_that_is_none(tmp_path, contents):
    path = tmp_path / "cameras.toml"
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(InputError, match=r"cameras\.toml"):
        watch_options(config=path)
