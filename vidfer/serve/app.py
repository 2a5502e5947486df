"""All that can be asked for: the page, what it needs, and REST."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from vidfer.pipeline.board import Board, CameraStatus, LiveFrame
from vidfer.serve.bodies import Analyze, PhotoDesk, read_body
from vidfer.serve.faces import LANDMARKS, Json, finite, frame_as_json
from vidfer.serve.guard import Guard, refusal
from vidfer.serve.metrics import Metrics
from vidfer.serve.openapi import document
from vidfer.serve.pictures import Pictures

_FOLDER = Path(__file__).parent / "page"
_MEDIA = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# How long a page waits for a newer picture at most, and so how old what it says can be.
_LIVE_WAIT_S = 1.0
_UNSEEN_WAIT_S = 0.2  # a page that shows no camera yet
_PICTURE_WAIT_S = 3.0
_POLL_S = 0.01
_MOST_SEEN = 256
_SEE = re.compile(r"([0-9]{1,5}):(-?[0-9]{1,18}):(.+)", re.DOTALL)  # width:frame:camera


_Answer = Callable[[Request], Awaitable[Response]]


class App:
    """The routes and what they share; used inside one event loop.

    Args:
        board: Of the cameras.
        analyze: Finds the faces of one picture; without it, pictures cannot be sent.
        token: Needed for everything but the page itself; None for an address of this machine.
        host: The address that is listened on.
        stopping: Whether the server is about to end: nobody waits then.
    """

    def __init__(
        self, board: Board, *, analyze: Analyze | None, token: str | None, host: str, stopping: Callable[[], bool]
    ) -> None:
        self._board, self._stopping = board, stopping
        self.pictures = Pictures(board)
        self._metrics = Metrics(board, lambda: self.pictures.looked_at)
        self._desk = PhotoDesk(analyze) if analyze is not None else None
        self._openapi = document(with_analyze=analyze is not None, with_token=token is not None)
        files = {
            f"/{file.name}".removesuffix("index.html"): _file(file)
            for file in _FOLDER.iterdir()
            if file.suffix in _MEDIA
        }
        public = frozenset({*files, "/healthz", "/openapi.json", "/login"})
        self._guard = Guard(self._starlette(files), token=token, host=host, public=public)
        self.asgi: ASGIApp = self._guard

    def _starlette(self, files: dict[str, _Answer]) -> Starlette:
        page = [Route(path, answer) for path, answer in files.items()]
        asked = [
            Route("/healthz", self._health),
            Route("/metrics", self._metrics_text),
            Route("/openapi.json", self._description),
            Route("/live", self._live),
            Route("/api/v1/cameras", self._cameras),
            Route("/api/v1/cameras/{name}/picture", self._picture),
            Route("/api/v1/faces/latest", self._faces),
            Route("/api/v1/pause", self._pause, methods=["POST"]),
            Route("/api/v1/resume", self._resume, methods=["POST"]),
            Route("/api/v1/quit", self._quit, methods=["POST"]),
            Route("/login", self._log_in, methods=["POST"]),
        ]
        if self._desk is not None:
            asked.append(Route("/api/v1/analyze", self._analyze, methods=["POST"]))
        return Starlette(routes=page + asked, exception_handlers={HTTPException: _one_line, Exception: _fault})

    async def _health(self, _: Request) -> Response:
        states = [camera.state for camera in self._board.cameras()]
        well = not states or any(state in ("live", "connecting", "paused") for state in states)
        if well:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "no camera gives frames"}, 503)

    async def _metrics_text(self, request: Request) -> Response:
        text, media_type = self._metrics.text(request.headers.get("accept", ""))
        return Response(text, headers={"Content-Type": media_type})

    async def _description(self, _: Request) -> Response:
        return JSONResponse(self._openapi)

    async def _cameras(self, _: Request) -> Response:
        return JSONResponse({"cameras": [self._as_json(camera) for camera in self._board.cameras()]})

    async def _faces(self, request: Request) -> Response:
        chosen = self._named(request.query_params.get("camera"))
        frames = [frame for name in chosen if (frame := self._board.latest(name)) is not None]
        return JSONResponse({"frames": [frame_as_json(frame) for frame in frames]})

    async def _picture(self, request: Request) -> Response:
        name = request.path_params["name"]
        self._named(name)
        frame = await self._with_picture(name)
        if frame is None:
            raise HTTPException(503, f"camera {name} gives no picture now: try again later", {"Retry-After": "5"})
        return Response(
            await self.pictures.jpeg(frame),
            headers={"Content-Type": "image/jpeg", "X-Frame": str(frame.index)},
        )

    async def _with_picture(self, name: str) -> LiveFrame | None:
        until = time.monotonic() + _PICTURE_WAIT_S
        while True:
            self.pictures.look(name)
            frame = self._board.latest(name)
            if frame is not None and frame.image is not None:
                return frame
            if time.monotonic() > until or self._stopping():
                return None
            await asyncio.sleep(_POLL_S)

    async def _analyze(self, request: Request) -> Response:
        assert self._desk is not None
        asked = request.query_params.get("landmarks", "none")
        if asked not in LANDMARKS:
            raise HTTPException(422, f"landmarks is {asked!r}: choose one of {', '.join(LANDMARKS)}")
        return JSONResponse(await self._desk.faces(request, LANDMARKS[asked]))

    async def _pause(self, request: Request) -> Response:
        name = request.query_params.get("camera")
        self._named(name)
        self._board.pause(name)
        return self._say_paused()

    async def _resume(self, request: Request) -> Response:
        name = request.query_params.get("camera")
        self._named(name)
        self._board.resume(name)
        return self._say_paused()

    def _say_paused(self) -> Response:
        names = [camera.name for camera in self._board.cameras()]
        return JSONResponse({"paused": [name for name in names if self._board.paused(name)]})

    async def _quit(self, _: Request) -> Response:
        self._board.stop_requested.set()
        return JSONResponse({"stopping": True}, 202)

    async def _log_in(self, request: Request) -> Response:
        return self._guard.log_in(await read_body(request, 4096), secure=request.url.scheme == "https")

    async def _live(self, request: Request) -> Response:
        """What the page shows, as soon as there is a newer picture of any camera it shows, after a second in any case.

        A length of 4 bytes (little endian), so much JSON, and the JPEGs that the JSON gives the sizes of. One answer
        for all cameras, since browsers open six connections at most; asked for, not pushed, so that a slow page gets
        fewer pictures and never old ones.
        """
        seen = self._seen(request.query_params.getlist("see"))
        for name in seen:
            self.pictures.look(name)
        until = time.monotonic() + (_LIVE_WAIT_S if seen else _UNSEEN_WAIT_S)
        while not (newer := self._newer(seen)) and time.monotonic() < until and not self._stopping():
            await asyncio.sleep(_POLL_S)
        jpegs = {frame.camera: await self.pictures.jpeg(frame, seen[frame.camera][0]) for frame in newer}
        shown = {frame.camera: frame_as_json(frame) for frame in newer}
        cameras = [
            {**self._as_json(one), "shown": shown.get(one.name), "picture_bytes": len(jpegs.get(one.name, b""))}
            for one in self._board.cameras()
        ]
        head = json.dumps({"stopping": self._board.stop_requested.is_set(), "cameras": cameras}).encode()
        pictures = b"".join(jpegs[one["name"]] for one in cameras if one["name"] in jpegs)
        return Response(len(head).to_bytes(4, "little") + head + pictures, media_type="application/octet-stream")

    def _seen(self, asked: list[str]) -> dict[str, tuple[int, int]]:
        """Camera -> width that it is shown in, and frame that is shown, of `width:frame:camera`."""
        known = {camera.name for camera in self._board.cameras()}
        seen = {}
        for text in asked[:_MOST_SEEN]:
            found = _SEE.fullmatch(text)
            if found is None:
                raise HTTPException(422, f"see is {text[:80]!r}: give width:frame:camera")
            if found[3] in known:
                seen[found[3]] = (int(found[1]), int(found[2]))
        return seen

    def _newer(self, seen: dict[str, tuple[int, int]]) -> list[LiveFrame]:
        """Another frame than the one that is shown: after a restart the count begins anew."""
        frames = [(self._board.latest(name), shown) for name, (_, shown) in seen.items()]
        return [one for one, shown in frames if one is not None and one.image is not None and one.index != shown]

    def _named(self, name: str | None) -> list[str]:
        """The camera of this name; all of them for None."""
        names = [camera.name for camera in self._board.cameras()]
        if name is not None and name not in names:
            known = ", ".join(names) or "none"
            raise HTTPException(404, f"there is no camera {name!r}: there are {known}")
        return names if name is None else [name]

    def _as_json(self, camera: CameraStatus) -> Json:
        last = camera.last_frame_utc
        latencies = (camera.latency_p50_ms, camera.latency_p95_ms)
        p50_ms, p95_ms = (None if value is None else finite(value, 1) for value in latencies)
        return {
            "name": camera.name,
            "url": camera.url,
            "state": camera.state,
            "paused": self._board.paused(camera.name),
            "width": camera.width,
            "height": camera.height,
            "epoch": camera.epoch,
            "frames": camera.frames,
            "faces": camera.faces,
            "fps": finite(camera.fps, 2),
            "latency_p50_ms": p50_ms,
            "latency_p95_ms": p95_ms,
            "dropped": camera.dropped,
            "reconnects": camera.reconnects,
            "last_frame_utc": last.isoformat() if last is not None else None,
            "last_error": camera.last_error,
            "writing": camera.writing,
        }


def _file(file: Path) -> _Answer:
    content, media_type = file.read_bytes(), _MEDIA[file.suffix]  # 30 kB in all

    async def give(_: Request) -> Response:
        return Response(content, media_type=media_type)

    return give


async def _one_line(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refusal(error.status_code, error.detail, **dict(error.headers or {}))


async def _fault(_: Request, error: Exception) -> Response:
    # It is logged with its traceback by whoever runs this.
    return refusal(500, f"{type(error).__name__} (a fault of vidfer's: its log says more)")
