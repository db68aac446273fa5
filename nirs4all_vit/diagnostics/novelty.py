"""Outlier detection by Hotelling's T2 and Q residuals of embedded spectra."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from ..embedding.bank import FEWEST_FAMILIES, bank_coverage, bank_scores
from ..embedding.novelty import NoveltyLimits, signal_numbers
from ..encoder.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint
from ..errors import CheckpointError
from ..fitting import all_or_nothing
from ..spectra.alignment import whole_blocks
from ..spectra.resolver import ResolvesWavelengths


class SpectralNovelty(ResolvesWavelengths, OutlierMixin, BaseEstimator):
    """Detect spectra unlike the calibration set by Hotelling's T2 and Q residuals.

    T2 measures distance within the principal components of the calibration set, Q the residual outside them. The
    components are computed from the embedding (local contrast) and six signal statistics, so that one detector serves
    any grid. Both limits are quantiles over calibration spectra held out in five folds, because the usual F
    distribution does not hold for so many columns. A spectrum is an outlier if T2 or Q exceeds its limit. Without a
    calibration set, `bank_scores` detects spectra unlike the pretraining bank of the encoder.

    Parameters
    ----------
    checkpoint : str or path, default="nirs-base-v2"
        As in `SpectralEmbedder`.
    n_components : int, default=10
        Maximum number of principal components, capped at a third of the samples of a fold.
    confidence : float, default=0.95
        Expected share of spectra like the calibration set within both limits, between 0 and 1. Limits never exceed the
        most distant calibration spectrum: with n samples, at least about 2 / (n + 1) of similar spectra are flagged, so
        that 0.95 needs 40 samples and 0.99 needs 200.
    wavelengths, axis_unit, device : as in `SpectralEmbedder`

    Attributes
    ----------
    limits_ : NoveltyLimits
    t2_limit_, q_limit_ : float
    pca_ : sklearn.decomposition.PCA
    n_features_in_ : int

    Examples
    --------
    >>> from nirs4all_vit import SpectralNovelty
    >>> detector = SpectralNovelty().fit(X)  # doctest: +SKIP
    >>> detector.predict(X_new)  # 1: like the calibration set, -1: not  # doctest: +SKIP
    """

    warns_of_signal = False
    __metadata_request__fit: ClassVar = {"wavelengths": True, "groups": True}
    __metadata_request__predict: ClassVar = {"wavelengths": True}
    __metadata_request__score_samples: ClassVar = {"wavelengths": True}
    __metadata_request__decision_function: ClassVar = {"wavelengths": True}

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] = DEFAULT_CHECKPOINT,
        *,
        n_components: int = 10,
        confidence: float = 0.95,
        wavelengths: ArrayLike | None = None,
        axis_unit: str = "auto",
        device: str = "auto",
    ) -> None:
        self.checkpoint = checkpoint
        self.n_components = n_components
        self.confidence = confidence
        self.wavelengths = wavelengths
        self.axis_unit = axis_unit
        self.device = device

    @all_or_nothing
    def fit(self, X: Any, y: Any = None, *, wavelengths: Any = None, groups: Any = None) -> Self:  # noqa: ARG002
        """Fit components and limits to the calibration set.

        Parameters
        ----------
        X, wavelengths : as in `SpectralEmbedder.fit`
            Ten samples or more. NaN is a missing point; later spectra on other axes are resampled to that of `fit`.
        y : ignored
        groups : array-like of shape (n_samples,), optional
            Physical sample of each spectrum; replicates are held out together.

        Raises
        ------
        ValueError
            There are too few spectra, or a parameter is out of range.
        SpectralInputError, SpectralAxisError, CheckpointError
            As in `SpectralEmbedder.fit`.
        """
        if not isinstance(self.n_components, (int, np.integer)) or self.n_components < 1:
            raise ValueError(f"n_components={self.n_components!r} must be a positive integer.")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence={self.confidence} must lie between 0 and 1.")
        blocks = self.resolve(X, wavelengths, fitting=True)
        codes = None
        if groups is not None:
            check_consistent_length(X, groups)
            codes = np.unique(np.asarray(groups), return_inverse=True)[1]
        checkpoint = load_checkpoint(self.checkpoint)
        self._sha256 = checkpoint.sha256
        self.limits_ = NoveltyLimits.fit(
            checkpoint, blocks, self.device, codes=codes, n_components=self.n_components, confidence=self.confidence
        )
        self.pca_, self.t2_limit_, self.q_limit_ = self.limits_.pca, self.limits_.t2_limit, self.limits_.q_limit
        # scikit-learn's convention: scores of outliers lie below the offset.
        self.offset_ = 0.0
        return self

    def fit_predict(self, X: Any, y: Any = None, *, wavelengths: Any = None, groups: Any = None) -> NDArray[np.intp]:
        """Fit, and predict outliers among the same spectra; parameters as in `fit`."""
        return self.fit(X, y, wavelengths=wavelengths, groups=groups).predict(X, wavelengths=wavelengths)

    def t2_and_q(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.float64]:
        """Return `t2` and `q` of spectra, (2, n_samples); each spectrum is encoded once."""
        check_is_fitted(self, "limits_")
        blocks, checkpoint = self.resolve(X, wavelengths), load_checkpoint(self.checkpoint)
        if checkpoint.sha256 != self._sha256:
            raise CheckpointError(f"{self.checkpoint} holds other weights than in fit; fit again or restore the file.")
        return self.limits_.measure(checkpoint, blocks, self.device)

    def t2(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.float64]:
        """Return Hotelling's T2 (n_samples,), the distance within the calibration set's components."""
        return self.t2_and_q(X, wavelengths=wavelengths)[0]

    def q(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.float64]:
        """Return squared Q residuals (n_samples,), the part outside the calibration set's components."""
        return self.t2_and_q(X, wavelengths=wavelengths)[1]

    def score_samples(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.float64]:
        """Return anomaly scores relative to the calibration set (n_samples,); outliers score below 0.

        The score is minus the logarithm of the larger of T2 and Q, each divided by its limit.
        """
        measured = self.t2_and_q(X, wavelengths=wavelengths)
        return self.limits_.scores(measured)

    def decision_function(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.float64]:
        """Return `score_samples`; negative for outliers."""
        return self.score_samples(X, wavelengths=wavelengths)

    def predict(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.intp]:
        """Return 1 for spectra like the calibration set, -1 for others, (n_samples,)."""
        return np.where(self.score_samples(X, wavelengths=wavelengths) >= 0, 1, -1)

    def bank_scores(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.float64]:
        """Return typicality scores of absorbance spectra relative to the pretraining bank; needs no `fit`.

        The score combines distances within and outside the bank's 64 principal components, the largest kink, the
        longest flat run, and the share of the wavelength range covered by any family of the bank (at least half). The
        limits of all but the last are exceeded by 1.25 % of valid spectra of left-out families each. The score detects
        data that are not near-infrared absorbance or not on the given axis. Outliers of a single material need a
        calibration set. Spectra rounded to three or fewer decimals have flat runs and may be flagged for them.

        Parameters
        ----------
        X, wavelengths : as in `SpectralEmbedder.transform`; before `fit`, as in its `fit`

        Returns
        -------
        ndarray of shape (n_samples,)
            Scores of at most 1; spectra unlike the bank score below 0.

        Raises
        ------
        CheckpointError
            The checkpoint holds no statistics of its bank.
        SpectralInputError, SpectralAxisError
            As in `SpectralEmbedder.fit`.
        """
        from ..embedding.inference import embed, resolve_device

        checkpoint = load_checkpoint(self.checkpoint)
        statistics = {key: value.numpy() for key, value in checkpoint.statistics.items() if key.startswith("bank_")}
        if not statistics:
            raise CheckpointError(
                f"{checkpoint.name} holds no statistics of its bank (made by an earlier release, or of fewer than "
                f"{FEWEST_FAMILIES} families); use fit() with calibration spectra instead."
            )
        # Before a fit there is no axis to resample to; a clone keeps this object unfitted.
        resolver = self if hasattr(self, "limits_") else clone(self)
        blocks = whole_blocks(resolver.locate(X, wavelengths, fitting=resolver is not self))
        embedded = embed(checkpoint.encoder, blocks, "compact", device=resolve_device(self.device))
        signals = np.concatenate([signal_numbers(block.values) for block in blocks])
        ends = [(block.wavelengths[0], block.wavelengths[-1]) for block in blocks]
        coverage = np.repeat([bank_coverage(statistics, *pair) for pair in ends], [len(block) for block in blocks])
        return bank_scores(statistics, embedded, signals, coverage)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
