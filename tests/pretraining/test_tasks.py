"""Tasks: known answers, seeded draws, and a calibration that can be learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nirs4all_vit.pretraining.data import SpectralBatch
from nirs4all_vit.pretraining.draw import Draw
from nirs4all_vit.pretraining.tasks import TASKS, corrupt
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
        spectra, targets = TASKS[name]()(made, draw(seed))
        assert spectra.shape == made.spectra.shape
        assert targets.shape == (40, 8)
        assert spectra.isfinite().all()
        assert targets.isfinite().all()
    again, _ = TASKS[name]()(made, draw(seed))
    assert torch.equal(spectra, again)


def test_spikes_are_a_standard_addition() -> None:
    """The added signal has the rank of the hidden analytes, and their amounts explain it."""
    made = episode()
    spectra, amounts = TASKS["linear_spikes"]()(made, draw())
    added = (spectra - made.spectra).double()
    design = amounts.double()
    solution = torch.linalg.lstsq(design, added).solution
    assert (design @ solution - added).abs().max() < 1e-4 * added.abs().max()
    assert added.std() > 0.01 * made.deviation


def test_functionals_leave_the_spectra_alone() -> None:
    made = episode()
    spectra, _ = TASKS["linear_functionals"]()(made, draw())
    assert torch.equal(spectra, made.spectra)


def test_nonlinear_functionals_are_nonlinear() -> None:
    """A linear fit on all wavelengths leaves more of them than of linear functionals."""
    made = episode(n=200)
    design = torch.cat([made.spectra, torch.ones(200, 1)], dim=1).double()[:, ::10]

    def unexplained(name: str) -> float:
        shares = []
        for seed in range(12):
            spectra, targets = TASKS[name]()(made, draw(seed))
            if not torch.equal(spectra, made.spectra):
                continue
            y = targets.double() - targets.double().mean(0)
            fitted = design @ torch.linalg.lstsq(design, y).solution
            shares.append(float((y - fitted).square().mean() / y.square().mean().clamp_min(1e-12)))
        return float(np.median(shares))

    assert unexplained("nonlinear_functionals") > 5 * unexplained("linear_functionals")


def test_corruption_happens_as_often_as_asked() -> None:
    made = episode()
    source = draw()
    changed = [not torch.equal(corrupt(made.spectra, made.deviation, source, 0.6), made.spectra) for _ in range(400)]
    assert 0.5 < np.mean(changed) < 0.7
    assert torch.equal(corrupt(made.spectra, made.deviation, source, 0.0), made.spectra)
