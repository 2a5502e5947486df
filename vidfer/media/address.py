"""Where cameras are: their addresses, with what logs, tables and errors may say of them."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, quote, urlsplit

from vidfer.errors import InputError

Kind = Literal["rtsp", "http", "device", "file"]

_KINDS: dict[str, Kind] = {"rtsp": "rtsp", "rtsps": "rtsp", "http": "http", "https": "http"}
_DEVICE = "camera:"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HIDDEN = "***"
# Some cameras take the login in the path or in the query.
_SECRET = re.compile(r"(?i)((?:user|usr|login|pass|pwd|pw|token|key|auth|secret|sig)[a-z_-]*=)[^&;/?#\s]*")
_PLAIN_VALUE = re.compile(r"\d{0,3}")  # a channel, a quality: anything longer may be a secret, whatever it is called
_NO_PORT = re.compile(r"(\[[^]]*\]:|[^[:/?#]*:)(?!\d{0,5}(?:[/?#]|$))[^/?#]+")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a camera is.

    Attributes:
        kind: How it is reached.
        url: For FFmpeg, with the credentials.
        shown: The same without them.
        format: FFmpeg's name of the device format; None for all others.
    """

    kind: Kind
    url: str = field(repr=False)
    shown: str
    format: str | None = None

    @property
    def name(self) -> str:
        """A name for a camera that was given none, fit for files."""
        if self.kind == "device":
            return _NOT_IN_NAMES.sub("-", self.shown).strip("-.")
        if self.kind == "file":
            return _NOT_IN_NAMES.sub("-", Path(self.url).stem).strip("-.") or "file"
        parts = urlsplit(self.shown.replace(f"{_HIDDEN}@", ""))
        return (_NOT_IN_NAMES.sub("-", parts.hostname or "") + _path_name(parts.path)).strip("-.")


def _path_name(path: str) -> str:
    name = _NOT_IN_NAMES.sub("-", path).strip("-.")
    return f"-{name}"[:60] if name else ""


def parse_address(text: str, *, username: str | None = None, password: str | None = None) -> Address:
    """What an address means.

    Args:
        text: A URL (rtsp, rtsps, http, https), `camera:0` for a camera of this machine, or a file to be watched as if
            it were one.
        username: To log in with, if the URL has no login.
        password: Likewise.

    Raises:
        InputError: It means nothing.
    """
    found = _SCHEME.match(text)
    scheme = found[1].lower() if found else None
    if scheme in _KINDS:
        shown = redacted(text)
        try:
            parts = urlsplit(text)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host:
            raise InputError(f"{shown} names no host or a wrong port: write it as rtsp://host:554/path")
        if username is not None and "@" not in parts.netloc:
            login = quote(username, safe="") + (f":{quote(password, safe='')}" if password is not None else "")
            text = parts._replace(netloc=f"{login}@{parts.netloc}").geturl()
            shown = redacted(text)
        return Address(kind=_KINDS[scheme], url=text, shown=shown)
    if text.startswith(_DEVICE):
        return _device(text.removeprefix(_DEVICE))
    if scheme is None and Path(text).is_file():
        return Address(kind="file", url=str(Path(text).absolute()), shown=text)
    known = ", ".join(_KINDS)
    reason = f"unknown scheme {scheme}" if scheme else "neither a URL nor a file"
    raise InputError(f"{redacted(text)}: {reason}; known are {known}, {_DEVICE}0 and files")


def _device(which: str) -> Address:
    """A camera of this machine: a number, or on Windows a name."""
    shown = _DEVICE + which
    if sys.platform == "win32":
        return Address(kind="device", url=f"video={which}", shown=shown, format="dshow")
    if not which.isdecimal():
        raise InputError(f"{shown}: give the number of a camera, such as {_DEVICE}0")
    if sys.platform == "darwin":
        return Address(kind="device", url=which, shown=shown, format="avfoundation")
    path = Path(f"/dev/video{which}")
    if not path.exists():
        there = ", ".join(sorted(str(found) for found in Path("/dev").glob("video*"))) or "none"
        raise InputError(f"{shown}: there is no camera {path}; cameras of this machine: {there}")
    return Address(kind="device", url=str(path), shown=shown, format="v4l2")


def redacted(url: str) -> str:
    """A URL without anything that may be a secret; it hides too much rather than too little."""
    found = _SCHEME.match(url)
    start = found[0] if found else ""  # none in what was mistyped; what stands before an "@" is a login there, too
    # FFmpeg takes the login up to the last "@" before the path, but a login may itself hold "/", "?" or "#" by mistake.
    login, at, place = url.removeprefix(start).rpartition("@")
    if start:  # where a port should be there may be what belongs before the "@"
        wrong = _NO_PORT.match(place)
        place = f"{wrong[1]}{_HIDDEN}{place[wrong.end() :]}" if wrong else place
    rest, mark, query = place.partition("?")
    query = "&".join(
        f"{key}={value if _PLAIN_VALUE.fullmatch(value) and not _SECRET.match(f'{key}=') else _HIDDEN}"
        for key, value in parse_qsl(query, keep_blank_values=True)
    )
    shown = start + (_HIDDEN + at if login or at else "") + _SECRET.sub(rf"\1{_HIDDEN}", rest)
    return shown + (mark + query if query else "")
