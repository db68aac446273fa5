"""Calibration transfer, on instruments whose difference is known and on the bank's."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks.calibrations import Calibration
from benchmarks.methods.pls import PLS
from benchmarks.methods.preprocessing import PreprocessedViews
from benchmarks.transfer import instrument_pairs, joined, load_pair, shared_targets, standardised


@pytest.fixture
def second(calibration: Calibration) -> Calibration:
    """The same samples on an instrument with another gain, offset and grid."""
    nm = np.linspace(1110.0, 2290.0, 90)
    X = np.stack([np.interp(nm, calibration.wavelengths, row) for row in calibration.X])
    gain = 1.0 + 0.2 * np.sin(nm / 300.0)
    return dataclasses.replace(calibration, X=(gain * X + 0.3).astype(np.float32), wavelengths=nm, rows=None)


@pytest.mark.parametrize("kind", ["ds", "pds", "sst"])
def test_transfer_samples_bring_the_error_down(kind: str, calibration: Calibration, second: Calibration) -> None:
    train, test = calibration.split(0)
    model = PLS(PreprocessedViews(["raw"])).fit(calibration.take(train))
    chosen = train[:20]
    moved = standardised(kind, calibration.take(chosen), second.take(chosen), second.take(test))
    np.testing.assert_array_equal(moved.wavelengths, calibration.wavelengths)
    errors = [np.sqrt(np.mean((model.predict(p) - p.y) ** 2)) for p in (second.take(test), moved)]
    assert errors[1] < 0.4 * errors[0]


def test_augmenting_puts_the_second_on_the_first_grid(calibration: Calibration, second: Calibration) -> None:
    both = joined(calibration, second.take(np.arange(10)))
    assert both.X.shape == (190, 120)
    assert len(both.y) == len(both.groups) == 190


@pytest.mark.xbank
def test_pairs_of_the_bank_are_the_same_samples(x_bank: Path) -> None:
    assert len(list(instrument_pairs())) == 6 + 2 + 20 + 12 + 42 + 2
    assert "total_sugar" in shared_targets(x_bank, None, "sugarcane_chaix_scio", "sugarcane_chaix_micronir1700")
    pair = load_pair(x_bank, None, "sugarcane_chaix_scio", "sugarcane_chaix_micronir1700", "total_sugar")
    assert pair is not None
    np.testing.assert_array_equal(pair.source.groups, pair.destination.groups)
    np.testing.assert_allclose(pair.source.y, pair.destination.y)  # one laboratory value per sample
    assert pair.source.X.shape != pair.destination.X.shape
    for part in (pair.source, pair.destination):
        assert part.wavelengths.min() >= 908.0
        assert part.wavelengths.max() <= 1071.0
    assert load_pair(x_bank, None, "sugarcane_chaix_scio", "sugarcane_chaix_nirone22", "total_sugar") is None
