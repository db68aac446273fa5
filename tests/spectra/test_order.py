"""Axes in any order, spectra read as axes, and mistyped wavelengths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nirs4all_vit import SpectralAxisError, SpectralEmbedder
from nirs4all_vit.cli import main
from nirs4all_vit.pretraining import load_x_bank
from nirs4all_vit.spectra.data import to_nanometres
from nirs4all_vit.spectra.order import is_ordered, mistyped
from tests.conftest import make_spectra

NM = np.arange(1100.0, 1200.0)
WIDE = np.arange(900.0, 1100.0, 2.0)
ROUNDED = np.linspace(1100, 2498, 1000).round()
LEGAL = {
    "ascending": NM,
    "descending": NM[::-1],
    "wavenumbers": 1e7 / NM,
    "rounded": ROUNDED,
    "overlapping sensors": np.r_[np.arange(400.0, 1050.0, 3.0), np.arange(950.0, 2500.0, 7.0)],
    "interleaved sensors": np.c_[np.arange(900.0, 950.0), np.arange(1500.0, 1550.0)].ravel(),
    "sorted as text": np.array(sorted(WIDE.astype(int).astype(str)), dtype=float),
    "one value of three digits": np.r_[np.arange(1000.0, 1100.0, 2.0), 998.0],
    "one value of five digits": np.array(sorted(map(str, range(9_000, 10_001, 8))), dtype=float),
    "shuffled": np.random.default_rng(0).permutation(NM),
    "shuffled and rounded": np.random.default_rng(0).permutation(ROUNDED),
    "shuffled wavenumbers": np.random.default_rng(0).permutation(1e7 / np.arange(4000.0, 10_000.0, 8.0)),
    "filters": np.array([940.0, 970.0, 1050.0, 1450.0]),
    "a far sensor of one channel": np.r_[np.arange(410.0, 941.0, 31.0), 1450.0],
}


@pytest.mark.parametrize("kind", LEGAL)
def test_legal_orders(kind: str) -> None:
    assert mistyped(LEGAL[kind]) is None
    assert is_ordered(LEGAL[kind]) == (kind != "interleaved sensors")


def test_spectra_are_no_axes() -> None:
    spectra = make_spectra(np.linspace(1100.0, 2498.0, 700), 20)
    scaled = 400 + 2000 * (spectra - spectra.min()) / np.ptp(spectra)
    assert not any(is_ordered(spectrum) for spectrum in scaled)
    assert not any(is_ordered(spectrum) for spectrum in np.round(scaled))


@pytest.mark.parametrize(
    ("place", "value", "beside"),
    [
        (10, 11100.0, "1109 and 1111"),
        (10, 1010.0, "1109 and 1111"),
        (10, 1170.0, "1109 and 1111"),  # occurs already
        (1, 1150.5, "1100 and 1102"),
        (98, 1018.0, "1197 and 1199"),
        (0, 11000.0, "1101"),
        (99, 11990.0, "1198"),
    ],
)
@pytest.mark.parametrize("kind", ["ascending", "descending"])
def test_mistyped_wavelengths(place: int, value: float, beside: str, kind: str) -> None:
    axis = NM.copy()
    axis[place] = value
    if kind == "descending":
        axis, beside = axis[::-1].copy(), " and ".join(beside.split(" and ")[::-1])
    message = f"wavelength {value:.10g} is out of line with {beside} beside it .*typing error"
    with pytest.raises(SpectralAxisError, match=message):
        to_nanometres(axis)


def test_a_mistyped_header_is_the_same_error_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = "wavelength 11100 is out of line with 1109 and 1111 beside it"
    assert mistyped(np.array([1108.0, 1109.0, 11100.0, 1111.0])) == 2
    header = [f"{11100 if nm == 1110 else nm:g}" for nm in NM]
    frame = pd.DataFrame(make_spectra(NM, 6), columns=header)
    with pytest.raises(SpectralAxisError, match=message):
        SpectralEmbedder().fit(frame)
    with pytest.raises(SpectralAxisError, match=message):
        SpectralEmbedder().fit(frame.to_numpy(), wavelengths=[float(name) for name in header])
    with pytest.raises(SpectralAxisError, match=message):
        SpectralEmbedder().fit([*frame.to_numpy()], wavelengths=[[float(name) for name in header]] * 6)
    (tmp_path / "bank").mkdir()
    frame.to_csv(tmp_path / "bank/t.csv", index=False)
    with pytest.raises(SpectralAxisError, match=rf"t\.csv: .*{message}"):
        load_x_bank(tmp_path / "bank", progress=False)
    assert main(["embed", str(tmp_path / "bank/t.csv"), "-o", str(tmp_path / "o.npy")]) == 1
    assert message in capsys.readouterr().err


def test_an_even_axis_in_another_unit_has_no_typing_error() -> None:
    """In cm-1, the first of even steps in nm from 200 nm to 30 um is far from all others."""
    nm = np.linspace(200.0, 30_000.0, 12)
    assert mistyped(nm) is None
    assert mistyped(1e7 / nm) is None
