"""Line-by-line reading of text files in bounded memory."""

from __future__ import annotations

import gzip
import io
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SpectralInputError

if TYPE_CHECKING:
    import pandas as pd

#: Size limit of a line in bytes, enough for several hundred thousand values.
LONGEST_LINE = 1 << 22


class BoundedLines(io.RawIOBase):
    """Reader of a file, gzipped (``.gz``) or not, that refuses lines of more than `longest` bytes.

    Parsers hold each line in memory; a line of a gigabyte, possibly from a few kilobytes of gzip,
    would exhaust it.
    """

    def __init__(self, path: str | Path, longest: int = LONGEST_LINE) -> None:
        super().__init__()
        self.path, self.longest, self._run, self._line, self._open = Path(path), longest, 0, 1, False
        opener: Any = gzip.open if self.path.name.lower().endswith(".gz") else open
        self._file = opener(self.path, "rb")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer.

        A `SpectralInputError` is raised if a line is too long or has an unclosed quote.
        """
        content = self._file.read(min(len(buffer), self.longest))
        # Old files end lines with a carriage return alone.
        first = min((at for at in (content.find(b"\n"), content.find(b"\r")) if at >= 0), default=len(content))
        end = max(content.rfind(b"\n"), content.rfind(b"\r"))
        if self._run + first > self.longest:
            self._refuse(f"longer than {self.longest:,} characters; not a table of spectra")
        if self._open or b'"' in content:
            self._check_quotes(content)
        self._line += content.count(b"\n")
        self._run = len(content) - end - 1 if end >= 0 else self._run + len(content)
        buffer[: len(content)] = content
        return len(content)

    def _check_quotes(self, content: bytes) -> None:
        """Refuse unclosed quotes: the parser would swallow all lines that follow."""
        for i, line in enumerate(content.split(b"\n")):
            if i and self._open:
                self._line += i - 1
                self._refuse("a quote that is not closed")
            self._open ^= line.count(b'"') % 2 == 1

    def _refuse(self, what: str) -> None:
        raise SpectralInputError(f"{self.path.name}, line {self._line}: {what}.")

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._file.close()
        super().close()


def without_blank_end(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Yield the parts of a table without empty rows at the end, as spreadsheets write them."""
    import pandas as pd

    blank = None
    for part in frames:
        frame = part if blank is None else pd.concat([blank, part], ignore_index=True)
        filled = np.flatnonzero(frame.notna().any(axis=1).to_numpy())
        n_rows = int(filled[-1]) + 1 if len(filled) else 0
        blank = frame.iloc[n_rows:] if n_rows < len(frame) else None
        if n_rows:
            yield frame.iloc[:n_rows]


def warn_if_cut(path: Path) -> None:
    """Warn of a ``.csv`` file without a final newline, which may be truncated within a value."""
    if not path.name.lower().endswith(".csv") or not path.stat().st_size:
        return
    with open(path, "rb") as file:
        file.seek(-1, io.SEEK_END)
        if file.read(1) not in b"\r\n":
            message = f"{path.name}: the last line has no end; if the file was cut, its last value is wrong."
            warnings.warn(message, stacklevel=3)
