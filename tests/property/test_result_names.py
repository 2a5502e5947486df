"""Names of results: no two videos of a run ever share a file, however they are called."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidfer.pipeline.results import Outputs, result_names

stems = st.sampled_from(["v", "V", "v.tracks", "v.annotated", "v.mp4", "v.run", ".v", "w"])
suffixes = st.sampled_from([".mp4", ".mov", ".mkv", ".MP4", ""])
folders = st.sampled_from(["", "a", "A", "a/b", "v", "v.mp4.d"])
videos = st.builds(lambda folder, stem, suffix: Path("/in", folder, stem + suffix), folders, stems, suffixes)


@given(st.lists(videos, unique=True, min_size=1, max_size=12), st.sampled_from(["/in", "/out", "/in/a"]))
def test_no_file_is_shared_and_no_video_replaced(paths: list[Path], folder: str) -> None:
    names = result_names(paths, Path(folder))
    files = [str(file).casefold() for name in names for file in astuple(Outputs.of(Path(folder), name))]
    assert len(set(files)) == len(files)
    assert not set(files) & {str(path).casefold() for path in paths}
    assert not any(Path(name).is_absolute() or ".." in Path(name).parts for name in names)


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [
        ("v.mp4", "v"),
        ("v.mp4 w.mp4", "v w"),
        ("v.mp4 v.mov w.mp4", "v.mp4 v.mov w"),
        ("a/v.mp4 b/v.mp4 b/w.mp4", "a/v b/v w"),
        ("v.mp4 v.tracks.mp4", "v.mp4 v.tracks.mp4"),
        ("v.mp4 v.mov v.mp4.mkv", "v.mp4 v.mov v.mp4.mkv"),
        ("v.mp4 v.annotated.mp4", "v.mp4 v.annotated"),
        ("a/v.mp4 A/v.mp4", "a/v.mp4 A/v.mp4.3"),
    ],
)
def test_names_are_as_short_as_they_can_be(given_: str, wanted: str) -> None:
    assert result_names([Path("/in", name) for name in given_.split()], Path("/in")) == wanted.split()
