"""Axes: units, order, invalid values."""

from __future__ import annotations

import numpy as np
import pytest

from nirs4all_vit.errors import SpectralAxisError, SpectralInputError
from nirs4all_vit.spectra.data import Spectra, assumed_wavelengths, guess_axis_unit, parse_axis_labels, to_nanometres


@pytest.mark.parametrize(
    ("labels", "values", "unit"),
    [
        (["1100", "1102"], [1100, 1102], "auto"),
        (["1100.0", " 1.102e3 "], [1100, 1102], "auto"),
        (["1100nm", "1102 nm"], [1100, 1102], "nm"),
        (["9090 cm-1", "9080cm-1"], [9090, 9080], "cm-1"),
        (["1.1 µm", "1.2 µm"], [1.1, 1.2], "um"),
        ([1100, 1102.5], [1100, 1102.5], "auto"),
        (["1100,5", "1102,50"], [1100.5, 1102.5], "auto"),
        (["X1100", "X1102.5"], [1100, 1102.5], "auto"),
        (["X9090.cm.1", "X9080.5.cm.1"], [9090, 9080.5], "cm-1"),
        (["X1100.nm", "X1102.nm"], [1100, 1102], "nm"),
    ],
)
def test_labels_are_read(labels: list, values: list, unit: str) -> None:
    parsed = parse_axis_labels(labels)
    assert parsed is not None
    np.testing.assert_allclose(parsed[0], values)
    assert parsed[1] == unit


@pytest.mark.parametrize(
    "labels",
    [["protein", "1100"], ["1100nm", "9000cm-1"], ["x1", "x2"], ["1100 ft"], ["9,090", "9,080"], ["1.5.1"], []],
)
def test_labels_that_are_no_axis(labels: list) -> None:
    assert parse_axis_labels(labels) is None


@pytest.mark.parametrize(
    ("axis", "unit"),
    [
        ([1100, 2498], "nm"),
        ([303, 1147], "nm"),
        ([2761, 800], "nm"),
        ([12000, 4000], "cm-1"),
        ([3900, 11000], "cm-1"),
        ([0.9, 2.5], "um"),
    ],
)
def test_unit_is_guessed_from_range(axis: list, unit: str) -> None:
    assert guess_axis_unit(np.array(axis, dtype=float)) == unit


def test_units_convert_to_the_same_nanometres() -> None:
    nm = np.linspace(900, 2500, 50)
    for axis, unit in ((nm, "nm"), (1e7 / nm, "cm-1"), (nm / 1e3, "um")):
        np.testing.assert_allclose(to_nanometres(axis, unit), nm)
        np.testing.assert_allclose(to_nanometres(axis), nm)
    np.testing.assert_allclose(to_nanometres([f"{v:.3f} cm-1" for v in 1e7 / nm]), nm, rtol=1e-6)


@pytest.mark.parametrize(
    ("axis", "unit", "message"),
    [
        ([1100, np.nan], "auto", "hold nan"),
        ([1100, np.inf], "auto", "hold inf"),
        ([1100, -5], "auto", "hold -5"),
        ([1100, 0], "auto", "hold 0"),
        ([1100, 1200, 1100], "auto", "wavelength 1100 occurs more than once"),
        (["a", "b"], "auto", "must be numbers"),
        ([object(), 1], "auto", "must be numbers"),
        ([], "auto", "non-empty 1-D"),
        ([[1100, 1200]], "auto", "non-empty 1-D"),
        ([1100, 1200], "furlong", "axis_unit='furlong' is not a known unit"),
        ([1100, 1200], "um", "wavelength 1100 read as um is 1.1e"),
        ([100, 1200], "nm", "wavelength 100 read as nm is 100 nm"),
        (["9090 cm-1", "9000 cm-1"], "nm", "written in cm-1"),
    ],
)
def test_bad_axis(axis: list, unit: str, message: str) -> None:
    with pytest.raises(SpectralAxisError, match=message) as caught:
        to_nanometres(axis, unit)
    assert "\n" not in str(caught.value)


def test_blocks_are_put_in_ascending_order() -> None:
    block = Spectra.on_grid(np.array([[3.0, 1.0, 2.0]]), np.array([1300.0, 1100.0, 1200.0]))
    np.testing.assert_array_equal(block.wavelengths, [1100, 1200, 1300])
    np.testing.assert_array_equal(block.values, [[1, 2, 3]])


def test_padding_repeats_the_last_wavelength() -> None:
    short = Spectra.on_grid(np.ones((1, 2), np.float32), np.array([1100.0, 1200.0]))
    long = Spectra.on_grid(np.ones((2, 3), np.float32), np.array([1000.0, 1100.0, 1300.0]))
    padded = Spectra.pad([short, long])
    assert padded.values.dtype == np.float32
    np.testing.assert_array_equal(padded.wavelengths[0], [1100, 1200, 1200])
    np.testing.assert_array_equal(padded.valid, [[True, True, False], [True] * 3, [True] * 3])
    assert len(padded) == 3


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(SpectralInputError, match="2-D array"):
        Spectra(np.ones(3), np.ones(3))
    with pytest.raises(SpectralAxisError, match="2 wavelengths for spectra of 3 points"):
        Spectra.on_grid(np.ones((1, 3)), np.array([1100.0, 1200.0]))


def test_assumed_grid() -> None:
    assert assumed_wavelengths(1) == [1750.0]
    np.testing.assert_array_equal(assumed_wavelengths(3), [1000, 1750, 2500])


@pytest.mark.parametrize(("axis", "unit"), [([50_000.000001, 40_000], "cm-1"), ([333.33333333, 1000.0], "cm-1")])
def test_the_ends_of_the_legal_range_are_legal_in_any_unit(axis: list[float], unit: str) -> None:
    nm = to_nanometres(axis, unit)
    assert np.isclose(nm[0], [200.0, 30_000.0], rtol=1e-6).any()


@pytest.mark.parametrize(
    ("labels", "values", "unit"),
    [
        (["spc.1100", "spc.1102", "spc.1104"], [1100, 1102, 1104], "auto"),
        (["scan_visnir.1100_ref", "scan_visnir.1102.5_ref", "scan_visnir.1105_ref"], [1100, 1102.5, 1105], "auto"),
        (["1100 (nm)", "1102 (nm)", "1104 (nm)"], [1100, 1102, 1104], "nm"),
        (["wn_9090 [cm-1]"] * 2, None, None),
        (["a 1100", "b 1102", "c 1104"], None, None),
        (["V1", "V2", "V3"], None, None),
        (["B2", "B4", "B11"], None, None),
        (["spc.1100", "spc.1102"], None, None),
    ],
)
def test_numbers_within_constant_text_are_wavelengths(labels: list, values: list | None, unit: str | None) -> None:
    parsed = parse_axis_labels(labels)
    if values is None:
        assert parsed is None
    else:
        assert parsed is not None
        np.testing.assert_array_equal(parsed[0], values)
        assert parsed[1] == unit
