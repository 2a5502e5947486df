"""A password is in nothing that `vidfer watch` writes, says or answers."""

import base64
import json
import re
import signal
import urllib.error
import urllib.request
from urllib.parse import quote

import av
import pytest
from patience import PATIENCE_S, until
from streams import RtspServer, clip, show
from watching import footers, start, table

PASSWORD = "Geheim+4711&"
OTHER = "Anderes:0815"
ENCODED = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
SECRETS = ("Geheim", "Anderes", ENCODED)  # as it is, or escaped for a URL
CONFIG = """
segment = 0.5
record = true
blur = true

[camera.own-keys]
url = "rtsp://127.0.0.1:{port}/live"
username = "me"
password = "{password}"

[camera.wrong]
url = "{wrong}"

[camera.no-path]
url = "{url}/nothing?password={password}"

[camera.refused]
url = "rtsp://me:{escaped}@127.0.0.1:1/x"

[camera.no-scheme]
url = "gopher://me:{password}@old"

[camera.no-port]
url = "rtsp://me:{password}@host:{password}/live"

[camera.environment]
url = "rtsp://127.0.0.1:{port}/live"
"""


def answers(url):
    """Everything that the page and programs can get, by path."""
    described = json.loads(ask(f"{url}openapi.json")[0])
    names = ("own-keys", "no-path")
    paths = {path.replace("{name}", name) for path in described["paths"] for name in names}
    paths |= {"/", "/page.js", "/openapi.json", "/nothing", "/live?see=640:-1:own-keys&see=640:-1:no-path"}
    paths |= {"/api/v1/faces/latest?camera=nobody"}
    return {path: b"".join(ask(url.rstrip("/") + path)) for path in paths}


def ask(url):
    """(body, headers) of an answer, also of one that is an error."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return answer.read(), bytes(answer.headers)
    except urllib.error.HTTPError as error:
        return error.read(), bytes(error.headers)


def written(folder):
    """All that stands in files, also where it is compressed."""
    found = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found["table"] = table(folder).to_csv().encode()
    found["footers"] = json.dumps(footers(folder)).encode()
    for video in folder.rglob("*.mp4"):
        with av.open(str(video)) as container:
            found[f"metadata of {video}"] = repr([container.metadata, container.streams.video[0].metadata]).encode()
    return found


@pytest.mark.parametrize("log", [["--log-json", "--debug"], []], ids=["json", "lines"])
def test_no_output_holds_a_password(tmp_path, loops, log):
    with RtspServer({"/live": show(clip(loops))}, f"me:{PASSWORD}") as camera:
        words = {"port": camera.port, "password": PASSWORD, "escaped": quote(PASSWORD, safe="")}
        words |= {"wrong": camera.url("/live", f"me:{quote(OTHER, safe='')}"), "url": f"rtsp://me:{PASSWORD}@127.0.0.1"}
        config, out = tmp_path / "cameras.toml", tmp_path / "out"
        config.write_text(CONFIG.format(**words).replace("127.0.0.1/nothing", f"127.0.0.1:{camera.port}/nothing"))
        login = {"VIDFER_USERNAME_ENVIRONMENT": "me", "VIDFER_PASSWORD_ENVIRONMENT": PASSWORD}
        process = start("--config", config, "-o", out, "--serve", "127.0.0.1:0", *log, **login)
        try:
            first = process.stderr.readline()
            url = re.search(r"live page: (http://[^/]+/)", first)[1]

            def cameras():
                return json.loads(ask(f"{url}api/v1/cameras")[0])["cameras"]

            until(lambda: [bool(c["frames"] or c["last_error"]) for c in cameras()] == [True] * 7)
            until(lambda: list(out.glob("camera=own-keys/*/*.parquet")))
            until(lambda: list(out.glob("camera=environment/*/*.parquet")))
            told = cameras()
            everything = answers(url)
            process.send_signal(signal.SIGTERM)
            stdout, stderr = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert process.returncode == 4, stderr
    errors = {camera["name"]: camera["last_error"] for camera in told}
    assert errors["wrong"] == "wrong user or password"
    assert re.search("^wrong: .*, wrong user or password$", stdout, re.MULTILINE)
    assert "404" in errors["no-path"]
    assert errors["refused"] == "Connection refused"
    assert "gopher://***@old: unknown scheme" in errors["no-scheme"]
    assert "wrong port" in errors["no-port"]
    assert errors["own-keys"] is errors["environment"] is None
    everything |= written(out) | {"stdout": stdout.encode(), "stderr": (first + stderr).encode()}
    held = {name: secret for name, text in everything.items() for secret in SECRETS if secret.encode() in text}
    assert held == {}
