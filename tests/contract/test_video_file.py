"""Reading video files: times, upright pictures, accounting, refusals."""

from __future__ import annotations

import logging
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from vidfer.errors import InputError
from vidfer.media.file import VideoFile
from vidfer.media.synthetic import write_video
from vidfer.media.timecode import Sampling, parse_timecode

SUFFIXES = {".mp4", ".mkv", ".mov"}
TICK = Fraction(1, 12800)


def card(width=160, height=96):
    """Four flat quarters: red, green over blue, white; no two ways to hold it look alike."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (220, 30, 30)
    image[: height // 2, width // 2 :] = (30, 200, 30)
    image[height // 2 :, : width // 2] = (30, 30, 220)
    image[height // 2 :, width // 2 :] = (230, 230, 230)
    return image


def make(path, pts, image=None, **odd):
    pictures = [(card() if image is None else image, stamp) for stamp in pts]
    write_video(path, pictures, time_base=odd.pop("time_base", TICK), **odd)
    return path


def regular(count, step=512, start=0):
    return [start + index * step for index in range(count)]


def assert_adds_up(counts):
    assert counts.packets == counts.decoded + counts.undecodable + counts.discarded
    assert counts.decoded == counts.analysed + counts.not_sampled + counts.dropped


# --- times


def test_times_on_every_real_video(shared_videos, ffprobe):
    videos = sorted(path for path in shared_videos.iterdir() if path.suffix in SUFFIXES)
    assert len(videos) >= 20
    for path in videos:
        with VideoFile(path) as video:
            frames = [(frame.index, frame.pts, frame.time_s) for frame in video]
        pts = [stamp for _, stamp, _ in frames]
        assert pts == ffprobe.frame_pts(path), path.name
        assert [index for index, _, _ in frames] == list(range(len(pts)))
        assert [time for _, _, time in frames] == [float((stamp - pts[0]) * video.info.time_base) for stamp in pts]
        assert_adds_up(video.counts)
        assert video.counts.undecodable == video.counts.corrupt == 0, path.name
        assert not video.truncated, path.name
        assert video.info.variable_frame_rate == ("noface" in path.stem), path.name


def test_every_video_stream_can_be_chosen(shared_videos, ffprobe):
    path = shared_videos / "nasa_13013.mp4"
    for stream, size in enumerate([(320, 180), (480, 270)]):
        with VideoFile(path, stream=stream) as video:
            assert [frame.pts for frame in video] == ffprobe.frame_pts(path, stream)
            assert (video.info.width, video.info.height, video.info.stream) == (*size, stream)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize(
    ("pts", "variable"),
    [(regular(12), False), ([0, 512, 600, 2000, 2513, 9000, 9001, 9900], True), (regular(9, start=700), False)],
)
def test_times_of_odd_files(tmp_path, ffprobe, suffix, pts, variable):
    path = make(tmp_path / f"odd{suffix}", pts)
    with VideoFile(path) as video:
        frames = list(video)
    assert [frame.pts for frame in frames] == ffprobe.frame_pts(path)
    assert video.info.variable_frame_rate == variable
    assert frames[0].time_s == 0.0
    half_tick = float(video.info.time_base) / 2
    wanted = [float((stamp - pts[0]) * TICK) for stamp in pts]
    assert np.allclose([frame.time_s for frame in frames], wanted, atol=2 * half_tick + 1e-12)


def test_frames_without_stamps_follow_each_other_at_the_declared_rate(tmp_path, caplog):
    path = make(tmp_path / "bare.h264", regular(10))
    with caplog.at_level(logging.INFO), VideoFile(path) as video:
        frames = list(video)
    assert len(frames) == 10
    assert {frame.pts for frame in frames} == {None}
    assert np.allclose(np.diff([frame.time_s for frame in frames]), 0.04)
    assert caplog.text.count(f"{path}: frames without a time stamp") == 1


def test_avi_is_in_the_order_of_showing(tmp_path):
    rng = np.random.default_rng(0)
    noise = [(rng.integers(0, 255, (48, 64, 3), np.uint8), index) for index in range(20)]
    write_video(tmp_path / "old.avi", noise, time_base=Fraction(1, 25))
    with VideoFile(tmp_path / "old.avi") as video:
        times = [frame.time_s for frame in video]
    assert np.allclose(times, np.arange(20) / 25)


# --- pictures


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_pictures_stand_upright(tmp_path, rotation):
    path = make(tmp_path / "turned.mp4", regular(3), rotation_deg=rotation)
    upright = np.rot90(card(), -rotation // 90)
    with VideoFile(path) as video:
        picture = next(iter(video)).picture
    assert (picture.height, picture.width) == upright.shape[:2]
    assert (video.info.height, video.info.width) == upright.shape[:2]
    assert (video.info.coded_width, video.info.coded_height) == (160, 96)
    assert video.info.rotation == rotation
    assert_looks_like(picture.rgb(), upright)
    small = (upright.shape[1] // 2, upright.shape[0] // 2)
    assert_looks_like(picture.rgb(*small), cv2.resize(upright, small, interpolation=cv2.INTER_AREA))
    tiny = (upright.shape[1] // 8, upright.shape[0] // 8)
    assert_looks_like(picture.rgb(*tiny), cv2.resize(upright, tiny, interpolation=cv2.INTER_AREA))
    gray = cv2.resize(cv2.cvtColor(upright, cv2.COLOR_RGB2GRAY), (16, 12), interpolation=cv2.INTER_AREA)
    expected = gray.astype(float) * 219 / 255 + 16  # luma in the range of the video
    assert np.abs(picture.gray(16, 12) - expected).max() < 12


@pytest.mark.parametrize("mirrored", ["hflip", "vflip"])
@pytest.mark.parametrize("rotation", [0, 90])
def test_mirrored_pictures(tmp_path, mirrored, rotation):
    path = tmp_path / "mirrored.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = card().shape[:2]
        stream.set_display_rotation(-rotation, **{mirrored: True})
        container.mux(stream.encode(av.VideoFrame.from_ndarray(card(), "rgb24")))
        container.mux(stream.encode(None))
    turned = np.rot90(card(), -rotation // 90)
    with VideoFile(path) as video:
        assert_looks_like(next(iter(video)).picture.rgb(), turned[:, ::-1] if mirrored == "hflip" else turned[::-1])


@pytest.mark.parametrize(
    ("ratio", "rotation", "size"),
    [
        (Fraction(4, 3), 0, (214, 96)),
        (Fraction(1, 2), 0, (160, 192)),
        (Fraction(4, 3), 90, (96, 214)),
        (Fraction(128, 117), 0, (176, 96)),
    ],
)
def test_pixels_are_square(tmp_path, ratio, rotation, size):
    path = make(tmp_path / "wide.mp4", regular(3), sample_aspect_ratio=ratio, rotation_deg=rotation)
    with VideoFile(path) as video:
        picture = next(iter(video)).picture
    assert (picture.width, picture.height) == (video.info.width, video.info.height) == size
    assert video.info.sample_aspect_ratio == ratio
    assert picture.rgb().shape == (size[1], size[0], 3)
    upright = np.ascontiguousarray(np.rot90(card(), -rotation // 90))
    assert_looks_like(picture.rgb(), cv2.resize(upright, size, interpolation=cv2.INTER_LINEAR))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_sizes_are_even(tmp_path, rotation):
    path = tmp_path / "odd.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 101, 67, "bgr0"
        if rotation:
            stream.set_display_rotation(-rotation)
        image = cv2.resize(card(), (101, 67), interpolation=cv2.INTER_NEAREST)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="bgr0")))
        container.mux(stream.encode(None))
    with VideoFile(path) as video:
        picture = next(iter(video)).picture
    upright = np.rot90(image, -rotation // 90) if video.info.rotation else image
    assert video.info.rotation == rotation
    assert (picture.width % 2, picture.height % 2) == (0, 0)
    # Cut, not scaled: every pixel that is left is the one that was there.
    assert np.array_equal(picture.rgb(), upright[: picture.height, : picture.width])


@pytest.mark.parametrize(("space", "full"), [(1, False), (5, False), (6, False), (9, False), (1, True), (5, True)])
def test_colours_follow_matrix_and_range(tmp_path, space, full):
    red_weight, blue_weight = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}.get(space, (0.299, 0.114))
    yuv = np.array([120.0, 90.0, 180.0])
    path = tmp_path / "colour.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.colorspace, stream.color_range = space, 2 if full else 1
        frame = av.VideoFrame(64, 48, "yuv420p")
        frame.colorspace, frame.color_range = space, 2 if full else 1
        for plane, value in zip(frame.planes, yuv, strict=True):
            plane.update(bytes([int(value)]) * plane.buffer_size)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    luma = yuv[0] if full else (yuv[0] - 16) * 255 / 219
    blue_diff, red_diff = (yuv[1:] - 128) * (1 if full else 255 / 224)
    red, blue = luma + 2 * (1 - red_weight) * red_diff, luma + 2 * (1 - blue_weight) * blue_diff
    green = (luma - red_weight * red - blue_weight * blue) / (1 - red_weight - blue_weight)
    with VideoFile(path) as video:
        picture = next(iter(video)).picture
        assert np.abs(picture.rgb()[20, 20] - np.array([red, green, blue])).max() <= 4.5
        assert np.abs(picture.rgb(8, 6)[3, 3] - np.array([red, green, blue])).max() <= 4.5


def test_a_change_of_size_on_the_way_changes_nothing_for_the_reader(tmp_path):
    for name, height in (("a", 96), ("b", 192)):
        make(tmp_path / f"{name}.ts", regular(5), image=card(160 * height // 96, height))
    joined = tmp_path / "joined.ts"
    joined.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    with VideoFile(joined) as video:
        pictures = [frame.picture.rgb() for frame in video]
    assert len(pictures) >= 9
    assert {picture.shape for picture in pictures} == {(96, 160, 3)}
    assert_looks_like(pictures[-1], card())


def test_pictures_are_read_only_and_outlive_the_file(tmp_path):
    path = make(tmp_path / "clip.mp4", regular(5))
    with VideoFile(path) as video:
        frames = list(video)
    for frame in frames:
        assert_looks_like(frame.picture.rgb(), card())
        assert np.array_equal(frame.picture.rgb(), frame.picture.rgb())
        for image in (frame.picture.rgb(), frame.picture.rgb(80, 48), frame.picture.gray(16, 9)):
            assert not image.flags.writeable
            assert image.flags.c_contiguous


# --- sampling and accounting


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, list(range(50))),
        ({"stride": 7}, list(range(0, 50, 7))),
        ({"fps": 5.0}, list(range(0, 50, 5))),
        ({"fps": 10.0}, [0, 3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28, 30, 33, 35, 38, 40, 43, 45, 48]),
        ({"fps": 1000.0}, list(range(50))),
        ({"start": "1"}, list(range(25, 50))),
        ({"end": "00:00:00.4"}, list(range(10))),
        ({"start": "10f", "end": "0.8"}, list(range(10, 20))),
        ({"start": "11f", "stride": 5}, list(range(15, 50, 5))),
        ({"start": "1:00"}, []),
    ],
)
def test_sampling_gives_the_frames_asked_for_and_accounts_for_the_rest(tmp_path, options, wanted):
    path = make(tmp_path / "clip.mp4", regular(50))
    sampling = Sampling(**{key: parse_timecode(v) if isinstance(v, str) else v for key, v in options.items()})
    with VideoFile(path, sampling=sampling) as video:
        frames = list(video)
    assert [frame.index for frame in frames] == wanted
    assert [frame.pts for frame in frames] == [512 * index for index in wanted]
    assert video.counts.analysed == len(wanted)
    assert not video.truncated
    assert_adds_up(video.counts)


def test_damage_is_survived_and_counted(tmp_path, caplog):
    rng = np.random.default_rng(1)
    pictures = [(rng.integers(0, 255, (96, 160, 3), np.uint8), stamp) for stamp in regular(60)]
    whole = tmp_path / "whole.mp4"
    write_video(whole, pictures, time_base=TICK)
    with av.open(str(whole)) as container:
        spots = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(whole.read_bytes())
    for position, size in spots[20:24]:
        data[position : position + size] = bytes(size)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(data)
    with VideoFile(damaged) as video:
        frames = list(video)
    assert video.counts.packets == 60
    assert video.counts.undecodable + video.counts.corrupt > 0
    assert video.counts.corrupt == sum(frame.corrupt for frame in frames)
    assert 40 <= len(frames) < 60 or video.counts.corrupt
    assert [frame.pts for frame in frames] == sorted(frame.pts for frame in frames)
    assert_adds_up(video.counts)
    assert "is damaged" in video.warnings[0]
    assert caplog.text == ""


def test_a_file_that_is_cut_off_says_so(tmp_path, caplog):
    rng = np.random.default_rng(1)
    pictures = [(rng.integers(0, 255, (96, 160, 3), np.uint8), stamp) for stamp in regular(60)]
    path = tmp_path / "cut.mp4"
    write_video(path, pictures, time_base=TICK)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with VideoFile(path) as video:
        frames = list(video)
    assert 0 < len(frames) < 60
    assert video.truncated
    assert "is cut off" in video.warnings[0]
    assert caplog.text == ""  # whoever reads a file twice, as rendering does, says it once
    assert_adds_up(video.counts)


# --- refusals


def refusal(path, **options):
    with pytest.raises(InputError) as caught:
        VideoFile(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_missing_file(tmp_path):
    assert "does not exist" in refusal(tmp_path / "no.mp4")


def test_folder(tmp_path):
    assert "is a folder" in refusal(tmp_path)


def test_empty_file(tmp_path):
    (tmp_path / "empty.mp4").touch()
    assert "is empty" in refusal(tmp_path / "empty.mp4")


@pytest.mark.parametrize("name", ["notes.mp4", "notes.txt", "notes.mkv", "a:b.mp4"])
def test_text(tmp_path, name):
    (tmp_path / name).write_text("This is no video.\n" * 100)
    message = refusal(tmp_path / name)
    assert "cannot be read" in message or "is text" in message


def audio_only(path, cover=False):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mp3" if path.suffix == ".mp3" else "aac", rate=44100, layout="mono")
        if cover:
            image = container.add_stream("mjpeg")
            image.width, image.height, image.pix_fmt = 64, 64, "yuvj420p"
            image.disposition = av.stream.Disposition.attached_pic
            for packet in image.encode(av.VideoFrame(64, 64, "yuvj420p")):
                container.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_audio_only(tmp_path):
    assert "has no video stream, only audio" in refusal(audio_only(tmp_path / "song.m4a"))


def test_a_cover_is_no_video(tmp_path):
    path = audio_only(tmp_path / "song.mp3", cover=True)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    assert "has no video stream, only audio" in refusal(path)


def test_no_such_stream(tmp_path):
    path = make(tmp_path / "clip.mp4", regular(3))
    message = refusal(path, stream=2)
    assert "1 video stream" in message
    assert "got stream 2" in message
    assert "allowed is 0" in message


def test_no_frame_that_can_be_decoded(tmp_path):
    path = make(tmp_path / "broken.mp4", regular(10))
    with av.open(str(path)) as container:
        spots = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for position, size in spots:
        data[position : position + size] = bytes(size)
    path.write_bytes(data)
    assert "no frame that can be decoded" in refusal(path)


def test_only_the_header_is_left(tmp_path):
    path = make(tmp_path / "head.mp4", regular(10))
    with av.open(str(path)) as container:
        first = next(packet.pos for packet in container.demux(video=0))
    path.write_bytes(path.read_bytes()[:first])
    assert "no frame that can be decoded" in refusal(path)


def assert_looks_like(image, wanted):
    assert image.shape == wanted.shape
    difference = np.abs(image.astype(int) - wanted.astype(int)).max(axis=2)
    # Colour has half the resolution and is off along the edges of the card.
    assert np.percentile(difference, 80) <= 6, np.percentile(difference, [50, 80, 95])
