"""Which wavelengths drive a prediction, through the frozen encoder and a head."""

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
#: Spectra at a time: a gradient keeps what every layer computed.
_ROWS = 64
#: Part of the outputs' spread that coefficients may leave unexplained: rounding.
_ROUNDING = 1e-4


@dataclass(frozen=True)
class WavelengthImportance:
    """Importance of each wavelength for each spectrum's prediction.

    Attributes
    ----------
    wavelengths : ndarray of shape (n_wavelengths,)
        In nm, ascending.
    values : ndarray of shape (n_samples, n_wavelengths)
        What the band around a wavelength adds to a sample's output, in its units: from the mean spectrum's band there to the sample's own.
    method : str
        ``gradient`` (to first order) or ``occlusion`` (by asking the head).
    outputs : ndarray of shape (n_samples,)
        What the head says, but for a constant.
    spectra : ndarray of shape (n_samples, n_wavelengths)
        As they were explained.
    """

    wavelengths: NDArray[np.float64]
    values: NDArray[np.float64]
    method: str
    outputs: NDArray[np.float64]
    spectra: NDArray[np.float64]

    def overall(self) -> NDArray[np.float64]:
        """Return the covariance of what each band adds with the output, over the output's variance, (n_wavelengths,).

        A strong band that a model merely subtracts adds much to every sample and nothing to this. Below zero a band works against the
        output. Bands overlap, and levels and slopes wider than a band belong to none: this does not sum to one.
        """
        centred = self.outputs - self.outputs.mean()
        return centred @ (self.values - self.values.mean(axis=0)) / max(float(centred @ centred), 1e-300)

    def peak(self) -> float:
        """Return the wavelength where `overall` is largest, in nm."""
        return float(self.wavelengths[self.overall().argmax()])

    def plot(self, ax: Any = None) -> Any:
        """Draw `overall` under the mean spectrum; returns the axes. Needs matplotlib."""
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
    """Tell which wavelengths drive the predictions for some spectra.

    Bands of a spectrum are replaced, one after another, by the mean spectrum of `X` (joined at the edges by a straight line).
    ``occlusion`` asks any head again. ``gradient`` says the same to first order and at once, by exact derivatives through the frozen
    encoder and a linear head.

    Neither says what causes what: where two bands go together, a calibration may use either.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_wavelengths), data frame
        Two spectra or more, on one axis.
    head : estimator or Pipeline
        Fitted: a pipeline with a `SpectralEmbedder` as its first step (the steps behind it are the head), or a head on `embedder`.
    embedder : SpectralEmbedder, optional
        Fitted, where `head` is not such a pipeline.
    wavelengths : array-like of shape (n_wavelengths,), optional
        Axis of `X`, as in `SpectralEmbedder.transform`.
    method : {"auto", "gradient", "occlusion"}
        ``auto``: the gradient where the head is linear.
    width : float
        Width of a band in nm.
    output : int
        Which, where the head predicts several; for classes the column of ``decision_function`` or ``predict_proba``.

    Returns
    -------
    WavelengthImportance

    Raises
    ------
    ValueError
        A head that is not linear, for ``gradient``; spectra on axes of their own; fewer than two.

    Examples
    --------
    >>> from nirs4all_vit.diagnostics import wavelength_importance
    >>> found = wavelength_importance(X, fitted_pipeline)  # doctest: +SKIP
    >>> found.plot()  # doctest: +SKIP
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

    # Past the embedder's own checks and cache: what is embedded here are no spectra of the user's.
    def embed(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return embedder.embed([Spectra(rows, nm)]).astype(np.float64)

    embedded = embed(spectra)
    # Spectra behind the embedding are read twice: what the encoder does not pass on has no gradient here.
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
    """Return the embedder and what comes behind it."""
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
    """Spectra with one band after another replaced by the mean spectrum's, bands a quarter of their width apart."""

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
        # From edge to edge the straight line that keeps the spectrum in one piece; at an end of the spectrum the level of the other edge.
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
    """Return the gradient of a weighted sum of an embedding's columns with respect to the signal, (n, L).

    `block` is on one axis; `weights` (n_columns,) are of the columns as `transform` of the fitted embedder returns
    them.
    """
    import torch

    from ..encoder import Grid

    encoder: Any = embedder.encoder_
    checkpoint = load_checkpoint(embedder.checkpoint)
    (block,) = with_metadata([block], checkpoint, embedder.readout, embedder.metadata)
    # What takes weight from directions is symmetric: it acts on weights as on rows.
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
    """Return the change of each output with each column of the embedding, (n_outputs, n_columns); None where it is not constant.

    That an estimator has ``coef_`` says little: a link function may stand behind it, or the classes be compared in pairs. So the coefficients have to
    give, but for a constant, what the head says of `Z`, (n_samples, n_columns). PLS-DA counts by its answers.
    """
    head = getattr(head, "pls_", head)
    # Support vector machines have the attribute, and raise where their kernel is not linear.
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
    """Return what a head says of embeddings as numbers, (n_samples, n_outputs): predictions, or scores of classes."""
    for name in ("decision_function", "predict_proba", "predict"):
        # A regressor has none of the former; a classifier's labels are no numbers.
        if hasattr(head, name):
            scores = getattr(head, name)(Z)
            if isinstance(scores, list):
                raise ValueError(f"{type(head).__name__} has several targets of classes; explain a head for each.")
            return np.asarray(scores, dtype=np.float64).reshape(len(Z), -1)
    raise TypeError(f"{type(head).__name__} predicts nothing; give a fitted head.")
