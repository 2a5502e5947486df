"""Makes docs/report.jpg from the demo clip: ``python docs/make_report.py`` in the repository; needs Chromium."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

import vidfer
from vidfer.report.build import make_report

HERE = Path(__file__).parent
CLIP = HERE.parent / "examples" / "two_faces.mp4"


def main() -> None:
    """Analyse, make the page, take its first part."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        table = vidfer.process(CLIP, output_dir=folder, render=False).table_path
        page_path = Path(folder) / "two_faces.report.html"
        make_report(table, page_path, video=CLIP)
        chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1100, "height": 1500})
        page.goto(page_path.as_uri())
        plot = page.locator("#face-0 svg.plot").first.bounding_box()
        assert plot is not None
        page.mouse.move(plot["x"] + 0.6 * plot["width"], plot["y"] + 10)
        page.screenshot(path=HERE / "report.jpg", type="jpeg", quality=80)
        chromium.close()


if __name__ == "__main__":
    main()
