"""Calibration problems whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.calibrations import Calibration


@pytest.fixture
def calibration() -> Calibration:
    """Protein-like band over water bands and a baseline, 90 samples measured twice."""
    generator = np.random.default_rng(0)
    nm = np.linspace(1100.0, 2300.0, 120)
    amounts = generator.uniform(0.1, 1.0, (90, 3))
    bands = np.stack([np.exp(-0.5 * ((nm - c) / w) ** 2) for c, w in ((2180, 30), (1450, 50), (1940, 50))])
    clean = np.repeat(amounts @ bands, 2, axis=0)
    X = clean + generator.uniform(0, 0.3, (180, 1)) + 0.002 * generator.normal(size=clean.shape)
    y = np.repeat(10 + 5 * amounts[:, 0], 2)
    groups, rows = np.repeat(np.arange(90), 2), np.arange(180)
    return Calibration("made", "protein", "made", X.astype(np.float32), nm, y, groups, "regression", rows)
