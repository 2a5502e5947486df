"""What all tests share: the folder of real videos, and the check that a test leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import hypothesis
import pytest
from patience import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parent.parent

# How long an example takes says more about the machine than about the code. The same examples every time, so that a
# change fails for what it changes; `--hypothesis-profile=other` tries others.
_PATIENT = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("vidfer", derandomize=True, **_PATIENT)
hypothesis.settings.register_profile("other", derandomize=False, **_PATIENT)
hypothesis.settings.load_profile("vidfer")

# A shell that starts the tests in the background has them ignore Ctrl-C, and what they start inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_videos() -> Path:
    """The folder of real videos that are no part of the project."""
    shared = Path(os.environ.get("VIDFER_SHARED", REPOSITORY.parent / "shared"))
    folder = shared / "videos"
    if not folder.is_dir():
        pytest.skip(f"NOT TESTED ON REAL VIDEOS: there is no folder {folder} (VIDFER_SHARED names another place)")
    return folder


class FFprobe:
    """ffprobe, the yardstick for time stamps."""

    def __init__(self, tool: str) -> None:
        self._tool = tool

    def ask(self, path: Path, *wanted: str) -> dict:
        """Its answer to `-show_entries` and the like."""
        command = [self._tool, "-v", "error", "-of", "json", *wanted, str(path)]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def frame_pts(self, path: Path, stream: int = 0) -> list[int | None]:
        """The pts of every frame of a video stream."""
        found = self.ask(path, "-select_streams", f"v:{stream}", "-show_entries", "frame=pts")
        return [frame.get("pts") for frame in found["frames"]]

    def packet_times(self, path: Path, stream: str) -> list[float]:
        """When the packets of a stream such as `a:0` are shown or heard, in seconds."""
        found = self.ask(path, "-select_streams", stream, "-show_entries", "packet=pts_time")
        return [float(packet["pts_time"]) for packet in found["packets"]]


@pytest.fixture(scope="session")
def ffprobe() -> FFprobe:
    """ffprobe, or a loud skip."""
    tool = shutil.which("ffprobe")
    if tool is None:
        pytest.skip("TIME STAMPS NOT COMPARED: ffprobe is missing (it comes with ffmpeg)")
    return FFprobe(tool)


_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, or a loud skip."""
    playwright = pytest.importorskip("playwright.sync_api", reason="PAGES ARE NOT TESTED IN A BROWSER: no playwright")
    found = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"PAGES ARE NOT TESTED IN A BROWSER: none of {', '.join(_BROWSERS)} is installed")
    with playwright.sync_playwright() as driver:
        # Inside containers Chromium may not make a sandbox of its own; the only pages it opens are ours.
        chromium = driver.chromium.launch(executable_path=found, args=["--no-sandbox"], timeout=1e3 * PATIENCE_S)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def axe_finds():
    """What axe-core objects to in a page, or a loud skip."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="AXE-CORE DID NOT LOOK AT PAGES: no axe")

    def find(page):
        found = axe.Axe().run(page).response["violations"]
        return [(one["id"], one["help"], [node["html"][:120] for node in one["nodes"]]) for one in found]

    return find


@pytest.fixture
def open_file(browser):
    """Opens a page that lies on the disk; whatever it complains about or asks of anybody fails the test."""
    contexts, troubles = [], []

    def start(path, width=1280, may_ask=("file:",), **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        context.set_default_timeout(1e3 * PATIENCE_S)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda told: troubles.append(told.text))
        page.on("request", lambda asked: asked.url.startswith(may_ask) or troubles.append(asked.url))
        page.goto(path.as_uri())
        return page

    yield start
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture(autouse=True)
def _nothing_left_behind(request):
    """No thread is left running, and no half-written file in the test's own folder."""
    before = set(threading.enumerate())
    # Asked for now: at the end it would be gone already.
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    deadline = time.monotonic() + PATIENCE_S
    while (left := _new_threads(before)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left, f"threads left behind: {left}"
    if folder is not None:
        parts = sorted(folder.rglob("*.part"))
        assert not parts, f"half-written files left behind: {parts}"


def _new_threads(before):
    return [thread for thread in threading.enumerate() if thread not in before]


def pytest_sessionfinish(session, exitstatus):
    """With VIDFER_SKIP_NOTHING (as in CI) a run that skipped a test or a whole module has failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # one of several processes: the one that started them counts
        return
    if os.environ.get("VIDFER_SKIP_NOTHING") and exitstatus == 0 and reporter.stats.get("skipped"):
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter):
    """Say why a run without failures failed."""
    skipped = terminalreporter.stats.get("skipped", [])
    if os.environ.get("VIDFER_SKIP_NOTHING") and skipped:
        terminalreporter.write_line(f"FAILED: {len(skipped)} skipped, and VIDFER_SKIP_NOTHING is set", red=True)
