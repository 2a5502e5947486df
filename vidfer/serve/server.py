"""The server: its address, its token, its thread."""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
import threading
import time
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import TYPE_CHECKING, Self

from vidfer.errors import OutputError, UsageError
from vidfer.pipeline.board import Board

if TYPE_CHECKING:
    import uvicorn

    from vidfer.serve.app import App
    from vidfer.serve.bodies import Analyze

_log = logging.getLogger(__name__)

_MOST_CONNECTIONS = 200
_STOP_S = 2  # what is still being answered then is cut off
_START_S = 10.0
_SHORTEST_TOKEN = 16
_TOKEN = re.compile(r"[!-~]+")  # what can stand in a header


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen."""

    host: str
    port: int


def parse_address(text: str) -> Address:
    """`HOST:PORT`, such as `127.0.0.1:8080`, `localhost:8080`, `0.0.0.0:8080` or `[::1]:8080`; port 0 is any free one.

    Raises:
        UsageError: It is no such thing.
    """
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/@\[\]]+)):([0-9]{1,5})", text.strip())
    if found is None or int(found[3]) > 65535:
        raise UsageError(f"the address is {text!r}: give HOST:PORT, for example 127.0.0.1:8080")
    return Address(host=found[1] or found[2], port=int(found[3]))


class Server:
    """A running server; ends with its block or by `close`.

    Attributes:
        url: Of the page.
        token: What everybody needs; None on an address of this machine, if none was given.
        generated: Whether the token was made here: nobody knows it yet, so it has to be shown, once.
    """

    def __init__(
        self,
        app: App,
        server: uvicorn.Server,
        listening: socket.socket,
        *,
        url: str,
        token: str | None,
        generated: bool,
    ) -> None:
        self.url, self.token, self.generated = url, token, generated
        self._app, self._server = app, server
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(listening,), name="serve", daemon=True)
        self._thread.start()
        self._wait_until_started()

    @property
    def link(self) -> str:
        """The page, with the token where there is one, in the part of a link that browsers keep to themselves."""
        return self.url if self.token is None else f"{self.url}#token={self.token}"

    def _run(self, listening: socket.socket) -> None:
        try:
            with listening:
                self._server.run(sockets=[listening])
        except BaseException as error:  # noqa: BLE001 (told by whoever started this)
            self._error = error
            _log.exception("the live page has ended")
        finally:
            self._app.pictures.close()

    def _wait_until_started(self) -> None:
        until = time.monotonic() + _START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                self.close()
                raise OutputError(f"the live page did not start at {self.url}: {self._error or 'it took too long'}")
            time.sleep(0.005)

    def close(self) -> None:
        """End it, and wait until it has ended."""
        self._server.should_exit = True
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def serve(board: Board, host: str, port: int, *, token: str | None = None, analyze: Analyze | None = None) -> Server:
    """Start the live page and REST in a thread of their own.

    Use it as a context manager, inside which the watching runs: `q` and `POST /api/v1/quit` set
    `board.stop_requested`. Show `Server.link` to the user once, on stderr and never in a log.

    Args:
        board: What is shown; its frames carry pictures only while somebody looks.
        host: Address to listen on. On any that is not this machine's own, a token is needed.
        port: Port; 0 takes any free one.
        token: At least 16 visible ASCII characters; None makes one where one is needed.
        analyze: Finds the faces of one picture, called by one thread at a time (`pipeline.still.still_analysis`);
            None: no pictures can be sent.

    Raises:
        UsageError: The token is too short, or the packages of `vidfer[serve]` are missing.
        OutputError: The address cannot be listened on.
    """
    try:
        import uvicorn

        from vidfer.serve.app import App
        from vidfer.serve.protocol import Protocol
    except ImportError as error:
        raise UsageError(f"--serve needs the package {error.name}: pip install 'vidfer[serve]'") from error
    _check_token(token)
    listening = _listen(host, port)
    address, port = listening.getsockname()[:2]
    generated = token is None and not ip_address(address.partition("%")[0]).is_loopback
    token = secrets.token_urlsafe(24) if generated else token
    app = App(board, analyze=analyze, token=token, host=host, stopping=lambda: server.should_exit)
    server = uvicorn.Server(
        uvicorn.Config(
            app.asgi,
            http=Protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_STOP_S,
        )
    )
    return Server(app, server, listening, url=_url(host, address, port), token=token, generated=generated)


def _check_token(token: str | None) -> None:
    if token is None:
        return
    if len(token) < _SHORTEST_TOKEN or not _TOKEN.fullmatch(token):
        raise UsageError(
            f"the token has {len(token)} characters: give at least {_SHORTEST_TOKEN} letters, digits or signs "
            "without spaces, or none to have one made"
        )


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise UsageError(f"the address {host!r} is not known: give one of this machine, such as 127.0.0.1") from None
    listening = socket.socket(family, kind)
    try:
        if os.name == "posix":  # elsewhere it would share the port with others
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        why = error.strerror or str(error)
        raise OutputError(f"cannot listen on {host}:{port} ({why}): choose another port or end who has it") from error
    return listening


def _url(host: str, address: str, port: int) -> str:
    name = socket.gethostname() if ip_address(address.partition("%")[0]).is_unspecified else host
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"
