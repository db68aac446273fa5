"""Weighted mean of heads of different kinds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ..progress import tracked
from ..spectra.data import spread_rows
from .gaussian_process import MultiKernelGP
from .kernel_ridge import LeaveOutKernelRidge
from .preprocessed_pls import PreprocessedPLS
from .ridge import ALPHAS, GroupRidge
from .targetwise import WeightedTargetwise, accepted
from .views import preprocessed, split

#: Columns of each scale of the bundled checkpoint's ``contrast`` read-out, finest scale first.
DEFAULT_WIDTHS = (3782, 1830, 854, 366)
#: Names of all members.
MEMBERS = ("gp", "scales", "krr", "ridge", "pls")
#: With many samples, members are excluded above this ratio of their RMSE to the smallest RMSE.
_MOST = 1.2
#: Number of samples at which errors have half trust: members weigh by inverse RMSE, and the largest ratio is `_MOST`
#: squared.
_UNCERTAIN = 100.0
#: Batch size of predictions, in samples.
_ROWS = 2000
#: Members whose fitting time grows with the third power of the number of samples.
_CUBIC = ("gp", "scales", "krr")


class SpectralCommittee(WeightedTargetwise, RegressorMixin, BaseEstimator):
    """A mean of five heads: two Gaussian processes, kernel ridge, ridge, and PLS on preprocessed spectra.

    The input is an embedding, optionally followed by the spectra, as passed by `make_spectral_pipeline` and
    ``SpectralEmbedder(append_spectra=True)``.

    - ``gp``: Gaussian process on the embedding and five preprocessings of the spectra, with a linear and an RBF kernel
      for each;
    - ``scales``: Gaussian process on the four scales of the embedding;
    - ``krr``: kernel ridge on the embedding;
    - ``ridge``: ridge on the embedding;
    - ``pls``: PLS on the best of five preprocessings. It ignores sample weights; all other members use them.

    Without spectra, ``pls`` is omitted and ``gp`` uses the embedding alone. With many samples, members are weighted by
    the inverse of their mean squared error on left-out calibration samples. Members whose RMSE exceeds the smallest
    RMSE by more than a factor of 1.2 are excluded. With few samples these errors are uncertain, and the weights are
    nearly equal. The members and this rule are fixed; they were chosen on left-out materials (research log, sections
    28 and 29).

    Parameters
    ----------
    widths : tuple of int, default=(3782, 1830, 854, 366)
        Columns of each scale of the embedding; the default fits the bundled checkpoint's ``contrast``. Further columns
        are spectra. If `X` has fewer columns than the sum, all columns form one embedding.
    members : tuple of str, default=("gp", "scales", "krr", "ridge", "pls")
        Members to use.
    max_samples : int, default=1000
        Maximum number of calibration samples for the Gaussian processes and kernel ridge, evenly spread over the
        sorted `y`.

    Attributes
    ----------
    members_ : dict of str to fitted members
    weights_ : dict of str to float
        Weights of the members; they sum to one. Excluded members have weight 0.
    """

    def __init__(
        self, widths: tuple[int, ...] = DEFAULT_WIDTHS, *, members: tuple[str, ...] = MEMBERS, max_samples: int = 1000
    ) -> None:
        self.widths = widths
        self.members = members
        self.max_samples = max_samples

    def _fit_target(self, X: Any, y: Any, **per_sample: Any) -> SpectralCommittee:
        unknown = set(self.members) - set(MEMBERS)
        if unknown or not self.members:
            raise ValueError(f"members={self.members!r}; choose some of {', '.join(MEMBERS)}.")
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32), y_numeric=True, ensure_min_samples=2)
        y = y.astype(np.float64)
        few = _spread(y, self.max_samples)
        # Preprocessed copies of all samples could fill the memory: cubic members get views of a subset only.
        views = self.views(X, [name for name in self.members if name not in _CUBIC])
        views |= self.views(X if len(few) == len(y) else X[few], [name for name in self.members if name in _CUBIC])
        self.members_: dict[str, Any] = {}
        for name in tracked([name for name in MEMBERS if name in views], "members", "member"):
            rows = few if name in _CUBIC else np.arange(len(y))
            part = views[name]
            member = self._member(name)
            own = {key: np.asarray(value)[rows] for key, value in accepted(member, **per_sample).items()}
            self.members_[name] = member.fit(part, y[rows], **own)
        errors = {name: max(left_out_rmse(member), 1e-12) for name, member in self.members_.items()}
        # Errors estimated from few samples are uncertain.
        trust = len(y) / (len(y) + _UNCERTAIN)
        most = _MOST ** min(1.0 / trust, 50.0)
        ratios = {name: error / min(errors.values()) for name, error in errors.items()}
        inverse = {name: ratio ** (-2.0 * trust) if ratio <= most else 0.0 for name, ratio in ratios.items()}
        self.weights_ = {name: value / sum(inverse.values()) for name, value in inverse.items()}
        return self

    def _member(self, name: str) -> Any:
        return {
            "gp": MultiKernelGP,
            "scales": MultiKernelGP,
            "krr": LeaveOutKernelRidge,
            "ridge": lambda: GroupRidge(ALPHAS),
            "pls": PreprocessedPLS,
        }[name]()

    def views(self, X: NDArray[Any], members: Sequence[str] | None = None) -> dict[str, Any]:
        """Return the input of each of `members` (default: all): a matrix or a list of matrices."""
        members = self.members if members is None else members
        blocks, spectra = split(X, self.widths)
        embedding = X[:, : sum(block.shape[1] for block in blocks)]
        views: dict[str, Any] = {}
        if "gp" in members:
            views["gp"] = [embedding, *([] if spectra is None else preprocessed(spectra))]
        if len(blocks) > 1:
            views["scales"] = blocks
        views |= {"krr": embedding, "ridge": embedding}
        if spectra is not None:
            views["pls"] = spectra
        return {name: view for name, view in views.items() if name in members}

    def _predict_target(self, X: Any, return_std: bool = False) -> Any:
        """Predict; with `return_std` also return standard deviations, within and between members."""
        means, variances = self._of_members(X)
        mean = np.array(list(self.weights_.values())) @ means
        return (mean, self._deviation(means, variances)) if return_std else mean

    def predict_members(self, X: Any) -> dict[str, NDArray[np.float64]]:
        """Return the prediction of each member, (n_samples,) or, for several targets, (n_samples, n_targets)."""
        if "estimators_" in self.__dict__:
            parts = [one.predict_members(X) for one in self.estimators_]
            return {name: np.stack([part[name] for part in parts], axis=1) for name in parts[0]}
        return dict(zip(self.members_, self._of_members(X)[0], strict=True))

    def _of_members(self, X: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return predictions and variances of the members, (n_members, n_samples) each.

        The variance is NaN for members that do not estimate one.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        means = np.empty((len(self.members_), len(X)))
        variances = np.full_like(means, np.nan)
        for start in range(0, len(X), _ROWS):
            rows = slice(start, start + _ROWS)
            views = self.views(X[rows])
            for k, (name, member) in enumerate(self.members_.items()):
                predicted = member.predict(views[name])
                if isinstance(predicted, tuple):
                    predicted, deviation = predicted
                    variances[k, rows] = np.square(deviation)
                means[k, rows] = np.ravel(predicted)
        return means, variances

    def _deviation(self, means: NDArray[np.float64], variances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the standard deviation of the weighted mean of the members, (n_samples,)."""
        weights = np.array(list(self.weights_.values()))
        mean = weights @ means
        # Variance of the Gaussian processes (left-out error if there are none) plus the variance between members.
        between = weights @ np.square(means - mean)
        is_process = np.asarray(np.isfinite(variances.sum(axis=1)))
        if not is_process.any():
            left_out = np.array([left_out_rmse(member) for member in self.members_.values()])
            return np.sqrt(weights @ np.square(left_out) + between)
        # If no process has weight in the mean, all processes contribute their variance equally.
        shares = weights * is_process if (weights * is_process).any() else is_process / is_process.sum()
        own = np.where(is_process[:, np.newaxis], variances, 0.0)
        return np.sqrt((shares / shares.sum()) @ own + between)


def left_out_rmse(member: Any) -> float:
    """Return the root mean squared error of a fitted member on calibration samples left out."""
    if isinstance(member, GroupRidge):
        return float(np.sqrt(max(-member.best_score_, 0.0)))
    return float(member.left_out_rmse if isinstance(member, MultiKernelGP) else member.left_out_rmse_)


def _spread(y: NDArray[np.float64], most: int) -> NDArray[np.intp]:
    """Return the rows of at most `most` samples, evenly spread over the sorted values, in ascending order."""
    if len(y) <= most:
        return np.arange(len(y))
    order = np.argsort(y, kind="stable")
    return np.sort(order[spread_rows(len(y), most)])
