"""Sampling: uniform by dataset, counted, resumable, the same with any number of workers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

from nirs4all_vit.pretraining.data import (
    MultiSpectralDataset,
    SpectralBatch,
    SpectralDataset,
    SyntheticSpectralDataset,
    UniformDatasetSampler,
    synthetic_bank,
)
from tests.conftest import make_spectra

SIZES = {"small": 20, "medium": 60, "large": 900}
POINTS = {"small": 40, "medium": 90, "large": 100}


def dataset(name: str, n: int, points: int, **changes: object) -> SpectralDataset:
    nm = np.linspace(1100, 2400, points)
    X = make_spectra(nm, n, seed=points).astype(np.float32)
    return SpectralDataset(name, X, nm, **changes)


def bank(**changes: object) -> list[SpectralDataset]:
    return [dataset(name, SIZES[name], POINTS[name], **changes) for name in SIZES]


def equal(a: SpectralBatch, b: SpectralBatch) -> bool:
    return torch.equal(a.spectra, b.spectra) and torch.equal(a.wavelengths, b.wavelengths)


def test_sampler_is_uniform_by_dataset_then_within() -> None:
    sampler = UniformDatasetSampler([10, 90, 400], seed=1, n_draws=6000)
    indices = np.array(list(sampler))
    counts = np.histogram(indices, [0, 10, 100, 500])[0]
    assert chisquare(counts).pvalue > 1e-3
    assert chisquare(np.bincount(indices[indices < 10], minlength=10)).pvalue > 1e-3
    weighted = UniformDatasetSampler([10, 90, 400], weights=[1, 2, 0], seed=1, n_draws=6000)
    counts = np.histogram(np.array(list(weighted)), [0, 10, 100, 500])[0]
    assert counts[2] == 0
    assert chisquare(counts[:2], [2000, 4000]).pvalue > 1e-3


def test_sampler_serves_a_data_loader_and_resumes_within_an_epoch() -> None:
    data = ConcatDataset([TensorDataset(torch.arange(n) + 1000 * i) for i, n in enumerate((10, 90))])
    sampler = UniformDatasetSampler([10, 90], seed=3)
    seen = torch.cat([batch[0] for batch in DataLoader(data, batch_size=8, sampler=sampler)])
    assert len(seen) == 100
    straight = UniformDatasetSampler([10, 90], seed=3)
    epochs = [list(straight), list(straight)]
    assert epochs[0] != epochs[1]
    stopped = UniformDatasetSampler([10, 90], seed=3)
    list(stopped)
    first = list(itertools.islice(iter(stopped), 37))
    resumed = UniformDatasetSampler([10, 90], seed=99)
    resumed.load_state_dict(stopped.state_dict())
    assert first + list(resumed) == epochs[1]
    # Left in the middle, the next loop over it is a whole epoch; two at once do not disturb each other.
    assert len(list(stopped)) == 100
    both = UniformDatasetSampler([10, 90], seed=3)
    assert len(list(zip(iter(both), iter(both), strict=True))) == 100
    # A loader with workers runs ahead: the loop says how far it has come.
    ahead = UniformDatasetSampler([10, 90], seed=3)
    loop = iter(DataLoader(data, batch_size=5, sampler=ahead, num_workers=2))
    used = torch.cat([next(loop)[0] for _ in range(3)])
    rest = UniformDatasetSampler([10, 90])
    rest.load_state_dict(ahead.state_dict() | {"position": len(used)})
    remaining = torch.cat([batch[0] for batch in DataLoader(data, batch_size=5, sampler=rest)])
    assert torch.equal(torch.cat([used, remaining]), torch.stack([data[i][0] for i in epochs[0]]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "sizes must be positive"),
        (([0, 3],), "sizes must be positive"),
        (([2, 3], [1]), "weights must be 2 numbers >= 0"),
        (([2, 3], [0, 0]), "weights must be 2 numbers >= 0"),
        (([2, 3], [1, -1]), "weights must be 2 numbers >= 0"),
    ],
)
def test_sampler_refuses(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UniformDatasetSampler(*arguments)


@pytest.mark.parametrize("layout", ["one_grid", "mixed"])
def test_batches_are_uniform_by_dataset(layout: str) -> None:
    data = MultiSpectralDataset(bank(), 16, layout=layout, seed=2)
    drawn = torch.cat([data[k].datasets for k in range(900)])
    counts = torch.bincount(drawn, minlength=3).numpy()
    if layout == "one_grid":  # batches, not spectra, are independent
        assert chisquare(counts / 16).pvalue > 1e-3
    # Mixed batches come from one bucket: {small} or {medium, large}; the shares stay a third each.
    np.testing.assert_allclose(counts / counts.sum(), 1 / 3, atol=0.04)


def test_one_grid_batches_have_no_repeats_and_the_right_rows() -> None:
    sets = bank()
    data = MultiSpectralDataset(sets, 32, crop_probability=0, thin_probability=0)
    for k in range(40):
        batch = data[k]
        dataset = sets[int(batch.datasets[0])]
        assert batch.valid is None
        assert batch.spectra.shape == (min(32, len(dataset)), dataset.wavelengths.size)
        assert len(batch.rows.unique()) == len(batch)
        np.testing.assert_array_equal(batch.spectra, dataset.values[batch.rows.numpy()])
        assert batch.deviation == dataset.deviation


def test_rows_are_uniform_within_a_dataset() -> None:
    data = MultiSpectralDataset(bank()[:1], 5, seed=4)
    rows = torch.cat([data[k].rows for k in range(800)]).numpy()
    assert chisquare(np.bincount(rows, minlength=20)).pvalue > 1e-3


def test_mixed_batches_are_padded_and_bounded() -> None:
    sets = bank()
    data = MultiSpectralDataset(sets, 24, layout="mixed", crop_probability=0, thin_probability=0)
    lengths = set()
    for k in range(60):
        batch = data[k]
        present = {int(i) for i in batch.datasets}
        assert present in ({0}, {1}, {2}, {1, 2})  # powers of two apart
        lengths.add(frozenset(present))
        for i in range(len(batch)):
            dataset, points = sets[int(batch.datasets[i])], int(batch.valid[i].sum())
            assert points == dataset.wavelengths.size
            np.testing.assert_array_equal(batch.spectra[i, :points], dataset.values[int(batch.rows[i])])
            assert (batch.spectra[i, points:] == 0).all()
            assert (batch.wavelengths[i, points:] == dataset.wavelengths[-1]).all()
            assert float(batch.deviation[i, 0]) == pytest.approx(dataset.deviation)
    assert frozenset({1, 2}) in lengths


def test_crops_and_thinning_come_as_often_as_asked() -> None:
    data = MultiSpectralDataset(bank()[2:], 2, crop_probability=0.4, thin_probability=0.25, seed=1)
    full = data.datasets[0].wavelengths
    cropped, steps, starts = [], [], []
    for k in range(2000):
        axis = data[k].wavelengths.numpy()
        first = int(np.searchsorted(full, axis[0] - 1e-9))
        step = int(np.searchsorted(full, axis[1] - 1e-9)) - first
        span = (axis[-1] - axis[0]) / (full[-1] - full[0])
        assert len(axis) >= 16
        assert np.isin(axis, full).all()
        cropped.append(first > 0 or span < 0.95)
        steps.append(step)
        starts.append(first)
        assert span > 0.36
    # Crops to 95 % or more that start at 0 count as whole: a little under 0.4.
    assert 0.34 < np.mean(cropped) < 0.43
    assert 0.21 < np.mean(np.array(steps) > 1) < 0.29
    assert set(steps) == {1, 2, 3, 4}
    assert len(set(starts)) > 40


def test_synthetic_ones_have_their_share() -> None:
    made = synthetic_bank(3, n_spectra=8)
    data = MultiSpectralDataset(bank(), 4, synthetic=made, p_synth=0.3)
    synthetic = np.mean([int(data[k].datasets[0]) >= data.n_real for k in range(3000)])
    assert 0.27 < synthetic < 0.33
    only = MultiSpectralDataset([], 4, synthetic=made, p_synth=1.0)
    assert {int(only[k].datasets[0]) for k in range(40)} == {0, 1, 2}
    none = MultiSpectralDataset(bank(), 4, synthetic=made)
    assert len(none.datasets) == 3


def test_weights_by_name() -> None:
    data = MultiSpectralDataset(
        bank(), 4, weights={"small": 2.0, "large": 0.0}, synthetic=synthetic_bank(2, 8), p_synth=0.5
    )
    drawn = np.array([int(data[k].datasets[0]) for k in range(3000)])
    shares = np.bincount(drawn, minlength=5) / 3000
    np.testing.assert_allclose(shares, [1 / 3, 1 / 6, 0, 0.25, 0.25], atol=0.03)


def test_a_virtual_epoch_counts_datasets_not_spectra() -> None:
    assert len(MultiSpectralDataset(bank())) == 600
    assert len(MultiSpectralDataset(bank()[:2], steps_per_dataset=7)) == 14


@pytest.mark.parametrize("layout", ["one_grid", "mixed"])
def test_the_stream_is_seeded_infinite_and_resumable(layout: str) -> None:
    def stream(seed: int = 0, **changes: object) -> MultiSpectralDataset:
        return MultiSpectralDataset(bank(), 8, layout=layout, steps_per_dataset=2, seed=seed, **changes)

    state = torch.get_rng_state()
    straight = list(itertools.islice(stream().stream(), 20))  # three epochs and more
    assert torch.equal(state, torch.get_rng_state())
    assert all(equal(a, b) for a, b in zip(straight, itertools.islice(stream().stream(), 20), strict=True))
    assert not all(equal(a, b) for a, b in zip(straight, itertools.islice(stream(1).stream(), 20), strict=True))
    stopped = stream()
    list(itertools.islice(stopped.stream(), 7))
    resumed = stream(seed=5)
    resumed.load_state_dict(stopped.state_dict())
    assert stopped.state_dict() == {"seed": 0, "position": 7}
    assert all(equal(a, b) for a, b in zip(straight[7:], itertools.islice(resumed.stream(), 13), strict=True))
    ranks = [itertools.islice(stream(rank=r, world_size=2).stream(), 10) for r in range(2)]
    woven = [batch for pair in zip(*ranks, strict=True) for batch in pair]
    assert all(equal(a, b) for a, b in zip(straight, woven, strict=True))


@pytest.mark.slow
def test_workers_change_nothing_and_prefetching_does_not_move_the_state() -> None:
    sets = [*bank(), SyntheticSpectralDataset(0, 20)]
    alone = list(itertools.islice(MultiSpectralDataset(sets, 8).stream(), 12))
    shared = MultiSpectralDataset(sets, 8)
    many = list(itertools.islice(shared.stream(n_workers=2), 12))
    assert all(equal(a, b) for a, b in zip(alone, many, strict=True))
    assert shared.position == 12


def test_small_or_constant_sets_are_left_out() -> None:
    nm = np.linspace(1100, 1300, 30)
    useless = [
        SpectralDataset("few", make_spectra(nm, 5).astype(np.float32), nm),
        SpectralDataset("flat", np.ones((30, 30), np.float32), nm),
    ]
    saturated = make_spectra(nm, 30).astype(np.float32)
    saturated[:, :20] = 5.0
    with pytest.warns(UserWarning, match="left out because their spectra are identical: flat"):
        kept = MultiSpectralDataset(
            [*useless, SpectralDataset("saturated", saturated, nm), *bank()[:1]], min_spectra=12
        )
    assert [d.name for d in kept.datasets] == ["saturated", "small"]
    with pytest.raises(ValueError, match="nothing to pretrain on"), pytest.warns(UserWarning, match="flat"):
        MultiSpectralDataset(useless, min_spectra=12)
    assert MultiSpectralDataset(bank(), weights={"small": 2, "medium": 1, "large": 1}).sampler.probabilities[0] == 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layout": "heap"}, "layout='heap'"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"seed": -1}, "seed=-1"),
        ({"rank": 2, "world_size": 2}, "rank=2 must be between"),
        ({"p_synth": 1.5}, "p_synth=1.5 must be between"),
        ({"p_synth": 0.5}, "p_synth=0.5 needs synthetic datasets"),
        ({"crop_probability": -1}, "crop_probability=-1 must be between"),
        ({"weights": {"tiny": 1}}, "weights name unknown datasets: tiny"),
    ],
)
def test_impossible_settings(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MultiSpectralDataset(bank(), **changes)


def test_baselines_and_metadata_travel_with_the_batch() -> None:
    sets = bank(metadata={"mode": "absorbance", "instrument": "UNKNOWN"})
    for one in sets:
        one.baseline = (one.values / 2).astype(np.float32)
    data = MultiSpectralDataset(sets, 8, layout="mixed")
    batch = data[0]
    torch.testing.assert_close(batch.baseline, batch.spectra / 2)
    for row, known in enumerate(data.metadata(batch)):
        axis = batch.wavelengths[row][batch.valid[row]]  # cropped and thinned
        assert known["mode"] == "absorbance"
        assert "instrument" not in known
        assert (known["spectral_start"], known["spectral_stop"]) == (float(axis[0]), float(axis[-1]))
    sets[1].baseline = None
    assert MultiSpectralDataset(sets[1:2], 8)[0].baseline is None
    grid = batch.to("cpu").grid()
    assert grid.log_wavelength.shape == batch.spectra.shape
