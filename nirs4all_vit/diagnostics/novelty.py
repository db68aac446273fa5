"""Hotelling's T2 and Q residuals of embedded spectra."""

from __future__ import annotations

import os
import warnings
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from ..embedder import SpectralEmbedder
from ..embedding.bank import FEWEST_FAMILIES, bank_coverage, bank_scores
from ..embedding.signal import N_SIGNAL, novelty_features, signal_numbers
from ..encoder.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint
from ..errors import CheckpointError, SpectralInputError
from ..heads.folds import shuffled_folds
from ..spectra.data import Spectra

#: Calibration spectra that are looked at, at most: limits do not get better by more.
_MOST = 1000
_N_FOLDS = 5
#: Samples that tell what is usual, at least; and samples for each component, so that none is a sample's own.
_FEWEST, _PER_COMPONENT = 10, 3
#: Weight of the numbers on the signal beside the embedding.
_WEIGHT = 0.1


class SpectralNovelty(OutlierMixin, BaseEstimator):
    """Tell spectra that are unlike the calibration set: Hotelling's T2 within its principal components, Q residuals beside them.

    The components are those of the embedding (local contrast) and of six numbers on the signal itself, so one detector serves any grid. Both limits are
    quantiles of what calibration spectra have that were left out in five folds, as an F distribution knows nothing of so many
    columns. A spectrum is an outlier where T2 or Q exceeds its limit. Without a calibration set, `bank_scores` tells what is unlike
    anything that the encoder was pretrained on.

    Parameters
    ----------
    checkpoint : str or path, default="nirs-base-v2"
        As in `SpectralEmbedder`.
    n_components : int, default=10
        Principal components, at most; never more than a third of the samples of a fold.
    confidence : float, default=0.95
        Share of spectra like the calibration set that are to pass, between 0 and 1. Limits never lie beyond the most distant calibration
        spectrum: of n samples, about 2 / (n + 1) are flagged at least, so 0.95 takes 40 and 0.99 takes 200.
    wavelengths, axis_unit, device : as in `SpectralEmbedder`

    Attributes
    ----------
    t2_limit_, q_limit_ : float
    pca_ : sklearn.decomposition.PCA
    n_features_in_ : int

    Examples
    --------
    >>> from nirs4all_vit import SpectralNovelty
    >>> detector = SpectralNovelty().fit(X)  # doctest: +SKIP
    >>> detector.predict(X_new)  # 1: like the calibration set, -1: not  # doctest: +SKIP
    """

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

    def fit(self, X: Any, y: Any = None, *, wavelengths: Any = None, groups: Any = None) -> Self:  # noqa: ARG002
        """Learn what the calibration set looks like.

        Parameters
        ----------
        X, wavelengths : as in `SpectralEmbedder.fit`
            Ten samples or more.
        y : ignored
        groups : array-like of shape (n_samples,), optional
            Physical sample of each spectrum: replicates are left out together.

        Raises
        ------
        ValueError
            Too few spectra, or a parameter out of range.
        SpectralInputError, SpectralAxisError, CheckpointError
            As in `SpectralEmbedder.fit`.
        """
        if not isinstance(self.n_components, (int, np.integer)) or self.n_components < 1:
            raise ValueError(f"n_components={self.n_components!r} must be a positive integer.")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence={self.confidence} must lie between 0 and 1.")
        self._embedder = self._new_embedder()
        blocks = self._embedder._fit(X, wavelengths)
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self._embedder, name):
                setattr(self, name, getattr(self._embedder, name))
        codes = np.arange(sum(map(len, blocks)))
        if groups is not None:
            check_consistent_length(X, groups)
            codes = np.unique(np.asarray(groups), return_inverse=True)[1]
        if len(codes) > _MOST:
            blocks, codes = _some(blocks, codes)
        n_samples = len(np.unique(codes))
        if n_samples < _FEWEST:
            raise ValueError(f"n_samples={n_samples}: {_FEWEST} are the fewest that tell what is usual.")
        self._n = max(1, min(self.n_components, (n_samples - -(-n_samples // _N_FOLDS)) // _PER_COMPONENT))
        Z = self._features(blocks)
        n_embedded = Z.shape[1] - N_SIGNAL
        size = float(np.sqrt(np.square(Z[:, :n_embedded], dtype=np.float64).sum(axis=1).mean()))
        self._weights = np.r_[np.ones(n_embedded), np.full(N_SIGNAL, _WEIGHT * (size or 1.0))].astype(np.float32)
        Z = Z * self._weights
        left_out = []
        for inside, outside in shuffled_folds(_N_FOLDS, len(Z), codes).split(Z, groups=codes):
            left_out.append(_t2_and_q(self._components(Z[inside]), Z[outside]))
        # Two limits: each may refuse half of what both together may.
        share = (1.0 + self.confidence) / 2
        t2, q = np.concatenate(left_out, axis=1)
        self.t2_limit_, self.q_limit_ = (
            max(float(np.quantile(found, share, method="weibull")), 1e-300) for found in (t2, q)
        )
        self.pca_ = self._components(Z)
        # scikit-learn's convention: outliers lie below.
        self.offset_ = 0.0
        return self

    def fit_predict(self, X: Any, y: Any = None, *, wavelengths: Any = None, groups: Any = None) -> NDArray[np.intp]:
        """Fit, and tell which of the same spectra stand apart; parameters as in `fit`."""
        return self.fit(X, y, wavelengths=wavelengths, groups=groups).predict(X, wavelengths=wavelengths)

    def t2(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.float64]:
        """Return Hotelling's T2 (n_samples,): how far within the calibration set's components."""
        return self._measured(X, wavelengths)[0]

    def q(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.float64]:
        """Return Q residuals (n_samples,), squared: what the calibration set's components do not hold."""
        return self._measured(X, wavelengths)[1]

    def score_samples(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.float64]:
        """Return how usual spectra are (n_samples,): minus the logarithm of T2 or Q over its limit, whichever is larger; below 0: outlier."""
        return self._scores(self._measured(X, wavelengths))

    def decision_function(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.float64]:
        """Return `score_samples`; negative for outliers."""
        return self.score_samples(X, wavelengths=wavelengths)

    def predict(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.intp]:
        """Return 1 for spectra like the calibration set, -1 for others, (n_samples,)."""
        return np.where(self.score_samples(X, wavelengths=wavelengths) >= 0, 1, -1)

    def bank_scores(self, X: Any, *, wavelengths: Any = None) -> NDArray[np.float64]:
        """Return how usual absorbance spectra are beside those that the encoder was pretrained on; needs no `fit`.

        Distances in the bank's 64 principal components and beside them, the largest kink, the longest flat run, and how much of the
        wavelength range any family of the bank covers (half at least), each of the others over a limit that 1.25 % of sound spectra of left-out
        families exceed. It tells what is no near-infrared absorbance, or not on that axis; what is wrong for one material only, a
        calibration set tells. Spectra rounded to three decimals and less have flat stretches, and may be flagged for them.

        Parameters
        ----------
        X, wavelengths : as in `SpectralEmbedder.transform`; before `fit`, as in its `fit`

        Returns
        -------
        ndarray of shape (n_samples,)
            1 and less; below 0: unlike the bank.

        Raises
        ------
        CheckpointError
            A checkpoint that says nothing of its bank.
        SpectralInputError, SpectralAxisError
            As in `SpectralEmbedder.fit`.
        """
        from ..embedding.inference import embed, resolve_device

        checkpoint = load_checkpoint(self.checkpoint)
        statistics = {key: value.numpy() for key, value in checkpoint.statistics.items() if key.startswith("bank_")}
        if not statistics:
            raise CheckpointError(
                f"{checkpoint.name} says nothing of its bank (made by an earlier release, or of fewer than {FEWEST_FAMILIES} families); "
                "fit() learns from calibration spectra instead."
            )
        fitted = hasattr(self, "pca_")
        embedder = self._embedder if fitted else self._new_embedder()
        blocks = embedder._blocks(X, wavelengths, fitting=not fitted)
        embedded = embed(checkpoint.encoder, blocks, "compact", device=resolve_device(self.device))
        signals = np.concatenate([signal_numbers(block.values) for block in blocks])
        ends = [(block.wavelengths[0], block.wavelengths[-1]) for block in blocks]
        coverage = np.repeat([bank_coverage(statistics, *pair) for pair in ends], [len(block) for block in blocks])
        return bank_scores(statistics, embedded, signals, coverage)

    def report(self, blocks: list[Spectra], action: str) -> None:
        """Warn of outliers among checked spectra, or raise `SpectralInputError`: for `SpectralEmbedder`."""
        strange = np.flatnonzero(~(self._scores(self._measure_blocks(blocks)) >= 0))
        if not len(strange):
            return
        n = sum(map(len, blocks))
        message = (
            f"{len(strange)} of {n} spectra are unlike those of the calibration set, first row {strange[0]}; check them before "
            "their predictions are believed. score_samples() says how strange each is, ood_.t2() and ood_.q() in what way."
        )
        if action == "raise":
            raise SpectralInputError(message)
        warnings.warn(message, UserWarning, stacklevel=3)

    def _new_embedder(self) -> SpectralEmbedder:
        axis: dict[str, Any] = {"wavelengths": self.wavelengths, "axis_unit": self.axis_unit}
        return SpectralEmbedder(self.checkpoint, device=self.device, **axis)

    def _measured(self, X: Any, wavelengths: Any) -> NDArray[np.float64]:
        check_is_fitted(self, "pca_")
        return self._measure_blocks(self._embedder._blocks(X, wavelengths, fitting=False))

    def _measure_blocks(self, blocks: list[Spectra]) -> NDArray[np.float64]:
        """Return T2 and Q, (2, n_samples)."""
        # A pickle of an earlier release knows fewer numbers on the signal; new ones come last.
        return _t2_and_q(self.pca_, self._features(blocks)[:, : len(self._weights)] * self._weights)

    def _scores(self, measured: NDArray[np.float64]) -> NDArray[np.float64]:
        limits = np.array([[self.t2_limit_], [self.q_limit_]])
        return -np.log(np.maximum(measured / limits, 1e-12)).max(axis=0)

    def _features(self, blocks: list[Spectra]) -> NDArray[np.float32]:
        from ..embedding.inference import resolve_device

        # The embedder notices where the file holds other weights by now.
        return novelty_features(self._embedder._checkpoint(), blocks, resolve_device(self.device))

    def _components(self, Z: NDArray[np.float32]) -> PCA:
        return PCA(self._n, svd_solver="randomized", random_state=0).fit(Z.astype(np.float64))


def _some(blocks: list[Spectra], codes: NDArray[np.intp]) -> tuple[list[Spectra], NDArray[np.intp]]:
    """Return some spectra of all blocks, in order, with the numbers of their samples."""
    kept = np.sort(np.random.default_rng(0).choice(len(codes), _MOST, replace=False))
    ends = np.cumsum([len(block) for block in blocks])
    some = []
    for block, end in zip(blocks, ends, strict=True):
        rows = kept[(kept >= end - len(block)) & (kept < end)] - (end - len(block))
        if len(rows):
            some.append(Spectra(block.values[rows], block.wavelengths))
    return some, codes[kept]


def _t2_and_q(pca: PCA, Z: NDArray[np.float32]) -> NDArray[np.float64]:
    centred = Z.astype(np.float64) - pca.mean_
    scores = centred @ pca.components_.T
    variance = np.maximum(pca.explained_variance_, 1e-12 * max(float(pca.explained_variance_.max()), 1e-300))
    residual = np.square(centred).sum(axis=1) - np.square(scores).sum(axis=1)
    return np.stack([(np.square(scores) / variance).sum(axis=1), residual.clip(min=0.0)])
