"""The clip of all faults, what becomes of it undisturbed, and small parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty import NAME, in_time, process, write_clip

from vidfer.pipeline import resume


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / f"{NAME}.mp4")


@pytest.fixture(scope="module")
def reference(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("reference")
    process(clip, folder)
    return folder


@pytest.fixture
def small_parts_in_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Several parts for the few rows of the clip; a hang is a failure."""
    monkeypatch.setattr(resume, "_PART_ROWS", 8)
    with in_time():
        yield
