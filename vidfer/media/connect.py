"""Connections to cameras, by FFmpeg, and what went wrong with them in our words."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import av

from vidfer.errors import InputError
from vidfer.media.address import Address

if TYPE_CHECKING:
    from av.container import InputContainer

# So much of a stream FFmpeg looks at before it gives out packets; its default of 5 s is a late start, and RTSP says in
# words what comes.
_PROBE_US = {"rtsp": 100_000, "http": 500_000}
_UDP_REORDER_US = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """How a camera is read.

    Attributes:
        transport: "tcp" or "udp", for RTSP.
        open_s: How long a connection may take to be made.
        stall_s: How old the newest frame may become until the connection is given up, whatever else comes over it.
        max_outage_s: How long the camera may stay away; None for ever.
        max_fps: Frames a second to give out at most.
        retry_s: Shortest and longest pause before the next attempt; each is up to twice as long as the one before.
    """

    transport: str = "tcp"
    open_s: float = 10.0
    stall_s: float = 10.0
    max_outage_s: float | None = None
    max_fps: float | None = None
    retry_s: tuple[float, float] = (0.5, 30.0)


class LostError(Exception):
    """The connection is of no use any more; the message says why, without the address."""


def connect(address: Address, options: LiveOptions) -> InputContainer:
    """Connect to a camera.

    Raises:
        LostError: It does not answer, or not with a video; later it may.
        InputError: It is nothing that can be read, nor will it be.
    """
    try:
        # A reader that gets nothing at all is stopped by FFmpeg, after twice the second number.
        limits = (options.open_s, options.stall_s / 2)
        # What the camera calls itself is of no interest, and need not be text.
        settings = _settings(address, options)
        return av.open(address.url, format=address.format, options=settings, timeout=limits, metadata_errors="ignore")
    except (av.FFmpegError, OSError) as error:
        reason = reason_of(error, f"no answer within {options.open_s:g} s")
        # A server that is starting up may refuse and stammer; what is no video will not become one.
        unreadable = isinstance(error, (av.InvalidDataError, av.PatchWelcomeError)) and address.kind != "rtsp"
        if address.kind in ("device", "file") or unreadable or isinstance(error, av.ProtocolNotFoundError):
            raise InputError(f"{address.shown} cannot be opened as video: {reason}") from error
        raise LostError(reason) from error


def _settings(address: Address, options: LiveOptions) -> dict[str, str]:
    if address.kind in ("device", "file"):
        return {}
    # Not "nobuffer": it throws away what was looked at, and the key frame with it.
    settings = {"analyzeduration": str(_PROBE_US[address.kind])}
    if address.kind == "rtsp":
        settings |= {"rtsp_transport": options.transport, "allowed_media_types": "video"}
        settings["max_delay"] = str(_UDP_REORDER_US)
    return settings


def reason_of(error: Any, timeout: str) -> str:
    """What went wrong; never the text of the error itself, which holds the address with the password."""
    if isinstance(error, av.ExitError):
        return timeout
    if isinstance(error, (av.HTTPUnauthorizedError, av.HTTPForbiddenError)):
        return "wrong user or password"
    if isinstance(error, av.HTTPNotFoundError):
        return "nothing is there under this path (404)"
    if isinstance(error, av.HTTPOtherClientError) or error.errno == errno.EPERM:  # so RTSP where there is sound alone
        return "the camera refuses: is there a video under this path?"
    return str(error.strerror or type(error).__name__)
