"""Who may ask for what: stands before everything else and lets nothing through that it does not know.

Without a token, which only an address of this machine can be, a page of another site must not get in through the
browser of somebody here: the name in `Host` has to be one of this machine (else any domain could be pointed at us), and
requests that a browser says to come from another site are refused. With a token nothing but the page itself, which
holds no data, is there without it. Things are changed from our own page or from no page at all.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_COOKIE_DAYS = 30
_SAFE = frozenset({"GET", "HEAD"})
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


def refusal(status: int, line: str, **headers: str) -> JSONResponse:
    """An error, as all of them look: one line."""
    return JSONResponse({"error": " ".join(line.split())}, status, headers)


class Guard:
    """ASGI middleware.

    Args:
        app: What is guarded.
        token: Who has it may ask for everything; None for an address of this machine.
        host: The address that is listened on.
        public: Paths that need no token.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, host: str, public: frozenset[str]) -> None:
        self._app, self._public = app, public
        self._token = token.encode() if token is not None else None
        self._host = host.lower()
        # Both follow from the token, so that pages go on after a restart, and servers on other ports of this machine,
        # which get the same cookies, have others. The token does not follow from them.
        self._cookie_name = f"vidfer_{self._digest(b'name')[:8]}"
        self._cookie = self._digest(b"live page")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on, and add the headers that every answer has."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        refused = self._refused(scope, Headers(scope=scope))
        await (refused or self._app)(scope, receive, send_with_headers)

    def _refused(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        host, path = headers.get("host", ""), scope["path"]
        if self._token is None and not self._is_ours(host):
            return refusal(
                403, f"the host {host!r} is not this machine: open it as localhost, or start vidfer with a token"
            )
        if not _same_site(scope, headers, host):
            return refusal(403, "another site asks for this: open the page of vidfer itself")
        if path in self._public or self._may(headers):
            return None
        if headers.get("authorization") is not None:
            line = "the token is wrong: send the one that vidfer was started with"
        else:
            line = "a token is needed: send it as 'Authorization: Bearer TOKEN', or enter it in the page"
        return refusal(401, line, **{"WWW-Authenticate": "Bearer"})

    def _is_ours(self, host: str) -> bool:
        """Whether a `Host` header names this machine; any port, since one may be forwarded."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name in ("localhost", self._host):
            return True
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return False

    def _may(self, headers: Headers) -> bool:
        if self._token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.is_token(given.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie_name)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self._cookie.encode())

    def _digest(self, purpose: bytes) -> str:
        return hmac.new(self._token or b"", purpose, hashlib.sha256).hexdigest()

    def is_token(self, given: str) -> bool:
        """Whether this is the token; takes as long for one that is nearly right as for any other."""
        # Digests, since comparing takes longer for another length.
        return self._token is not None and hmac.compare_digest(
            hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest(), hashlib.sha256(self._token).digest()
        )

    def log_in(self, body: bytes, *, secure: bool) -> JSONResponse:
        """Answer to the page, which sends the token: from then on its browser sends a cookie."""
        try:
            given = json.loads(body)["token"]
        except (ValueError, KeyError, TypeError, RecursionError):
            given = None
        if not isinstance(given, str):
            return refusal(422, 'the body is not understood: send {"token": "..."}')
        if self._token is not None and not self.is_token(given):
            return refusal(401, "the token is wrong", **{"WWW-Authenticate": "Bearer"})
        answer = JSONResponse({"welcome": True})
        if self._token is not None:
            answer.set_cookie(
                self._cookie_name,
                self._cookie,
                max_age=_COOKIE_DAYS * 86400,
                secure=secure,
                httponly=True,
                samesite="strict",
            )
        return answer


def _same_site(scope: Scope, headers: Headers, host: str) -> bool:
    """Whether a request comes from our page, from no page, or only opens our page."""
    site = headers.get("sec-fetch-site", "none")
    opens_page = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate" and scope["path"] == "/"
    if site not in ("same-origin", "none") and not opens_page:
        return False
    origin = headers.get("origin")
    if origin is None or scope["method"] in _SAFE:
        return True
    try:
        return urlsplit(origin).netloc.lower() == host.lower()  # the scheme may differ behind a proxy
    except ValueError:
        return False
