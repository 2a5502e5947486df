"""Packets that give no frame on purpose, stamps that start anew: nothing is damage that is none."""

from fractions import Fraction

import av
import clips
import numpy as np
import pytest
from fields import write_fields

from vidfer.media.file import VideoFile


def read(path):
    with VideoFile(path) as video:
        frames = [(frame.index, frame.pts, frame.time_s, frame.epoch) for frame in video]
    counts = video.counts
    assert counts.packets == counts.decoded + counts.undecodable + counts.discarded
    return frames, video


def copy(source, target, change):
    """Copy the packets of a clip; `change(number, packet)` gives those that go in the place of each."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux(video=0) if packet.size]
        for number, packet in enumerate(packets):
            for other in change(number, packet):
                other.stream = stream
                new.mux(other)


def altered(packet, data, shift=0):
    other = av.Packet(data)
    other.pts, other.dts, other.time_base = packet.pts + shift, packet.dts + shift, packet.time_base
    other.duration, other.is_keyframe = packet.duration, packet.is_keyframe
    return other


@pytest.mark.parametrize(("kind", "shown", "suffix"), [("vp8", 0x10, ".webm"), ("vp9", 0x02, ".nut")])
def test_hidden_pictures_are_no_damage(tmp_path, kind, shown, suffix):
    path = clips.write_clip(tmp_path, kind)
    keys = []

    def hide(number, packet):
        data = bytearray(bytes(packet))
        if not packet.is_keyframe or number == 0:
            return [packet]
        keys.append(number)
        data[0] &= ~shown  # the picture that comes next all the same: it changes nothing that is seen
        return [altered(packet, bytes(data), -1), packet]

    copy(path, tmp_path / f"hidden{suffix}", hide)
    plain, _ = read(path)
    frames, video = read(tmp_path / f"hidden{suffix}")
    assert [frame[2:] for frame in frames] == [frame[2:] for frame in plain]
    assert video.counts.discarded == len(keys) >= 3
    assert video.counts.undecodable == video.counts.corrupt == 0
    assert video.warnings == []


def test_empty_places_of_an_avi_are_no_damage(tmp_path):
    path = clips.write_clip(tmp_path, "mjpeg")
    data = path.read_bytes()
    # An index entry and a chunk per frame: make the 30th empty, as a recorder does that had no new picture.
    chunk = [at for at in range(len(data)) if data.startswith(b"00dc", at)][30]
    size = int.from_bytes(data[chunk + 4 : chunk + 8], "little")
    empty = data[: chunk + 4] + bytes(4) + b"JUNK" + (size + size % 2 - 8).to_bytes(4, "little")
    path.write_bytes(empty + data[len(empty) :])
    frames, video = read(path)
    assert len(frames) == 79
    assert video.counts.undecodable == 0
    assert np.allclose(frames[-1][2], 79 / 25)


def test_joined_recordings_are_one_with_an_epoch_each(tmp_path):
    path = clips.write_clip(tmp_path, "mpeg2")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(path.read_bytes() * 3)
    frames, video = read(joined)
    assert len(frames) >= 3 * 80 - 2
    times = [time for _, _, time, _ in frames]
    assert times == sorted(set(times))
    assert [epoch for _, _, _, epoch in frames][:: len(frames) - 1] == [0, 2]
    assert times[-1] == pytest.approx(240 / 25, abs=0.5)
    assert "the stamps start anew (2x)" in video.warnings[-1]


def test_a_recording_that_ends_in_zeros_is_cut_off(tmp_path):
    path = clips.write_clip(tmp_path, "vp9")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    frames, video = read(path)
    assert 20 <= len(frames) < 60
    assert video.truncated
    assert "of 3.2 s" in video.warnings[0]


def test_sound_that_is_longer_is_no_cut(tmp_path):
    from vidfer.media.synthetic import write_video

    path = tmp_path / "song.mkv"
    pictures = [(image, index) for index, image in enumerate(clips.pictures(30))]
    write_video(path, pictures, time_base=Fraction(1, 25), sound=np.zeros(5 * 48000, np.float32))
    _, video = read(path)
    assert not video.truncated
    assert video.warnings == []


def test_several_threads_lose_no_frame_before_a_cut(tmp_path, monkeypatch):
    from vidfer.media import reading

    path = clips.write_clip(tmp_path, "b_frames")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    alone, video = read(path)
    counts = video.counts
    monkeypatch.setattr(reading, "_ONE_THREAD_UP_TO_PX", 0)
    together, video = read(path)
    assert together == alone
    assert video.counts == counts


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".mp4"])
def test_two_fields_are_one_frame(tmp_path, suffix):
    path = write_fields(tmp_path / f"fields{suffix}")
    frames, video = read(path)
    assert [time for _, _, time, _ in frames] == pytest.approx(np.arange(40) / 25)
    assert (video.counts.packets, video.counts.undecodable) == (40, 0)
    assert not video.info.variable_frame_rate
    assert video.warnings == []


def test_lost_fields_are_damage(tmp_path):
    path = write_fields(tmp_path / "fields.mkv")
    with av.open(str(path)) as container:
        spots = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for number in (20, 21, 30, 31):  # frames 10 and 15
        begin, size = spots[number]
        data[begin + 20 : begin + size] = b"\xff" * (size - 20)
    path.write_bytes(data)
    _, video = read(path)
    assert video.counts.packets == 40
    assert video.counts.undecodable + video.counts.corrupt >= 2
    assert video.warnings


def test_reading_goes_on_between_pairs_of_fields(tmp_path):
    path = write_fields(tmp_path / "fields.ts")
    with VideoFile(path) as video:
        marks = [frame.bookmark() for frame in video]
    for at in (0, 7, 39):
        with VideoFile(path, bookmark=marks[at]) as again:
            assert [frame.index for frame in again] == list(range(at + 1, 40))
        assert again.counts == video.counts


def with_stamps(path, stamps):
    """A Matroska file with these stamps in ms that says to last 20 s, without sound and without a number of frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frames = [av.VideoFrame.from_ndarray(np.full((48, 64, 3), i, np.uint8), "rgb24") for i in range(len(stamps))]
        packets = [packet for frame in [*frames, None] for packet in stream.encode(frame)]
        for number, (packet, stamp) in enumerate(zip(packets, stamps, strict=True)):
            packet.time_base, packet.pts, packet.dts, packet.duration = Fraction(1, 1000), stamp, number - 1000, 40
            if stamp == max(stamps):
                packet.duration = 20_000 - stamp
            container.mux(packet)
    return path


def read_to_the_end(path):
    with VideoFile(path) as video:
        assert sum(1 for _ in video) == 50
    return video


def test_stamps_that_step_back_at_the_end_do_not_look_cut_off(tmp_path):
    stamps = [*range(0, 1000, 40), *range(19960, 18960, -40)]
    video = read_to_the_end(with_stamps(tmp_path / "back.mkv", stamps))
    assert not video.truncated
    assert "cut off" not in " ".join(video.warnings)


def test_stamps_that_stand_still_do_not_look_cut_off(tmp_path):
    video = read_to_the_end(with_stamps(tmp_path / "still.mkv", [0] * 50))
    assert video.info.duration_s > 10
    assert not video.truncated
    assert video.warnings == ["frames have the stamp of the frame before (49x): their time is unknown"]
