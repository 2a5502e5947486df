"""What all tests share: the folder of real videos, and the check that a test leaves nothing behind."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_videos() -> Path:
    """The folder of real videos that are no part of the project."""
    shared = Path(os.environ.get("VIDFER_SHARED", REPOSITORY.parent / "shared"))
    folder = shared / "videos"
    if not folder.is_dir():
        pytest.skip(f"NOT TESTED ON REAL VIDEOS: there is no folder {folder} (VIDFER_SHARED names another place)")
    return folder


@pytest.fixture(autouse=True)
def _nothing_left_behind(request):
    """No thread is left running, and no half-written file in the test's own folder."""
    before = set(threading.enumerate())
    # Asked for now: at the end it would be gone already.
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    deadline = time.monotonic() + 2
    while (left := _new_threads(before)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left, f"threads left behind: {left}"
    if folder is not None:
        parts = sorted(folder.rglob("*.part"))
        assert not parts, f"half-written files left behind: {parts}"


def _new_threads(before):
    return [thread for thread in threading.enumerate() if thread not in before]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """With VIDFER_SKIP_NOTHING (as in CI) a skipped test is a failed one."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("VIDFER_SKIP_NOTHING") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and VIDFER_SKIP_NOTHING is set: {report.longrepr[-1]}"
