"""Perturbations do what they say, and nothing at strength zero."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.calibrations import Calibration
from benchmarks.robustness import PERTURBATIONS

_SAME_GRID = sorted(set(PERTURBATIONS) - {"missing bands", "coarser sampling"})


@pytest.mark.parametrize("name", _SAME_GRID)
def test_nothing_at_strength_zero_and_more_with_more(name: str, calibration: Calibration) -> None:
    perturb, strengths = PERTURBATIONS[name]
    change = []
    for strength in (0.0, *strengths):
        part = perturb(calibration, strength, np.random.default_rng(0))
        assert part.rows is None
        change.append(np.abs(part.X - calibration.X).mean())
    assert change[0] < 1e-6
    # The first strengths of a loss of resolution are below the step of this grid.
    assert (np.diff(change) >= 0).all()
    assert change[-1] > 1e-3


def test_a_shift_moves_the_band(calibration: Calibration) -> None:
    perturb, _ = PERTURBATIONS["wavelength shift"]
    moved = perturb(calibration, 10.0, np.random.default_rng(0))
    before, after = (part.wavelengths[part.X[:, :60].mean(axis=0).argmax()] for part in (calibration, moved))
    assert abs(after - before) == pytest.approx(10.0, abs=6.0)  # the grid's step is 10 nm


def test_channels_go_with_their_wavelengths(calibration: Calibration) -> None:
    missing = PERTURBATIONS["missing bands"][0](calibration, 0.2, np.random.default_rng(0))
    coarse = PERTURBATIONS["coarser sampling"][0](calibration, 4, np.random.default_rng(0))
    assert missing.X.shape[1] == len(missing.wavelengths) == 96
    assert coarse.X.shape[1] == len(coarse.wavelengths) == 30
    np.testing.assert_array_equal(coarse.X, calibration.X[:, ::4])
