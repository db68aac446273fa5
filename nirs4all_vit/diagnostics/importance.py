"""Wavelength importance of predictions, through the frozen encoder and a head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..embedder import SpectralEmbedder
from ..embedding.metadata import with_metadata
from ..encoder.checkpoint import load_checkpoint
from ..errors import needed_by
from ..progress import tracked
from ..spectra.data import Spectra

METHODS = ("auto", "gradient", "occlusion")
#: Batch size of gradients, in spectra; small, because all layer outputs are kept in memory.
_ROWS = 64
#: Share of the outputs' spread that linear coefficients may leave unexplained (rounding).
_ROUNDING = 1e-4


@dataclass(frozen=True)
class WavelengthImportance:
    """Importance of each wavelength for each spectrum's prediction.

    Attributes
    ----------
    wavelengths : ndarray of shape (n_wavelengths,)
        In nm, ascending.
    values : ndarray of shape (n_samples, n_wavelengths)
        Change of a sample's output, in its units, when the band around a wavelength changes from the mean spectrum to
        the sample's own values.
    method : str
        ``gradient`` (first-order approximation) or ``occlusion`` (evaluation of the head).
    outputs : ndarray of shape (n_samples,)
        Outputs of the head, up to a constant.
    spectra : ndarray of shape (n_samples, n_wavelengths)
        Explained spectra.
    """

    wavelengths: NDArray[np.float64]
    values: NDArray[np.float64]
    method: str
    outputs: NDArray[np.float64]
    spectra: NDArray[np.float64]

    def overall(self) -> NDArray[np.float64]:
        """Return the covariance of band effects with the output over the output's variance, (n_wavelengths,).

        A strong band that a model only subtracts has a large effect on every sample, but an overall importance near
        zero. Negative values mean that a band works against the output. Values do not sum to one, because bands overlap
        and offsets and slopes wider than a band are not counted.
        """
        centred = self.outputs - self.outputs.mean()
        return centred @ (self.values - self.values.mean(axis=0)) / max(float(centred @ centred), 1e-300)

    def peak(self) -> float:
        """Return the wavelength where `overall` is largest, in nm."""
        return float(self.wavelengths[self.overall().argmax()])

    def plot(self, ax: Any = None) -> Any:
        """Plot `overall` with the mean spectrum; returns the axes. Requires matplotlib."""
        with needed_by("a plot", "matplotlib"):
            import matplotlib.pyplot as plt

        if ax is None:
            ax = plt.figure(figsize=(7, 3.2), layout="constrained").add_subplot()
        ax.fill_between(self.wavelengths, self.overall(), color="tab:orange", alpha=0.5, lw=0, label="importance")
        ax.set(xlabel="wavelength (nm)", ylabel=f"covariance with the output ({self.method})")
        twin = ax.twinx()
        twin.plot(self.wavelengths, self.spectra.mean(axis=0), color="black", lw=1, label="mean spectrum")
        twin.set_ylabel("signal")
        return ax


def wavelength_importance(
    X: Any,
    head: Any,
    embedder: SpectralEmbedder | None = None,
    *,
    wavelengths: Any = None,
    method: str = "auto",
    width: float = 40.0,
    output: int = 0,
) -> WavelengthImportance:
    """Return the importance of each wavelength for the predictions of some spectra.

    Each band of a spectrum is replaced in turn by the mean spectrum of `X`, joined at the edges by a straight line.
    ``occlusion`` evaluates any head on the modified spectra. ``gradient`` approximates the same change to first order,
    in one pass, by exact derivatives through the frozen encoder and a linear head.

    Importance is not causation: of two correlated bands, a calibration may use either.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_wavelengths), data frame
        Two spectra or more, on one axis.
    head : estimator or Pipeline
        Fitted pipeline whose first step is a `SpectralEmbedder` and whose other steps are the head, or a fitted head on
        `embedder`.
    embedder : SpectralEmbedder, optional
        Fitted embedder, if `head` is not such a pipeline.
    wavelengths : array-like of shape (n_wavelengths,), optional
        Axis of `X`, as in `SpectralEmbedder.transform`.
    method : {"auto", "gradient", "occlusion"}
        ``auto`` uses the gradient if the head is linear, else occlusion.
    width : float
        Width of a band in nm.
    output : int
        Index of the output, if there are several. For classes, the column of ``decision_function`` or
        ``predict_proba``.

    Returns
    -------
    WavelengthImportance

    Raises
    ------
    ValueError
        The head is not linear (for ``gradient``), spectra have different axes, or there are fewer than two.

    Examples
    --------
    >>> from nirs4all_vit.diagnostics import wavelength_importance
    >>> importance = wavelength_importance(X, fitted_pipeline)  # doctest: +SKIP
    >>> importance.plot()  # doctest: +SKIP
    """
    embedder, head = _taken_apart(head, embedder)
    if method not in METHODS:
        raise ValueError(f"method={method!r} is not known; use one of {', '.join(METHODS)}.")
    if not width > 0:
        raise ValueError(f"width={width} must be a positive number of nanometres.")
    blocks = embedder.resolve(X, wavelengths)
    if len(blocks) != 1 or blocks[0].wavelengths.ndim != 1:
        raise ValueError("X must be spectra on one axis; explain those of each axis by themselves.")
    spectra, nm = np.asarray(blocks[0].values, dtype=np.float64), blocks[0].wavelengths
    if len(spectra) < 2:
        raise ValueError("one spectrum has nothing to be compared with; give two or more, such as the calibration set.")

    # Modified spectra bypass the embedder's checks and cache.
    def embed(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return embedder.embed([Spectra(rows, nm)]).astype(np.float64)

    embedded = embed(spectra)
    # Appended spectra reach the head directly, and the gradient through the encoder would miss that path.
    linear = None if embedder.append_spectra else coefficients(head, embedded)
    if method == "auto":
        method = "occlusion" if linear is None else "gradient"
    bands = _Bands(spectra, nm, width)
    if method == "gradient":
        if linear is None:
            raise ValueError(f"{type(head).__name__} is not linear; use method='occlusion'.")
        weights = _chosen(linear, output)
        slopes = input_gradients(embedder, blocks[0], weights)
        predictions = embedded @ weights
        effects = bands.effects(lambda occluded: ((spectra - occluded) * slopes).sum(axis=1))
    else:

        def predict(rows: NDArray[np.float64]) -> NDArray[np.float64]:
            return _chosen(outputs(head, embed(rows)).T, output)

        predictions = _chosen(outputs(head, embedded).T, output)
        effects = bands.effects(lambda occluded: predictions - predict(occluded))
    values = np.stack([np.interp(nm, bands.centres, row) for row in effects])
    return WavelengthImportance(nm, values, method, predictions, spectra)


def _taken_apart(head: Any, embedder: SpectralEmbedder | None) -> tuple[SpectralEmbedder, Any]:
    """Return the embedder and the head that follows it."""
    head = getattr(head, "best_estimator_", getattr(head, "estimator_", head))
    if embedder is None:
        if not isinstance(head, Pipeline) or not isinstance(head.steps[0][1], SpectralEmbedder):
            raise ValueError("head must be a pipeline that begins with a SpectralEmbedder, or come with embedder=.")
        embedder, head = head.steps[0][1], head[1:]
    if isinstance(head, Pipeline) and len(head.steps) == 1:
        head = head.steps[0][1]
    check_is_fitted(embedder)
    return embedder, getattr(head, "best_estimator_", head)


def _chosen(values: NDArray[np.float64], output: int) -> NDArray[np.float64]:
    if not 0 <= output < len(values):
        raise ValueError(f"output={output}, but the head has {len(values)}; count from 0.")
    return values[output]


class _Bands:
    """Spectra with each band in turn replaced by the mean spectrum; bands are a quarter width apart."""

    def __init__(self, spectra: NDArray[np.float64], nm: NDArray[np.float64], width: float) -> None:
        self.spectra, self.nm, self.width = spectra, nm, width
        self.other = spectra.mean(axis=0) - spectra
        self.centres = np.arange(nm[0], nm[-1] + width / 4, width / 4)

    def effects(self, effect: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the effect of each band, (n_samples, n_bands)."""
        values = np.zeros((len(self.spectra), len(self.centres)))
        for i, centre in enumerate(tracked(self.centres, "bands", "band")):
            inside = np.flatnonzero(np.abs(self.nm - centre) <= self.width / 2)
            if len(inside):
                values[:, i] = effect(self._occluded(inside))
        return values

    def _occluded(self, inside: NDArray[np.intp]) -> NDArray[np.float64]:
        # A straight line between the edges keeps the spectrum continuous; at an end of the axis the offset of the inner
        # edge is used.
        before, behind = inside[0] - 1, inside[-1] + 1
        left = self.other[:, [before]] if before >= 0 else None
        right = self.other[:, [behind]] if behind < len(self.nm) else None
        line: Any
        if left is None and right is None:
            line = np.zeros((len(self.spectra), 1))
        elif left is None or right is None:
            line = right if left is None else left
        else:
            share = (self.nm[inside] - self.nm[before]) / (self.nm[behind] - self.nm[before])
            line = left * (1.0 - share) + right * share
        occluded = self.spectra.copy()
        occluded[:, inside] += self.other[:, inside] - line
        return occluded


