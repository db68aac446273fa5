"""Column names and text among numbers: parsed, or reported with a remedy."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from nirs4all_vit import SpectralAxisError, SpectralEmbedder, SpectralInputError
from nirs4all_vit.spectra.data import check_labels


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["1100;1102;1104"], "sep=';'"),
        (["1100,5", "5;1102,5"], "sep=';'"),
        (["1100\t1102\t1104"], r"sep='\\t'"),
        (["1100", "1102", "1102.1", "1104"], "wavelength 1102 occurs twice"),
    ],
)
def test_labels_of_misread_tables_are_refused(labels: list, message: str) -> None:
    with pytest.raises(SpectralAxisError, match=message):
        check_labels(labels)


def test_fine_grids_have_no_repeats() -> None:
    check_labels([f"{v:.10g}" for v in np.linspace(1100, 1102, 21)])
    check_labels(["1100", "1100.1"])


def _table(labels: list[str], rows: int = 30) -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(0).normal(size=(rows, len(labels))).cumsum(axis=1), columns=labels)


@pytest.mark.parametrize(
    ("labels", "hint"),
    [
        ([f"X{v}" for v in range(1100, 1200, 2)], None),
        ([f"{v},5" for v in range(1100, 1200, 2)], None),
        ([f"wl_{v}" for v in range(1100, 1200, 2)], None),
        ([f"a{v}b{v}" for v in range(1100, 1200, 2)], "'a1100b1100' are not read as wavelengths.$"),
        (
            [f"s{v}" for v in range(50)],
            r"Wavelengths run down the index, and spectra are columns; transpose the table: X\.T\.$",
        ),
        ([str(v) for v in range(50)], "^no wavelengths .* Wavelengths run down the index"),
        (["nm", *(f"s{v}" for v in range(50))], r"Wavelengths run down column 'nm', .* X\.set_index\('nm'\)\.T\.$"),
    ],
)
def test_column_names_are_parsed_or_reported(labels: list[str], hint: str | None, recwarn) -> None:
    X = _table(labels)
    if labels[0] in ("s0", "0"):
        X.index = np.arange(1100, 1160, 2)
    if labels[0] == "nm":
        X["nm"] = np.arange(1100, 1160, 2)
    embedder = SpectralEmbedder(readout="mean").fit(X)
    warned = [w for w in recwarn if "no wavelengths" in str(w.message)]
    if hint is None:
        assert not warned
        assert embedder.wavelengths_ is not None
        assert 1100 <= embedder.wavelengths_[0] < 1101
        return
    assert re.search(hint, str(warned[0].message))


@pytest.mark.parametrize("call", ["fit", "fit_transform"])
def test_the_warning_names_the_calling_file(call: str) -> None:
    with pytest.warns(UserWarning, match="no wavelengths") as warned:
        getattr(SpectralEmbedder(readout="mean"), call)(np.ones((2, 20)))
    assert warned[0].filename == __file__


def test_text_among_numbers_is_named() -> None:
    X = _table([str(v) for v in range(1100, 1200, 2)], rows=4).astype(object)
    for text, hint in (("0,31", r"decimal=','"), ("0.1;0.2" * 999, "sep=';'"), ("n/a", "drop the column")):
        X.iloc[2, 1] = text
        with pytest.raises(SpectralInputError, match=f"at row 2, column '1102', .*{hint}") as caught:
            SpectralEmbedder(readout="mean").fit(X)
        assert len(str(caught.value)) < 200
