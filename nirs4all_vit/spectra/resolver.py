"""What users hand over as spectra: checks, with errors that say what to do."""

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

#: Share of the fitted axis that is filled in without a word.
_UNSAID_FILL = 0.02
#: Rows that a warning names, at most.
_NAMED = 10
#: In units of the fitted step: coarser axes have lost resolution, which is said.
_COARSE = 1.75


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
        X = np.ma.filled(X.astype(np.float64), np.nan)
    # Infinity is refused by check_values, with the wavelength it stands at. Integers become float64: float32 has no
    # digits for large counts.
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


def given_axis(axes: Iterable[Any], labels: Any, axis_unit: str) -> NDArray[np.float64] | None:
    """Return the first axis that is not None, or column names, in nm; None if there is neither.

    A `SpectralAxisError` shows both, where column names are another axis.
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
        # A table of wavelengths with an id in it, not a table without wavelengths.
        if 0 < len(odd) < len(labels) / 2:
            raise SpectralAxisError(
                f"column {str(odd[0])[:40]!r} is not a wavelength; drop it, make it the index (pd.read_csv(..., index_col=0)), "
                "or pass wavelengths=."
            )
        return None
    if are_column_numbers(parsed[0]):
        return None
    refuse_thousands(labels, parsed[0], parsed[1] if axis_unit == "auto" else axis_unit)
    return to_nanometres(list(labels), axis_unit)


def _check_agreement(axis: NDArray[np.float64], labels: Any, axis_unit: str) -> None:
    """Refuse column names that are an axis other than the one that was given."""
    parsed = None if labels is None else parse_axis_labels(labels)
    if parsed is None or are_column_numbers(parsed[0]):
        return
    try:
        header = to_nanometres(list(labels), axis_unit)
    except SpectralAxisError:
        return
    # Another number of points is told with the spectra; a header may be rounded.
    if header.size != axis.size:
        return
    step = float(np.median(np.abs(np.diff(axis)))) if axis.size > 1 else 1.0
    if (np.abs(header - axis) > step / 2).any():
        raise SpectralAxisError(
            f"the column names run from {header[0]:g} to {header[-1]:g} nm, the given wavelengths from {axis[0]:g} to "
            f"{axis[-1]:g} nm: they contradict one another. Leave out wavelengths=, or rename the columns."
        )


def warn_assumed_axis(X: Any) -> None:
    """Warn that nothing is known of the wavelengths, naming what looks as if it were meant as such."""
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
    """Say how to turn a table whose spectra are columns; empty where it is none."""
    columns = getattr(X, "columns", None)
    if columns is None or not len(columns):
        return ""
    index = getattr(X, "index", ())
    if is_upright_axis(getattr(index, "name", ""), index, columns):
        return "wavelengths run down the index, and spectra are columns; turn the table: X.T."
    if is_upright_axis(columns[0], np.asarray(X)[:, 0], columns[1:]):
        name = str(columns[0])[:40]
        return (
            f"wavelengths run down column {name!r}, and spectra are columns; turn the table: X.set_index({name!r}).T."
        )
    return ""


def caller_level() -> int:
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
    """Refuse spectra of another length than their axis, or with values that no instrument gives."""
    if axis.size == X.shape[1]:
        return check_values(X, axis)
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
        # The mask of a masked array counts, and goes by np.asarray.
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
    """Mixin of estimators that take spectra: finds the wavelengths, checks values, and puts everything on the axis of `fit`.

    The estimator has the parameters `wavelengths` and `axis_unit`; with `align` False it takes each spectrum on its own axis, and
    `max_filled` (0.5) is the share of the fitted axis that may be filled in.

    Attributes
    ----------
    wavelengths_ : ndarray of shape (n_wavelengths,), float64, or None
        Grid seen in `fit`, in nm, in the order of the columns; None if every spectrum had its own.
    alignment_ : Alignment
        The fitted axis, ascending, and what fills in missing points. Not with ``align=False``.
    signal_ : SignalKind, or None
        What the calibration spectra look like as a signal; None of fewer than five. Not with ``align=False``.
    """

    wavelengths: Any
    axis_unit: str
    #: Warn where spectra are another kind of signal, or constant. An estimator that judges spectra itself says it in its own way.
    warns_of_signal: ClassVar[bool] = True

    def resolve(self, X: Any, wavelengths: Any = None, *, fitting: bool = False) -> list[Spectra]:
        """Return blocks of checked, complete spectra in nm, ascending: one on the fitted axis, unless ``align=False``.

        Parameters
        ----------
        X, wavelengths : as in `fit` and `transform`
        fitting : bool
            Remember the axis and the number of points, instead of holding the spectra to them.

        Raises
        ------
        SpectralInputError
            Infinity or fill values, more than half of a spectrum missing, not 2-D, no rows, or another number of points than in
            `fit` and no wavelengths.
        SpectralAxisError
            Wavelengths of the wrong number, duplicated, not positive, out of range, or too far from those of `fit`; column names
            that contradict them.
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
                # A few are noise; most of them are another signal, of which more is said.
                if np.count_nonzero(noise) <= max(1, len(noise) // 2):
                    dead |= noise
                self._report_signal(self.signal_, aligned, ~dead)
            self._warn_dead(dead, fitting=False)
        return [aligned]

    def _learn(self, blocks: list[Spectra], living: NDArray[np.intp]) -> Spectra:
        """Learn axis and kind of signal from the living spectra; return all of them on the axis."""
        n_spectra = sum(map(len, blocks))
        if len(living) == n_spectra:
            self.alignment_, (aligned,) = Alignment.fit(blocks)
        else:
            self.alignment_, (alive,) = Alignment.fit(take_rows(blocks, living))
            others = np.setdiff1d(np.arange(n_spectra), living)
            values = np.empty((n_spectra, alive.wavelengths.size), dtype=alive.values.dtype)
            values[living] = alive.values
            values[others] = self.alignment_.align(take_rows(blocks, others))[0].values
            aligned = Spectra(values, alive.wavelengths)
        _warn_dropped(self.alignment_)
        self.signal_ = SignalKind.fit(aligned.values[living])
        return aligned

    def locate(self, X: Any, wavelengths: Any = None, *, fitting: bool = False) -> list[Spectra]:
        """Return blocks of checked spectra on their own axes, in nm, ascending; NaN where a point is missing.

        Parameters and errors as in `resolve`.
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

    def _report_alignment(self, blocks: list[Spectra], filled: NDArray[np.float64]) -> None:
        """Warn where much was filled in or resolution is lost; a `SpectralAxisError` where it is too much."""
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
                f"{own}, {ranges}: {filled[row]:.0%} of it would have to be filled in, more than {most:.0%}. Calibrate on the range "
                "that both cover, or check the axis and its unit."
            )
        if filled[row] > _UNSAID_FILL:
            warnings.warn(
                f"{own}, {ranges}: {filled[row]:.0%} of it is filled in from what the calibration spectra know, and predictions "
                "lose accuracy. Calibrate on the range that both cover, where it matters.",
                SpectralAxisWarning,
                stacklevel=caller_level(),
            )
        if fitted.size < 2:
            return
        step, widest = float(np.median(np.diff(fitted))), max(_median_step(b.wavelengths) for b in blocks)
        if widest > _COARSE * step:
            warnings.warn(
                f"points lie {widest:.3g} nm apart, {step:.3g} nm in the calibration: narrower bands are lost.",
                SpectralAxisWarning,
                stacklevel=caller_level(),
            )

    def _report_signal(self, signal: SignalKind, aligned: Spectra, alive: NDArray[np.bool_]) -> None:
        """Warn where living spectra are another kind of signal than those of the calibration."""
        strange = signal.strange(aligned.values) & alive
        if not strange.any():
            return
        warnings.warn(
            f"{np.count_nonzero(strange)} of {len(aligned)} spectra, first row {int(np.argmax(strange))}, are another kind of "
            f"signal than the calibration spectra: {signal.explanation(aligned.values[strange])}. Their predictions mean nothing "
            "unless they are converted to what the calibration was made of.",
            UserWarning,
            stacklevel=caller_level(),
        )

    def _warn_dead(self, dead: NDArray[np.bool_], *, fitting: bool) -> None:
        """Warn of spectra that hold no signal, by row."""
        if not self.warns_of_signal or not dead.any():
            return
        rows = np.flatnonzero(dead)
        named = ", ".join(map(str, rows[:_NAMED])) + (", ..." if len(rows) > _NAMED else "")
        remedy = (
            "Drop them together with their reference values: a model that is calibrated on them predicts worse"
            if fitting
            else "Their predictions mean nothing; measure them again"
        )
        warnings.warn(
            f"{len(rows)} of {len(dead)} spectra hold no signal (constant, or noise alone): row{'s' * (len(rows) > 1)} {named}. {remedy}.",
            UserWarning,
            stacklevel=caller_level(),
        )

    def _require_fitted_width(self, n_points: int) -> None:
        fitted = getattr(self, "n_features_in_", None)
        if fitted is None:
            raise SpectralAxisError("fitted on spectra with a grid each; transform needs wavelengths too.")
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
            f"{len(alignment.dropped)} wavelengths are missing in more than half of the spectra and are left out: {names}"
            f"{', ...' if len(alignment.dropped) > 5 else ''} nm.",
            SpectralAxisWarning,
            stacklevel=caller_level(),
        )
