"""Single frames of a video: sought or counted, always the right ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidfer.media import stills as stills_module
from vidfer.media.file import VideoFile
from vidfer.media.stills import stills

CLIP = Path(__file__).parent.parent.parent / "examples" / "two_faces.mp4"


def all_frames(path):
    with VideoFile(path) as file:
        return {frame.index: (frame.pts, frame.picture.gray(64, 36)) for frame in file}


@pytest.fixture(scope="module")
def frames():
    return all_frames(CLIP)


def found(path, wanted):
    return {index: picture.gray(64, 36) for index, picture in stills(path, 0, wanted)}


def test_sought_frames_are_those_that_reading_gives(frames, monkeypatch):
    monkeypatch.setattr(stills_module, "_counted", lambda *_: pytest.fail("read from the start"))
    some = sorted(frames)[::20]
    for far in (0.1, 4.0):
        monkeypatch.setattr(stills_module, "_SEEK_BEYOND_S", far)
        pictures = found(CLIP, {index: frames[index][0] for index in some})
        assert sorted(pictures) == some
        for index in some:
            assert np.array_equal(pictures[index], frames[index][1])


def test_without_stamps_frames_are_counted(frames):
    some = sorted(frames)[3:20:8]
    pictures = found(CLIP, dict.fromkeys(some))
    assert sorted(pictures) == some
    for index in some:
        assert np.array_equal(pictures[index], frames[index][1])


def test_frames_that_are_not_there_are_left_out(frames):
    last = max(frames)
    wanted = {3: frames[3][0], 5: frames[5][0] + 1, last + 9: frames[last][0] + 10_000_000}
    assert list(found(CLIP, wanted)) == [3]
    assert found(CLIP, {}) == {}


@pytest.mark.shared
@pytest.mark.parametrize("name", ["noface_face.mov", "book.mkv", "short_hamilton_clip.mp4", "nasa_13013.mp4"])
def test_real_videos(name, shared_videos):
    path = shared_videos / name
    frames = all_frames(path)
    some = sorted(frames)[5::60]
    pictures = found(path, {index: frames[index][0] for index in some})
    assert sorted(pictures) == some
    for index in some:
        assert np.array_equal(pictures[index], frames[index][1])
