"""Short clips of every kind that people have, made here with the encoders inside PyAV."""

from fractions import Fraction

import av
import cv2
import numpy as np

WIDTH, HEIGHT, RATE = 128, 72, 25
TICK = Fraction(1, 12800)
STEP = 512

# Name -> suffix, encoder, its options. Between them: B-frames, open groups of pictures, intra refresh (no key frame but
# the first), hidden frames (VP8), hidden frames in the packet of another one (VP9), no stamps (AVI), field-coded lines.
KINDS = {
    "b_frames": (".mp4", "libx264", {"g": "20", "bf": "3"}),
    "open_gop": (".mkv", "libx264", {"x264-params": "open-gop=1:keyint=20:bframes=3"}),
    "intra_refresh": (".ts", "libx264", {"x264-params": "intra-refresh=1:keyint=20:bframes=0"}),
    "interlaced": (".ts", "libx264", {"x264-params": "interlaced=1:keyint=20"}),
    "ten_bit": (".mkv", "libx264", {"g": "20"}),
    "hevc": (".mov", "libx265", {"x265-params": "log-level=none:keyint=20:pools=1:frame-threads=1"}),
    "hevc_ts": (".ts", "libx265", {"x265-params": "log-level=none:keyint=20:pools=1:frame-threads=1"}),
    "vp8": (".webm", "libvpx", {"lag-in-frames": "16", "g": "20", "deadline": "good", "cpu-used": "5"}),
    "vp9": (".webm", "libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "16", "g": "20", "cpu-used": "5"}),
    "av1": (".mp4", "libsvtav1", {"preset": "12", "g": "20", "svtav1-params": "lp=1"}),
    "mpeg2": (".ts", "mpeg2video", {"g": "15", "bf": "2"}),
    "mpeg4": (".avi", "mpeg4", {"g": "15", "bf": "2"}),
    "h264_avi": (".avi", "libx264", {"g": "20", "bf": "2"}),
    "mjpeg": (".avi", "mjpeg", {}),
    "cinepak": (".avi", "cinepak", {}),
}  # fmt: skip
_PIXELS = {"ten_bit": "yuv420p10le", "mjpeg": "yuvj420p", "cinepak": "rgb24"}


def pictures(count, width=WIDTH, height=HEIGHT):
    """Pictures that all differ: clouds that move, another set after each 30."""
    for index in range(count):
        rng = np.random.default_rng(index // 30)
        clouds = cv2.resize(rng.integers(0, 255, (12, 20, 3), np.uint8), (width * 2, height * 2))
        shift = 2 * (index % 30)
        yield np.ascontiguousarray(clouds[shift // 2 : shift // 2 + height, shift : shift + width])


def again_and_again(path, folder, times):
    """The video of a file so many times, not encoded anew; under the same name."""
    target = folder / path.name
    with av.open(str(path)) as source, av.open(str(target), "w") as container:
        video = source.streams.video[0]
        stream = container.add_stream_from_template(video)
        packets = [packet for packet in source.demux(video) if packet.size]
        length = video.duration
        for number in range(times):
            for packet in packets:
                copy = av.Packet(bytes(packet))
                copy.stream, copy.time_base, copy.is_keyframe = stream, packet.time_base, packet.is_keyframe
                copy.pts, copy.dts = (stamp + number * length for stamp in (packet.pts, packet.dts))
                copy.duration = packet.duration
                container.mux(copy)
    return target


def write_clip(folder, kind, count=80, pts=None, size=(WIDTH, HEIGHT)):
    """Write a clip of one of KINDS; gives its path."""
    suffix, codec, options = KINDS[kind]
    if kind == "cinepak":  # its encoder takes 0.05 s for a picture of 128 x 72
        size = (48, 32)
    path = folder / f"{kind}{suffix}"
    stamps = range(0, count * STEP, STEP) if pts is None else pts
    with av.open(str(path), "w", options={"movflags": "+faststart"} if suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=RATE, options={"threads": "1", **options})
        stream.width, stream.height = size
        stream.pix_fmt = _PIXELS.get(kind, "yuv420p")
        variable = pts is not None or suffix not in {".avi", ".ts"}
        stream.codec_context.time_base = TICK if variable and codec != "libsvtav1" else Fraction(1, RATE)
        for image, stamp in zip(pictures(count, *size), stamps, strict=True):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = (
                int(stamp * TICK / stream.codec_context.time_base),
                stream.codec_context.time_base,
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
