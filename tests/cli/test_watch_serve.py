"""`vidfer watch --serve`: the page beside the watching, and what is wrong with its address."""

import json
import re
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="THE LIVE PAGE IS NOT TESTED: pip install 'vidfer[serve]'")

from clips import again_and_again
from patience import PATIENCE_S

from vidfer.cli import app as cli

CLIP = Path(__file__).parents[2] / "examples" / "two_faces.mp4"


def start(*args):
    command = [sys.executable, "-m", "vidfer", "watch", *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ask(url, method="GET"):
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=PATIENCE_S) as answer:
        return json.load(answer)


def test_the_page_is_there_while_cameras_are_watched_and_can_end_it(tmp_path):
    clip = again_and_again(CLIP, tmp_path, 30)  # a busy machine asks late
    process = start(clip, "--serve", "127.0.0.1:0", "-o", tmp_path)
    try:
        watchdog = threading.Timer(PATIENCE_S, process.kill)
        watchdog.start()
        url = re.search(r"live page: (\S+/)$", process.stderr.readline())[1]
        frames = 0
        while not frames:
            cameras = ask(f"{url}api/v1/cameras")["cameras"]
            frames = cameras[0]["frames"] if cameras else 0
        ask(f"{url}api/v1/quit", "POST")
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        watchdog.cancel()
        process.kill()
        process.stdout.close()
        process.stderr.close()
    assert process.returncode == 0, err
    assert out.startswith("two-faces: ")
    assert list(tmp_path.glob("camera=two-faces/date=*/part-*.parquet"))


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--serve", "8080"], 2, "give HOST:PORT"),
        (["--serve", "127.0.0.1:0", "--token", "short"], 2, "the token has 5 characters"),
        (["--token", "long-enough-to-be-one"], 2, "give --serve HOST:PORT too"),
    ],
)
def test_a_wrong_address_is_one_line(args, code, words, tmp_path, capfd):
    assert cli.run(["watch", str(CLIP), "-o", str(tmp_path), *args]) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err


def test_a_port_in_use_is_one_line(tmp_path, capfd):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert cli.run(["watch", str(CLIP), "-o", str(tmp_path), "--serve", address]) == 1
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert f"cannot listen on {address}" in err
