"""What users hand over as spectra: checks, with errors that say what to do."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from ..errors import SpectralAxisError, SpectralInputError
from .data import (
    AXIS_UNITS,
    Spectra,
    assumed_wavelengths,
    check_finite,
    check_labels,
    is_monotonic,
    parse_axis_labels,
    to_nanometres,
)

#: Rows below which nothing is taken for an axis that stands upright.
_SHORTEST_AXIS = 20


def as_table(X: Any) -> NDArray[Any]:
    """Convert to a 2-D float32 or float64 array."""
    if getattr(X, "ndim", None) == 1 or (isinstance(X, (list, tuple)) and len(X) and np.ndim(X[0]) == 0):
        raise SpectralInputError(
            "X must be 2-D (spectra x wavelengths), got a 1-D array. Reshape your data: X[np.newaxis, :] is one spectrum."
        )
    # What needs no conversion: a call with one spectrum takes a fifth less time.
    if type(X) is np.ndarray and X.ndim == 2 and X.size and X.dtype in (np.float32, np.float64):
        return X
    if np.ma.is_masked(X):
        raise SpectralInputError("X has masked values; drop such spectra or interpolate the points.")
    # NaN and infinity are refused by check_finite, with the wavelength they stand at. Integers become float64:
    # float32 has no digits for large counts.
    try:
        return check_array(X, dtype=[np.float64, np.float32], ensure_all_finite=False)
    except ValueError as error:
        # scikit-learn prints the array along with some messages; the first line says what is wrong.
        message = _first_text(X) or str(error).splitlines()[0].rstrip(":.") + "."
        raise SpectralInputError(message) from error


def _first_text(X: Any) -> str:
    """Name the first value of a table that is not a number, and what it looks like."""
    values = np.asarray(X, dtype=object)
    if values.ndim != 2:
        return ""
    columns = [str(label) for label in getattr(X, "columns", range(values.shape[1]))]
    for row, line in enumerate(values):
        for name, value in zip(columns, line, strict=True):
            if not isinstance(value, str) or _is_number(value):
                continue
            hint = "drop the column or the spectrum"
            if ";" in value or "\t" in value:
                hint = f"the separator is another: pd.read_csv(..., sep={';' if ';' in value else chr(9)!r})"
            elif _is_number(value.replace(",", ".")):
                hint = "a decimal comma? pd.read_csv(..., decimal=',')"
            return f"X contains {value[:40]!r} at row {row}, column {name[:40]!r}, which is not a number; {hint}."
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def are_column_numbers(labels: NDArray[np.float64]) -> bool:
    """Tell 0, 1, 2, ... or 1, 2, 3, ..., or every n-th of them, from an axis."""
    steps = np.diff(labels)
    return bool(labels[0] in (0, 1) and (steps > 0).all() and (steps == steps[:1]).all() and (labels % 1 == 0).all())


def given_axis(axes: Iterable[Any], labels: Any, axis_unit: str) -> NDArray[np.float64] | None:
    """Return the first axis that is not None, or column names, in nm; None if there is neither."""
    for wavelengths in axes:
        if wavelengths is not None:
            return to_nanometres(wavelengths, axis_unit)
    if labels is None:
        return None
    check_labels(labels)
    parsed = parse_axis_labels(labels)
    if parsed is None:
        odd = [label for label in labels if parse_axis_labels([label]) is None]
        # A table of wavelengths with an id in it, not a table without wavelengths.
        if 0 < len(odd) < len(labels) / 2:
            raise SpectralAxisError(
                f"column {str(odd[0])[:40]!r} is not a wavelength; drop it, make it the index (pd.read_csv(..., index_col=0)), "
                "or pass wavelengths=."
            )
        return None
    if are_column_numbers(parsed[0]):
        return None
    return to_nanometres(list(labels), axis_unit)


def warn_assumed_axis(X: Any) -> None:
    """Warn that nothing is known of the wavelengths, naming what looks as if it were meant as such."""
    labels = getattr(X, "columns", None)
    names = [] if labels is None else [str(label) for label in labels]
    hint = ""
    if names:
        if parse_axis_labels(names) is None:
            hint = f" Column names such as {names[0][:40]!r} are not read as wavelengths."
        if _looks_like_axis(getattr(X, "index", ())):
            hint += " The index looks like an axis: if spectra are columns, turn the table (X.T)."
        elif _looks_like_axis(np.asarray(X)[:, 0]):
            hint += f" Column {names[0][:40]!r} looks like an axis: if spectra are columns, X.set_index({names[0][:40]!r}).T."
    warnings.warn(
        "no wavelengths were given: an even grid from 1000 to 2500 nm is assumed, which costs accuracy. "
        f"Pass fit(X, wavelengths=...) or SpectralEmbedder(wavelengths=...).{hint}",
        UserWarning,
        stacklevel=_stacklevel(),
    )


def _looks_like_axis(values: Any) -> bool:
    parsed = parse_axis_labels(values)
    if (
        parsed is None
        or len(parsed[0]) < _SHORTEST_AXIS
        or not is_monotonic(parsed[0])
        or are_column_numbers(parsed[0])
    ):
        return False
    try:
        to_nanometres(*parsed)
    except SpectralAxisError:
        return False
    return True


def _stacklevel() -> int:
    """Return the level of the first caller outside of this package and scikit-learn, which wraps some of its methods."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("nirs4all_vit", "sklearn"):
        frame, level = frame.f_back, level + 1
    return level


def is_table(X: Any) -> bool:
    return hasattr(X, "columns") or hasattr(X, "ndim")


