"""Draw docs/_static/report.png: the first page of the report of `make demo`.

``python docs/report_picture.py demo_report.html`` needs Chromium, as `make docs` does.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

SIZE = {"width": 1180, "height": 900}


def main(report: Path) -> None:
    """Open the report and take a picture of what a reader sees first."""
    browser_path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        page.goto(report.resolve().as_uri())
        page.wait_for_selector("svg.main-svg")
        page.wait_for_timeout(500)
        page.screenshot(path=Path(__file__).parent / "_static" / "report.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
