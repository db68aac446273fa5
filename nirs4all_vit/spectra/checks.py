"""Checks of tables before any work: each finding names the place and the remedy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something odd in a file.

    Attributes
    ----------
    severity : {"error", "warning", "note"}
        An error stops the work; a warning is worth a look; a note tells what was done.
    place : str
        File, with line, row or column.
    message : str
        What is odd: one sentence without a full stop.
    remedy : str
        What to do: one sentence without a full stop; "" for a note.
    """

    severity: str
    place: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" + (f"; {self.remedy}" if self.remedy else "") + "."
