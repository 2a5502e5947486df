"""The clips of `benchmarks/archive.py` are broken and damaged as they say."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vidfer.errors import InputError
from vidfer.media.file import VideoFile
from vidfer.media.inputs import sha256_of

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import archive_clips


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    if shutil.which("ffmpeg") is None:
        pytest.skip("THE CLIPS OF benchmarks/archive.py ARE NOT TESTED: ffmpeg is missing")
    path = tmp_path_factory.mktemp("clips") / "whole.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=3"]
    subprocess.run(["ffmpeg", "-v", "error", *picture, "-c:v", "libx264", "-preset", "ultrafast", path], check=True)
    return path


def frames(path):
    """Read as a job reads: the content first, which says what it is a unit of."""
    sha256_of(path)
    with VideoFile(path) as video:
        return sum(1 for _ in video)


def test_there_are_ten_ways_to_be_broken():
    assert len(archive_clips.BROKEN) == 10


@pytest.mark.parametrize(("way", "reason"), archive_clips.BROKEN.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_what_is_broken_cannot_be_read_and_says_why(clip, tmp_path, way, reason):
    path = tmp_path / "clip.mp4"
    shutil.copy(clip, path)
    way(path)
    with pytest.raises(InputError, match=reason):
        frames(path)


@pytest.mark.parametrize("way", archive_clips.DAMAGED, ids=lambda way: way.__name__)
def test_what_is_damaged_can_be_read_in_part(clip, tmp_path, way):
    path = tmp_path / f"clip{archive_clips.DAMAGED[way]}"
    subprocess.run(["ffmpeg", "-v", "error", "-i", clip, "-c", "copy", path], check=True)
    whole = path.read_bytes()
    way(path)
    assert path.read_bytes() != whole
    assert 10 < frames(path) <= frames(clip)
