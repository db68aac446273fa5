"""What checks of files report: findings with a place and a remedy, and the sentences of readers as findings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Lines, columns or ids that one finding names; the rest are counted.
MOST_NAMED = 5

#: "t.csv, line 3: ...", as readers begin their messages.
_PLACE = re.compile(r"^((?:, (?:line|row) \d+)?(?:, column (?:'[^']*'|\"[^\"]*\"))?)(?::\s+|\s+)")


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


def from_reader(path: Path, message: str, severity: str = "error") -> Finding:
    """Return what a reader of `path` says as a finding: place, sentence, remedy."""
    place, text = path.name, message
    if message.startswith(path.name):
        text = message[len(path.name) :]
        match = _PLACE.match(text)
        if match:
            place, text = place + match[1], text[match.end() :]
    text = text.strip().removesuffix(".").rstrip()
    if text.startswith(("is ", "has ")):
        text = f"the file {text}"
    for between in ("; ", ". "):
        sentence, mark, remedy = text.partition(between)
        # Not the semicolon inside of brackets.
        if mark and sentence.count("(") == sentence.count(")"):
            return Finding(severity, place, sentence, remedy[:1].lower() + remedy[1:])
    return Finding(severity, place, text)


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings without repetitions: errors, warnings, notes, each in the order in which they came."""
    rank = {"error": 0, "warning": 1, "note": 2}
    return sorted(dict.fromkeys(findings), key=lambda finding: rank[finding.severity])


def listed(things: Sequence[Any], count: int | None = None) -> str:
    """Name up to five things and count the others: ``"3, 7 and 12 more"``."""
    count = len(things) if count is None else count
    names = [str(thing) for thing in things[:MOST_NAMED]]
    if count > len(names):
        return f"{', '.join(names)} and {count - len(names):,} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return ``"1 row"`` or ``"1,200 rows"``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
