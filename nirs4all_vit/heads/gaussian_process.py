"""Gaussian process over several views of the same samples, fitted by penalised marginal likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

from ..spectra.data import spread_rows
from .kernel_ridge import squared_distances
from .ridge import group_members
from .targetwise import relative_weights

#: Bounds of the logarithms of weights, lengths and noise.
_BOUNDS = (-12.0, 6.0)
#: Maximum number of samples for fitting the hyper-parameters; predictions use all samples of `fit`.
_MAX_SEARCHED = 400
_ITERATIONS = 150
#: Standard deviation of the prior on the log hyper-parameters, centred at the starting values. Without it, twenty
#: hyper-parameters over-fit a few dozen samples (research log, section 28).
_PRIOR = 1.5
#: Starting value of the noise variance of the standardised targets.
_NOISE = 0.03


class MultiKernelGP:
    """GP regression with a linear and an RBF kernel per view; weights and lengths by marginal likelihood.

    None of the installed libraries fits sums of kernels on *different* features by gradient. Targets are standardised;
    each view is centred and divided by the root of its mean squared norm. Fitting time grows with the third power of
    the number of samples.

    Attributes
    ----------
    theta : ndarray of shape (3 * n_views + 1,)
        Logarithms of linear weights, RBF weights, RBF lengths and noise variance.
    left_out_rmse : float
        Leave-one-out RMSE at the fitted hyper-parameters.
    log_likelihood : float
        Penalised log likelihood of the samples used to fit the hyper-parameters.

    References
    ----------
    Rasmussen, C. E., Williams, C. K. I. (2006). Gaussian Processes for Machine Learning, chapter 5.
    """

    def fit(
        self,
        views: Sequence[NDArray[np.floating]],
        y: NDArray[np.float64],
        *,
        groups: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """Fit views, each of shape (n, d_view), to values (n,).

        Rows of one group (n,), the replicates of a sample, are averaged because they share their noise. The noise
        variance of a sample is divided by its weight (n,); weights are positive and rescaled to mean 1.
        """
        weights = relative_weights(sample_weight, y)
        if groups is not None:
            members = group_members(groups)
            if len(members) < len(y):
                y = np.array([y[rows].mean() for rows in members])
                views = [np.stack([view[rows].mean(axis=0, dtype=np.float64) for rows in members]) for view in views]
                weights = np.array([weights[rows].mean() for rows in members])
        variances = 1.0 / weights
        self.means = [view.mean(axis=0, dtype=np.float64) for view in views]
        centred = [view - mean for view, mean in zip(views, self.means, strict=True)]
        self.scales = [max(float(np.sqrt(np.square(c).sum(axis=1).mean())), 1e-300) for c in centred]
        self.views = [c / scale for c, scale in zip(centred, self.scales, strict=True)]
        self.y_mean, self.y_scale = float(np.average(y, weights=weights)), float(y.std()) or 1.0
        target = (y - self.y_mean) / self.y_scale
        linear = np.stack([view @ view.T for view in self.views])
        distances = np.stack([squared_distances(view, view) for view in self.views])
        rows = spread_rows(len(y), _MAX_SEARCHED)
        v = len(self.views)
        searched = (
            linear[:, rows][:, :, rows].reshape(v, -1),
            distances[:, rows][:, :, rows].reshape(v, -1) / 2.0,
            target[rows],
            variances[rows],
        )
        start = np.log(np.concatenate([np.full(v, 1.0 / v), np.full(v, 0.3 / v), np.ones(v), [_NOISE]]))
        optimum = minimize(
            _objective,
            start,
            (start, *searched),
            method="L-BFGS-B",
            jac=True,
            bounds=[_BOUNDS] * len(start),
            options={"maxiter": _ITERATIONS},
        )
        self.theta, self.log_likelihood = optimum.x, -float(optimum.fun)
        self.factor = cholesky(_covariance(self.theta, linear, distances, variances), lower=True)
        self.alpha = cho_solve((self.factor, True), target)
        inverse = solve_triangular(self.factor, np.eye(len(y)), lower=True)
        # Stored in single precision to halve the memory; the rounding error is far below the noise.
        self.views = [view.astype(np.float32) for view in self.views]
        self.left_out_rmse = self.y_scale * float(
            np.sqrt(np.square(self.alpha / np.square(inverse).sum(axis=0)).mean())
        )
        return self

    def predict(self, views: Sequence[NDArray[np.floating]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the posterior mean (m,) and standard deviation (m,), noise included, for views of m spectra."""
        new = [(view - m) / s for view, m, s in zip(views, self.means, self.scales, strict=True)]
        linear = np.stack([a @ b.T for a, b in zip(new, self.views, strict=True)])
        distances = np.stack([squared_distances(a, b) for a, b in zip(new, self.views, strict=True)])
        kernel = _kernels(self.theta, linear, distances).sum(axis=0)
        v = len(self.views)
        weights = np.exp(self.theta[: 2 * v])
        own = sum(w * np.square(a).sum(axis=1) for w, a in zip(weights[:v], new, strict=True)) + weights[v:].sum()
        explained = np.square(solve_triangular(self.factor, kernel.T, lower=True)).sum(axis=0)
        variance = np.clip(own - explained, 0.0, None) + np.exp(self.theta[-1])
        return self.y_mean + self.y_scale * (kernel @ self.alpha), self.y_scale * np.sqrt(variance)


