"""Findings of file checks: severity, place, message and remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Lines, columns or ids named in one finding; the others are counted.
MOST_NAMED = 5

#: Place at the start of readers' messages, such as "t.csv, line 3: ...", after the file name.
_PLACE = re.compile(r"^((?:, (?:line|row) \d+)?(?:, column (?:'[^']*'|\"[^\"]*\"))?)(?::\s+|\s+)")


@dataclass(frozen=True)
class Finding:
    """Error, warning or note about a file.

    Attributes
    ----------
    severity : {"error", "warning", "note"}
        ``"error"``: the file is refused; ``"warning"``: the file is read, but should be checked;
        ``"note"``: information.
    place : str
        File, with line, row or column.
    message : str
        The problem, in one sentence without a full stop.
    remedy : str
        The action to take, in one sentence without a full stop; empty for a note.
    """

    severity: str
    place: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" + (f"; {self.remedy}" if self.remedy else "") + "."


def from_reader(path: Path, message: str, severity: str = "error") -> Finding:
    """Convert a message of a reader of `path` to a finding with place, message and remedy."""
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
        # Separators within brackets do not count.
        if mark and sentence.count("(") == sentence.count(")"):
            return Finding(severity, place, sentence, remedy[:1].lower() + remedy[1:])
    return Finding(severity, place, text)


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Return distinct findings: errors, then warnings, then notes, each in the original order."""
    rank = {"error": 0, "warning": 1, "note": 2}
    return sorted(dict.fromkeys(findings), key=lambda finding: rank[finding.severity])


def listed(things: Sequence[Any], count: int | None = None) -> str:
    """Return up to five names and the number of the others: ``"3, 7 and 12 more"``."""
    count = len(things) if count is None else count
    names = [str(thing) for thing in things[:MOST_NAMED]]
    if count > len(names):
        return f"{', '.join(names)} and {count - len(names):,} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return ``"1 row"`` or ``"1,200 rows"``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
