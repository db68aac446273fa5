"""A mean of heads that err in different ways."""

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

#: Columns of the bundled checkpoint's ``contrast``, scale by scale from the finest.
DEFAULT_WIDTHS = (3782, 1830, 854, 366)
#: All members, by name.
MEMBERS = ("gp", "scales", "krr", "ridge", "pls")
#: A member whose error is so many times the least one takes no part, with many samples.
_MOST = 1.2
#: Samples at which errors are half trusted: a member weighs as its inverse error, and may have `_MOST` squared times the least.
_UNCERTAIN = 100.0
#: Samples that are predicted at a time.
_ROWS = 2000
#: Their time grows with the third power of the number of samples.
_CUBIC = ("gp", "scales", "krr")


class SpectralCommittee(WeightedTargetwise, RegressorMixin, BaseEstimator):
    """A mean of five heads: two Gaussian processes, kernel ridge, ridge, and PLS on preprocessed spectra.

    Reads an embedding, and behind its columns the spectra themselves if they are there, as ``SpectralEmbedder(append_spectra=True)``
    and `make_spectral_pipeline` hand them over.

    - ``gp``: a Gaussian process on the embedding and on five preprocessings of the spectra, a linear and an RBF kernel each;
    - ``scales``: one on the four scales of the embedding;
    - ``krr``: kernel ridge on the embedding; ``ridge``: ridge on it;
    - ``pls``: PLS on the best of five preprocessings; it takes no sample weights, all others do.

    Without spectra there is no ``pls``, and ``gp`` reads the embedding alone. With many samples a member weighs as the inverse
    of its mean squared error on calibration samples left out, and takes no part where its RMSE is more than 1.2 times the least
    one. With few samples these errors are uncertain: all weigh nearly alike. Members and this rule are fixed; they were
    chosen on materials left out (research log, sections 28 and 29).

    Parameters
    ----------
    widths : tuple of int, default=(3782, 1830, 854, 366)
        Columns of each scale of the embedding; those of the bundled checkpoint's ``contrast``. With fewer columns than these
        together all columns are one embedding. Columns behind them are spectra.
    members : tuple of str, default=("gp", "scales", "krr", "ridge", "pls")
        Those that take part.
    max_samples : int, default=1000
        Calibration samples that the Gaussian processes and kernel ridge see, at most, evenly spread over the sorted `y`.

    Attributes
    ----------
    members_ : dict of str to fitted members
    weights_ : dict of str to float
        Of the members; they sum to one. A member without weight took no part.
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
        # Views of some samples and of all: of many samples, preprocessed copies of all would fill the memory.
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
        # Of few samples the errors themselves are uncertain.
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
        """Return what each member, or each of some, reads: a matrix, or a list of them."""
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
        """Predict; with `return_std` the standard deviations, too: of the Gaussian processes, and between the members."""
        means, variances = self._of_members(X)
        mean = np.array(list(self.weights_.values())) @ means
        return (mean, self._deviation(means, variances)) if return_std else mean

    def predict_members(self, X: Any) -> dict[str, NDArray[np.float64]]:
        """Return the prediction of each member, (n_samples,) or, of several targets, (n_samples, n_targets)."""
        if "estimators_" in self.__dict__:
            parts = [one.predict_members(X) for one in self.estimators_]
            return {name: np.stack([part[name] for part in parts], axis=1) for name in parts[0]}
        return dict(zip(self.members_, self._of_members(X)[0], strict=True))

    def _of_members(self, X: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return predictions and variances of the members, (n_members, n_samples) each; NaN where a member knows no variance."""
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
        """Return the standard deviation of the mean of the members, (n_samples,)."""
        weights = np.array(list(self.weights_.values()))
        mean = weights @ means
        # The processes' own variance (without processes, the error on samples left out), and how far the members are from one another.
        between = weights @ np.square(means - mean)
        is_process = np.asarray(np.isfinite(variances.sum(axis=1)))
        if not is_process.any():
            left_out = np.array([left_out_rmse(member) for member in self.members_.values()])
            return np.sqrt(weights @ np.square(left_out) + between)
        # Processes that take no part in the mean still know how far a sample is.
        shares = weights * is_process if (weights * is_process).any() else is_process / is_process.sum()
        own = np.where(is_process[:, np.newaxis], variances, 0.0)
        return np.sqrt((shares / shares.sum()) @ own + between)


def left_out_rmse(member: Any) -> float:
    """Return the root mean squared error of a fitted member on calibration samples left out."""
    if isinstance(member, GroupRidge):
        return float(np.sqrt(max(-member.best_score_, 0.0)))
    return float(member.left_out_rmse if isinstance(member, MultiKernelGP) else member.left_out_rmse_)


def _spread(y: NDArray[np.float64], most: int) -> NDArray[np.intp]:
    """Return the rows of at most so many samples, evenly spread over the sorted values, in their order."""
    if len(y) <= most:
        return np.arange(len(y))
    order = np.argsort(y, kind="stable")
    return np.sort(order[spread_rows(len(y), most)])