def _kernels(
    theta: NDArray[np.float64], linear: NDArray[np.float64], distances: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the weighted kernels, linear ones first: (2 * n_views, n, m)."""
    v = len(linear)
    weights = np.exp(theta[: 2 * v])[:, None, None]
    lengths = np.exp(theta[2 * v : 3 * v])[:, None, None]
    return weights * np.concatenate([linear, np.exp(-0.5 * distances / lengths**2)])


def _covariance(
    theta: NDArray[np.float64],
    linear: NDArray[np.float64],
    distances: NDArray[np.float64],
    variances: NDArray[np.float64],
) -> NDArray[np.float64]:
    kernel: NDArray[np.float64] = _kernels(theta, linear, distances).sum(axis=0)
    kernel[np.diag_indices_from(kernel)] += np.exp(theta[-1]) * variances + 1e-8
    return kernel


def _objective(
    theta: NDArray[np.float64], start: NDArray[np.float64], *searched: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Return the negative log posterior and its gradient; the prior is centred at the starting values."""
    value, slope = _negative_log_likelihood(theta, *searched)
    away = (theta - start) / _PRIOR
    return value + 0.5 * float(away @ away), slope + away / _PRIOR


def _negative_log_likelihood(
    theta: NDArray[np.float64],
    linear: NDArray[np.float64],
    distances: NDArray[np.float64],
    target: NDArray[np.float64],
    variances: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64]]:
    """Return the negative log marginal likelihood and its gradient.

    `linear` and `distances` are (n_views, n * n); distances are halved.
    """
    n, v = len(target), len(linear)
    weights, noise = np.exp(theta[: 2 * v]), np.exp(theta[-1])
    scaled = distances * np.exp(-2.0 * theta[2 * v : 3 * v])[:, np.newaxis]
    bent = np.exp(-scaled)
    covariance = (weights[:v] @ linear + weights[v:] @ bent).reshape(n, n)
    covariance[np.diag_indices(n)] += noise * variances + 1e-8
    try:
        factor = cholesky(covariance, lower=True, check_finite=False, overwrite_a=True)
    except np.linalg.LinAlgError:
        return 1e10, np.zeros_like(theta)
    alpha = cho_solve((factor, True), target, check_finite=False)
    value = 0.5 * target @ alpha + np.log(np.diag(factor)).sum() + 0.5 * n * np.log(2 * np.pi)
    inverse, _ = dpotri(factor, lower=True)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    slope = inverse - np.outer(alpha, alpha)  # twice the gradient with respect to the covariance
    flat = slope.ravel()
    by_weight = 0.5 * weights * np.concatenate([linear @ flat, bent @ flat])
    by_length = weights[v:] * ((bent * scaled) @ flat)
    by_noise = 0.5 * noise * np.diag(slope) @ variances
    return float(value), np.concatenate([by_weight, by_length, [by_noise]])
