"""What all tests share: the folder of real videos, and a run that may skip nothing."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def shared_videos():
    """Folder of real videos: `shared/videos` beside the repository, or below VIDFER_SHARED."""
    folder = Path(os.environ.get("VIDFER_SHARED", ROOT.parent / "shared")) / "videos"
    if not folder.is_dir():
        pytest.skip(f"no real videos: {folder} is not there (VIDFER_SHARED names another folder)")
    return folder


def pytest_sessionfinish(session, exitstatus):
    """With VIDFER_SKIP_NOTHING, as in CI, a skipped test is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("VIDFER_SKIP_NOTHING") and exitstatus == 0 and reporter.stats.get("skipped"):
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter):
    """Say why a run without failures failed."""
    skipped = terminalreporter.stats.get("skipped", [])
    if os.environ.get("VIDFER_SKIP_NOTHING") and skipped:
        terminalreporter.write_line(f"VIDFER_SKIP_NOTHING is set, but {len(skipped)} were skipped", red=True)
