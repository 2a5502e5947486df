"""Which files the user means."""

import hashlib

import pytest

from vidfer.errors import InputError
from vidfer.media.inputs import VIDEO_SUFFIXES, find_videos, sha256_of


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(inputs):
    videos, failed = find_videos(inputs)
    assert failed == []
    return videos


def test_files_are_taken_as_given(tmp_path):
    touch(tmp_path, "b.mp4", "a.xyz")
    assert found([tmp_path / "b.mp4", str(tmp_path / "a.xyz")]) == [tmp_path / "b.mp4", tmp_path / "a.xyz"]


def test_a_missing_file_is_left_to_whoever_opens_it(tmp_path):
    assert found([tmp_path / "no.mp4"]) == [tmp_path / "no.mp4"]


def test_folders_are_searched_to_the_bottom_in_order(tmp_path):
    touch(
        tmp_path, "b.MP4", "a.mkv", "deep/er/c.webm", "notes.txt", ".hidden.mp4", ".b.vidfer/x.mp4", "b.annotated.mp4"
    )
    (tmp_path / "folder.mp4").mkdir()
    assert [path.relative_to(tmp_path).as_posix() for path in found([tmp_path])] == [
        "a.mkv",
        "b.MP4",
        "deep/er/c.webm",
    ]


def test_what_was_drawn_from_a_table_beside_it_is_left_out(tmp_path):
    touch(tmp_path, "v.parquet", "v.mp4", "v.blurred.mp4", "v.panel.mp4", "v.blurred.panel.mp4", "talk.panel.mp4")
    wanted = [tmp_path / "talk.panel.mp4", tmp_path / "v.mp4"]
    assert found([tmp_path]) == wanted
    assert found(sorted(tmp_path.glob("*.mp4"))) == wanted


def test_nothing_comes_twice(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    assert found([tmp_path / "b.mp4", tmp_path, tmp_path / "." / "a.mp4"]) == [
        tmp_path / "b.mp4",
        tmp_path / "a.mp4",
    ]


@pytest.mark.parametrize("names", [[], ["notes.txt", "picture.jpg"], ["only.annotated.mp4"]])
def test_a_folder_without_videos_fails_and_the_others_do_not(tmp_path, names):
    touch(tmp_path, "good/a.mp4", "b.mp4")
    (tmp_path / "bad").mkdir()
    touch(tmp_path / "bad", *names)
    videos, failed = find_videos([tmp_path / "bad", tmp_path / "good", tmp_path / "b.mp4"])
    assert videos == [tmp_path / "good" / "a.mp4", tmp_path / "b.mp4"]
    ((path, error),) = failed
    assert path == tmp_path / "bad"
    assert str(path) in str(error)
    assert all(suffix in str(error) for suffix in VIDEO_SUFFIXES)
    assert "\n" not in str(error)


def test_fingerprint(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 100000)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"abc" * 100000).hexdigest()
    with pytest.raises(InputError):
        sha256_of(tmp_path / "b")