def input_gradients(embedder: SpectralEmbedder, block: Spectra, weights: NDArray[Any]) -> NDArray[np.float64]:
    """Return the gradient of a weighted sum of embedding columns with respect to the spectra, (n, L).

    `block` is on one axis; `weights` (n_columns,) refer to the columns returned by `transform` of the fitted embedder.
    """
    import torch

    from ..encoder import Grid

    encoder: Any = embedder.encoder_
    checkpoint = load_checkpoint(embedder.checkpoint)
    (block,) = with_metadata([block], checkpoint, embedder.readout, embedder.metadata)
    # Down-weighting of directions is symmetric: it acts on weights as on rows.
    weights = np.array(weights, dtype=np.float64)
    if embedder.instrument_shift_ is not None:
        embedder.instrument_shift_.transpose(weights[np.newaxis])
    if embedder.robust:
        embedder.glsw_.apply(weights[np.newaxis])
    grid = Grid.from_wavelengths(torch.from_numpy(block.wavelengths))
    gradients = []
    for start in tracked(range(0, len(block), _ROWS), "gradients", "batch"):
        x = torch.from_numpy(np.array(block.values[start : start + _ROWS])).requires_grad_(True)
        metadata = None if block.metadata is None else list(block.metadata[start : start + _ROWS])
        embedded = encoder(x, grid, readout=embedder.readout, metadata=metadata)
        direction = torch.from_numpy(weights * embedder.column_weighting_.slope(embedded.detach().double().numpy()))
        (slope,) = torch.autograd.grad((embedded.double() * direction).sum(), x)
        gradients.append(slope.double().numpy())
    return np.concatenate(gradients)


