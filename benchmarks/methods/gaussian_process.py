"""Gaussian process on several views, with hyper-parameters by marginal likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from ..calibrations import Calibration
from .base import Method, Views

#: Bounds of the logarithms of weights, lengths and noise.
_BOUNDS = (-12.0, 6.0)


class MultiKernelGP:
    """GP regression with a linear and an RBF kernel per view, with learned weights and lengths.

    Targets are standardised; each view is centred and divided by the root of its mean squared norm.
    The implementation is our own, because no available library fits sums of kernels on *different*
    features by gradient.

    Attributes
    ----------
    theta : ndarray of shape (3 * n_views + 1,)
        Logarithms: linear weights, RBF weights, RBF lengths, noise variance.
    log_likelihood : float

    References
    ----------
    Rasmussen, C. E., Williams, C. K. I. (2006). Gaussian Processes for Machine Learning, chapter 5.
    """

    def fit(self, views: Sequence[NDArray], y: NDArray) -> Self:
        """Fit views, each of shape (n, d_view), to values (n,)."""
        self.means = [view.mean(axis=0) for view in views]
        centred = [view - mean for view, mean in zip(views, self.means, strict=True)]
        self.scales = [max(float(np.sqrt((c**2).sum(axis=1).mean())), 1e-300) for c in centred]
        self.views = [c / scale for c, scale in zip(centred, self.scales, strict=True)]
        self.y_mean, self.y_scale = float(y.mean()), float(y.std()) or 1.0
        target = (y - self.y_mean) / self.y_scale
        linear = np.stack([view @ view.T for view in self.views])
        distances = np.stack([_distances(view, view) for view in self.views])
        v = len(self.views)
        starts = []
        for noise in (0.1, 0.01):
            start = np.log(np.concatenate([np.full(v, 1.0 / v), np.full(v, 0.3 / v), np.ones(v), [noise]]))
            optimum = minimize(
                _negative_log_likelihood,
                start,
                (linear, distances, target),
                method="L-BFGS-B",
                jac=True,
                bounds=[_BOUNDS] * len(start),
                options={"maxiter": 150},
            )
            starts.append(optimum)
        best = min(starts, key=lambda result: result.fun)
        self.theta, self.log_likelihood = best.x, -float(best.fun)
        factor = cholesky(_covariance(self.theta, linear, distances), lower=True)
        self.alpha = cho_solve((factor, True), target)
        return self

    def predict(self, views: Sequence[NDArray]) -> NDArray:
        """Return the posterior mean at views of m spectra: (m,)."""
        new = [(view - m) / s for view, m, s in zip(views, self.means, self.scales, strict=True)]
        linear = np.stack([a @ b.T for a, b in zip(new, self.views, strict=True)])
        distances = np.stack([_distances(a, b) for a, b in zip(new, self.views, strict=True)])
        return self.y_mean + self.y_scale * (_kernels(self.theta, linear, distances).sum(axis=0) @ self.alpha)


class GaussianProcess(Method):
    """`MultiKernelGP` on all views, with two kernels per view; regression only."""

    def __init__(self, views: Views) -> None:
        self.views = views

    def fit(self, part: Calibration) -> Self:
        """Calibrate."""
        self.views.fit(part)
        self.gp = MultiKernelGP().fit(self._matrices(part), part.y)
        return self

    def predict(self, part: Calibration) -> NDArray:
        """Predict values."""
        return self.gp.predict(self._matrices(part))

    def _matrices(self, part: Calibration) -> list[NDArray]:
        return [np.asarray(self.views.view(part, name), dtype=np.float64) for name in self.views.names]


def _distances(a: NDArray, b: NDArray) -> NDArray:
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2.0 * (a @ b.T)
    return np.clip(squared, 0.0, None)


def _kernels(theta: NDArray, linear: NDArray, distances: NDArray) -> NDArray:
    """Return the weighted kernels, linear ones first: (2 * n_views, n, m)."""
    v = len(linear)
    weights = np.exp(theta[: 2 * v])[:, None, None]
    lengths = np.exp(theta[2 * v : 3 * v])[:, None, None]
    return weights * np.concatenate([linear, np.exp(-0.5 * distances / lengths**2)])


def _covariance(theta: NDArray, linear: NDArray, distances: NDArray) -> NDArray:
    kernel = _kernels(theta, linear, distances).sum(axis=0)
    kernel[np.diag_indices_from(kernel)] += np.exp(theta[-1]) + 1e-8
    return kernel


def _negative_log_likelihood(
    theta: NDArray, linear: NDArray, distances: NDArray, target: NDArray
) -> tuple[float, NDArray]:
    """Return the negative log marginal likelihood and its gradient."""
    n, v = len(target), len(linear)
    kernels = _kernels(theta, linear, distances)
    covariance = kernels.sum(axis=0)
    noise = np.exp(theta[-1])
    covariance[np.diag_indices(n)] += noise + 1e-8
    try:
        factor = cholesky(covariance, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        return 1e10, np.zeros_like(theta)
    alpha = cho_solve((factor, True), target, check_finite=False)
    inner = solve_triangular(factor, np.eye(n), lower=True, check_finite=False)
    slope = inner.T @ inner - np.outer(alpha, alpha)  # twice the gradient by covariance
    value = 0.5 * target @ alpha + np.log(np.diag(factor)).sum() + 0.5 * n * np.log(2 * np.pi)
    by_weight = 0.5 * np.einsum("ij,kij->k", slope, kernels, optimize=True)
    lengths = np.exp(theta[2 * v : 3 * v])
    by_length = 0.5 * np.einsum("ij,kij,kij->k", slope, kernels[v:], distances, optimize=True) / lengths**2
    by_noise = 0.5 * noise * np.trace(slope)
    return float(value), np.concatenate([by_weight, by_length, [by_noise]])
