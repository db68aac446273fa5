"""Regression with an encoder tuned end to end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_array

from ..embedding.folds import shuffled_folds
from ..fitting import all_or_nothing
from ..heads.columns import PCAColumns
from ..heads.head import TunedHead, make_head
from .estimator import N_FOLDS, SpectralEstimator

#: At unit spread, where replicates forbid leaving out one row at a time.
_ALPHAS = np.logspace(-6, 2, 13).tolist()


class SpectralRegressor(MultiOutputMixin, RegressorMixin, SpectralEstimator):
    """Tune the pretrained encoder on labelled spectra; predict numbers.

    Each step draws some samples, fits a ridge on one part of them in closed form, and moves the encoder so that the
    others are predicted better. First this is done in four folds: how many steps help, and whether the encoder tuned for
    so long with a ridge behind it predicts what it has not seen better than the frozen one, by more than chance. If so
    the encoder is tuned on all samples; if not it stays as it was, with a warning. The head that predicts is a ridge on
    all samples, on whichever encoder won. Made for calibration sets of some dozens to a few thousand spectra: ridges
    cost the cube of their number.

    Parameters
    ----------
    checkpoint : str or path, default="nirs-base-v2"
        Where tuning starts; as in `SpectralEmbedder`.
    readout : str, default="contrast"
        What the head reads.
    max_steps : int, default=128
        Tuning is checked after 8, 16, 32, ... steps and ends when two checks bring no gain, here at the latest.
    learning_rate : float, default=1e-3
        Of the encoder's last layer.
    layer_decay : float, default=0.7
        Factor of the learning rate from one layer to the one before. Local contrast, which is all that ``contrast``
        reads, counts as one layer.
    batch_size : int, default=128
        Spectra per step, at most.
    augment : bool, default=False
        Disturb spectra while tuning: gain, a straight baseline, noise.
    wavelengths : array-like of shape (n_wavelengths,), default=None
    axis_unit : {"auto", "nm", "cm-1", "um"}, default="auto"
    device : str, default="auto"
    amp : bool, default=False
        Run the encoder's transformer in bfloat16 while tuning.
    progress : bool, default=None
        False: no progress bar. There is none either unless the standard error is a terminal.
    random_state : int, RandomState or None, default=0

    Attributes
    ----------
    tuned_ : bool
        Whether the tuned encoder won.
    n_steps_ : int
        Steps that it was tuned for.
    history_ : list of dict
        ``steps`` and ``loss`` of each check: mean squared error outside of the folds, of standardised targets.
    encoder_ : SpectralPerceiver
    head_ : Ridge
        On standardised targets.
    n_features_in_ : int

    Examples
    --------
    >>> from nirs4all_vit import SpectralRegressor
    >>> model = SpectralRegressor(max_steps=64)
    """

    @all_or_nothing
    def fit(self, X: Any, y: Any, *, wavelengths: Any = None, groups: Any = None) -> SpectralRegressor:
        """Calibrate.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_wavelengths), data frame, or list of 1-D arrays
            Spectra.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        wavelengths : array-like, optional
            As in `SpectralEmbedder.fit`.
        groups : array-like of shape (n_samples,), optional
            Physical sample of each spectrum: replicates are kept together wherever samples are held back.

        The spectra are kept in the estimator, for `partial_fit`, and in its pickles.

        Raises
        ------
        SpectralInputError, SpectralAxisError, CheckpointError
            As in `SpectralEmbedder.fit`.
        """
        return self._fit(X, y, wavelengths, groups)

    @all_or_nothing
    def partial_fit(self, X: Any, y: Any, *, wavelengths: Any = None) -> SpectralRegressor:
        """Add samples to those seen, tune the encoder a little more on all of them, and fit the head again.

        Nothing is held back: whether it helps is not checked. The spectra are kept in the estimator.

        Parameters
        ----------
        X, y, wavelengths : as in `fit`
            As many targets as at the first call.
        """
        return self._partial_fit(X, y, wavelengths)

    def predict(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.float64]:
        """Predict (n_samples,) or (n_samples, n_targets)."""
        predicted = self._outputs(X, wavelengths) * self.target_deviation_ + self.target_mean_
        return predicted[:, 0] if self.flat_ else predicted

    def _targets(self, y: Any, **_: Any) -> NDArray[np.float32]:
        y, self.flat_ = self._numbers(y)
        self.target_mean_, deviation = y.mean(axis=0), y.std(axis=0)
        self.target_deviation_ = np.where(deviation > 0, deviation, 1.0)
        return self._standardised(y)

    def _further_targets(self, y: Any) -> NDArray[np.float32]:
        y, _ = self._numbers(y)
        if y.shape[1] != len(self.target_mean_):
            raise ValueError(f"y has {y.shape[1]} targets, but the first call had {len(self.target_mean_)}.")
        return self._standardised(y)

    def _numbers(self, y: Any) -> tuple[NDArray[np.float64], bool]:
        """Return targets as (n, n_targets), and whether they came 1-D."""
        if y is None:
            raise ValueError("SpectralRegressor requires y to be passed, but the target y is None.")
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=self)
        return (y[:, None], True) if y.ndim == 1 else (y, False)

    def _standardised(self, y: NDArray[np.float64]) -> NDArray[np.float32]:
        return ((y - self.target_mean_) / self.target_deviation_).astype(np.float32)

    def _folds(self, targets: NDArray[Any], groups: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], ...]]:
        return shuffled_folds(N_FOLDS, len(targets), groups).split(targets, groups=groups)

    def _head(self, Z: NDArray[Any], targets: NDArray[Any], groups: NDArray[np.intp]) -> Any:
        Z, targets = Z.astype(np.float64), targets.astype(np.float64)
        if len(np.unique(groups)) == len(groups):
            return make_head("ridge").fit(Z, targets)
        columns = PCAColumns(len(Z))
        search = TunedHead(Ridge(), {"alpha": _ALPHAS}, cv=5, scoring="neg_mean_squared_error")
        search.fit(columns.fit_transform(Z), targets, groups=groups)
        return Pipeline([("columns", columns), ("ridge", search.best_estimator_)])

    def _predicted(self, head: Any, Z: NDArray[Any]) -> NDArray[np.float64]:
        predicted = head.predict(Z.astype(np.float64))
        return predicted.reshape(len(predicted), -1)

    def _losses(self, predicted: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
        return np.square(predicted - targets).mean(axis=1)
