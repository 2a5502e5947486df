"""What the cameras of these tests show: short loops of pictures, encoded once, served by GStreamer or over HTTP."""

from __future__ import annotations

import signal
import subprocess
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import pytest
from clips import pictures
from patience import PATIENCE_S
from ports import free_port

SYSTEM_PYTHON = "/usr/bin/python3"
SERVER = Path(__file__).with_name("rtsp_server.py")
_CODECS = {
    "h264": ("libx264", {"bf": "0", "tune": "zerolatency"}),
    "h265": ("libx265", {"x265-params": "log-level=none:bframes=0:keyint=10:pools=1:frame-threads=1:repeat-headers=1"}),
}
_LOOP_FRAMES = 50


@cache
def missing_tools() -> str | None:
    """What this machine lacks to serve RTSP; None where it lacks nothing."""
    try:
        found = subprocess.run(
            [SYSTEM_PYTHON, str(SERVER), "--check"], capture_output=True, text=True, timeout=PATIENCE_S
        )
    except OSError as error:
        return str(error)
    return None if found.returncode == 0 else found.stderr.strip().splitlines()[-1]


def clip(folder: Path, codec="h264", *, size=(320, 180), rate=25, seconds=120, of: Path | None = None) -> Path:
    """A video that shows the same two seconds of clouds, or all frames of a video, again and again, encoded once."""
    path = folder / f"{codec}-{size[0]}x{size[1]}-{seconds}{of.stem if of else ''}.mp4"
    if path.exists():
        return path
    encoder, options = _CODECS[codec]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=rate, options={"preset": "ultrafast", "g": "10", **options})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.thread_count = 1
        packets = []
        for image in pictures(_LOOP_FRAMES, *size) if of is None else frames(of, size):
            packets += stream.encode(av.VideoFrame.from_ndarray(image, "rgb24"))
        packets += stream.encode(None)
        once = [(bytes(packet), packet.is_keyframe) for packet in packets]
        for number in range(seconds * rate):
            data, is_key = once[number % len(once)]
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, rate), is_key
            packet.pts = packet.dts = number
            packet.duration = 1
            container.mux(packet)
    return path


def frames(path: Path, size):
    """The frames of a video, uint8[H,W,3] RGB of a size."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(width=size[0], height=size[1], format="rgb24")


def show(path: Path, *, before="", pay="", after="") -> str:
    """A GStreamer pipeline that shows a clip from its beginning to whoever comes, with elements before and after the
    one that makes RTP packets, and options for it.
    """
    codec = "h265" if "h265" in path.name else "h264"
    packets = f"{codec}parse ! {before} rtp{codec}pay config-interval=-1 pt=96 {pay} {after} name=pay0"
    return f"( filesrc location={path} ! qtdemux ! {packets} )"


def show_without_time(folder: Path) -> str:
    """The same pictures, for ever, with one stamp on all of them."""
    units = folder / "units"
    if not units.exists():
        units.mkdir()
        with av.open(str(clip(folder)), options={}) as container:
            annex_b = av.BitStreamFilterContext("h264_mp4toannexb", container.streams.video[0])
            packets = (unit for packet in container.demux(video=0) for unit in annex_b.filter(packet))
            for number, packet in zip(range(_LOOP_FRAMES), packets, strict=False):
                (units / f"{number:04d}").write_bytes(bytes(packet))
    caps = "video/x-h264,stream-format=byte-stream,alignment=au,framerate=25/1,width=320,height=180"
    return f'( multifilesrc location={units}/%04d loop=true caps="{caps}" ! h264parse ! rtph264pay name=pay0 pt=96 )'


class RtspServer:
    """A server that can be killed, frozen and started again at the same port; a context manager.

    Args:
        mounts: Path -> GStreamer pipeline.
        login: "user:password", or none.
    """

    def __init__(self, mounts: dict[str, str], login: str | None = None) -> None:
        if missing := missing_tools():
            pytest.skip(f"NO RTSP CAMERA: GStreamer's RTSP server is missing ({missing}); .ci/run installs it")
        self.mounts, self.login = mounts, login
        self.port = free_port()
        self._process: subprocess.Popen | None = None

    def url(self, path: str, login: str | None = None) -> str:
        return f"rtsp://{login + '@' if login else ''}127.0.0.1:{self.port}{path}"

    def start(self) -> None:
        mounts = [f"{path}={launch}" for path, launch in self.mounts.items()]
        command = [SYSTEM_PYTHON, str(SERVER), str(self.port), self.login or "-", *mounts]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout.readline().strip() == str(self.port)

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)
            self._process.stdout.close()
            self._process = None

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()
