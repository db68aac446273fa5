"""Calibration transfer: calibrated on one instrument, used on another, with and without transfer samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import lru_cache
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .calibrations import Calibration, load_calibrations
from .methods.base import GridViews

#: The same samples on several instruments, by the beginning of the datasets' names.
INSTRUMENT_GROUPS = (
    ("corn_m5", "corn_mp5", "corn_mp6"),
    ("tablets_idrc2002_spec1", "tablets_idrc2002_spec2"),
    ("marzipan_bomem", "marzipan_infraprover", "marzipan_nirs1", "marzipan_nirs2", "marzipan_nit"),
    ("wheat_idrc2016_a2", "wheat_idrc2016_atest", "wheat_idrc2016_b2", "wheat_idrc2016_btest"),
    (
        "sugarcane_chaix_f750",
        "sugarcane_chaix_micronir1700",
        "sugarcane_chaix_micronir2200",
        "sugarcane_chaix_nirone22",
        "sugarcane_chaix_nirscan_nano",
        "sugarcane_chaix_scio",
        "sugarcane_chaix_tellspec",
    ),
    ("n4a_bge_flamenir", "n4a_bge_micronir"),
)

#: How spectra of the second instrument are made ready.
STANDARDISATIONS = ("none", "augment", "ds", "pds", "sst", "native")

#: Samples that a pair shares at least, range that it shares at least (nm), and points within it.
#: (The 15 samples of marzipan_ia260 are too few.)
_MIN_SAMPLES, _MIN_RANGE, _MIN_POINTS = 25, 100.0, 20

#: Reference values of one sample differ by no more than this, in deviations of the target.
_SAME = 0.02


@dataclasses.dataclass(frozen=True)
class Pair:
    """The same samples, row by row, on two instruments, cropped to the range that both cover.

    Attributes
    ----------
    source, destination : Calibration
        Calibrated on, predicted on.
    """

    source: Calibration
    destination: Calibration


def instrument_pairs(datasets: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield (from, to) of every group, both ways."""
    for group in INSTRUMENT_GROUPS:
        for a, b in permutations(group, 2):
            if not datasets or (a in datasets and b in datasets):
                yield a, b


def shared_targets(x_bank: Path, y_bank: Path | None, a: str, b: str) -> list[str]:
    """Return the targets measured on both instruments' samples."""
    first, second = ({c.target for c in _calibrations(x_bank, y_bank, name)} for name in (a, b))
    return [t for t in sorted(first & second) if load_pair(x_bank, y_bank, a, b, t) is not None]


@lru_cache(maxsize=16)
def _calibrations(x_bank: Path, y_bank: Path | None, name: str) -> list[Calibration]:
    return list(load_calibrations(x_bank, y_bank, [name], min_samples=_MIN_SAMPLES))


@lru_cache(maxsize=64)
def load_pair(x_bank: Path, y_bank: Path | None, a: str, b: str, target: str) -> Pair | None:
    """Return the samples that two instruments measured, replicates averaged; None where they share too little."""
    first, second = (_averaged(x_bank, y_bank, name, target) for name in (a, b))
    if first is None or second is None:
        return None
    _, i, j = np.intersect1d(first.groups, second.groups, return_indices=True)
    # One laboratory value per sample: where the two sets disagree it is not the same sample.
    agree = np.abs(first.y[i] - second.y[j]) <= _SAME * first.y.std()
    i, j = i[agree], j[agree]
    if len(i) < _MIN_SAMPLES:
        return None
    pair = first.take(i), second.take(j)
    low = max(part.wavelengths.min() for part in pair)
    high = min(part.wavelengths.max() for part in pair)
    cropped = [_within(part, low, high) for part in pair]
    if high - low < _MIN_RANGE or min(part.X.shape[1] for part in cropped) < _MIN_POINTS:
        return None
    return Pair(cropped[0], cropped[1])


def standardised(kind: str, source: Calibration, destination: Calibration, test: Calibration) -> Calibration:
    """Return test spectra of the second instrument as the first would have seen them.

    Parameters
    ----------
    kind : {"ds", "pds", "sst"}
        Direct standardisation, piecewise direct standardisation, spectral space transformation, of
        chemotools.
    source, destination : Calibration
        Transfer samples on both instruments, row by row.
    test : Calibration
        On the second instrument.
    """
    from chemotools.adaptation import DirectStandardization, PiecewiseDirectStandardization, SpectralSpaceTransform

    grid = GridViews.fit(_Grid(), source)
    seen, new = grid.on_grid(destination), grid.on_grid(test)
    n = len(source)
    made = {
        "ds": lambda: DirectStandardization(),
        "pds": lambda: PiecewiseDirectStandardization(
            window_length=min(5, seen.shape[1] // 4), n_components=min(2, n - 1), scale=False
        ),
        "sst": lambda: SpectralSpaceTransform(n_components=min(4, n - 1)),
    }[kind]()
    moved = made.fit(seen, X_source=source.X.astype(np.float64)).transform(new)
    return dataclasses.replace(test, X=np.asarray(moved, dtype=np.float32), wavelengths=source.wavelengths, rows=None)


def joined(a: Calibration, b: Calibration) -> Calibration:
    """Put spectra of two instruments into one calibration set, on the grid of the first."""
    on_grid = GridViews.fit(_Grid(), a).on_grid(b).astype(np.float32)
    return dataclasses.replace(
        a,
        X=np.concatenate([a.X, on_grid]),
        y=np.concatenate([a.y, b.y]),
        groups=np.concatenate([a.groups, b.groups]),
        rows=None,
    )


class _Grid(GridViews):
    def view(self, part: Calibration, name: str) -> NDArray:  # noqa: ARG002
        return self.on_grid(part)


def _averaged(x_bank: Path, y_bank: Path | None, name: str, target: str) -> Calibration | None:
    """Return one mean spectrum per sample; `groups` holds a number that both instruments give the sample."""
    found = [c for c in _calibrations(x_bank, y_bank, name) if c.target == target]
    if not found:
        return None
    part = found[0]
    table = pd.read_csv((Path(y_bank) if y_bank else Path(x_bank).parent / "y_bank") / f"{name}.csv")
    named = table["meta_sample_id"].astype(str) if "meta_sample_id" in table else table.index.astype(str)
    ids = np.asarray(named)[part.rows]
    names, codes = np.unique(ids, return_inverse=True)
    counts = np.bincount(codes)
    X = np.zeros((len(names), part.X.shape[1]))
    np.add.at(X, codes, part.X)
    y = np.bincount(codes, weights=part.y) / counts
    spread = np.zeros(len(names))
    np.maximum.at(spread, codes, np.abs(part.y - y[codes]))
    # The same number for the same name on whichever instrument.
    numbers = pd.util.hash_array(names.astype(object)).astype(np.int64)
    averaged = dataclasses.replace(part, X=(X / counts[:, None]).astype(np.float32), y=y, groups=numbers, rows=None)
    # Replicates with other reference values share a name only.
    return averaged.take(np.flatnonzero(spread <= _SAME * part.y.std()))


def _within(part: Calibration, low: float, high: float) -> Calibration:
    kept = (part.wavelengths >= low - 1e-6) & (part.wavelengths <= high + 1e-6)
    return dataclasses.replace(part, X=part.X[:, kept], wavelengths=part.wavelengths[kept], rows=None)
