"""Writing videos: times and sound of the source, all or nothing."""

from __future__ import annotations

import logging
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yuv import yuv_of

from vidfer.errors import OutputError
from vidfer.media.encode import VideoWriter
from vidfer.media.file import VideoFile
from vidfer.media.synthetic import write_video
from vidfer.types import ColourSpace

WIDTH, HEIGHT = 64, 48


def picture(level, width=WIDTH, height=HEIGHT):
    image = np.full((height, width, 3), level % 200 + 20, np.uint8)
    image[: height // 2, : width // 2] = (200, 60, 30)
    return image


def colours(matrix=6, full_range=False):
    return ColourSpace(matrix=matrix, full_range=full_range, primaries=matrix, transfer=matrix)


SD = colours()


def yuv(*args, colours=SD):
    return yuv_of(picture(*args), colours)


def write(path, pts, *, time_base=Fraction(1, 12800), width=WIDTH, height=HEIGHT, colours=SD, **options):
    with VideoWriter(path, width=width, height=height, time_base=time_base, colours=colours, **options) as writer:
        for index, stamp in enumerate(pts):
            writer.write(yuv(index, width, height, colours=colours), stamp)
    return path


def read_pts(path):
    with VideoFile(path) as video:
        return [frame.pts for frame in video], video.info


@pytest.mark.parametrize(
    ("time_base", "pts"),
    [
        (Fraction(1, 12800), [512 * i for i in range(60)]),
        (Fraction(1, 1000), [0, 33, 67, 100, 133, 167, 200]),
        (Fraction(1, 1000), [7, 40, 73, 107]),
        (Fraction(1, 90000), [126000 + 3003 * i for i in range(20)]),
        (Fraction(1, 90000), [1, 2, 5, 90000, 180001, 180002]),
        (Fraction(1, 30000), [1001 * (i + 1) for i in range(20)]),
        (Fraction(1, 25), list(range(10))),
        (Fraction(1, 1200000), [48000 * i for i in range(10)]),
    ],
)
def test_stamps_are_kept_to_the_tick(tmp_path, ffprobe, time_base, pts):
    path = write(tmp_path / "out.mp4", pts, time_base=time_base)
    kept, info = read_pts(path)
    assert kept == ffprobe.frame_pts(path) == pts
    assert info.time_base == time_base


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(
    ticks=st.sampled_from([25, 600, 1000, 12800, 24000, 30000, 90000]),
    start=st.integers(0, 200),
    steps=st.lists(st.integers(1, 3000), min_size=1, max_size=12),
)
def test_any_rising_stamps_are_kept(tmp_path, ticks, start, steps):
    pts = [start + sum(steps[:i]) for i in range(len(steps) + 1)]
    kept, _ = read_pts(write(tmp_path / "any.mp4", pts, time_base=Fraction(1, ticks)))
    assert kept == pts


def test_a_time_base_that_is_no_unit_fraction(tmp_path):
    kept, info = read_pts(write(tmp_path / "ntsc.mp4", list(range(10)), time_base=Fraction(1001, 30000)))
    assert [stamp * info.time_base for stamp in kept] == [i * Fraction(1001, 30000) for i in range(10)]


@pytest.mark.parametrize(
    ("pts", "kept"),
    [
        ([0, None, None, None], [0, 512, 1024, 1536]),
        ([0, 512, 512, 500, 2048], [0, 512, 513, 514, 2048]),
        ([-512, 0, 512], [0, 512, 1024]),
        ([12800 * 3600, 12800 * 3600 + 512], [0, 512]),
    ],
)
def test_stamps_that_cannot_be_kept_are_repaired(tmp_path, caplog, pts, kept):
    with caplog.at_level(logging.WARNING):
        written, _ = read_pts(write(tmp_path / "out.mp4", pts, frame_rate=Fraction(25)))
    assert written == kept
    assert caplog.text.count("missing or not rising") == int(None in pts or sorted(set(pts)) != pts)


@pytest.mark.parametrize(("matrix", "name"), [(1, "bt709"), (6, "smpte170m"), (5, "bt470bg"), (9, "bt2020nc")])
@pytest.mark.parametrize("full_range", [False, True])
def test_what_is_in_the_file(tmp_path, ffprobe, matrix, name, full_range):
    path = write(tmp_path / "out.mp4", [0, 512, 1024], colours=colours(matrix, full_range))
    stream = ffprobe.ask(path, "-show_streams")["streams"][0]
    assert (stream["codec_name"], stream["pix_fmt"]) == ("h264", "yuvj420p" if full_range else "yuv420p")
    assert (stream["width"], stream["height"]) == (WIDTH, HEIGHT)
    assert (stream["color_space"], stream["color_range"]) == (name, "pc" if full_range else "tv")
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # faststart
    with VideoFile(path) as video:
        assert video.colours == colours(matrix, full_range)
        for index, frame in enumerate(video):
            assert np.abs(frame.picture.rgb().astype(int) - picture(index)).mean() < 2


# --- sound


def talking(path, codec, suffix, seconds=2, rate=44100, start=0):
    """A short video with a tone, made by FFmpeg's libraries."""
    time_s = np.arange(seconds * rate) / rate
    tone = (0.3 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)
    path = path.with_suffix(suffix)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream(codec, rate=rate, layout="mono")
        for index in range(25 * seconds):
            frame = av.VideoFrame.from_ndarray(picture(index), "rgb24")
            frame.pts, frame.time_base = index + 25 * start, Fraction(1, 25)
            container.mux(video.encode(frame))
            chunk = tone[index * rate // 25 : (index + 1) * rate // 25]
            sound = av.AudioFrame.from_ndarray(chunk[None], "fltp", "mono")
            sound.sample_rate, sound.time_base = rate, Fraction(1, rate)
            sound.pts = index * rate // 25 + start * rate
            container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


def copy(source, destination):
    with VideoFile(source) as video:
        info = video.info
        with VideoWriter(
            destination,
            width=info.width,
            height=info.height,
            time_base=info.time_base,
            frame_rate=info.average_frame_rate,
            audio_from=source,
            colours=video.colours,
        ) as writer:
            pts = []
            for frame in video:
                writer.write(frame.picture.yuv(), frame.pts)
                pts.append(frame.pts)
    return pts


def loudness(path):
    """Root mean square of the sound, and its length in seconds."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].sample_rate
    scale = 32768 if frames[0].dtype == np.int16 else 1
    samples = np.concatenate([frame.reshape(-1) for frame in frames]) / scale
    return np.sqrt(np.mean(samples.astype(float) ** 2)), len(samples) / rate


@pytest.mark.parametrize(
    ("codec", "suffix", "kept_as"),
    [
        ("aac", ".mp4", "aac"),
        ("aac", ".ts", "aac"),
        ("aac", ".flv", "aac"),
        ("libmp3lame", ".mkv", "mp3"),
        ("libopus", ".mkv", "opus"),
        ("ac3", ".ts", "ac3"),
        ("pcm_s16le", ".mov", "aac"),
        ("flac", ".mkv", "aac"),
        ("pcm_f32le", ".mkv", "aac"),
    ],
)
def test_sound_is_carried_over_in_step(tmp_path, ffprobe, codec, suffix, kept_as):
    source = talking(tmp_path / "source", codec, suffix, rate=48000 if codec == "libopus" else 44100)
    destination = tmp_path / "out.mp4"
    pts = copy(source, destination)
    assert ffprobe.frame_pts(destination) == pts
    streams = ffprobe.ask(destination, "-select_streams", "a", "-show_streams")["streams"]
    assert [stream["codec_name"] for stream in streams] == [kept_as]
    before, after = loudness(source), loudness(destination)
    assert after[0] == pytest.approx(before[0], rel=0.05)
    assert after[1] == pytest.approx(before[1], abs=0.1)
    heard_before, heard_after = ffprobe.packet_times(source, "a:0"), ffprobe.packet_times(destination, "a:0")
    if kept_as in codec or codec == "libmp3lame":
        assert len(heard_after) == pytest.approx(len(heard_before), abs=1)
        assert np.allclose(heard_after[:20], heard_before[:20], atol=2e-3)
    assert heard_after[0] == pytest.approx(heard_before[0], abs=0.06)


def test_sound_and_pictures_lie_side_by_side(tmp_path, ffprobe):
    source = talking(tmp_path / "source", "aac", ".mp4", seconds=4)
    destination = tmp_path / "out.mp4"
    copy(source, destination)
    found = ffprobe.ask(destination, "-show_entries", "packet=pos,pts_time,codec_type")["packets"]
    found.sort(key=lambda packet: int(packet["pos"]))
    latest = {"audio": 0.0, "video": 0.0}
    for packet in found:
        latest[packet["codec_type"]] = max(latest[packet["codec_type"]], float(packet["pts_time"]))
        assert abs(latest["audio"] - latest["video"]) < 1.2


def test_a_late_start_is_moved_together_with_its_sound(tmp_path, ffprobe):
    source = talking(tmp_path / "source", "aac", ".ts", start=3600)
    destination = tmp_path / "out.mp4"
    copy(source, destination)
    seen, heard = ffprobe.packet_times(destination, "v:0"), ffprobe.packet_times(destination, "a:0")
    apart = ffprobe.packet_times(source, "v:0")[0] - ffprobe.packet_times(source, "a:0")[0]
    assert -0.1 < min(seen) < 0.2
    assert seen[0] - heard[0] == pytest.approx(apart, abs=0.01)


def test_no_sound_and_no_such_sound(tmp_path, caplog):
    write_video(tmp_path / "mute.mp4", [(picture(i), i) for i in range(5)], time_base=Fraction(1, 25))
    assert len(copy(tmp_path / "mute.mp4", tmp_path / "out.mp4")) == 5
    with caplog.at_level(logging.WARNING):
        write(tmp_path / "out2.mp4", [0, 512], audio_from=tmp_path / "missing.mp4")
    assert "no sound" in caplog.text
    assert read_pts(tmp_path / "out2.mp4")[0] == [0, 512]


def test_real_sound(shared_videos, tmp_path, ffprobe):
    for name in ("single_face.mp4", "no_face.mp4", "nasa_13013.mp4"):  # mp3; discarded packets; two sounds, 8 kHz
        source, destination = shared_videos / name, tmp_path / name
        assert copy(source, destination) == ffprobe.frame_pts(destination)
        streams = len(ffprobe.ask(source, "-select_streams", "a", "-show_streams")["streams"])
        for stream in range(streams):
            heard = ffprobe.packet_times(source, f"a:{stream}")
            assert np.allclose(ffprobe.packet_times(destination, f"a:{stream}"), heard, atol=1e-4), name


# --- all or nothing


def test_an_error_leaves_nothing(tmp_path):
    def fail():
        with VideoWriter(
            tmp_path / "out.mp4", width=64, height=48, time_base=Fraction(1, 25), colours=colours()
        ) as writer:
            writer.write(yuv(0), 0)
            assert [path.name for path in tmp_path.iterdir()] == ["out.mp4.part"]
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_error_keeps_what_was_there(tmp_path):
    write(tmp_path / "out.mp4", [0, 512])
    before = (tmp_path / "out.mp4").read_bytes()
    with pytest.raises(OutputError, match="no picture"):
        write(tmp_path / "out.mp4", [])
    assert (tmp_path / "out.mp4").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_no_such_folder(tmp_path):
    with pytest.raises(OutputError) as caught:
        VideoWriter(tmp_path / "no" / "out.mp4", width=64, height=48, time_base=Fraction(1, 25), colours=SD)
    assert "\n" not in str(caught.value)
    assert "cannot be written" in str(caught.value)


def test_wrong_shapes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="even"):
        VideoWriter(tmp_path / "out.mp4", width=63, height=48, time_base=Fraction(1, 25), colours=SD)
    with (
        pytest.raises(ValueError, match="64x48"),
        VideoWriter(tmp_path / "out.mp4", width=64, height=48, time_base=Fraction(1, 25), colours=SD) as writer,
    ):
        writer.write(yuv(0, 66, 48), 0)
    assert list(tmp_path.iterdir()) == []
