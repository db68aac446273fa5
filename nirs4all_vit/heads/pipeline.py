"""Pipelines of an embedder and a head, and averaging of replicates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import get_config
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline

from ..embedder import SpectralEmbedder
from ..encoder.checkpoint import DEFAULT_CHECKPOINT, load_checkpoint
from ..encoder.readouts import DEFAULT_READOUT
from ..fitting import all_or_nothing
from .committee import SpectralCommittee
from .head import make_head
from .targetwise import accepted


class SpectralPipeline(Pipeline):
    """Pipeline of `SpectralEmbedder` and a head; `fit` takes groups, weights and wavelengths by name.

    ``fit(X, y, groups=..., sample_weight=..., wavelengths=...)`` passes groups and weights to the last step, if it
    takes them, and wavelengths to the first. In a search without metadata routing use ``head__groups`` and
    ``embed__wavelengths``.

    Parameters
    ----------
    steps, transform_input, memory, verbose : as in scikit-learn's Pipeline
    """

    @all_or_nothing
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        groups: Any = None,
        sample_weight: Any = None,
        wavelengths: Any = None,
        **params: Any,
    ) -> SpectralPipeline:
        """Fit all steps.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_wavelengths), data frame, or list of 1-D arrays
            Spectra.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        groups : array-like of shape (n_samples,), optional
            Physical sample of each row; replicates stay together when parameters are tuned.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each sample, for heads that take weights.
        wavelengths : array-like of shape (n_wavelengths,), optional
            Axis of the spectra.
        **params
            ``STEP__PARAMETER``.
        """
        plain = get_config()["enable_metadata_routing"]
        first, (last, head) = self.steps[0][0], self.steps[-1]
        own = accepted(head, groups=groups, sample_weight=sample_weight)
        given = {key if plain else f"{last}__{key}": value for key, value in own.items()}
        if wavelengths is not None:
            given["wavelengths" if plain else f"{first}__wavelengths"] = wavelengths
        return super().fit(X, y, **given, **params)


def make_spectral_pipeline(
    head: str | BaseEstimator = "ridge",
    wavelengths: ArrayLike | None = None,
    *,
    task: str = "regression",
    **embedder: Any,
) -> SpectralPipeline:
    """Return ``Pipeline([("embed", SpectralEmbedder(...)), ("head", ...)])``.

    All heads of `make_head` take the embedder's default read-out; heads that need few columns reduce it themselves. One
    embedding therefore serves a grid of heads, and with ``cache=True``, the default here, each spectrum is encoded
    once.

    Parameters
    ----------
    head : str or estimator, default="ridge"
        Name of a head of `make_head`, or any scikit-learn estimator.
    wavelengths : array-like of shape (n_wavelengths,), default=None
        Axis of the spectra; needed if neither column names nor nirs4all provide it.
    task : {"regression", "classification"}
        Task of a head given by name.
    **embedder
        Parameters of `SpectralEmbedder`.

    Returns
    -------
    SpectralPipeline
        Unfitted, with the steps ``embed`` and ``head``.

    Raises
    ------
    TypeError
        `wavelengths` is a string, such as a task given by position.

    Examples
    --------
    >>> from nirs4all_vit.heads import make_head, make_spectral_pipeline
    >>> model = make_spectral_pipeline("ridge")
    >>> grid = {"head": [make_head("ridge"), make_head("pls")]}
    """
    if isinstance(wavelengths, str):
        raise TypeError(f"wavelengths={wavelengths!r} is not an axis; give a task by name, task={wavelengths!r}.")
    parameters = {"cache": True, "wavelengths": wavelengths, **embedder}
    estimator = make_head(head, task) if isinstance(head, str) else head
    if isinstance(estimator, SpectralCommittee):
        parameters = {"append_spectra": True, **parameters}
        checkpoint = load_checkpoint(parameters.get("checkpoint", DEFAULT_CHECKPOINT))
        widths = checkpoint.encoder.block_widths(parameters.get("readout", DEFAULT_READOUT))
        estimator = clone(estimator).set_params(widths=widths)
    return SpectralPipeline([("embed", SpectralEmbedder(**parameters)), ("head", estimator)])


def average_replicates(X: Any, y: Any, groups: ArrayLike) -> tuple[Any, Any, NDArray[Any]]:
    """Return the mean spectrum and the mean value of each physical sample.

    Parameters
    ----------
    X : array-like of shape (n_spectra, n_wavelengths), or pandas DataFrame
        Spectra on one axis; NaN points are ignored.
    y : array-like of shape (n_spectra,) or (n_spectra, n_targets)
        Values; NaN is ignored.
    groups : array-like of shape (n_spectra,)
        Physical sample of each spectrum.

    Returns
    -------
    X : ndarray or DataFrame of shape (n_samples, n_wavelengths)
    y : ndarray of shape (n_samples,) or (n_samples, n_targets)
    samples : ndarray of shape (n_samples,)
        Names of the samples, in the order of the rows.
    """
    samples, codes = np.unique(np.asarray(groups), return_inverse=True)
    if len(codes) != len(X) or len(codes) != len(np.asarray(y)):
        raise ValueError(f"{len(X)} spectra, {len(np.asarray(y))} values and {len(codes)} groups; they must agree.")
    means = _means(np.asarray(X, dtype=np.float64), codes, len(samples))
    values = _means(np.asarray(y, dtype=np.float64).reshape(len(codes), -1), codes, len(samples))
    frame = type(X)(means, columns=X.columns, index=samples) if hasattr(X, "iloc") else means
    return frame, values[:, 0] if np.ndim(y) == 1 else values, samples


def _means(values: NDArray[np.float64], codes: NDArray[np.intp], n: int) -> NDArray[np.float64]:
    present = ~np.isnan(values)
    sums, counts = np.zeros((n, values.shape[1])), np.zeros((n, values.shape[1]))
    np.add.at(sums, codes, np.where(present, values, 0.0))
    np.add.at(counts, codes, present)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
