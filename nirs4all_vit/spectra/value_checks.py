"""Checks of spectral values: dead, clipped, identical or incomplete spectra, and kind of signal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import SpectralInputError
from .cells import CellTable
from .data import spread_rows
from .findings import MOST_NAMED, Finding, counted, listed
from .signal import check_values

#: Points per spectrum for comparisons of shape, and the largest number of spectra compared.
_THIN, _MOST_SPECTRA = 64, 50_000
#: A spectrum is clipped if its largest value repeats over at least this many consecutive points and
#: this share of all points, and the run is more than this many times longer than any other.
_LONGEST_PLATEAU, _PLATEAU_SHARE, _PLATEAU_TIMES = 8, 0.02, 3
#: Value of a saturated 16-bit detector.
_SATURATED = 65535.0
#: Shares of missing points in a spectrum, and in a column, beyond which they are reported.
_MISSING_ROW, _MISSING_COLUMN = 0.2, 0.5
#: Spectra whose sizes differ by this factor are different kinds of signal.
_SCALES_APART = 20.0
#: Spectra are inverted if their correlation with the median spectrum is below the first value, and
#: the median correlation of the others is at least the second.
_INVERTED, _ALIKE = -0.8, 0.9
#: Spectra with a mean below this share of their standard deviation are centred or derivatives.
_CENTRED = 0.3
#: Spectra, and points, needed for comparisons between spectra.
_FEWEST = 5
#: Message for one spectrum, message for several, and remedy.
_MESSAGES = {
    "dead": (
        "the spectrum is constant and holds no signal",
        "spectra are constant and hold no signal",
        "drop such spectra, or measure again",
    ),
    "clipped": (
        "the spectrum is flat at its largest value: the detector was saturated",
        "spectra are flat at their largest value: the detector was saturated",
        "measure again with less light, or leave out these wavelengths",
    ),
    "saturated": (
        "the spectrum contains 65535, the maximum of a 16-bit detector",
        "spectra contain 65535, the maximum of a 16-bit detector",
        "leave such cells empty: missing points are filled in",
    ),
    "incomplete": (
        "the spectrum lacks more than a fifth of its points",
        "spectra lack more than a fifth of their points",
        "measure again, or drop such spectra",
    ),
}
#: Water bands and the range beside each (nm), which distinguish absorbance from reflectance.
_BANDS = (((1900.0, 1960.0), (1780.0, 1840.0)), ((1430.0, 1470.0), (1280.0, 1330.0)))


@dataclass
class ValueChecks:
    """Statistics of spectra, computed block by block.

    Attributes
    ----------
    table : CellTable
    names : sequence of str
        Names of the columns, in the order of the blocks.
    wavelengths : ndarray of shape (n_wavelengths,), or None
        In nm; None if the axis is unknown.
    """

    table: CellTable
    names: Sequence[str]
    wavelengths: NDArray[np.float64] | None = None
    n_rows: int = 0
    _rows: dict[str, list[int]] = field(default_factory=dict)
    _peaks: list[NDArray[np.float64]] = field(default_factory=list)
    _thin: list[NDArray[np.float64]] = field(default_factory=list)
    _first: dict[int, int] = field(default_factory=dict)
    _twins: dict[int, list[int]] = field(default_factory=dict)
    _n_twins: int = 0
    _columns: NDArray[np.float64] | None = None
    _n_missing: int = 0

    def add(self, values: NDArray[np.float64]) -> None:
        """Add a block (n, n_wavelengths); NaN marks a missing point."""
        n, length = values.shape
        missing = np.isnan(values)
        low, high = np.fmin.reduce(values, axis=1), np.fmax.reduce(values, axis=1)
        share = missing.mean(axis=1)
        self._n_missing += int(np.count_nonzero(missing))
        dead = (low == high) if length > 1 else np.zeros(n, dtype=bool)
        self._note("dead", dead)
        self._note("incomplete", (share > _MISSING_ROW) & (share < 1.0))
        self._note("saturated", (values == _SATURATED).any(axis=1) & ~dead)
        self._note("clipped", self._clipped(values, high) & ~dead)
        self._add_columns(values, missing)
        for i in np.flatnonzero(~dead & (share < 1.0)):
            self._compare(hash(values[i].tobytes()), self.n_rows + int(i))
        if self.n_rows < _MOST_SPECTRA:
            self._thin.append(values[:, spread_rows(length, _THIN)])
            self._peaks.append(np.fmax(np.abs(low), np.abs(high)))
        self.n_rows += n

    def _note(self, what: str, flags: NDArray[np.bool_]) -> None:
        self._rows.setdefault(what, []).extend((self.n_rows + np.flatnonzero(flags)).tolist())

    def _clipped(self, values: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.bool_]:
        clipped = np.zeros(len(values), dtype=bool)
        shortest = max(_LONGEST_PLATEAU, int(_PLATEAU_SHARE * values.shape[1]))
        for i in np.flatnonzero((values == high[:, np.newaxis]).sum(axis=1) >= shortest):
            row = values[i]
            at = np.concatenate([[0], np.flatnonzero(row[1:] != row[:-1]) + 1, [row.size]])
            runs, levels = np.diff(at), row[at[:-1]]
            top = int(runs[levels == high[i]].max())
            others = runs[levels != high[i]]
            clipped[i] = top >= shortest and top > _PLATEAU_TIMES * int(others.max(initial=0))
        return clipped

    def _add_columns(self, values: NDArray[np.float64], missing: NDArray[np.bool_]) -> None:
        block = np.stack([np.fmin.reduce(values, axis=0), np.fmax.reduce(values, axis=0), missing.sum(axis=0)])
        if self._columns is None:
            self._columns = block
        else:
            self._columns[0] = np.fmin(self._columns[0], block[0])
            self._columns[1] = np.fmax(self._columns[1], block[1])
            self._columns[2] += block[2]

    def _compare(self, content: int, row: int) -> None:
        first = self._first.setdefault(content, row)
        if first != row:
            self._n_twins += 1
            if len(self._twins) < MOST_NAMED or first in self._twins:
                self._twins.setdefault(first, [first]).append(row)

    def findings(self, *, columns: bool = True) -> list[Finding]:
        """Return the findings; with `columns` False, without those that need all rows."""
        if not self.n_rows or self._columns is None:
            return []
        rows = self._rows
        twins = [row for group in self._twins.values() for row in group[:MOST_NAMED]]
        kinds, minority = self._kinds()
        named = [*twins, *minority, *(row for group in rows.values() for row in group[:MOST_NAMED])]
        lines = self.table.lines(named)
        findings = []
        for what, (one, many, remedy) in _MESSAGES.items():
            if rows[what]:
                text = one if len(rows[what]) == 1 else f"{len(rows[what]):,} {many}: {self._places(rows[what], lines)}"
                findings.append(Finding("warning", self.table.place(lines[rows[what][0]]), text, remedy))
        for group in self._twins.values():
            text = f"{self._places(group, lines)} have the same values: identical spectra"
            remedy = "keep one of them, or correct the copy"
            findings.append(Finding("warning", self.table.place(lines[group[0]]), text, remedy))
        n_more = self._n_twins - sum(len(group) - 1 for group in self._twins.values())
        if n_more:
            text = f"{counted(n_more, 'more spectrum', 'more spectra')} are copies of others"
            findings.append(Finding("warning", self.table.place(), text, "keep one of each"))
        if columns:
            findings += self._column_findings()
        return [*findings, *self._kind_findings(kinds, minority, lines)]

    def _places(self, rows: Sequence[int], lines: dict[int, int]) -> str:
        noun = "row" if self.table.is_parquet else "line"
        return f"{noun}{'s' if len(rows) > 1 else ''} {listed([lines[row] for row in rows[:MOST_NAMED]], len(rows))}"

    def _column_findings(self) -> list[Finding]:
        assert self._columns is not None
        low, high, missing = self._columns
        findings = []
        share = missing / self.n_rows
        if self.n_rows > 1:
            constant = np.flatnonzero((low == high) & (missing < self.n_rows - 1))
            if constant.size == low.size:
                constant = constant[:0]  # identical spectra, reported separately
        else:
            constant = np.empty(0, np.intp)
        scarce = np.flatnonzero((share > _MISSING_COLUMN) & (share < 1.0))
        for columns, one, many in (
            (np.flatnonzero(share == 1.0), "the column is empty in all rows", "columns are empty in all rows"),
            (constant, "the column has the same value in all rows", "columns have the same value in all rows"),
            (
                scarce,
                "the column is empty in more than half of the rows",
                "columns are empty in more than half of the rows",
            ),
        ):
            if columns.size:
                names = listed([self.names[i] for i in columns[:MOST_NAMED]], columns.size)
                text = one if columns.size == 1 else f"{columns.size} {many}: {names}"
                place = self.table.place(column=self.names[columns[0]])
                findings.append(Finding("warning", place, text, "remove such columns"))
        total = self.n_rows * low.size
        if 0 < self._n_missing < total:
            text = f"{self._n_missing:,} of {total:,} values are missing ({self._n_missing / total:.2g} of all)"
            findings.append(Finding("note", self.table.place(), f"{text}, and are filled in"))
        return findings

    def _kinds(self) -> tuple[str, list[int]]:
        """Return the kind of signal, and the rows of spectra of another size or inverted."""
        thin, peaks = np.concatenate(self._thin), np.concatenate(self._peaks)
        varied = np.fmax.reduce(thin, axis=1) > np.fmin.reduce(thin, axis=1)
        alive = np.flatnonzero(np.isfinite(peaks) & (peaks > 0) & varied)
        if not alive.size:
            return "", []
        thin = thin[alive]
        columns = np.flatnonzero(np.isfinite(thin).any(axis=0))
        thin = thin[:, columns]
        thin = np.where(np.isfinite(thin), thin, np.nanmedian(np.where(np.isfinite(thin), thin, np.nan), axis=0))
        minority = _apart(peaks[alive])
        if not minority.any():
            minority = _inverted(thin)
        return self._kind(thin[~minority], columns), alive[minority].tolist()

    def _kind(self, thin: NDArray[np.float64], columns: NDArray[np.intp]) -> str:
        low, high = np.percentile(thin, [1, 99])
        negative = float((thin < 0).mean())
        levels = f"values run from {low:.3g} to {high:.3g}, and look like"
        if negative > 0.1:
            centred = float(np.median(np.abs(thin.mean(axis=1)) / thin.std(axis=1))) < _CENTRED
            return f"{levels} {'a derivative or a centred signal' if centred else 'absorbance with an offset'}"
        if high > 150:
            return f"{levels} counts of a detector"
        if high > 6:
            return f"{levels} reflectance or transmittance in percent"
        shape = self._band(thin, columns)
        if high > 1.3:
            return f"{levels} absorbance"
        if shape > 0:
            return f"{levels} absorbance (water bands point upwards)"
        if shape < 0:
            return f"{levels} reflectance or transmittance as a fraction (water bands point downwards)"
        return f"{levels} absorbance, or reflectance as a fraction"

    def _band(self, thin: NDArray[np.float64], columns: NDArray[np.intp]) -> int:
        """Return 1 if water bands point upwards, -1 if downwards, 0 if undecided."""
        if self.wavelengths is None:
            return 0
        nm = self.wavelengths[spread_rows(self.wavelengths.size, _THIN)][columns]
        mean = thin.mean(axis=0)
        span = float(np.ptp(mean))
        votes = set()
        for band, beside in _BANDS:
            inside, outside = ((nm >= low) & (nm <= high) for low, high in (band, beside))
            if inside.any() and outside.any():
                step = float(mean[inside].mean() - mean[outside].mean())
                votes.add(int(np.sign(step)) if abs(step) > 0.05 * span else 0)
        return votes.pop() if len(votes) == 1 else 0

    def _kind_findings(self, kind: str, minority: Sequence[int], lines: dict[int, int]) -> list[Finding]:
        findings = []
        if minority:
            about = "in another unit, as percent among fractions, or inverted, as reflectance among absorbance"
            text = f"the spectrum is another kind of signal than the others: {about}"
            if len(minority) > 1:
                places = self._places(minority, lines)
                text = f"{len(minority):,} spectra are another kind of signal than the others ({places}): {about}"
            remedy = "convert them to the same unit, or drop them"
            findings.append(Finding("warning", self.table.place(lines[minority[0]]), text, remedy))
        if kind:
            findings.append(Finding("note", self.table.place(), kind))
        return findings


def _apart(peaks: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which spectra differ in size from the majority."""
    order = np.sort(peaks)
    if len(order) < _FEWEST:
        return np.zeros(len(peaks), dtype=bool)
    ratios = order[1:] / order[:-1]
    at = int(np.argmax(ratios))
    if ratios[at] < _SCALES_APART:
        return np.zeros(len(peaks), dtype=bool)
    small = peaks <= order[at]
    return small if small.mean() < 0.5 else ~small


