"""The Gaussian process against scikit-learn's."""

from __future__ import annotations

import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

from benchmarks.methods import gaussian_process as gp


def _data() -> tuple[list[np.ndarray], np.ndarray]:
    generator = np.random.default_rng(0)
    X = generator.normal(size=(90, 4))
    return [X, X[:, :2] ** 2], np.sin(2 * X[:, 0]) + X[:, 1] + 0.05 * generator.normal(size=90)


def test_the_gradient_is_the_slope() -> None:
    views, y = _data()
    fitted = gp.MultiKernelGP().fit(views, y)
    linear = np.stack([v @ v.T for v in fitted.views])
    distances = np.stack([gp._distances(v, v) for v in fitted.views])
    theta = np.random.default_rng(1).normal(size=7) * 0.5

    def value(t: np.ndarray) -> tuple[float, np.ndarray]:
        return gp._negative_log_likelihood(t, linear, distances, y)

    numeric = [(value(theta + 1e-5 * e)[0] - value(theta - 1e-5 * e)[0]) / 2e-5 for e in np.eye(7)]
    np.testing.assert_allclose(value(theta)[1], numeric, rtol=1e-4, atol=1e-6)


def test_likelihood_and_prediction_equal_scikit_learn_at_the_same_kernel() -> None:
    (X, _), y = _data()
    ours = gp.MultiKernelGP().fit([X], y)
    linear, rbf, length, noise = np.exp(ours.theta)
    kernel = (
        ConstantKernel(linear) * DotProduct(sigma_0=0.0, sigma_0_bounds="fixed")
        + ConstantKernel(rbf) * RBF(length)
        + WhiteKernel(noise + 1e-8)
    )
    theirs = GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None).fit(ours.views[0], (y - y.mean()) / y.std())
    np.testing.assert_allclose(ours.log_likelihood, theirs.log_marginal_likelihood_value_, rtol=1e-6)
    expected = y.mean() + y.std() * theirs.predict(ours.views[0])
    np.testing.assert_allclose(ours.predict([X]), expected, rtol=1e-6, atol=1e-8)


def test_it_learns_what_a_line_cannot() -> None:
    views, y = _data()
    fitted = gp.MultiKernelGP().fit([v[:70] for v in views], y[:70])
    error = np.sqrt(np.mean((fitted.predict([v[70:] for v in views]) - y[70:]) ** 2))
    line = np.c_[np.ones(90), views[0]]
    weights = np.linalg.lstsq(line[:70], y[:70], rcond=None)[0]
    assert error < 0.7 * np.sqrt(np.mean((line[70:] @ weights - y[70:]) ** 2))
