"""Who may ask for what."""

import json
import logging
import socket
from contextlib import ExitStack, suppress

import pytest

pytest.importorskip("starlette", reason="THE LIVE PAGE IS NOT TESTED: pip install 'vidfer[serve]'")

from asking import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from patience import PATIENCE_S
from starlette.datastructures import Headers

from vidfer.errors import OutputError, UsageError
from vidfer.pipeline.board import Board, CameraStatus
from vidfer.serve.guard import Guard
from vidfer.serve.server import parse_address, serve

TOKEN = "correct-horse-battery"
PROTECTED = [
    ("GET", "/metrics"),
    ("GET", "/live"),
    ("GET", "/api/v1/cameras"),
    ("GET", "/api/v1/cameras/front/picture"),
    ("GET", "/api/v1/faces/latest"),
    ("POST", "/api/v1/analyze"),
    ("POST", "/api/v1/pause"),
    ("POST", "/api/v1/resume"),
    ("POST", "/api/v1/quit"),
    ("GET", "/nothing"),
]
PUBLIC = ["/", "/page.css", "/page.js", "/camera.js", "/icon.svg", "/healthz", "/openapi.json"]


@pytest.fixture(scope="module")
def plain():
    """Asks a server on an address of this machine; what it does stands on `board`."""
    board = Board()
    with serve(board, "127.0.0.1", 0, analyze=lambda image: None) as server:
        client = Client(server.url)
        client.board, client.host = board, server.url.split("/")[2]
        yield client


@pytest.fixture(scope="module")
def guarded():
    """Asks a server with a token."""
    board = Board()
    board.update(CameraStatus(name="front", url="rtsp://x"))
    with serve(board, "127.0.0.1", 0, token=TOKEN, analyze=lambda image: None) as server:
        client = Client(server.url)
        client.board = board
        yield client


@pytest.mark.parametrize("text", ["127.0.0.1:8080", "localhost:0", "[::1]:65535", "0.0.0.0:80", "cam.example:1"])
def test_an_address_is_read_and_written_back(text):
    address = parse_address(text)
    host = f"[{address.host}]" if ":" in address.host else address.host
    assert f"{host}:{address.port}" == text


@pytest.mark.parametrize(
    "text",
    ["", "8080", ":8080", "localhost", "localhost:", "a:b", "h:65536", "h:-1", "::1:80", "u@h:80", "http://h:80"],
)
def test_what_is_no_address_is_one_line_with_an_example(text):
    with pytest.raises(UsageError, match=r"give HOST:PORT, for example 127\.0\.0\.1:8080"):
        parse_address(text)


def test_a_port_that_is_taken_is_one_line(board):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OutputError, match=f"cannot listen on 127.0.0.1:{port}"):
            serve(board, "127.0.0.1", port)


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\nHost:", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nG"]
)
def test_connections_that_ask_for_nothing_do_not_shut_others_out(serving, monkeypatch, sent):
    monkeypatch.setattr("vidfer.serve.server._MOST_CONNECTIONS", 3)
    with serving() as (server, client), ExitStack() as connections:
        place = ("127.0.0.1", int(server.url.rstrip("/").rpartition(":")[2]))
        with monkeypatch.context() as patch:
            patch.setattr("vidfer.serve.protocol.REQUEST_S", 0.2)
            for _ in range(3):
                silent = connections.enter_context(socket.create_connection(place, timeout=PATIENCE_S))
                with suppress(ConnectionError):  # closed already, with something unread
                    silent.sendall(sent)
                    while silent.recv(4096):  # closed by the server, else the time runs out
                        pass
        assert client.ask("GET", "/healthz")[0] == 200


def test_an_unknown_host_is_one_line(board):
    with pytest.raises(UsageError, match="not known"):
        serve(board, "no such host", 8080)


@pytest.mark.parametrize(
    "token", ["", "short", "fifteen-letters", "with spaces in it, long", "ümlaute-sind-lang-genug"]
)
def test_a_token_that_is_none_is_refused(board, token):
    with pytest.raises(UsageError, match="give at least 16"):
        serve(board, "127.0.0.1", 0, token=token)


def test_on_an_address_of_this_machine_no_token_is_needed(serving):
    with serving() as (server, client):
        assert (server.token, server.generated, server.link) == (None, False, server.url)
        assert client.json("GET", "/api/v1/cameras") == (200, {"cameras": []})


def test_on_other_addresses_a_token_is_made_shown_once_and_never_logged(serving, caplog, capfd):
    with caplog.at_level(logging.DEBUG), serving("0.0.0.0") as (server, _):
        assert server.generated
        assert server.link == f"{server.url}#token={server.token}"
        client = Client(f"http://127.0.0.1:{server.url.split(':')[-1]}")
        assert client.refused("GET", "/api/v1/cameras")[0] == 401
        assert client.json("GET", "/api/v1/cameras", Authorization=f"Bearer {server.token}")[0] == 200
        assert client.refused("GET", "/api/v1/cameras", Authorization=f"Bearer {server.token}x")[0] == 401
        assert client.refused("POST", "/login", json.dumps({"token": server.token + "x"}))[0] == 401
    told = "".join(capfd.readouterr())
    assert server.token not in caplog.text + told


def test_two_servers_make_two_tokens(serving):
    with serving("0.0.0.0") as (one, _), serving("0.0.0.0") as (other, _):
        assert one.token != other.token
        assert min(len(one.token), len(other.token)) >= 32


