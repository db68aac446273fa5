"""What `make docs` says in the end."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many pages no browser has opened: skipped tests look like passed ones."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "in_a_browser" in report.nodeid]
    if not skipped:
        return
    terminalreporter.section("NOT CHECKED", sep="!", red=True, bold=True)
    terminalreporter.line(
        f"{len(skipped)} pages were not opened in a browser, as there is none: images, scripts and layout are unchecked.\n"
        "Get one: .venv/bin/playwright install --with-deps chromium, or your system's package (apt-get install chromium); then make docs.",
        red=True,
    )
