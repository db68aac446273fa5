"""Anomaly scores relative to the pretraining bank of an encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..spectra.data import MAX_WAVELENGTH, MIN_WAVELENGTH

_N_COMPONENTS = 64
#: Folds of left-out families that set the limits, and the smallest number of families.
_N_FOLDS, FEWEST_FAMILIES = 10, 3
#: Accepted share of valid spectra of new families that exceed a limit.
_REFUSED = 0.05
#: Number of level statistics (level, size), which have their own T2 because the embedding does not depend on units.
#: Extremes, kinks and flat runs have one limit each.
_N_LEVELS = 2
#: Logarithmic wavelength bins of 1 %.
_EDGES = np.linspace(np.log(MIN_WAVELENGTH), np.log(MAX_WAVELENGTH), 502)
#: A spectrum is an outlier if no family covers more than this share of its range.
_UNCOVERED = 0.5

_Statistics = Mapping[str, NDArray[np.floating]]


def bank_statistics(
    embedded: Sequence[NDArray[np.floating]],
    signals: Sequence[NDArray[np.floating]],
    ranges: Sequence[tuple[float, float]],
    families: Sequence[str],
) -> dict[str, NDArray[np.float32]]:
    """Return the statistics of a bank for `bank_scores`; all families have equal weight.

    Parameters
    ----------
    embedded : sequence of arrays of shape (n_spectra, n_columns)
        Compact read-out of some spectra of each dataset.
    signals : sequence of arrays of shape (n_spectra, 6)
        `signal_numbers` of the same.
    ranges : sequence of (float, float)
        First and last wavelength of each dataset, in nm.
    families : sequence of str
        Family of each dataset.

    Returns
    -------
    dict of str to float32 ndarray
        Statistics; empty if there are fewer than three families.
    """
    names, number = np.unique(np.asarray(families, dtype=str), return_inverse=True)
    if len(names) < FEWEST_FAMILIES:
        return {}
    datasets = np.bincount(number)
    weight = np.concatenate(
        [np.full(len(e), 1.0 / (len(e) * datasets[f])) for e, f in zip(embedded, number, strict=True)]
    )
    weight /= weight.sum()
    family = np.concatenate([np.full(len(e), f) for e, f in zip(embedded, number, strict=True)])
    E, S = np.concatenate(embedded).astype(np.float64), np.concatenate(signals).astype(np.float64)
    # Scaled to unit size, so that squares do not overflow single precision.
    size = float(np.sqrt(weight @ np.square(E).sum(axis=1))) or 1.0
    E /= size
    held_out = np.empty((len(E), 3))
    for fold in range(min(_N_FOLDS, len(names))):
        outside = family % _N_FOLDS == fold
        reference = _known(E[~outside], S[~outside], weight[~outside])
        held_out[outside] = _distances(reference, E[outside], S[outside])
    measured = np.hstack([held_out, S[:, _N_LEVELS:]])
    usual = _quantile(measured, weight, 0.5)
    limit = _quantile(measured, weight, 1.0 - _REFUSED / measured.shape[1])
    covered = np.zeros(len(_EDGES) - 1)
    for f in range(len(names)):
        covered += np.any([_inside(*ranges[int(i)]) for i in np.flatnonzero(number == f)], axis=0)
    limits = {"usual": usual, "limit": np.maximum(limit, usual + 1e-3), "covered": covered, "size": np.array([size])}
    return {f"bank_{k}": np.asarray(v, dtype=np.float32) for k, v in (_known(E, S, weight) | limits).items()}


def bank_scores(
    statistics: _Statistics,
    embedded: NDArray[np.floating],
    signals: NDArray[np.floating],
    coverage: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Return typicality scores relative to a bank (n,): 1 for the most typical, below 0 beyond a limit.

    Parameters
    ----------
    statistics : mapping
        Result of `bank_statistics`.
    embedded, signals : as in `bank_statistics`, for one block
    coverage : ndarray of shape (n,)
        `bank_coverage` of the wavelength ranges of the spectra.
    """
    about = {key.removeprefix("bank_"): np.asarray(value, dtype=np.float64) for key, value in statistics.items()}
    distances = _distances(about, embedded / about["size"], signals)
    measured = np.hstack([distances, signals[:, _N_LEVELS:]])
    beyond = (measured - about["usual"]) / (about["limit"] - about["usual"])
    return 1.0 - np.maximum(beyond.max(axis=1).clip(min=0.0), (1.0 - coverage) / _UNCOVERED)


def bank_coverage(statistics: _Statistics, low: float, high: float) -> float:
    """Return the share of a wavelength range (nm) that spectra of the bank cover, 0 to 1."""
    return float((np.asarray(statistics["bank_covered"])[_inside(low, high)] > 0).mean())


def _inside(low: float, high: float) -> NDArray[np.bool_]:
    """Return a mask of the wavelength bins that a range (nm) overlaps."""
    n_steps = len(_EDGES) - 1
    first, last = (np.searchsorted(_EDGES, np.log([low, high]), side="right") - 1).clip(0, n_steps - 1)
    place = np.arange(n_steps)
    return (place >= first) & (place <= last)


def _known(
    E: NDArray[np.float64], S: NDArray[np.float64], weight: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return principal components of embeddings, and of levels, whose rows have weights."""
    levels = _components(S[:, :_N_LEVELS], weight, _N_LEVELS)
    # One less than there are columns: Q is what is left.
    return _components(E, weight, min(_N_COMPONENTS, E.shape[1] - 1)) | {
        f"level_{key}": value for key, value in levels.items()
    }


def _components(Z: NDArray[np.float64], weight: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
    weight = weight / weight.sum()
    mean = weight @ Z
    centred = Z - mean
    variances, vectors = np.linalg.eigh((centred * weight[:, None]).T @ centred)
    variances, vectors = variances[::-1].clip(min=0.0), vectors[:, ::-1].T
    floor = 1e-12 * float(variances[0]) + 1e-300
    return {
        "mean": mean,
        "components": vectors[:n],
        "variances": np.maximum(variances[:n], floor),
        "rest": np.array([max(float(variances[n:].sum()), floor)]),
    }


def _distances(
    about: Mapping[str, NDArray[np.float64]], E: NDArray[np.floating], S: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the logarithms of scaled T2 and Q of embeddings and of T2 of levels, (n, 3)."""
    centred = E - about["mean"]
    scores = centred @ about["components"].T
    t2 = (np.square(scores) / about["variances"]).mean(axis=1)
    q = np.square(centred - scores @ about["components"]).sum(axis=1) / about["rest"]
    levels = (S[:, :_N_LEVELS] - about["level_mean"]) @ about["level_components"].T
    level_t2 = (np.square(levels) / about["level_variances"]).mean(axis=1)
    return np.log(np.stack([t2, q, level_t2], axis=1).clip(min=1e-12))


def _quantile(values: NDArray[np.float64], weight: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Return weighted quantiles of columns; `weight` holds the weights of the rows."""
    order = np.argsort(values, axis=0, kind="stable")
    reached = np.cumsum(weight[order], axis=0) >= share * weight.sum() - 1e-12
    return np.take_along_axis(values, np.take_along_axis(order, reached.argmax(axis=0)[None], axis=0), axis=0)[0]
