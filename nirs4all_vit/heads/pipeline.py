"""From spectra to predictions in one estimator."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from ..embedder import SpectralEmbedder
from .head import make_head


def make_spectral_pipeline(
    head: str | BaseEstimator = "ridge",
    wavelengths: ArrayLike | None = None,
    *,
    task: str = "regression",
    **embedder: Any,
) -> Pipeline:
    """Return ``Pipeline([("embed", SpectralEmbedder(...)), ("head", ...)])``.

    All heads of `make_head` read the embedder's default read-out: those that want few columns make them themselves. So
    one embedding serves a whole grid of heads, and with ``cache=True``, the default here, each spectrum is encoded once.

    Parameters
    ----------
    head : str or estimator, default="ridge"
        A name that `make_head` takes, or any scikit-learn estimator.
    wavelengths : array-like of shape (n_wavelengths,), default=None
        Axis of the spectra, where neither column names nor nirs4all tell it.
    task : {"regression", "classification"}
        For a head by name.
    **embedder
        Parameters of `SpectralEmbedder`.

    Returns
    -------
    Pipeline
        Unfitted, with the steps ``embed`` and ``head``.

    Raises
    ------
    TypeError
        A task in the place of the wavelengths.

    Examples
    --------
    >>> from nirs4all_vit.heads import make_head, make_spectral_pipeline
    >>> model = make_spectral_pipeline("ridge")
    >>> grid = {"head": [make_head("ridge"), make_head("pls")]}
    """
    if isinstance(wavelengths, str):
        raise TypeError(f"wavelengths={wavelengths!r} is no axis; a task is given by name, task={wavelengths!r}.")
    parameters = {"cache": True, "wavelengths": wavelengths, **embedder}
    estimator = make_head(head, task) if isinstance(head, str) else head
    return Pipeline([("embed", SpectralEmbedder(**parameters)), ("head", estimator)])
