"""Bodies of requests, read up to a limit, and pictures in them, analysed one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from vidfer.errors import InputError
from vidfer.serve.faces import Json, as_json
from vidfer.serve.photo import TooLargeError, read_photo
from vidfer.types import U8, Faces

_log = logging.getLogger(__name__)

Analyze = Callable[[U8], Faces]

MOST_BYTES = 16 * 1024 * 1024
_BODY_S = 30.0
# Each waits with its bytes in memory, and the cameras come first.
_MOST_WAITING = 4
_TYPES = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")


async def read_body(request: Request, most: int) -> bytes:
    """The body of a request, of at most so many bytes."""
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > most:
        raise HTTPException(413, f"the body has {declared} bytes: send at most {most}")
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_S):
            async for piece in request.stream():
                body += piece
                if len(body) > most:
                    raise HTTPException(413, f"the body has more than {most} bytes: send fewer")
    except TimeoutError:
        raise HTTPException(408, f"the body did not arrive within {_BODY_S:.0f} s: send it again") from None
    except ClientDisconnect:
        raise HTTPException(400, "the connection was closed before the whole body was there") from None
    return bytes(body)


class PhotoDesk:
    """Analyses the pictures that people send, one at a time.

    Args:
        analyze: Finds the faces of a picture.
    """

    def __init__(self, analyze: Analyze) -> None:
        self._analyze = analyze
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def faces(self, request: Request, landmarks: int | None) -> Json:
        """The faces in the picture that a request brings."""
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in _TYPES:
            allowed = ", ".join(_TYPES[:-1])
            raise HTTPException(415, f"Content-Type is {media_type or 'not given'}: send a picture as one of {allowed}")
        if self._waiting >= _MOST_WAITING:
            raise HTTPException(503, "too many pictures wait already: try again in a moment", {"Retry-After": "1"})
        self._waiting += 1
        try:
            body = await read_body(request, MOST_BYTES)
            if not body:
                raise HTTPException(422, "the body is empty: send a JPEG, PNG or WebP")
            async with self._turn:
                return await run_in_threadpool(self._look, body, landmarks)
        except TooLargeError as error:
            raise HTTPException(413, str(error)) from None
        except InputError as error:
            _log.debug("a picture was refused: %s", error, exc_info=error)
            raise HTTPException(422, str(error)) from None
        except MemoryError:
            raise HTTPException(413, "there is not enough memory for this picture: send a smaller one") from None
        finally:
            self._waiting -= 1

    def _look(self, body: bytes, landmarks: int | None) -> Json:
        image = read_photo(body)
        height, width = image.shape[:2]
        return {"width": width, "height": height, "faces": as_json(self._analyze(image), landmarks)}
