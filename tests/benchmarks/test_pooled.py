"""Pooled calibration: one head for an analyte over datasets on different grids."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks.calibrations import Calibration
from benchmarks.methods.base import Unavailable
from benchmarks.paper import Overview
from benchmarks.phases import phase3b
from benchmarks.pooled import Pool, corrected, covering, members
from benchmarks.problems import Problems


def test_corrections_by_hand() -> None:
    predicted, y = np.array([1.0, 2.0, 3.0, 4.0] * 4), np.array([3.0, 5.0, 7.0, 9.0] * 4)
    np.testing.assert_array_equal(corrected(predicted, y, np.arange(0)), predicted)
    np.testing.assert_allclose(corrected(predicted, y, np.arange(4)), predicted + 3.5)  # bias of the four
    np.testing.assert_allclose(corrected(predicted, y, np.arange(10)), y)  # slope 2, bias 1
    flat = corrected(np.full(16, 2.0), y, np.arange(12))
    np.testing.assert_allclose(flat, y[:12].mean())


def _of_another_grid(calibration: Calibration, shift: float = 0.0) -> Calibration:
    nm = np.linspace(1150.0, 2250.0, 80)
    X = np.stack([np.interp(nm, calibration.wavelengths, row) for row in calibration.X]).astype(np.float32)
    return dataclasses.replace(
        calibration, dataset="other", family="other", X=X, wavelengths=nm, y=calibration.y + shift, rows=None
    )


@pytest.mark.parametrize("method", ["snv-pls", "pca-ridge"])
def test_another_grid_is_interpolated(calibration: Calibration, method: str) -> None:
    other = _of_another_grid(calibration)
    predicted = Pool(method, [calibration], other, None, seed=0).predict()
    assert np.corrcoef(predicted, other.y)[0, 1] > 0.8


def test_local_samples_give_the_level(calibration: Calibration) -> None:
    shift = 10 * calibration.y.std()
    other = _of_another_grid(calibration, shift)
    pool = Pool("pca-ridge", [calibration], other, None, seed=0)
    local = np.flatnonzero(np.isin(other.groups, np.unique(other.groups)[:5]))
    held = np.setdiff1d(np.arange(len(other)), local)

    def error(predicted: np.ndarray) -> float:
        return float(np.sqrt(((predicted - other.y)[held] ** 2).mean()) / other.y.std())

    assert error(pool.predict()) > 9
    # The others' spectra tell how the value varies, five local ones where it lies.
    assert error(pool.predict_with(local)) < 0.6
    assert error(pool.predict_with(local)) < error(pool.predict_by(local))


def test_a_dataset_of_another_range_does_not_take_part(calibration: Calibration) -> None:
    other = _of_another_grid(calibration)
    assert covering([calibration], other) == [calibration]
    narrow = calibration.channels(np.flatnonzero(calibration.wavelengths < 1700))
    with pytest.raises(Unavailable, match="no dataset of another family covers this one's range"):
        covering([narrow], other)


@pytest.mark.xbank
def test_analytes_of_the_bank(x_bank: Path) -> None:
    names = ("barley_auroranir", "corn_m5", "corn_mp5", "tecator_meat", "soil_mg44_veris")
    found = dict(members(Problems(x_bank, None, names)))
    assert {p.dataset for p in found["protein"]} == {"barley_auroranir", "corn_m5", "corn_mp5", "tecator_meat"}
    assert "clay" not in found  # one family only


@pytest.mark.xbank
def test_tasks_are_listed_without_spectra(x_bank: Path) -> None:
    names = ("barley_auroranir", "n4a_bge_micronir")
    listed, whole = (list(phase3b(of(x_bank, None, names))) for of in (Overview, Problems))
    assert listed == whole
    assert {task.method for task in listed} >= {"snv-pls", "pca-ridge"}


@pytest.mark.xbank
def test_what_is_pooled_is_the_same_quantity_in_the_same_unit(x_bank: Path) -> None:
    names = ("soil_mg44_veris", "grass_shootout1998_foss6500", "soil_australia_csiro", "soil_ssp460_iris")
    found = dict(members(Problems(x_bank, None, names)))
    # One soil set is in g/dm3, and carbon of dried grass is not soil organic carbon.
    assert {p.dataset for p in found["soil organic carbon"]} == {"soil_australia_csiro", "soil_ssp460_iris"}
    assert {p.dataset for p in found["pH"]} == {*names} - {"grass_shootout1998_foss6500"}


@pytest.mark.xbank
def test_classes_of_the_bank(x_bank: Path) -> None:
    found = [c for c in Problems(x_bank).of("leaf_herbarium_amazon_nirs_g1") if c.task == "classification"]
    assert found
    for problem in found:
        codes, counts = np.unique(problem.y, return_counts=True)
        assert len(codes) >= 2
        assert counts.min() >= 6
        train, test = problem.split(0, max_train=None, max_test=None)
        assert set(problem.y[test]) <= set(problem.y[train])
        assert not set(problem.groups[train]) & set(problem.groups[test])


@pytest.mark.xbank
@pytest.mark.parametrize("kind", ["kennard_stone", "spxy"])
def test_designed_splits_keep_samples_together(kind: str, x_bank: Path) -> None:
    (protein,) = Problems(x_bank).of("n4a_bge_micronir")
    train, test = protein.split(0, kind=kind)
    assert not set(protein.groups[train]) & set(protein.groups[test])
    # Of 300 rows; groups are kept whole, and calibration is cut to 200 rows where they make it more.
    assert (len(train), len(test)) == {"kennard_stone": (194, 106), "spxy": (200, 61)}[kind]


@pytest.mark.xbank
def test_rounding_of_replicates_does_not_move_the_error(x_bank: Path) -> None:
    """Two replicates of five samples: penalties below 1e-8 would fit the rounding of the features."""
    protein = members(Problems(x_bank))["protein"]
    test = next(p for p in protein if p.dataset == "ibf_forage_neospectra_1mm")
    pool = Pool("pca-ridge", covering(protein, test), test, None, seed=0)
    samples = np.random.default_rng(0).permutation(np.unique(test.groups))[:5]
    local = np.flatnonzero(np.isin(test.groups, samples))
    generator, table, predictions = np.random.default_rng(0), pool.test_table, []
    for _ in range(4):
        pool.test_table = table * (1 + 1e-7 * generator.standard_normal(table.shape))
        predictions.append(pool.predict_by(local))
    np.testing.assert_allclose(predictions, np.broadcast_to(predictions[0], (4, len(test))), rtol=0.01)
