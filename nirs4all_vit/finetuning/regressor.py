"""Regression with an encoder fine-tuned end to end."""

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

#: Candidate penalties at unit spread, for data with replicates, which need grouped folds.
_ALPHAS = np.logspace(-6, 2, 13).tolist()


class SpectralRegressor(MultiOutputMixin, RegressorMixin, SpectralEstimator):
    """Regressor that fine-tunes the pretrained encoder on labelled spectra.

    Each step draws some samples, fits a ridge on one part of them in closed form, and updates the encoder to reduce the
    prediction error of the others. Four-fold cross-validation finds the number of steps and tests whether the tuned
    encoder with a ridge predicts held-out samples significantly better than the frozen encoder. If it does, the encoder
    is tuned on all samples; otherwise it is left unchanged with a warning. The final head is a ridge on all samples and
    the selected encoder. Suited to calibration sets of some dozens to a few thousand spectra, because the cost of the
    ridges grows with the cube of their number.

    Parameters
    ----------
    checkpoint : str or path, default="nirs-base-v2"
        Checkpoint to start from, as in `SpectralEmbedder`.
    readout : str, default="contrast"
        Read-out used by the head.
    max_steps : int, default=128
        Maximum number of steps. Tuning is checked after 8, 16, 32, ... steps and stops after two checks without gain.
    learning_rate : float, default=1e-3
        Learning rate of the encoder's last layer.
    layer_decay : float, default=0.7
        Factor of the learning rate from one layer to the preceding one. Local contrast, the only layer of the
        ``contrast`` read-out, counts as one layer.
    batch_size : int, default=128
        Maximum number of spectra per step.
    augment : bool, default=False
        Augment spectra during tuning with random gain, linear baseline and noise.
    wavelengths : array-like of shape (n_wavelengths,), default=None
    axis_unit : {"auto", "nm", "cm-1", "um"}, default="auto"
    device : str, default="auto"
    amp : bool, default=False
        Run the encoder's transformer in bfloat16 during tuning.
    progress : bool, default=None
        Set to False to disable the progress bar, which is only shown if the standard error is a terminal.
    random_state : int, RandomState or None, default=0

    Attributes
    ----------
    tuned_ : bool
        Whether the tuned encoder was selected.
    n_steps_ : int
        Number of tuning steps.
    history_ : list of dict
        ``steps`` and ``loss`` of each check. The loss is the held-out mean squared error of standardised targets.
    encoder_ : SpectralPerceiver
    head_ : Ridge
        Head fitted on standardised targets.
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
            Physical sample of each spectrum; replicates are held out together.

        Raises
        ------
        SpectralInputError, SpectralAxisError, CheckpointError
            As in `SpectralEmbedder.fit`.

        Notes
        -----
        The estimator and its pickles store the spectra for `partial_fit`.
        """
        return self._fit(X, y, wavelengths, groups)

    @all_or_nothing
    def partial_fit(self, X: Any, y: Any, *, wavelengths: Any = None) -> SpectralRegressor:
        """Add samples, tune the encoder a few more steps on all samples, and refit the head.

        No samples are held out, so that the gain is not checked. The estimator stores the spectra.

        Parameters
        ----------
        X, y, wavelengths : as in `fit`
            The number of targets must be that of the first call.
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
        """Return targets as (n, n_targets), and whether the input was 1-D."""
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