def coefficients(head: Any, Z: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the coefficients of a linear head, (n_outputs, n_columns), or None if it is not linear.

    An attribute ``coef_`` is not sufficient, because of link functions and pairwise class comparisons. The coefficients
    must reproduce the outputs of the head for `Z` (n_samples, n_columns), up to a constant. The outputs of PLS-DA are
    its PLS responses.
    """
    head = getattr(head, "pls_", head)
    # Support vector machines define the attribute, but raise an error if their kernel is not linear.
    coef = getattr(head, "coef_", None)
    if coef is None:
        return None
    coef = np.atleast_2d(np.asarray(coef, dtype=np.float64))
    if coef.ndim != 2 or coef.shape[1] != Z.shape[1]:
        raise ValueError(f"the head has {coef.shape[-1]} coefficients for an embedding of {Z.shape[1]} columns.")
    predictions = outputs(head, Z)
    if predictions.shape[1] != len(coef):
        return None
    left = predictions - Z @ coef.T
    return coef if (left.std(axis=0) <= _ROUNDING * (predictions.std(axis=0) + 1e-12)).all() else None


def outputs(head: Any, Z: NDArray[Any]) -> NDArray[np.float64]:
    """Return numeric outputs of a head, (n_samples, n_outputs): predictions or class scores."""
    for name in ("decision_function", "predict_proba", "predict"):
        # Classifiers have one of the first two methods; only regressors use `predict`.
        if hasattr(head, name):
            scores = getattr(head, name)(Z)
            if isinstance(scores, list):
                raise ValueError(f"{type(head).__name__} has several class targets; explain one head per target.")
            return np.asarray(scores, dtype=np.float64).reshape(len(Z), -1)
    raise TypeError(f"{type(head).__name__} has no predict method; give a fitted head.")
