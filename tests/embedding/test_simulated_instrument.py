"""Each respect in which a simulated instrument differs, by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nirs4all_vit.embedding.simulated_instrument import SimulatedInstrument

NM = np.linspace(1100.0, 2300.0, 601)
#: Narrower broadening than a tenth of a step has no effect.
SAME = SimulatedInstrument(np.zeros(3), 0.1, np.zeros(7), 0.0, 1.0)


def _band(centre: float = 1700.0, width: float = 30.0) -> np.ndarray:
    return 0.2 + 0.5 * np.exp(-0.5 * ((NM - centre) / width) ** 2)


def _measured(**respects: object) -> np.ndarray:
    return replace(SAME, **respects).measure(_band()[np.newaxis], NM, 0.3)[0]


def test_an_instrument_without_differences_changes_nothing() -> None:
    np.testing.assert_allclose(_measured(), _band(), atol=1e-12)


def test_a_wavelength_error_moves_the_band() -> None:
    moved = _measured(wavelength_error=np.array([6.0, 0.0, 0.0]))
    assert NM[moved.argmax()] == pytest.approx(1694.0, abs=2.0)
    stretched = replace(SAME, wavelength_error=np.array([0.0, 6.0, 0.0]))
    ends = stretched.measure(np.stack([_band(1160.0), _band(2240.0)]), NM, 0.3)
    assert NM[ends[0].argmax()] > 1160.0
    assert NM[ends[1].argmax()] < 2240.0


def test_broadening_keeps_the_area() -> None:
    broad = _measured(broadening=20.0)
    assert broad.max() == pytest.approx(0.2 + 0.5 * 30.0 / np.hypot(30.0, 20.0), abs=1e-3)
    assert broad.sum() == pytest.approx(_band().sum(), rel=1e-6)


def test_stray_light_saturates_and_the_path_length_multiplies() -> None:
    np.testing.assert_allclose(_measured(path_length=1.1), 1.1 * _band(), atol=1e-12)
    strong = replace(SAME, stray_light=0.01).measure(np.array([[0.0, 4.0]]), np.array([1500.0, 1510.0]), 0.3)[0]
    np.testing.assert_allclose(strong, [0.0, -np.log10((1e-4 + 0.01) / 1.01)], atol=1e-12)


def test_the_response_is_in_units_of_the_contrast() -> None:
    response = np.eye(7)[1]
    np.testing.assert_allclose(
        _measured(response=response) - _band(), 0.3 * np.cos(np.pi * (NM - 1100.0) / 1200.0), atol=1e-12
    )


def test_draws_follow_the_generator() -> None:
    first, again, other = (SimulatedInstrument.draw(np.random.default_rng(seed)) for seed in (0, 0, 1))
    spectra = np.stack([_band(), _band(2000.0)])
    np.testing.assert_array_equal(first.measure(spectra, NM, 0.3), again.measure(spectra, NM, 0.3))
    assert not np.allclose(first.measure(spectra, NM, 0.3), other.measure(spectra, NM, 0.3))


def test_a_single_wavelength() -> None:
    drawn = SimulatedInstrument.draw(np.random.default_rng(0))
    assert np.isfinite(drawn.measure(np.array([[0.3], [0.5]]), np.array([1500.0]), 0.3)).all()
