"""Reading that was broken off and goes on from a bookmark gives what one reading gives, to the last bit and count."""

import json
import zlib
from dataclasses import asdict

import clips
import numpy as np
import pytest

from vidfer.errors import InputError
from vidfer.media import reading
from vidfer.media.file import VideoFile
from vidfer.media.timecode import Sampling, parse_timecode

SAMPLINGS = {
    "all": Sampling(),
    "fps": Sampling(fps=7.0),
    "stride": Sampling(stride=3, start=parse_timecode("10f")),
    "end": Sampling(start=parse_timecode("0.5"), end=parse_timecode("2.1")),
}


def about(frame):
    picture = zlib.crc32(frame.picture.gray(64, 36).tobytes())
    return frame.index, frame.pts, frame.time_s, frame.epoch, frame.corrupt, picture


def final(video):
    return asdict(video.counts), video.counts.analysed, video.truncated, video.info


def one_reading(path, sampling):
    """What a reading gives, its bookmarks (all of them made while it goes on), and what it says at its end."""
    with VideoFile(path, sampling=sampling) as video:
        frames = [(about(frame), json.loads(json.dumps(frame.bookmark()))) for frame in video]
        return [seen for seen, _ in frames], [mark for _, mark in frames], final(video)


def assert_goes_on(path, sampling=SAMPLINGS["all"], breaks=4, seed=0, whole=None):
    """`whole`: the pictures of the undamaged file; in place of damage decoders show what memory happens to hold."""
    seen, marks, end = one_reading(path, sampling)
    rng = np.random.default_rng(seed)
    chosen = {0, len(seen) - 1, *rng.integers(0, len(seen), breaks).tolist()}
    for at in sorted(chosen):
        with VideoFile(path, sampling=sampling, bookmark=marks[at]) as video:
            frames = [about(frame) for frame in video]
        assert [frame[:-1] for frame in frames] == [frame[:-1] for frame in seen[at + 1 :]], at
        for now, then in zip(frames, seen[at + 1 :], strict=True):
            assert now == then or (whole and whole[then[1]] != then[-1]), at
        assert final(video) == end, at


@pytest.mark.parametrize("kind", clips.KINDS)
def test_every_codec(tmp_path, kind):
    path = clips.write_clip(tmp_path, kind)
    for seed, sampling in enumerate(SAMPLINGS.values()):
        assert_goes_on(path, sampling, seed=seed)


STAMPS = np.arange(80) * clips.STEP
ODD_STAMPS = {
    "negative": STAMPS - 5000,
    "holes": STAMPS + np.where(np.arange(80) >= 33, 40 * clips.STEP, 0),
    "uneven": np.cumsum(np.random.default_rng(5).integers(1, 2000, 80)),
}


@pytest.mark.parametrize("stamps", ODD_STAMPS)
@pytest.mark.parametrize("kind", ["b_frames", "open_gop", "hevc"])
def test_odd_stamps(tmp_path, kind, stamps):
    path = clips.write_clip(tmp_path, kind, pts=ODD_STAMPS[stamps])
    for seed, sampling in enumerate(SAMPLINGS.values()):
        assert_goes_on(path, sampling, seed=seed, breaks=2)


@pytest.mark.parametrize("kind", ["b_frames", "open_gop", "hevc_ts", "vp8", "mpeg4", "mjpeg", "mpeg2"])
@pytest.mark.parametrize("where", [0.3, 0.8])
def test_damage_on_the_way(tmp_path, kind, where):
    path = clips.write_clip(tmp_path, kind)
    whole = {frame[1]: frame[-1] for frame in one_reading(path, SAMPLINGS["all"])[0]}
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(7)
    for spot in (where * len(data) + rng.integers(0, 1500, 40)).astype(int):
        data[spot] ^= int(rng.integers(1, 256))
    path.write_bytes(data)
    for seed, sampling in enumerate(SAMPLINGS.values()):
        assert_goes_on(path, sampling, seed=seed, whole=whole)


def test_several_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_ONE_THREAD_UP_TO_PX", 0)
    for kind in ("b_frames", "open_gop", "vp9"):
        path = clips.write_clip(tmp_path, kind)
        for seed, sampling in enumerate(SAMPLINGS.values()):
            assert_goes_on(path, sampling, seed=seed)


def test_real_videos(shared_videos):
    for name in ("book.mkv", "carphone_distorted.mp4", "face_noface.mov", "d18.mp4", "single_face.mp4"):
        for seed, sampling in enumerate((SAMPLINGS["all"], SAMPLINGS["fps"])):
            assert_goes_on(shared_videos / name, sampling, breaks=1, seed=seed)


@pytest.mark.parametrize("kind", ["b_frames", "open_gop", "hevc", "vp9", "av1", "mpeg2"])
def test_decoding_begins_near_the_bookmark(tmp_path, kind):
    path = clips.write_clip(tmp_path, kind)
    _, marks, _ = one_reading(path, SAMPLINGS["all"])
    for at, mark in enumerate(marks):
        assert mark["restart"] >= at - 2 * 20 - 16
    assert marks[-1]["restart"] > 0


def test_a_bookmark_of_another_file_is_refused(tmp_path):
    mark = one_reading(clips.write_clip(tmp_path, "b_frames"), SAMPLINGS["all"])[1][50]
    other = clips.write_clip(tmp_path, "open_gop", pts=np.cumsum(np.random.default_rng(5).integers(1, 2000, 80)))
    with pytest.raises(InputError, match="not the file that the bookmark was made in"):
        VideoFile(other, bookmark=mark)


def test_other_frames_have_empty_bookmarks():
    from vidfer.media.synthetic import SyntheticVideo

    video = SyntheticVideo(background=np.zeros((4, 4, 3), np.uint8), sprites=[], pts=[0, 1], time_base=clips.TICK)
    assert [frame.bookmark() for frame in video] == [{}, {}]
