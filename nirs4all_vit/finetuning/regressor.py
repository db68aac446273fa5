"""Regression with an encoder tuned end to end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupShuffleSplit
from sklearn.utils.validation import check_array

from ..heads.head import ALPHAS
from .estimator import SpectralEstimator


class SpectralRegressor(MultiOutputMixin, RegressorMixin, SpectralEstimator):
    """Tune the pretrained encoder on labelled spectra; predict numbers.

    A ridge on the frozen embedding is where the head starts; encoder and head are then tuned together on four fifths of the
    samples. If the last fifth is not predicted better than by the frozen ridge, the encoder stays as it was, with a warning:
    with few samples that is the usual case, and never worse than `SpectralEmbedder` with a ridge. The head that predicts
    is a ridge on all samples, on whichever encoder won.

    Parameters
    ----------
    checkpoint : str or path, default="nirs-base-v1"
        Where tuning starts; as in `SpectralEmbedder`.
    readout : str, default="contrast"
        What the head reads.
    tune : {"all", "lora", "head"}, default="all"
        The whole encoder; updates of low rank of its linear layers; nothing but the head.
    max_epochs : int, default=60
    learning_rate : float, default=3e-4
        Of the head.
    encoder_factor : float, default=3.0
        Learning rate of the encoder's last layer over the head's.
    layer_decay : float, default=0.7
        Factor of the learning rate from one layer of the encoder to the one before.
    frozen_epochs : int, default=0
        Epochs in which only the head learns, before the encoder joins in.
    lora_rank : int, default=8
        With ``tune="lora"``.
    weight_decay : float, default=1e-2
    batch_size : int, default=32
    patience : int, default=10
        Epochs without gain on the samples held back, after which tuning stops; the best epoch counts.
    validation : float, default=0.2
        Share of the samples that is held back. Groups are kept together.
    augment : bool, default=True
        Disturb spectra while tuning: gain, a straight baseline, noise.
    wavelengths : array-like of shape (n_wavelengths,), default=None
    axis_unit : {"auto", "nm", "cm-1", "um"}, default="auto"
    device : str, default="auto"
    amp : bool, default=False
        Run the encoder in bfloat16 while tuning.
    progress : bool, default=False
    random_state : int, default=0

    Attributes
    ----------
    tuned_ : bool
        Whether the tuned encoder won.
    history_ : list of dict
        Epochs with their losses.
    encoder_ : SpectralPerceiver
    n_features_in_ : int

    Examples
    --------
    >>> from nirs4all_vit import SpectralRegressor
    >>> model = SpectralRegressor(max_epochs=20)
    """

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
            Physical sample of each spectrum: replicates are held back together.

        Raises
        ------
        SpectralInputError, SpectralAxisError, CheckpointError
            As in `SpectralEmbedder.fit`.
        """
        return self._fit(X, y, wavelengths, groups)

    def partial_fit(self, X: Any, y: Any, *, wavelengths: Any = None) -> SpectralRegressor:
        """Tune for one more epoch on these spectra, from where the estimator stands; nothing is held back.

        Parameters
        ----------
        X, y, wavelengths : as in `fit`
            Targets in the units of the first call, which is a `fit`.
        """
        if not hasattr(self, "weight_"):
            return self.fit(X, y, wavelengths=wavelengths)
        return self._continue(X, y, wavelengths)

    def predict(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.float64]:
        """Predict (n_samples,) or (n_samples, n_targets)."""
        outputs = self._outputs(X, wavelengths)
        predicted = outputs * self.target_deviation_ + self.target_mean_
        return predicted[:, 0] if self.flat_ else predicted

    def _targets(self, y: Any) -> NDArray[np.float32]:
        y, self.flat_ = _numbers(self, y)
        self.target_mean_, deviation = y.mean(axis=0), y.std(axis=0)
        self.target_deviation_ = np.where(deviation > 0, deviation, 1.0)
        return self._standardised(y)

    def _targets_again(self, y: Any) -> NDArray[np.float32]:
        return self._standardised(_numbers(self, y)[0])

    def _standardised(self, y: NDArray[np.float64]) -> NDArray[np.float32]:
        return ((y - self.target_mean_) / self.target_deviation_).astype(np.float32)

    def _split(self, targets: NDArray[Any], groups: NDArray[Any] | None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        splitter = GroupShuffleSplit(1, test_size=self.validation, random_state=self.random_state)
        return next(splitter.split(targets, groups=np.arange(len(targets)) if groups is None else groups))

    def _linear(self, Z: NDArray[Any], targets: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        if len(Z) < 3:
            return np.zeros((targets.shape[1], Z.shape[1])), targets.mean(axis=0).astype(np.float64)
        ridge = RidgeCV(ALPHAS, alpha_per_target=True).fit(Z.astype(np.float64), targets.astype(np.float64))
        return np.atleast_2d(ridge.coef_), np.atleast_1d(ridge.intercept_)

    def _losses(self, outputs: NDArray[Any], targets: NDArray[Any]) -> NDArray[Any]:
        return np.square(outputs - targets).mean(axis=1)

    def _criterion(self, targets: NDArray[Any]) -> Any:  # noqa: ARG002
        from torch import nn

        return nn.MSELoss()


def _numbers(estimator: SpectralRegressor, y: Any) -> tuple[NDArray[np.float64], bool]:
    """Return targets as (n, n_targets), and whether they came 1-D."""
    if y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None.")
    y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=estimator)
    return (y[:, None], True) if y.ndim == 1 else (y, False)
