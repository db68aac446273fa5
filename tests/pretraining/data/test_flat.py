"""A bank on the device: what is drawn is what the datasets hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nirs4all_vit.pretraining.data import MultiSpectralDataset, SpectralBatch, SpectralDataset
from nirs4all_vit.pretraining.data.flat import FlatBank
from tests.conftest import make_spectra

GRIDS = [np.linspace(1100, 2400, 90), np.geomspace(900, 1700, 60), np.linspace(400, 2500, 300)]
SIZES = (50, 9, 400)


def bank(*, baselines: bool = False) -> list[SpectralDataset]:
    made = []
    for i, (nm, n) in enumerate(zip(GRIDS, SIZES, strict=True)):
        X = make_spectra(nm, n, seed=i).astype(np.float32)
        baseline = 0.1 * X if baselines and i != 1 else None
        made.append(SpectralDataset(f"set{i}", X, nm, {"mode": "absorbance"}, baseline=baseline))
    return made


def flat(
    datasets: list[SpectralDataset],
    n_points: int = 90,
    n_datasets: int = 6,
    size: int = 20,
    partners: tuple = (),
    **parameters,
) -> FlatBank:
    data = MultiSpectralDataset(datasets, size, **{"crop_probability": 0, "thin_probability": 0, **parameters})
    return FlatBank(data, n_datasets, n_points, torch.device("cpu"), partners)


def rows_of(batch: SpectralBatch, datasets: list[SpectralDataset]):
    """Yield each spectrum's values, its axis, and the dataset and row that it is said to be."""
    for i in range(len(batch)):
        dataset = datasets[int(batch.datasets[i])]
        yield batch.spectra[i].numpy(), batch.wavelengths[i].numpy(), dataset, int(batch.rows[i])


def test_spectra_are_those_of_the_datasets() -> None:
    datasets = bank()
    drawn = flat(datasets)
    seen = set()
    for k in range(4):
        batch = drawn[k]
        assert batch.spectra.shape == batch.wavelengths.shape == (120, 90)
        assert batch.n_episodes == 6
        assert batch.numbers == tuple(batch.by_episode(batch.datasets)[:, 0].tolist())
        for values, axis, dataset, row in rows_of(batch, datasets):
            seen.add(dataset.name)
            assert axis[[0, -1]] == pytest.approx(dataset.wavelengths[[0, -1]])
            if dataset.wavelengths.size == 90:  # its own points
                np.testing.assert_allclose(axis, dataset.wavelengths)
                np.testing.assert_allclose(values, dataset.values[row], atol=1e-6)
            expected = np.interp(axis, dataset.wavelengths, dataset.values[row])
            np.testing.assert_allclose(values, expected, atol=2e-6)
        expected = torch.tensor([datasets[i].deviation for i in batch.numbers])
        torch.testing.assert_close(batch.deviations.flatten(), expected)
    assert seen == {"set0", "set1", "set2"}


def test_crops_and_thinning_stay_on_the_axis() -> None:
    datasets = bank()
    batch = flat(datasets, crop_probability=1.0, n_datasets=40)[0]
    spans = []
    for values, axis, dataset, row in rows_of(batch, datasets):
        assert (np.diff(axis) > 0).all()
        np.testing.assert_allclose(values, np.interp(axis, dataset.wavelengths, dataset.values[row]), atol=2e-6)
        spans.append((axis[-1] - axis[0]) / np.ptp(dataset.wavelengths))
    assert 0.3 < min(spans) < 0.6
    assert 0.9 < max(spans) <= 1.0
    # Of every second to fourth point only: straight in between.
    thinned = flat(datasets[2:], thin_probability=1.0, n_points=300)[0]
    steps = set()
    for episode in range(6):
        axis, values = thinned.axes[episode].numpy(), thinned.by_episode(thinned.spectra)[episode, 0].numpy()
        row = int(thinned.by_episode(thinned.rows)[episode, 0])
        for step in (2, 3, 4):
            nm, own = GRIDS[2][::step], datasets[2].values[row, ::step]
            if np.isclose(axis[-1], nm[-1]) and np.allclose(values, np.interp(axis, nm, own), atol=2e-6):
                steps.add(step)
    assert len(steps) >= 2


def test_no_spectrum_twice_and_every_one_some_time() -> None:
    datasets = bank()
    drawn = flat(datasets)
    counts = [np.zeros(n) for n in SIZES]
    for k in range(150):
        batch = drawn[k]
        rows, repeated = batch.by_episode(batch.rows), batch.by_episode(batch.repeated)
        for number, own, again in zip(batch.numbers, rows, repeated, strict=True):
            n = min(20, SIZES[number])
            assert again.tolist() == [False] * n + [True] * (20 - n)
            assert len(set(own[:n].tolist())) == n
            counts[number] += np.bincount(own[:n], minlength=SIZES[number])
    assert all((count > 0).all() for count in counts)
    # By dataset alike, whatever their sizes; within one all rows alike.
    shares = np.array([count.sum() / min(20, n) for count, n in zip(counts, SIZES, strict=True)]) / 900
    np.testing.assert_allclose(shares, 1 / 3, atol=0.05)
    assert counts[0].std() / counts[0].mean() < 0.2


def test_neighbours_in_a_file_are_no_neighbours_in_an_episode() -> None:
    """The first of an episode are its support: their order must not be that of the file."""
    batch = flat(bank()[2:])[0]
    rows = batch.by_episode(batch.rows).float()
    order = torch.arange(20.0).expand_as(rows)
    correlation = torch.corrcoef(torch.stack([rows.flatten(), order.flatten()]))[0, 1]
    assert abs(float(correlation)) < 0.35


def test_a_batch_is_a_function_of_seed_and_number() -> None:
    settings = {"crop_probability": 0.5, "thin_probability": 0.5}
    one, same, other = flat(bank(), **settings), flat(bank(), **settings), flat(bank(), seed=1, **settings)
    assert torch.equal(one[3].spectra, same[3].spectra)
    assert not torch.equal(one[3].spectra, one[4].spectra)
    assert not torch.equal(one[3].spectra, other[3].spectra)


def test_baselines_come_along() -> None:
    datasets = bank(baselines=True)
    batch = flat(datasets)[0]
    for i, (values, _, dataset, _) in enumerate(rows_of(batch, datasets)):
        own = batch.baseline[i].numpy()
        if dataset.baseline is None:
            assert np.isnan(own).all()
        else:
            np.testing.assert_allclose(own, 0.1 * values, atol=1e-6)


def test_partners_measure_the_same_samples() -> None:
    datasets = bank()
    nm = np.linspace(1000, 2500, 40)
    other = SpectralDataset("other", (make_spectra(nm, 50, seed=9) + 1).astype(np.float32), nm, {"mode": "absorbance"})
    drawn = flat(datasets, partners=(other,))
    batch = drawn[0]
    assert {0, 1, 2} >= set(batch.numbers)
    second = drawn.measured_by(batch, [other if number == 0 else None for number in batch.numbers])
    pairs = zip(rows_of(batch, datasets), second.spectra.numpy(), second.wavelengths.numpy(), strict=True)
    for (values, axis, dataset, row), seen, where in pairs:
        if dataset is datasets[0]:
            np.testing.assert_allclose(seen, np.interp(where, nm, other.values[row]), atol=2e-6)
        else:
            np.testing.assert_array_equal(seen, values)
            np.testing.assert_array_equal(where, axis)
    assert drawn.measured_by(batch, [None] * 6) is batch
