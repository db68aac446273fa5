"""The report of a calibration: one HTML file for screen and print that needs no network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(__name__, {"render_report": "page", "write_report": "page"})

if TYPE_CHECKING:
    from .page import render_report as render_report
    from .page import write_report as write_report
