"""Checks of the spectra and wavelengths that users pass to estimators."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from ..errors import SpectralAxisError, SpectralAxisWarning, SpectralInputError
from .alignment import Alignment, whole_blocks
from .data import (
    AXIS_UNITS,
    Spectra,
    are_column_numbers,
    assumed_wavelengths,
    check_labels,
    is_upright_axis,
    parse_axis_labels,
    refuse_thousands,
    take_rows,
    to_nanometres,
)
from .signal import SignalKind, check_values, constant_rows, dead_rows, living_rows

#: Share of the fitted axis that is imputed without a warning.
_SILENT_FILL_LIMIT = 0.02
#: Rows named in a warning, at most.
_NAMED = 10
#: Coarser axes cause a warning about resolution; in units of the fitted step.
_COARSE = 1.75


def as_table(X: Any) -> NDArray[Any]:
    """Convert to a 2-D float32 or float64 array."""
    if getattr(X, "ndim", None) == 1 or (isinstance(X, (list, tuple)) and len(X) and np.ndim(X[0]) == 0):
        raise SpectralInputError(
            "X must be 2-D (spectra x wavelengths), got a 1-D array. Reshape your data: X[np.newaxis, :] is one "
            "spectrum."
        )
    # Without conversion, a call with one spectrum takes a fifth less time.
    if type(X) is np.ndarray and X.ndim == 2 and X.size and X.dtype in (np.float32, np.float64):
        return X
    if np.ma.is_masked(X):
        X = np.ma.filled(X.astype(np.float64), np.nan)
    # check_values refuses infinity and names the wavelength. Integers become float64, because
    # float32 cannot represent large counts exactly.
    try:
        return check_array(X, dtype=[np.float64, np.float32], ensure_all_finite=False)
    except ValueError as error:
        # Some messages of scikit-learn include the array; the first line is enough.
        message = _first_text(X) or str(error).splitlines()[0].rstrip(":.") + "."
        raise SpectralInputError(message) from error


def _first_text(X: Any) -> str:
    """Return a message about the first value of a table that is not a number."""
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
                hint = f"use the right separator: pd.read_csv(..., sep={';' if ';' in value else chr(9)!r})"
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


def given_axis(axes: Iterable[Any], labels: Any, axis_unit: str) -> NDArray[np.float64] | None:
    """Return the first axis that is not None, or else the column names, in nm; None without either.

    A `SpectralAxisError` is raised if the column names contradict the axis.
    """
    for wavelengths in axes:
        if wavelengths is not None:
            axis = to_nanometres(wavelengths, axis_unit)
            _check_agreement(axis, labels, axis_unit)
            return axis
    if labels is None:
        return None
    check_labels(labels)
    parsed = parse_axis_labels(labels)
    if parsed is None:
        odd = [label for label in labels if parse_axis_labels([label]) is None]
        # Some columns of ids among wavelengths, not a table without wavelengths.
        if 0 < len(odd) < len(labels) / 2:
            raise SpectralAxisError(
                f"column {str(odd[0])[:40]!r} is not a wavelength; drop it, make it the index "
                "(pd.read_csv(..., index_col=0)), or pass wavelengths=."
            )
        return None
    if are_column_numbers(parsed[0]):
        return None
    refuse_thousands(labels, parsed[0], parsed[1] if axis_unit == "auto" else axis_unit)
    return to_nanometres(list(labels), axis_unit)


def _check_agreement(axis: NDArray[np.float64], labels: Any, axis_unit: str) -> None:
    """Refuse column names that are another axis than the given one."""
    parsed = None if labels is None else parse_axis_labels(labels)
    if parsed is None or are_column_numbers(parsed[0]):
        return
    try:
        header = to_nanometres(list(labels), axis_unit)
    except SpectralAxisError:
        return
    # check_spectra reports a wrong number of points; a header may be rounded.
    if header.size != axis.size:
        return
    step = float(np.median(np.abs(np.diff(axis)))) if axis.size > 1 else 1.0
    if (np.abs(header - axis) > step / 2).any():
        raise SpectralAxisError(
            f"the column names run from {header[0]:g} to {header[-1]:g} nm, the given wavelengths from {axis[0]:g} to "
            f"{axis[-1]:g} nm: they contradict one another. Leave out wavelengths=, or rename the columns."
        )


def warn_assumed_axis(X: Any) -> None:
    """Warn that the wavelengths are unknown, with a remedy that fits the table."""
    turned = turned_table(X)
    remedy = "Pass fit(X, wavelengths=...) or SpectralEmbedder(wavelengths=...)."
    if turned:
        remedy = turned[0].upper() + turned[1:]
    elif getattr(X, "columns", None) is not None and parse_axis_labels(X.columns) is None:
        remedy += f" Column names such as {str(X.columns[0])[:40]!r} are not read as wavelengths."
    warnings.warn(
        f"no wavelengths were given: an even grid from 1000 to 2500 nm is assumed, which costs accuracy. {remedy}",
        UserWarning,
        stacklevel=caller_level(),
    )


def turned_table(X: Any) -> str:
    """Return how to transpose a table whose spectra are columns; empty for any other table."""
    columns = getattr(X, "columns", None)
    if columns is None or not len(columns):
        return ""
    index = getattr(X, "index", ())
    if is_upright_axis(getattr(index, "name", ""), index, columns):
        return "wavelengths run down the index, and spectra are columns; transpose the table: X.T."
    if is_upright_axis(columns[0], np.asarray(X)[:, 0], columns[1:]):
        name = str(columns[0])[:40]
        return (
            f"wavelengths run down column {name!r}, and spectra are columns; transpose the table: "
            f"X.set_index({name!r}).T."
        )
    return ""


def caller_level() -> int:
    """Return the stack level of the first caller outside this package and scikit-learn.

    scikit-learn wraps some methods of this package.
    """
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("nirs4all_vit", "sklearn"):
        frame, level = frame.f_back, level + 1
    return level


def is_table(X: Any) -> bool:
    return hasattr(X, "columns") or hasattr(X, "ndim")


def is_nested(axis: Any) -> bool:
    """Return whether `axis` holds one axis per spectrum."""
    if isinstance(axis, (list, tuple)) or getattr(axis, "dtype", None) == np.dtype(object):
        first = next(iter(axis), None)
        return first is not None and not isinstance(first, str) and np.ndim(first) == 1
    return np.ndim(axis) == 2


def is_ragged(X: Any) -> bool:
    """Return whether `X` is a list of spectra of unequal length."""
    if not isinstance(X, (list, tuple)) and not (isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1):
        return False
    rows: Any = X
    return bool(len(rows)) and all(np.ndim(r) == 1 for r in rows) and len({len(r) for r in rows}) > 1


def check_spectra(X: NDArray[Any], axis: NDArray[np.float64]) -> None:
    """Refuse spectra whose length differs from their axis, or that `check_values` refuses."""
    if axis.size == X.shape[1]:
        return check_values(X, axis)
    hint = ""
    if axis.size == len(X):
        hint = (
            ", as many as there are samples: scikit-learn's metadata routing slices such arguments, so use "
            "SpectralEmbedder(wavelengths=...) instead"
        )
    raise SpectralAxisError(f"{axis.size} wavelengths for spectra of {X.shape[1]} points{hint}.")


def blocks_on_own_grids(X: Any, wavelengths: Any, axis_unit: str) -> list[Spectra]:
    """Check spectra on a grid each; return one block per spectrum."""
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
        # np.asarray would lose the mask of a masked array.
        values = as_table((row if type(row) is np.ndarray else np.ma.asanyarray(row))[np.newaxis, :])
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
        check_values(values, grids[key], first_row=i)
        blocks.append(Spectra.on_grid(values, grids[key]))
    return blocks


class ResolvesWavelengths:
    """Mixin that resolves wavelengths, checks spectra and aligns them to the axis of `fit`.

    The estimator has the parameters `wavelengths` and `axis_unit`. With ``align=False`` each
    spectrum stays on its own axis. `max_filled` (0.5) is the share of the fitted axis that may be
    imputed.

    Attributes
    ----------
    wavelengths_ : ndarray of shape (n_wavelengths,), float64, or None
        Grid seen in `fit`, in nm, in the order of the columns; None if each spectrum had its own.
    alignment_ : Alignment
        Fitted axis, ascending, and model for missing points. Absent with ``align=False``.
    signal_ : SignalKind, or None
        Ranges of level, size, sign and shape of the calibration spectra; None for fewer than five.
        Absent with ``align=False``.
    """

    wavelengths: Any
    axis_unit: str
    #: Whether to warn of spectra without signal or of another kind of signal. Estimators that judge
    #: spectra themselves set it to False.
    warns_of_signal: ClassVar[bool] = True

    def resolve(self, X: Any, wavelengths: Any = None, *, fitting: bool = False) -> list[Spectra]:
        """Return blocks of checked, complete spectra in nm, ascending.

        Returns one block on the fitted axis, or blocks on their own axes with ``align=False``.

        Parameters
        ----------
        X, wavelengths : as in `fit` and `transform`
        fitting : bool
            Store the axis and the number of points instead of checking the spectra against them.

        Raises
        ------
        SpectralInputError
            Infinity or fill values, more than half of a spectrum missing, not 2-D, no rows, or
            another number of points than in `fit` without wavelengths.
        SpectralAxisError
            Wavelengths of the wrong number, duplicated, not positive, out of range, or too far from
            those of `fit`; column names that contradict them.
        """
        blocks = self.locate(X, wavelengths, fitting=fitting)
        dead = dead_rows(blocks) if fitting else np.concatenate([constant_rows(block.values) for block in blocks])
        if not getattr(self, "align", True):
            self._warn_dead(dead, fitting=fitting)
            return whole_blocks(blocks)
        if fitting:
            self._warn_dead(dead, fitting=True)
            return [self._learn(blocks, living_rows(blocks))]
        aligned, filled = self.alignment_.align(blocks)
        if filled.any() or not all(self.alignment_.is_on_axis(block.wavelengths) for block in blocks):
            self._report_alignment(blocks, filled)
        if self.warns_of_signal:
            if self.signal_ is not None:
                noise = ~dead & self.signal_.dead(aligned.values)
                # A minority is noise; a majority is another kind of signal, reported as such.
                if np.count_nonzero(noise) <= max(1, len(noise) // 2):
                    dead |= noise
                self._report_signal(self.signal_, aligned, ~dead)
            self._warn_dead(dead, fitting=False)
        return [aligned]

    def _learn(self, blocks: list[Spectra], rows: NDArray[np.intp]) -> Spectra:
        """Fit axis and kind of signal to the spectra with a signal; return all spectra aligned."""
        n_spectra = sum(map(len, blocks))
        if len(rows) == n_spectra:
            self.alignment_, (aligned,) = Alignment.fit(blocks)
        else:
            self.alignment_, (alive,) = Alignment.fit(take_rows(blocks, rows))
            others = np.setdiff1d(np.arange(n_spectra), rows)
            values = np.empty((n_spectra, alive.wavelengths.size), dtype=alive.values.dtype)
            values[rows] = alive.values
            values[others] = self.alignment_.align(take_rows(blocks, others))[0].values
            aligned = Spectra(values, alive.wavelengths)
        _warn_dropped(self.alignment_)
        self.signal_ = SignalKind.fit(aligned.values[rows])
        return aligned

    def locate(self, X: Any, wavelengths: Any = None, *, fitting: bool = False) -> list[Spectra]:
        """Return blocks of checked spectra on their own axes, in nm, ascending.

        NaN marks missing points. Parameters and errors are those of `resolve`.
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
        try:
            axis = given_axis((wavelengths, self.wavelengths), getattr(X, "columns", None), self.axis_unit)
        except SpectralAxisError as error:
            raise SpectralAxisError(turned_table(X) or str(error)) from error
        # Spectra on another grid than the fitted one must come with their wavelengths.
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

    def _report_alignment(self, blocks: list[Spectra], filled: NDArray[np.float64]) -> None:
        """Warn of imputed points and lost resolution; `SpectralAxisError` beyond `max_filled`."""
        fitted = self.alignment_.wavelengths
        ranges = f"the calibration covers {fitted[0]:g} to {fitted[-1]:g} nm"
        row = int(np.argmax(filled))
        block = blocks[int(np.searchsorted(np.cumsum([len(b) for b in blocks]), row, side="right"))]
        own = f"row {row} covers {block.wavelengths[0]:g} to {block.wavelengths[-1]:g} nm"
        if block.wavelengths[0] <= fitted[0] and block.wavelengths[-1] >= fitted[-1]:
            own += " with gaps"
        most = getattr(self, "max_filled", 0.5)
        if filled[row] > most:
            raise SpectralAxisError(
                f"{own}, {ranges}: {filled[row]:.0%} of it would have to be filled in, more than {most:.0%}. "
                "Calibrate on the range that both cover, or check the axis and its unit."
            )
        if filled[row] > _SILENT_FILL_LIMIT:
            warnings.warn(
                f"{own}, {ranges}: {filled[row]:.0%} of it is filled in from the calibration spectra, and predictions "
                "lose accuracy. Calibrate on the range that both cover if accuracy matters.",
                SpectralAxisWarning,
                stacklevel=caller_level(),
            )
        if fitted.size < 2:
            return
        step, widest = float(np.median(np.diff(fitted))), max(_median_step(b.wavelengths) for b in blocks)
        if widest > _COARSE * step:
            warnings.warn(
                f"points are {widest:.3g} nm apart, {step:.3g} nm in the calibration: narrower bands are lost.",
                SpectralAxisWarning,
                stacklevel=caller_level(),
            )

    def _report_signal(self, signal: SignalKind, aligned: Spectra, alive: NDArray[np.bool_]) -> None:
        """Warn of spectra that are another kind of signal than the calibration spectra."""
        strange = signal.strange(aligned.values) & alive
        if not strange.any():
            return
        warnings.warn(
            f"{np.count_nonzero(strange)} of {len(aligned)} spectra, first row {int(np.argmax(strange))}, are another "
            f"kind of signal than the calibration spectra: {signal.explanation(aligned.values[strange])}. Their "
            "predictions are meaningless; convert them to the signal of the calibration spectra.",
            UserWarning,
            stacklevel=caller_level(),
        )

    def _warn_dead(self, dead: NDArray[np.bool_], *, fitting: bool) -> None:
        """Warn of rows that hold no signal."""
        if not self.warns_of_signal or not dead.any():
            return
        rows = np.flatnonzero(dead)
        named = ", ".join(map(str, rows[:_NAMED])) + (", ..." if len(rows) > _NAMED else "")
        remedy = (
            "Drop them together with their reference values: a model calibrated on them predicts worse"
            if fitting
            else "Their predictions are meaningless; measure them again"
        )
        warnings.warn(
            f"{len(rows)} of {len(dead)} spectra hold no signal (constant, or noise alone): "
            f"row{'s' * (len(rows) > 1)} {named}. {remedy}.",
            UserWarning,
            stacklevel=caller_level(),
        )

    def _require_fitted_width(self, n_points: int) -> None:
        fitted = getattr(self, "n_features_in_", None)
        if fitted is None:
            raise SpectralAxisError("fitted on spectra with a grid each; pass wavelengths to transform too.")
        if n_points != fitted:
            raise SpectralInputError(
                f"X has {n_points} features, but {type(self).__name__} is expecting {fitted} features as input; "
                "spectra on another grid need their wavelengths, as in transform(X, wavelengths=...)."
            )


def _median_step(axis: NDArray[np.float64]) -> float:
    return float(np.median(np.diff(axis))) if axis.size > 1 else 0.0


def _warn_dropped(alignment: Alignment) -> None:
    if len(alignment.dropped):
        names = ", ".join(f"{nm:g}" for nm in alignment.dropped[:5])
        warnings.warn(
            f"{len(alignment.dropped)} wavelengths are missing in more than half of the spectra and are left out: "
            f"{names}{', ...' if len(alignment.dropped) > 5 else ''} nm.",
            SpectralAxisWarning,
            stacklevel=caller_level(),
        )
