"""A camera that speaks HTTP: MPEG-TS, MJPEG and HLS, with the faults that each of them can have."""

from __future__ import annotations

import io
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
from clips import pictures

_NULL_PACKETS = (b"\x47\x1f\xff\x10" + bytes(184)) * 7
_SEGMENT_S = 1.0
_PAGE = b"<html><body>Welcome to your camera</body></html>\n" * 100  # what many show under a wrong path


def transport_stream(clip: Path, first=0, frames=50) -> bytes:
    """Some frames of a clip as MPEG-TS, with their stamps."""
    memory = io.BytesIO()
    with av.open(str(clip)) as source, av.open(memory, "w", format="mpegts") as target:
        video = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if number == first + frames:
                break
            if number >= first and packet.size:
                packet.stream = video
                target.mux(packet)
    return memory.getvalue()


class HttpCamera:
    """Serves on loopback until the block ends.

    Args:
        clip: What is shown, 25 frames a second.
    """

    def __init__(self, clip: Path) -> None:
        self._over = threading.Event()
        self._began: float | None = None  # when somebody first asked for a playlist
        self._clip = clip
        self.ts = transport_stream(clip, frames=35)
        self.jpegs = [cv2.imencode(".jpg", image)[1].tobytes() for image in pictures(20, 320, 180)]
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                with suppress(OSError):  # the client has gone
                    camera.answer(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.block_on_close = True
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def answer(self, request) -> None:
        name = request.path.removeprefix("/")
        if name.isdecimal():
            request.send_error(int(name))
            return
        if name.startswith("hls"):
            self._hls(request, name)
            return
        if name == "page":
            self._send_whole(request, _PAGE, "text/html")
            return
        request.send_response(200)
        request.send_header(
            "Content-Type", "multipart/x-mixed-replace; boundary=next" if name == "mjpeg" else "video/mp2t"
        )
        request.end_headers()
        getattr(self, name)(request.wfile)

    def jumps_back(self, out) -> None:
        """The same 1.4 seconds again and again, in real time."""
        while not self._over.is_set():
            self._send(out, self.ts, 1.4)

    def goes_silent(self, out) -> None:
        """1.4 seconds, and then packets with nothing in them."""
        self._send(out, self.ts, 1.4)
        while not self._over.is_set():
            self._send(out, _NULL_PACKETS, 0.05)

    def mjpeg(self, out) -> None:
        """Ten pictures a second, without any stamps."""
        number = 0
        while not self._over.is_set():
            image = self.jpegs[number % len(self.jpegs)]
            head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n"
            self._send(out, head.encode() + image + b"\r\n", 0.1)
            number += 1

    def _send(self, out, data: bytes, seconds: float) -> None:
        """Send data evenly over some seconds."""
        steps = max(1, round(seconds / 0.04))
        size = -(-len(data) // steps)
        for start in range(0, len(data), size):
            if self._over.wait(seconds / steps):
                return
            out.write(data[start : start + size])
            out.flush()

    def _hls(self, request, name: str) -> None:
        """A live playlist of three segments that moves on, and the segments."""
        if name.endswith(".m3u8"):
            self._began = self._began or time.monotonic()
            newest = 3 + int((time.monotonic() - self._began) / _SEGMENT_S)
            lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{newest - 3}"]
            for number in range(newest - 3, newest):
                lines += [f"#EXTINF:{_SEGMENT_S},", f"hls-{number}.ts"]
            body, kind = "\n".join([*lines, ""]).encode(), "application/vnd.apple.mpegurl"
        else:
            number = int(name.removeprefix("hls-").removesuffix(".ts"))
            body, kind = transport_stream(self._clip, 25 * number, 25), "video/mp2t"
        self._send_whole(request, body, kind)

    def _send_whole(self, request, body: bytes, kind: str) -> None:
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
