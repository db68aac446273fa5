"""What `make docs` says in the end."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Report the number of pages that were not opened in a browser: skipped tests look like passed ones."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "in_a_browser" in report.nodeid]
    if not skipped:
        return
    terminalreporter.section("NOT CHECKED", sep="!", red=True, bold=True)
    terminalreporter.line(
        f"{len(skipped)} pages were not opened, as there is no browser: images, scripts and layout are unchecked.\n"
        "Install one: .venv/bin/playwright install --with-deps chromium, or your system's package "
        "(apt-get install chromium); then make docs.",
        red=True,
    )