def test_without_the_token_nothing_but_the_page_itself_is_there(guarded):
    for method, path in PROTECTED:
        status, headers, body = guarded.ask(method, path)
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer"), path
        assert b"front" not in body
    for path in PUBLIC:
        status, _, body = guarded.ask("GET", path)
        assert status == 200, path
        assert b"front" not in body
    assert not guarded.board.stop_requested.is_set()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_with_the_token_all_is_there(guarded, scheme):
    assert guarded.json("GET", "/api/v1/cameras", Authorization=f"{scheme} {TOKEN}")[0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN.upper()}",
    ],
)
def test_what_is_not_the_token_is_refused(guarded, sent):
    assert guarded.refused("GET", "/api/v1/cameras", Authorization=sent)[0] == 401


def test_logging_in_gives_a_cookie_that_is_not_the_token_and_that_scripts_do_not_get(serving):
    with serving(token=TOKEN) as (_, client):
        status, headers, _ = client.ask("POST", "/login", json.dumps({"token": TOKEN}))
        assert status == 200
        cookie, *attributes = headers["Set-Cookie"].split("; ")
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(attributes)
        assert TOKEN not in headers["Set-Cookie"]
        assert client.json("GET", "/api/v1/cameras", Cookie=cookie)[0] == 200
        assert client.refused("GET", "/api/v1/cameras", Cookie=cookie[:-1])[0] == 401
        assert client.refused("GET", "/api/v1/cameras", Cookie=f"{cookie.split('=')[0]}={TOKEN}")[0] == 401
    with serving(token=TOKEN) as (_, again):  # pages on walls go on after a restart
        assert again.json("GET", "/api/v1/cameras", Cookie=cookie)[0] == 200
    with serving(token=TOKEN + "2") as (_, other):
        assert other.refused("GET", "/api/v1/cameras", Cookie=cookie)[0] == 401


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '{"token": 1}', '{"tokens": ""}', "[" * 4000, b"\xff\xfe"])
def test_a_login_that_is_none_is_refused(guarded, body):
    assert guarded.refused("POST", "/login", body)[0] == 422


def test_a_login_that_is_too_long_is_refused(guarded):
    assert guarded.refused("POST", "/login", "x" * 5000)[0] == 413


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:99", "127.0.0.1:1234", "127.8.8.8", "[::1]:8080", "localhost."]
)
def test_the_names_of_this_machine_are_taken_on_any_port(plain, host):
    assert plain.json("GET", "/api/v1/cameras", Host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[", "192.168.1.5", "evil@localhost@x"],
)
@pytest.mark.parametrize("path", ["/", "/api/v1/cameras", "/healthz"])
def test_a_domain_that_is_pointed_at_this_machine_gets_nothing(plain, host, path):
    """DNS rebinding: without a token only the name tells it from us."""
    status, line = plain.refused("GET", path, Host=host)
    assert status == 403
    assert "localhost" in line


def test_with_a_token_the_host_may_have_any_name(guarded):
    answer = guarded.json("GET", "/api/v1/cameras", Host="cams.example", Authorization=f"Bearer {TOKEN}")
    assert answer[0] == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:1", "http://127.0.0.1", "file://", "http://["]
)
@pytest.mark.parametrize("path", ["/api/v1/quit", "/api/v1/pause", "/api/v1/analyze", "/login"])
def test_another_site_changes_nothing(plain, origin, path):
    assert plain.refused("POST", path, Origin=origin)[0] == 403
    assert plain.refused("POST", path, Sec_Fetch_Site="cross-site")[0] == 403
    assert plain.refused("POST", path, Sec_Fetch_Site="same-site", Sec_Fetch_Mode="navigate")[0] == 403
    assert not plain.board.stop_requested.is_set()


def test_another_site_reads_and_shows_nothing(plain):
    for path in ("/api/v1/cameras", "/live", "/page.js", "/api/v1/cameras/x/picture"):
        assert plain.refused("GET", path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")[0] == 403
    assert plain.refused("GET", "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")[0] == 403
    # A link from elsewhere, or from a mail, may open the page.
    assert plain.ask("GET", "/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200


def test_our_page_and_programs_change_things(plain):
    assert plain.json("POST", "/api/v1/pause", Origin=f"http://{plain.host}", Sec_Fetch_Site="same-origin")[0] == 200
    assert plain.json("POST", "/api/v1/resume")[0] == 200
    assert plain.json("POST", "/api/v1/quit", Origin=f"http://{plain.host}") == (202, {"stopping": True})
    assert plain.board.stop_requested.is_set()
    plain.board.stop_requested.clear()


@pytest.mark.parametrize("path", ["/", "/page.js", "/api/v1/cameras", "/nothing", "/metrics"])
def test_every_answer_has_the_headers_that_make_browsers_careful(plain, path):
    _, headers, _ = plain.ask("GET", path)
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert policy["frame-ancestors"] == "'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers
    assert "Server" not in headers


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS"]),
    path=st.sampled_from([path for _, path in PROTECTED]) | st.text(max_size=20).map("/api/".__add__),
    sent=st.dictionaries(
        st.sampled_from(["authorization", "cookie", "origin", "sec-fetch-site", "sec-fetch-mode", "host"]),
        st.text(st.characters(max_codepoint=255), max_size=40),
    ),
)
def test_nothing_that_is_made_up_gets_past_the_token(method, path, sent):
    guard = Guard(None, token=TOKEN, host="0.0.0.0", public=frozenset("/"))
    raw = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    refused = guard._refused({"method": method, "path": path}, Headers(raw=raw))
    assert refused is not None
    assert refused.status_code in (401, 403)
