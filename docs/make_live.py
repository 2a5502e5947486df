"""Makes `live.jpg`: the live page with two cameras that see the demo clip, and one that is lost.

Needs `vidfer[cpu,serve]`, playwright and a Chromium: python docs/make_live.py /usr/bin/chromium
"""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "serve"))

from fake_cameras import FakeCamera, analysed, looker, playing  # noqa: E402

from vidfer.pipeline.board import Board  # noqa: E402
from vidfer.serve.server import serve  # noqa: E402

board = Board()
clip = analysed(HERE.parent / "examples" / "two_faces.mp4", looker(), 60, step=2)
cameras = [FakeCamera(board, "front door", clip, fps=12), FakeCamera(board, "lobby", clip[::-1], fps=12)]
lost = FakeCamera(board, "garage", clip)
lost.say(state="waiting", reconnects=3, dropped=41, last_error="connection refused")
with serve(board, "127.0.0.1", 0) as server, playing(*cameras), sync_playwright() as driver:
    browser = driver.chromium.launch(executable_path=sys.argv[1], args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": 1440, "height": 860}, color_scheme="dark")
    page.goto(server.url)
    page.wait_for_timeout(9000)
    page.screenshot(path=HERE / "live.jpg", type="jpeg", quality=80)
    browser.close()