def _inverted(thin: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which spectra have the inverted shape of the others."""
    none = np.zeros(len(thin), dtype=bool)
    if len(thin) < _FEWEST or thin.shape[1] < _FEWEST:
        return none
    usual = np.median(thin, axis=0)
    if usual.std() == 0:
        return none
    complete = thin - thin.mean(axis=1, keepdims=True)
    usual = usual - usual.mean()
    size = np.linalg.norm(complete, axis=1) * np.linalg.norm(usual)
    correlation = complete @ usual / np.where(size > 0, size, 1.0)
    inverted = correlation < _INVERTED
    others = correlation[~inverted]
    if not inverted.any() or inverted.mean() >= 0.5 or float(np.median(others)) < _ALIKE:
        return none
    return inverted


def refused_rows(
    table: CellTable, values: NDArray[np.float64], lines: Sequence[int], nanometres: NDArray[np.float64] | None
) -> list[Finding]:
    """Return an error for each spectrum that `check_values` refuses.

    Parameters
    ----------
    table : CellTable
    values : ndarray of shape (n_spectra, n_wavelengths)
    lines : sequence of int
        Line numbers of the spectra.
    nanometres : ndarray of shape (n_wavelengths,), or None
        Wavelengths in nm; None if the axis is unknown.
    """
    axis = np.arange(values.shape[1], dtype=np.float64) if nanometres is None else nanometres
    try:
        check_values(values, axis)
        return []
    except SpectralInputError as error:
        if error.row is None:
            return []
    findings = []
    for line, row in zip(lines, values, strict=True):
        try:
            check_values(row[np.newaxis], axis)
        except SpectralInputError as error:
            findings.append(_without_row(table.place(line), str(error), nanometres is not None))
    return findings


def _without_row(place: str, message: str, located: bool) -> Finding:
    """Convert a message of `check_values` to a finding with the line instead of the row."""
    text = message.rstrip(".")
    missing = re.match(r"X contains NaN at row \d+: (.*)", text)
    if missing:
        text = missing[1]
    else:
        at = r"\1 at\2" if located else r"\1"
        text = re.sub(r"^X contains (\S+) at row \d+,( \S+ nm)", at, text)
    mark = ". " if ". " in text.partition("; ")[0] else "; "
    sentence, _, remedy = text.partition(mark)
    return Finding("error", place, sentence, remedy[:1].lower() + remedy[1:])
