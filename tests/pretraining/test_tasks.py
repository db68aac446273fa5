"""Tasks: known answers, seeded draws, and a calibration that can be learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nirs4all_vit.pretraining.data import SpectralBatch
from nirs4all_vit.pretraining.data.batch import Draw
from nirs4all_vit.pretraining.tasks import TASKS, corrupt, make_tasks
from tests.conftest import make_spectra

NM = np.linspace(1100.0, 2400.0, 120)


def episode(n: int = 40, nm: np.ndarray = NM) -> SpectralBatch:
    spectra = torch.from_numpy(make_spectra(nm, n)).float()
    return SpectralBatch(spectra, torch.from_numpy(nm), float(spectra.std(dim=0).median()))


def draw(seed: int = 0) -> Draw:
    return Draw(torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", list(TASKS))
@pytest.mark.parametrize("n_points", [16, 19, 120])
def test_tasks_give_finite_spectra_and_targets(name: str, n_points: int) -> None:
    made = episode(nm=np.linspace(1100, 1400, n_points))
    for seed in range(20):
        task = TASKS[name]()
        given, targets = task(made, draw(seed))
        assert given.spectra.shape == (40, len(given.wavelengths))
        assert targets.shape == (40, 3 if name == "hidden_components" else 8)
        assert given.spectra.isfinite().all()
        assert targets.isfinite().all()
    again, _ = TASKS[name]()(made, draw(seed))
    assert torch.equal(given.spectra, again.spectra)


def test_spikes_are_a_standard_addition() -> None:
    """The added signal has the rank of the hidden analytes, and their amounts explain it."""
    made = episode()
    given, amounts = TASKS["linear_spikes"]()(made, draw())
    added = (given.spectra - made.spectra).double()
    design = amounts.double()
    solution = torch.linalg.lstsq(design, added).solution
    assert (design @ solution - added).abs().max() < 1e-4 * added.abs().max()
    assert added.std() > 0.01 * made.deviation


def test_functionals_leave_the_spectra_alone() -> None:
    made = episode()
    given, _ = TASKS["linear_functionals"]()(made, draw())
    assert torch.equal(given.spectra, made.spectra)


def test_hidden_components_are_scores_of_what_is_hidden() -> None:
    clean, task = episode(), TASKS["hidden_components"](n_targets=5, varied=0.0)
    # Five components, all above rounding.
    noise = 1e-3 * torch.randn(40, 120, generator=torch.Generator().manual_seed(0))
    made = SpectralBatch(clean.spectra + noise, clean.wavelengths, clean.deviation)
    for seed in range(20):
        given, targets = task(made, draw(seed))
        hidden = ~torch.isin(made.wavelengths, given.wavelengths)
        first, last = int(hidden.nonzero()[0]), int(hidden.nonzero()[-1])
        assert hidden[first : last + 1].all()  # one region
        assert 0.08 * 120 <= int(hidden.sum()) <= 0.24 * 120 + 2 * 3
        assert torch.equal(given.spectra, made.spectra[:, ~hidden])
        scores = targets[:, targets.std(dim=0) > 0]
        assert scores.shape[1] >= 2
        torch.testing.assert_close(scores.T @ scores / 40, torch.eye(scores.shape[1]), rtol=0, atol=1e-4)
        # Lines on the hidden region say nothing, half of the time neither does its gain; bands do.
        line = torch.where(hidden, torch.linspace(-1, 1, 120) * noise[:, :1] * 100, torch.zeros(()))
        tilted = SpectralBatch(made.spectra + line, made.wavelengths, made.deviation)
        moved = task(tilted, draw(seed))[1][:, targets.std(dim=0) > 0]
        assert ((moved * scores).mean(dim=0).abs() > 0.99).all()


def test_hidden_components_of_other_materials_differ() -> None:
    made, task = episode(), TASKS["hidden_components"](varied=1.0)
    given = [task(made, draw(seed))[0] for seed in range(12)]
    assert all(g.spectra.isfinite().all() for g in given)
    same = [torch.equal(g.spectra, made.spectra[:, torch.isin(made.wavelengths, g.wavelengths)]) for g in given]
    assert 0 < sum(same) < 6  # a quarter stays as it is


def test_region_to_region_hides_what_it_asks_for() -> None:
    made = episode()
    for seed in range(30):
        given, targets = TASKS["region_to_region"]()(made, draw(seed))
        kept = len(given.wavelengths)
        assert 0.58 * 120 <= kept <= 0.87 * 120
        # Changing what is hidden changes the answers, not the spectra; the visible part does not matter.
        hidden = ~torch.isin(made.wavelengths, given.wavelengths)
        assert int(hidden.sum()) == 120 - kept
        bumped = made.spectra + torch.randn(40, 120, generator=torch.Generator().manual_seed(1)) * 0.1
        elsewhere = SpectralBatch(torch.where(hidden, bumped, made.spectra), made.wavelengths, made.deviation)
        given2, targets2 = TASKS["region_to_region"]()(elsewhere, draw(seed))
        assert torch.equal(given.spectra, given2.spectra)
        assert not torch.equal(targets, targets2)
        visible = SpectralBatch(torch.where(hidden, made.spectra, bumped), made.wavelengths, made.deviation)
        assert torch.equal(TASKS["region_to_region"]()(visible, draw(seed))[1], targets)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "name one or more of hidden_components, linear_spikes"),
        ({"magic": {}}, "no task 'magic'"),
        ({"linear_spikes": {"weight": 0}}, "linear_spikes: weight=0.0 must be positive"),
        ({"linear_spikes": {"depth": 1}}, "linear_spikes has no parameter 'depth'; it has: n_analytes, low, high"),
        ({"region_to_region": {"largest": 0.9}}, "largest=0.9 must be shares"),
    ],
)
def test_impossible_tasks(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_tasks(settings)


def test_nonlinear_functionals_are_nonlinear() -> None:
    """A linear fit on all wavelengths leaves more of them than of linear functionals."""
    made = episode(n=200)
    design = torch.cat([made.spectra, torch.ones(200, 1)], dim=1).double()[:, ::10]

    def unexplained(name: str) -> float:
        shares = []
        for seed in range(60):
            given, targets = TASKS[name]()(made, draw(seed))
            if not torch.equal(given.spectra, made.spectra):
                continue
            y = targets.double() - targets.double().mean(0)
            fitted = design @ torch.linalg.lstsq(design, y).solution
            shares.append(float((y - fitted).square().mean() / y.square().mean().clamp_min(1e-12)))
        return float(np.quantile(shares, 0.25))

    assert unexplained("nonlinear_functionals") > 5 * unexplained("linear_functionals") + 0.005


def test_corruption_happens_as_often_as_asked() -> None:
    made = episode()
    source = draw()
    changed = [not torch.equal(corrupt(made, source, 0.6).spectra, made.spectra) for _ in range(400)]
    assert 0.5 < np.mean(changed) < 0.7
    assert torch.equal(corrupt(made, source, 0.0).spectra, made.spectra)
