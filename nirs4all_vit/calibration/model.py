"""The calibration estimator: one embedder, a head per target, intervals and novelty limits."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from ..diagnostics.novelty import SpectralNovelty
from ..embedder import SpectralEmbedder
from ..encoder.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint
from ..errors import SpectralInputError
from ..fitting import all_or_nothing
from ..heads.conformal import conformal_quantile
from .cross_validation import Folds, HeldOut, Progress, cross_validate, n_steps, unseen
from .heads import check_head_name, class_scores, fit_head, new_head, predict_with_deviation, read_by
from .targets import Target, as_targets

#: Limits of T2 and Q, in scaled median absolute deviations above the median of the logarithms.
#: 1.1 % of new samples of 28 families of the bank exceed them.
_LIMIT_DEVIATIONS = 3.5
#: Smallest number of physical samples for novelty limits.
_FEWEST_FOR_LIMITS = 10


@dataclass(eq=False)
class CalibratedTarget:
    """Fitted head and residuals of one target.

    Attributes
    ----------
    name : str
    classes : tuple of str
        Empty for regression.
    head : estimator
        Fitted.
    nonconformity : ndarray of shape (n_measured,)
        Nonconformity of the calibration samples in cross-validation (`HeldOut.nonconformity`).
    n_samples : int
        Number of physical samples with a value.
    range : tuple of two float
        Smallest and largest reference value; NaN for classes.
    """

    name: str
    classes: tuple[str, ...]
    head: Any
    nonconformity: NDArray[np.float64]
    n_samples: int
    range: tuple[float, float]


class SpectralCalibration(BaseEstimator):
    """Calibration of one or more targets on spectra, with cross-validation and intervals.

    All targets share one `SpectralEmbedder`. Each target has its own head, fitted on the samples
    with a reference value. Prediction intervals come from a grouped, repeated cross-validation.
    `nirs4all_vit.calibrate` reads files, fits this estimator and writes a report.

    Parameters
    ----------
    head : str, default="committee"
        Head of `make_head`: ``"committee"``, ``"ridge"``, ``"pls"``, ``"plsda"``, ``"krr"``,
        ``"gp"``, ``"mlp"`` or ``"logistic"``.
    task : {"auto", "regression", "classification"}, default="auto"
        ``"auto"``: numbers are regression targets, text and truth values are classes.
    robust : bool, default=False
        Down-weight directions sensitive to baseline drift, scatter and wavelength shift, as in
        `SpectralEmbedder`.
    cv : str, default="auto"
        Folds and repetitions, such as ``"5x3"``; ``"auto"`` is 5x3 for up to 1,500 samples and 5x1
        for more.
    coverage : float, default=0.9
        Nominal coverage of prediction intervals, between 0 and 1.
    axis_unit : {"auto", "nm", "cm-1", "um"}, default="auto"
        Unit of all wavelengths passed to this object.
    checkpoint : str or path, default="nirs-base-v2"
        As in `SpectralEmbedder`.

    Attributes
    ----------
    embedder_ : SpectralEmbedder
        Fitted on all samples.
    targets_ : list of CalibratedTarget
        One per target.
    target_names_ : list of str
    novelty_ : SpectralNovelty, or None
        None with fewer than ten physical samples, and after `adapt_to` has found a shift.
    cross_validation_ : list of HeldOut
        One per target; not saved.

    Examples
    --------
    >>> from nirs4all_vit import SpectralCalibration
    >>> model = SpectralCalibration().fit(X, protein, wavelengths=nm)  # doctest: +SKIP
    >>> model.predict(X_new), model.predict_interval(X_new)  # doctest: +SKIP
    """

    def __init__(
        self,
        head: str = "committee",
        *,
        task: str = "auto",
        robust: bool = False,
        cv: str = "auto",
        coverage: float = 0.9,
        axis_unit: str = "auto",
        checkpoint: str | os.PathLike[str] = DEFAULT_CHECKPOINT,
    ) -> None:
        self.head = head
        self.task = task
        self.robust = robust
        self.cv = cv
        self.coverage = coverage
        self.axis_unit = axis_unit
        self.checkpoint = checkpoint

    @all_or_nothing
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        wavelengths: Any = None,
        groups: Any = None,
        progress: Progress | None = None,
    ) -> Self:
        """Cross-validate, then fit on all samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_wavelengths) or data frame
            Spectra on one axis; NaN is a missing point.
        y : array-like of shape (n_samples,) or (n_samples, n_targets), or data frame
            Reference values or names of classes; NaN or None where a value was not measured.
        wavelengths : array-like of shape (n_wavelengths,), optional
            Wavelengths of the spectra; by default, the column names of `X`.
        groups : array-like of shape (n_samples,), optional
            Physical sample of each spectrum; replicates of a sample stay in the same fold.
        progress : callable
            Called with the name of each finished step; `n_steps` returns the number of calls.

        Raises
        ------
        SpectralInputError
            A target or a parameter cannot be used; and as in `SpectralEmbedder.fit`.
        SpectralAxisError, CheckpointError
            As in `SpectralEmbedder.fit`.
        """
        step = unseen if progress is None else progress
        targets = as_targets(y, self.task)
        check_head_name(self.head, {target.task for target in targets})
        if not 0 < self.coverage < 1:
            raise SpectralInputError(f"coverage={self.coverage} must lie between 0 and 1.")
        located = SpectralEmbedder(self.checkpoint, axis_unit=self.axis_unit).locate(X, wavelengths, fitting=True)
        if len(located) != 1:
            raise SpectralInputError("the spectra are on different axes; resample them onto one axis.")
        spectra, nm = located[0].values.astype(np.float64, copy=False), located[0].wavelengths
        if len(spectra) != len(targets[0].values):
            raise SpectralInputError(
                f"{len(spectra)} spectra, but {len(targets[0].values)} reference values; they must agree."
            )
        codes = (
            np.arange(len(spectra))
            if groups is None
            else np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
        )
        if len(codes) != len(spectra):
            raise SpectralInputError(f"{len(spectra)} spectra, but {len(codes)} groups; they must agree.")
        folds = Folds.parse(self.cv, len(spectra))
        checkpoint = load_checkpoint(self.checkpoint)
        # Encoders of points do not have the read-out "contrast".
        readout = checkpoint.encoder.readouts()[0]
        widths = checkpoint.encoder.block_widths(readout)
        embedder = SpectralEmbedder(
            self.checkpoint, readout=readout, robust=self.robust, append_spectra=True, axis_unit="nm", cache=True
        )
        held_out = cross_validate(
            spectra,
            nm,
            targets,
            codes,
            embedder=embedder,
            widths=widths,
            head=self.head,
            folds=folds,
            progress=step,
        )
        self._fit_all(spectra, nm, targets, codes, embedder, widths, held_out)
        step("final model")
        self.cross_validation_ = held_out
        self.folds_ = folds
        return self

    def n_steps(self, y: Any, groups: Any = None) -> int:
        """Return the number of calls of ``progress`` by `fit`."""
        targets = as_targets(y, self.task)
        n = len(targets[0].values)
        codes = np.arange(n) if groups is None else np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
        return n_steps(targets, Folds.parse(self.cv, n), codes) + 1

    def _fit_all(
        self,
        spectra: NDArray[np.float64],
        nm: NDArray[np.float64],
        targets: Sequence[Target],
        codes: NDArray[np.intp],
        embedder: SpectralEmbedder,
        widths: tuple[int, ...],
        held_out: Sequence[HeldOut],
    ) -> None:
        columns = embedder.fit_transform(spectra, wavelengths=nm)
        width = columns.shape[1] - embedder.alignment_.wavelengths.size
        fitted = []
        for target, left_out in zip(targets, held_out, strict=True):
            rows = target.rows
            own = codes[rows]
            read = columns if len(rows) == len(columns) else columns[rows]  # no copy of a large set
            head = fit_head(new_head(self.head, target.task, widths), read, target.values[rows], own, width)
            values = target.values[rows]
            ends = (np.nan, np.nan) if target.classes else (float(values.min()), float(values.max()))
            fitted.append(
                CalibratedTarget(target.name, target.classes, head, left_out.nonconformity(), len(np.unique(own)), ends)
            )
        self.embedder_, self.targets_ = embedder.set_params(cache=False, axis_unit=self.axis_unit), fitted
        self.target_names_ = [target.name for target in targets]
        self.width_, self.n_features_in_ = width, spectra.shape[1]
        self.novelty_ = _novelty(spectra, nm, codes, self.checkpoint)
        if self.novelty_ is not None:
            self.novelty_.set_params(axis_unit=self.axis_unit)

    def predict(self, X: Any, *, wavelengths: Any = None) -> NDArray[Any]:
        """Predict (n_samples,) for one target, (n_samples, n_targets) for several.

        Parameters
        ----------
        X, wavelengths : as in `SpectralEmbedder.transform`
            Spectra on any axis that overlaps that of the calibration.
        """
        return self._stacked([self._predicted(target, columns)[0] for target, columns in self._columns(X, wavelengths)])

    def predict_interval(
        self, X: Any, coverage: float | None = None, *, wavelengths: Any = None
    ) -> NDArray[np.float64]:
        """Return prediction intervals of the regression targets.

        Parameters
        ----------
        X, wavelengths : as in `predict`
        coverage : float, optional
            Nominal coverage, between 0 and 1; by default, that of the constructor.

        Returns
        -------
        ndarray of shape (n_samples, 2), or (n_samples, n_targets, 2)
            Lower and upper bounds; NaN for classification targets.
        """
        share = self._coverage(coverage)
        bounds = []
        for target, columns in self._columns(X, wavelengths):
            centre, half = self._interval(target, columns, share)
            bounds.append(np.stack([centre - half, centre + half], axis=1))
        return bounds[0] if len(bounds) == 1 else np.stack(bounds, axis=1)

    def predict_all(self, X: Any, coverage: float | None = None, *, wavelengths: Any = None) -> list[dict[str, Any]]:
        """Return predictions with intervals or sets of possible classes.

        Parameters
        ----------
        X, coverage, wavelengths : as in `predict_interval`

        Returns
        -------
        list of dict of str to ndarray of shape (n_samples,)
            One per target: ``predicted``, and ``lower`` and ``upper`` for regression, or
            ``possible`` (classes joined by ``|``) for classification.
        """
        share = self._coverage(coverage)
        out: list[dict[str, Any]] = []
        for target, columns in self._columns(X, wavelengths):
            if target.classes:
                scores = class_scores(target.head, columns)
                predicted = np.asarray(target.head.predict(columns))
                out.append({"predicted": predicted, "possible": possible_classes(target, scores, share)})
            else:
                centre, half = self._interval(target, columns, share)
                out.append({"predicted": centre, "lower": centre - half, "upper": centre + half})
        return out

    def score(self, X: Any, y: Any, *, wavelengths: Any = None) -> float:
        """Return R2 (regression) or accuracy (classification), averaged over the targets."""
        import pandas as pd

        truth = as_columns(y)
        predicted = pd.DataFrame(
            np.asarray(self.predict(X, wavelengths=wavelengths), dtype=object).reshape(len(truth), -1)
        )
        scores = []
        for k, target in enumerate(self.targets_):
            measured = ~pd.isna(truth[:, k])
            if target.classes:
                scores.append(accuracy_score(truth[measured, k].astype(str), predicted[k][measured].astype(str)))
            else:
                scores.append(r2_score(truth[measured, k].astype(float), predicted[k][measured].astype(float)))
        return float(np.mean(scores))

    @all_or_nothing
    def adapt_to(self, X: Any, *, wavelengths: Any = None) -> Self:
        """Adapt the predictions to a second instrument, from its spectra without reference values.

        Parameters and warnings are those of `SpectralEmbedder.adapt_to`. If a shift is found,
        `novelty_` becomes None: its limits do not apply to the second instrument.
        """
        check_is_fitted(self)
        self.embedder_ = copy.copy(self.embedder_).adapt_to(X, wavelengths=wavelengths)
        if self.embedder_.instrument_shift_ is not None:
            self.novelty_ = None
        return self

    def filled(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.float64]:
        """Return the share of the calibration's axis that each spectrum lacks, (n_samples,)."""
        check_is_fitted(self)
        return self.embedder_.alignment_.align(self.embedder_.locate(X, wavelengths))[1]

    def other_signals(self, X: Any, *, wavelengths: Any = None) -> tuple[NDArray[np.bool_], str]:
        """Return which spectra differ in kind of signal from the calibration, as `transform` warns.

        Returns
        -------
        different : ndarray of shape (n_samples,), bool
        explanation : str
            What these spectra look like; "" without any.
        """
        check_is_fitted(self)
        values = self.embedder_.alignment_.align(self.embedder_.locate(X, wavelengths))[0].values
        kind = self.embedder_.signal_
        strange = np.zeros(len(values), dtype=bool) if kind is None else kind.strange(values)
        return strange, kind.explanation(values[strange]) if kind is not None and strange.any() else ""

    def measure_novelty(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.float64]:
        """Return Hotelling's T2 and Q residuals divided by their limits, (n_samples, 2).

        Above 1, a spectrum is unlike the calibration set. Without `novelty_`, all values are NaN.
        """
        check_is_fitted(self)
        if self.novelty_ is None:
            n = sum(map(len, self.embedder_.locate(X, wavelengths)))
            return np.full((n, 2), np.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `predict` gives the same warnings
            measured = self.novelty_.t2_and_q(X, wavelengths=wavelengths)
        return measured.T / np.array([self.novelty_.t2_limit_, self.novelty_.q_limit_])

    def _coverage(self, coverage: float | None) -> float:
        share = self.coverage if coverage is None else coverage
        if not 0 < share < 1:
            raise ValueError(f"coverage={share} must lie between 0 and 1.")
        return share

    def _columns(self, X: Any, wavelengths: Any) -> list[tuple[CalibratedTarget, NDArray[Any]]]:
        check_is_fitted(self)
        columns = self.embedder_.transform(X, wavelengths=wavelengths)
        return [(target, read_by(target.head, columns, self.width_)) for target in self.targets_]

    def _predicted(
        self, target: CalibratedTarget, columns: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        if target.classes:
            return np.asarray(target.head.predict(columns)), None
        return predict_with_deviation(target.head, columns)

    def _interval(
        self, target: CalibratedTarget, columns: NDArray[Any], coverage: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return predictions and half-widths of their intervals; NaN for classes."""
        if target.classes:
            unknown = np.full(len(columns), np.nan)
            return unknown, unknown
        centre, scale = self._predicted(target, columns)
        width = conformal_quantile(target.nonconformity, target.n_samples, coverage)
        return centre, np.full(len(centre), width) if scale is None else width * scale

    def _stacked(self, parts: list[NDArray[Any]]) -> NDArray[Any]:
        if len(parts) == 1:
            return parts[0]
        same = len({part.dtype.kind for part in parts}) == 1
        return np.stack(parts if same else [part.astype(object) for part in parts], axis=1)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.required = True
        return tags


def as_columns(y: Any) -> NDArray[Any]:
    """Return targets as an array of objects, (n_samples, n_targets)."""
    values = np.asarray(y, dtype=object)
    return values.reshape(len(values), -1)


def possible_classes(target: CalibratedTarget, scores: NDArray[np.float64], coverage: float) -> NDArray[Any]:
    """Return the conformal sets of classes at a coverage, joined by ``|``, (n_samples,)."""
    limit = conformal_quantile(target.nonconformity, target.n_samples, coverage)
    return join_possible(np.asarray(target.head.classes_).astype(str), scores, limit)


def join_possible(classes: NDArray[Any], scores: NDArray[np.float64], limit: float) -> NDArray[Any]:
    """Return the classes whose score is at most `limit` below the best other, joined by ``|``.

    The class with the highest score is always included.
    """
    n = scores.shape[1]
    excess = np.stack([np.delete(scores, k, axis=1).max(axis=1) - scores[:, k] for k in range(n)], axis=1)
    possible = excess <= limit
    possible[np.arange(len(scores)), scores.argmax(axis=1)] = True
    return np.array(["|".join(classes[row]) for row in possible], dtype=object)


def _novelty(
    spectra: NDArray[np.float64], nm: NDArray[np.float64], codes: NDArray[np.intp], checkpoint: Any
) -> SpectralNovelty | None:
    """Fit a novelty detector, with limits from the held-out T2 and Q of the calibration samples."""
    if len(np.unique(codes)) < _FEWEST_FOR_LIMITS:
        return None
    detector = SpectralNovelty(checkpoint, axis_unit="nm").fit(spectra, wavelengths=nm, groups=codes)
    logarithms = np.log(np.maximum(detector.limits_.held_out, 1e-300))
    middle = np.median(logarithms, axis=1, keepdims=True)
    spread = 1.4826 * np.median(np.abs(logarithms - middle), axis=1)
    t2, q = np.exp(middle[:, 0] + _LIMIT_DEVIATIONS * np.maximum(spread, 0.1))
    detector.limits_ = replace(detector.limits_, t2_limit=float(t2), q_limit=float(q))
    detector.t2_limit_, detector.q_limit_ = float(t2), float(q)
    return detector
