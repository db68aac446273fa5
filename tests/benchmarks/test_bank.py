"""What the frozen embedding is worth on real spectra; the tables are printed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.bank import compare, resampling, summarise
from benchmarks.calibrations import Calibration, load_calibrations

pytestmark = [pytest.mark.xbank, pytest.mark.slow]


def test_embedding_beats_pca_on_most_targets(x_bank: Path, capsys: pytest.CaptureFixture) -> None:
    table = compare(x_bank, seeds=1)
    with capsys.disabled():
        print(f"\n{table.to_string(index=False, float_format='%.4g')}\n\n{summarise(table).to_string()}")
    assert len(table) > 150
    assert summarise(table)["wins"] > 0.5
    assert summarise(table)["geometric mean of ratios, predictable"] < 1.0


def test_half_the_points_keep_the_embedding(x_bank: Path, capsys: pytest.CaptureFixture) -> None:
    table = resampling(x_bank)
    with capsys.disabled():
        print(f"\n{table.to_string(index=False, float_format='%.4f')}")
    assert len(table) >= 20
    assert table["smallest cosine"].min() > 0.98


def test_splits_keep_replicates_together(x_bank: Path) -> None:
    for calibration in load_calibrations(x_bank, datasets=["n4a_bge_micronir", "soil_ethiopia_neospectra"]):
        train, test = calibration.split(0)
        assert not set(calibration.groups[train]) & set(calibration.groups[test])
        assert len(train) <= 200
        again, _ = calibration.split(0)
        np.testing.assert_array_equal(train, again)


def test_a_random_target_gives_no_skill(x_bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing leaks from test to calibration: on noise, both methods are no better than the mean."""
    noise = np.random.default_rng(0)

    def shuffled(bank: Path) -> list[Calibration]:
        (c,) = load_calibrations(bank, datasets=["gasoil_hydrogen"])
        y = noise.permutation(c.y)
        return [Calibration(c.dataset, c.target, c.family, c.X, c.wavelengths, y, c.groups)]

    monkeypatch.setattr("benchmarks.bank.load_calibrations", shuffled)
    (row,) = compare(x_bank, seeds=3).itertuples()
    assert row.pca > 0.95 * row.mean
    assert row.embedding > 0.95 * row.mean