def is_nested(axis: Any) -> bool:
    """Tell an axis per spectrum from a single axis."""
    if isinstance(axis, (list, tuple)) or getattr(axis, "dtype", None) == np.dtype(object):
        first = next(iter(axis), None)
        return first is not None and not isinstance(first, str) and np.ndim(first) == 1
    return np.ndim(axis) == 2


def is_ragged(X: Any) -> bool:
    """Tell a list of spectra of unequal length from anything that is a table."""
    if not isinstance(X, (list, tuple)) and not (isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1):
        return False
    rows: Any = X
    return bool(len(rows)) and all(np.ndim(r) == 1 for r in rows) and len({len(r) for r in rows}) > 1


def check_spectra(X: NDArray[Any], axis: NDArray[np.float64]) -> None:
    """Refuse spectra of another length than their axis, or with values that are not finite."""
    if axis.size == X.shape[1]:
        return check_finite(X, axis)
    hint = ""
    if axis.size == len(X):
        hint = (
            "; their number equals that of the samples: scikit-learn's metadata routing slices such arguments, "
            "so give SpectralEmbedder(wavelengths=...) instead"
        )
    raise SpectralAxisError(f"{axis.size} wavelengths for spectra of {X.shape[1]} points{hint}.")


def blocks_on_own_grids(X: Any, wavelengths: Any, axis_unit: str) -> list[Spectra]:
    """Check spectra that come with a grid each."""
    if wavelengths is None:
        raise SpectralAxisError("spectra of unequal length need wavelengths=[...], one axis per spectrum.")
    if len(X) == 0:
        raise SpectralInputError("X holds no spectrum; at least one is needed.")
    axes = list(wavelengths) if is_nested(wavelengths) else [wavelengths] * len(X)
    if len(axes) != len(X):
        raise SpectralAxisError(f"{len(axes)} wavelength axes for {len(X)} spectra; give one per spectrum.")
    grids: dict[bytes, NDArray[np.float64]] = {}
    blocks = []
    for i, (row, own_axis) in enumerate(zip(np.asarray(X) if is_table(X) else X, axes, strict=True)):
        if np.ndim(row) != 1:
            raise SpectralInputError(f"spectrum {i} must be a 1-D array of numbers, got {type(row).__name__}.")
        values = as_table(np.ma.asanyarray(row)[np.newaxis, :])
        own_axis = np.asarray(own_axis)
        key = own_axis.tobytes()
        if key not in grids:
            try:
                grids[key] = to_nanometres(own_axis, axis_unit)
            except SpectralAxisError as error:
                raise SpectralAxisError(f"spectrum {i}: {error}") from error
        if grids[key].size != values.shape[1]:
            raise SpectralAxisError(
                f"spectrum {i} has {values.shape[1]} points, its wavelengths {grids[key].size}; they must agree."
            )
        check_finite(values, grids[key], first_row=i)
        blocks.append(Spectra.on_grid(values, grids[key]))
    return blocks


class ResolvesWavelengths:
    """Mixin of estimators that take spectra: finds the wavelengths, checks everything, remembers the axis of `fit`.

    The estimator has the parameters `wavelengths` and `axis_unit`.

    Attributes
    ----------
    wavelengths_ : ndarray of shape (n_wavelengths,), float64, or None
        Grid seen in `fit`, in nm, in the order of the columns; None if every spectrum had its own.
    """

    wavelengths: Any
    axis_unit: str

    def resolve(self, X: Any, wavelengths: Any = None, *, fitting: bool = False) -> list[Spectra]:
        """Return blocks of checked spectra in nm, ascending, each on one grid.

        Parameters
        ----------
        X, wavelengths : as in `fit` and `transform`
        fitting : bool
            Remember the axis and the number of points, instead of holding the spectra to them.

        Raises
        ------
        SpectralInputError
            NaN or infinity, not 2-D, no rows, or another number of points than in `fit` and no wavelengths.
        SpectralAxisError
            Wavelengths of the wrong number, duplicated, not positive, out of range.
        """
        if self.axis_unit not in AXIS_UNITS:
            raise SpectralAxisError(
                f"axis_unit={self.axis_unit!r} is not a known unit; use one of {', '.join(AXIS_UNITS)}."
            )
        if is_nested(wavelengths) or is_ragged(X):
            if fitting:
                self.wavelengths_ = None
                for attribute in ("n_features_in_", "feature_names_in_"):
                    self.__dict__.pop(attribute, None)
            return blocks_on_own_grids(X, wavelengths, self.axis_unit)
        axis = given_axis((wavelengths, self.wavelengths), getattr(X, "columns", None), self.axis_unit)
        # Another grid than the fitted one is legal where its wavelengths come with the spectra.
        own_axis = axis is not None and (wavelengths is not None or self.wavelengths is None)
        values = as_table(X)
        if not fitting and not own_axis:
            self._require_fitted_width(values.shape[1])
        if fitting or not own_axis:
            validate_data(self, X, reset=fitting, skip_check_array=True)
        if axis is None:
            axis = None if fitting else self.wavelengths_
        if axis is None:
            warn_assumed_axis(X)
            axis = assumed_wavelengths(values.shape[1])
        check_spectra(values, axis)
        if fitting:
            self.wavelengths_ = axis
        return [Spectra.on_grid(values, axis)]

    def _require_fitted_width(self, n_points: int) -> None:
        fitted = getattr(self, "n_features_in_", None)
        if fitted is None:
            raise SpectralAxisError("fitted on spectra with a grid each; transform needs wavelengths too.")
        if n_points != fitted:
            raise SpectralInputError(
                f"X has {n_points} features, but {type(self).__name__} is expecting {fitted} features as input; "
                "spectra on another grid need their wavelengths, as in transform(X, wavelengths=...)."
            )
