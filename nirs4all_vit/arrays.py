"""What users hand over as spectra: checks, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

from .errors import SpectralAxisError, SpectralInputError
from .spectra import Spectra, parse_axis_labels, to_nanometres


def as_table(X: Any) -> NDArray[Any]:
    """Convert to a 2-D float32 or float64 array."""
    if getattr(X, "ndim", None) == 1 or (isinstance(X, (list, tuple)) and len(X) and np.ndim(X[0]) == 0):
        raise SpectralInputError(
            "X must be 2-D (spectra x wavelengths), got a 1-D array. Reshape your data: X[np.newaxis, :] is one spectrum."
        )
    if np.ma.is_masked(X):
        raise SpectralInputError("X has masked values; drop such spectra or interpolate the points.")
    # NaN and infinity are refused by check_finite, with the wavelength they stand at. Integers become float64:
    # float32 has no digits for large counts.
    try:
        return check_array(X, dtype=[np.float64, np.float32], ensure_all_finite=False)
    except ValueError as error:
        # scikit-learn prints the array along with some messages; the first line says what is wrong.
        raise SpectralInputError(str(error).splitlines()[0].rstrip(":.") + ".") from error


def are_column_numbers(labels: NDArray[np.float64]) -> bool:
    """Tell 0, 1, 2, ... or 1, 2, 3, ..., or every n-th of them, from an axis."""
    steps = np.diff(labels)
    return bool(labels[0] in (0, 1) and (steps > 0).all() and (steps == steps[:1]).all() and (labels % 1 == 0).all())


def given_axis(axes: Iterable[Any], labels: Any, axis_unit: str) -> NDArray[np.float64] | None:
    """Return the first axis that is not None, or column names, in nm; None if there is neither."""
    for given in axes:
        if given is not None:
            return to_nanometres(given, axis_unit)
    if labels is None:
        return None
    parsed = parse_axis_labels(labels)
    if parsed is None:
        odd = [label for label in labels if parse_axis_labels([label]) is None]
        # A table of wavelengths with an id in it, not a table without wavelengths.
        if 0 < len(odd) < len(labels) / 2:
            raise SpectralAxisError(f"column {str(odd[0])!r} is not a wavelength; drop it, or pass wavelengths=.")
        return None
    if are_column_numbers(parsed[0]):
        return None
    return to_nanometres(list(labels), axis_unit)


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


def check_length(axis: NDArray[np.float64], X: NDArray[Any]) -> None:
    if axis.size == X.shape[1]:
        return
    hint = ""
    if axis.size == len(X):
        hint = (
            "; their number equals that of the samples: scikit-learn's metadata routing slices such arguments, "
            "so give SpectralEmbedder(wavelengths=...) instead"
        )
    raise SpectralAxisError(f"{axis.size} wavelengths for spectra of {X.shape[1]} points{hint}.")


def check_finite(X: NDArray[Any], axis: NDArray[np.float64], first_row: int = 0) -> None:
    finite = np.isfinite(X)
    if finite.all():
        return
    row, column = np.argwhere(~finite)[0]
    kind = "NaN" if np.isnan(X[row, column]) else "inf"
    raise SpectralInputError(
        f"X contains {kind} at row {row + first_row}, {axis[column]:g} nm; drop such spectra or interpolate the points."
    )


def blocks_on_own_grids(X: Any, wavelengths: Any, axis_unit: str) -> list[Spectra]:
    """Check spectra that come with a grid each."""
    if wavelengths is None:
        raise SpectralAxisError("spectra of unequal length need wavelengths=[...], one axis per spectrum.")
    if len(X) == 0:
        raise SpectralInputError("X holds no spectrum; at least one is needed.")
    axes = list(wavelengths) if is_nested(wavelengths) else [wavelengths] * len(X)
    if len(axes) != len(X):
        raise SpectralAxisError(f"{len(axes)} wavelength axes for {len(X)} spectra; give one per spectrum.")
    known: dict[bytes, NDArray[np.float64]] = {}
    blocks = []
    for i, (row, given) in enumerate(zip(np.asarray(X) if is_table(X) else X, axes, strict=True)):
        if np.ndim(row) != 1:
            raise SpectralInputError(f"spectrum {i} must be a 1-D array of numbers, got {type(row).__name__}.")
        values = as_table(np.ma.asanyarray(row)[np.newaxis, :])
        given = np.asarray(given)
        key = given.tobytes()
        if key not in known:
            try:
                known[key] = to_nanometres(given, axis_unit)
            except SpectralAxisError as error:
                raise SpectralAxisError(f"spectrum {i}: {error}") from error
        if known[key].size != values.shape[1]:
            raise SpectralAxisError(
                f"spectrum {i} has {values.shape[1]} points, its wavelengths {known[key].size}; they must agree."
            )
        check_finite(values, known[key], first_row=i)
        blocks.append(Spectra.on_grid(values, known[key]))
    return blocks
