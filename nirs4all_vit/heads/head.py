"""Ready-made heads by name, and the list of heads available on this machine."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, ParameterGrid, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_samples, check_is_fitted

from ..embedding.folds import shuffled_folds
from ..fitting import all_or_nothing
from ..progress import tracked
from .columns import PCAColumns
from .committee import SpectralCommittee
from .pls import PLSDA, CappedPLSRegression
from .ridge import ALPHAS, GroupRidge, GroupRidgeClassifier
from .tabular import LIBRARIES, HeadUnavailable, TabularClassifier, TabularRegressor, weights_here, why_not
from .targetwise import Targetwise, accepted


class _StoppedEarly:
    """Mixin that suppresses convergence warnings: early stopping and kernel bounds are intended here."""

    def fit(self, X: Any, y: Any) -> Any:
        """Fit without convergence warnings."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().fit(X, y)  # type: ignore[misc]


class NetworkRegressor(_StoppedEarly, MLPRegressor):
    """``MLPRegressor`` without convergence warnings."""


class NetworkClassifier(_StoppedEarly, MLPClassifier):
    """``MLPClassifier`` without convergence warnings."""


class ProcessRegressor(_StoppedEarly, GaussianProcessRegressor):
    """``GaussianProcessRegressor`` without convergence warnings."""


class ProcessClassifier(_StoppedEarly, GaussianProcessClassifier):
    """``GaussianProcessClassifier`` without convergence warnings."""


class TunedHead(GridSearchCV):
    """`sklearn.model_selection.GridSearchCV` for sorted, grouped or small calibration sets.

    With an integer `cv`, folds are shuffled with a fixed seed because calibration samples are often sorted. Folds are
    stratified by class and keep groups together. The number of folds is capped at the number of samples, or of members
    of the smallest class.

    `score` is that of the best estimator (R2 or accuracy), not that of the search (mean squared error), so that a
    search over heads can compare this head with plain regressors.
    """

    __metadata_request__fit: ClassVar = {"groups": True}

    def get_metadata_routing(self) -> Any:
        """Return the metadata request of `fit` (groups), not that of the inner estimator."""
        return self._get_metadata_request()

    @all_or_nothing
    def fit(self, X: Any, y: Any = None, *, groups: Any = None, **params: Any) -> TunedHead:
        """Search; `groups` (n_samples,) gives the physical sample of each row, if there are replicates."""
        cv: Any = self.cv  # type: ignore[has-type] # scikit-learn's
        if isinstance(cv, (int, np.integer)):
            # The folds are built in `fit`: nirs4all's default engine serialises parameters of the head as JSON.
            self.cv = self._folds(int(cv), y, groups, _num_samples(X))
        try:
            # Groups are used for the folds only, with or without the user's metadata routing.
            with config_context(enable_metadata_routing=False):
                return super().fit(X, y, **params) if groups is None else super().fit(X, y, groups=groups, **params)
        finally:
            self.cv = cv

    def _run_search(self, evaluate_candidates: Any) -> None:
        """Evaluate all candidates, one by one with a progress bar unless several processes are used."""
        candidates = ParameterGrid(self.param_grid)
        if self.n_jobs not in (None, 1):
            evaluate_candidates(candidates)
            return
        for candidate in tracked(candidates, "candidates", "candidate"):
            evaluate_candidates([candidate])

    def _folds(self, n_folds: int, y: Any, groups: Any, n_samples: int) -> Any:
        if groups is not None:
            n_samples = len(np.unique(groups))
        if is_classifier(self.estimator):
            check_classification_targets(y)
        if n_samples < 3:
            # Two samples would leave one for fitting in each fold.
            plural = "" if n_samples == 1 else "s"
            raise ValueError(f"{n_samples} sample{plural}: a head that searches its parameters needs three or more.")
        if groups is None and is_classifier(self.estimator):
            classes, counts = np.unique(np.asarray(y), return_counts=True)
            if counts.min() < 2:
                rare = str(classes[counts.argmin()])
                raise ValueError(
                    f"class {rare!r} has one sample: a head that searches its parameters needs two of each; drop it, "
                    f"or give make_head {', '.join(name.rpartition('__')[2] for name in self.param_grid)}."
                )
            return StratifiedKFold(min(n_folds, counts.min()), shuffle=True, random_state=0)
        return shuffled_folds(n_folds, n_samples, groups)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return R2, or the accuracy of a classifier."""
        check_is_fitted(self)
        return self.best_estimator_.score(X, y, **({} if sample_weight is None else {"sample_weight": sample_weight}))


class TunedRegressor(Targetwise, TunedHead):
    """`TunedHead` of a regressor; several targets are searched one by one, each on its measured samples."""

    fit = Targetwise.fit  # type: ignore[assignment] # takes no further parameters
    predict = Targetwise.predict

    def _fit_target(self, X: Any, y: Any, *, groups: Any = None) -> TunedHead:
        return TunedHead.fit(self, X, y, groups=groups)

    def _predict_target(self, X: Any) -> Any:
        return TunedHead.predict(self, X)


class ColumnsHead(Targetwise, Pipeline):
    """Pipeline of `PCAColumns` and an estimator; several targets are fitted one by one."""

    def get_metadata_routing(self) -> Any:
        """Return the metadata request of `fit` (groups)."""
        return self._get_metadata_request()

    def _fit_target(self, X: Any, y: Any, *, groups: Any = None) -> Pipeline:
        name, last = self.steps[-1]
        params = {f"{name}__{key}": value for key, value in accepted(last, groups=groups).items()}
        with config_context(enable_metadata_routing=False):
            return Pipeline.fit(self, X, y, **params)

    def _predict_target(self, X: Any) -> Any:
        with config_context(enable_metadata_routing=False):
            return Pipeline.predict(self, X)


_COMPONENTS = (1, 2, 3, 4, 6, 8, 10, 12, 15, 20)
#: Kernel coefficients. The mean squared distance is 2 at unit spread, so the smallest is nearly linear.
_GAMMAS = (0.003, 0.01, 0.03, 0.1, 0.3)

TASKS = ("regression", "classification")


def _kernel() -> Any:
    """Return a linear plus wide RBF kernel: calibrations are nearly linear with some curvature."""
    linear = ConstantKernel(10.0, (1e-3, 1e5)) * DotProduct(0.0, "fixed")
    return linear + ConstantKernel(1.0, (1e-3, 1e5)) * RBF(3.0, (0.3, 30.0)) + WhiteKernel(0.1, (1e-8, 10.0))


#: By task and name: estimator, parameters searched by cross-validation, whether targets are standardised.
_HEADS: dict[str, dict[str, tuple[Callable[[], BaseEstimator], Mapping[str, Any], bool]]] = {
    "regression": {
        "committee": (SpectralCommittee, {}, False),
        "ridge": (lambda: GroupRidge(ALPHAS, alpha_per_target=True), {}, False),
        "pls": (CappedPLSRegression, {"n_components": _COMPONENTS}, False),
        "krr": (lambda: KernelRidge(kernel="rbf"), {"alpha": np.logspace(-6, 0, 7), "gamma": _GAMMAS}, True),
        "gp": (lambda: ProcessRegressor(_kernel(), normalize_y=True, random_state=0), {}, False),
        "svr": (lambda: SVR(epsilon=0.03), {"C": np.logspace(0, 5, 6), "gamma": _GAMMAS}, True),
        "mlp": (
            lambda: NetworkRegressor(hidden_layer_sizes=(64,), solver="lbfgs", max_iter=200, random_state=0),
            {"alpha": (1e-2, 1e-1, 1.0)},
            True,
        ),
        "tabpfn": (lambda: TabularRegressor("tabpfn"), {}, False),
        "tabicl": (lambda: TabularRegressor("tabicl"), {}, False),
    },
    "classification": {
        # No combination of heads has a smaller error than ridge (research log, section 28).
        "committee": (lambda: GroupRidgeClassifier(ALPHAS), {}, False),
        "ridge": (lambda: GroupRidgeClassifier(ALPHAS), {}, False),
        "plsda": (PLSDA, {"n_components": _COMPONENTS}, False),
        "logistic": (lambda: LogisticRegression(max_iter=2000), {"C": np.logspace(-1, 5, 7)}, False),
        "svc": (lambda: SVC(), {"C": np.logspace(0, 5, 6), "gamma": _GAMMAS}, False),
        "gp": (lambda: ProcessClassifier(ConstantKernel(10.0) * RBF(3.0), random_state=0), {}, False),
        "mlp": (
            lambda: NetworkClassifier(hidden_layer_sizes=(64,), solver="lbfgs", max_iter=200, random_state=0),
            {"alpha": (1e-2, 1e-1, 1.0)},
            False,
        ),
        "tabpfn": (lambda: TabularClassifier("tabpfn"), {}, False),
        "tabicl": (lambda: TabularClassifier("tabicl"), {}, False),
    },
}
#: Exponents of `PCAColumns` whitening. Classes often differ in components of low variance, which margins and distances
#: on unwhitened components miss (research log, section 30).
_WHITENING = {"regression": 0.0, "classification": 0.5}
#: Heads that take the embedding unchanged; the others take its principal components at unit spread.
_AS_IT_IS = ("committee", "ridge", "pls", "plsda", "tabpfn", "tabicl")


def make_head(name: str, task: str = "regression", **params: Any) -> BaseEstimator:
    """Return an unfitted scikit-learn estimator suited to an embedding.

    Regression heads are ``committee`` (mean of five heads, recommended; see `SpectralCommittee`), ``ridge`` (penalty by
    leave-one-out), ``pls``, ``krr`` (kernel ridge, RBF), ``gp`` (Gaussian process, linear and RBF), ``svr``, ``mlp``,
    ``tabpfn`` and ``tabicl``. Classification heads are ``committee`` (equal to ridge, because no combination is
    better), ``ridge``, ``plsda``, ``logistic``, ``svc``, ``gp``, ``mlp``, ``tabpfn`` and ``tabicl``.

    The main parameters (components, penalties, kernel widths) are tuned by cross-validation within the samples of
    `fit`, except those given in `params`. For replicate scans use ``fit(X, y, groups=...)`` or average them first
    (`average_replicates`); otherwise penalties are tuned to predict one replicate from another. `y` may have several
    columns, with NaN for values not measured.

    Parameters
    ----------
    name : str
        Name of the head.
    task : {"regression", "classification"}
    **params
        Parameters of the underlying estimator, as in ``make_head("pls", n_components=7)``.

    Returns
    -------
    estimator
        Can be cloned, pickled and used as a value in a parameter grid.

    Raises
    ------
    ValueError
        The head, task or parameter does not exist.
    HeadUnavailable
        The package of ``tabpfn`` or ``tabicl`` is not installed.

    Examples
    --------
    >>> from nirs4all_vit.heads import make_head
    >>> make_head("pls", n_components=7)
    CappedPLSRegression(n_components=7)
    >>> search = GridSearchCV(pipeline, {"head": [make_head(name) for name in available_heads()]})  # doctest: +SKIP
    """
    check_head(name, task)
    missing = why_not(name, task) if name in ("tabpfn", "tabicl") else None
    if missing:
        raise HeadUnavailable(f"make_head({name!r}): {missing}.")
    make, searched, standardised = _HEADS[task][name]
    core = make()
    names = core.get_params(deep=False)
    for parameter in params:
        if parameter not in names:
            raise ValueError(f"make_head({name!r}) has no parameter {parameter!r}; it has: {', '.join(sorted(names))}.")
    core.set_params(**params)
    grid = {key: np.asarray(values).tolist() for key, values in searched.items() if key not in params}
    prefix = ""
    if standardised:
        scaler = StandardScaler().set_output(transform="default")
        core, prefix = TransformedTargetRegressor(core, transformer=scaler), "regressor__"
    if grid:
        core = (TunedRegressor if task == "regression" else TunedHead)(
            core,
            {prefix + key: values for key, values in grid.items()},
            scoring="neg_mean_squared_error" if task == "regression" else "accuracy",
            cv=5,
            # Failing candidates must raise: nirs4all's default engine cannot serialise NaN.
            error_score="raise",
        )
    if name in _AS_IT_IS:
        return core
    # scikit-learn's global output setting is for the user's steps only.
    columns = PCAColumns(whitening=_WHITENING[task]).set_output(transform="default")
    return ColumnsHead([("columns", columns), (name, core)])


def check_head(name: str, task: str) -> None:
    """Raise a ValueError if the head does not exist for the task."""
    if task not in TASKS:
        raise ValueError(f"task={task!r} is not known; use one of {', '.join(TASKS)}.")
    if name not in _HEADS[task]:
        other = next((t for t in TASKS if name in _HEADS[t]), None)
        hint = f"it is for {other}; " if other else ""
        raise ValueError(f"no head {name!r} for {task}: {hint}there are {', '.join(_HEADS[task])}.")


def head_names(task: str) -> tuple[str, ...]:
    """Return the names of all heads for a task, including those unavailable on this machine."""
    return tuple(_HEADS[task])


class HeadNames(tuple[str, ...]):
    """Names of the heads available on this machine; `unavailable` maps the other names to the reason."""

    unavailable: dict[str, str]

    def __repr__(self) -> str:
        missing = "".join(f"\n  {name}: {why}" for name, why in self.unavailable.items())
        return ", ".join(self) + (f"\nnot here:{missing}" if missing else "")


def available_heads(task: str = "regression") -> HeadNames:
    """Return the names of the heads available on this machine; ``.unavailable`` explains the others.

    TabPFN and TabICL are available if their weights are on this machine. Otherwise `make_head` still returns them, and
    their first `fit` downloads the weights if there is a network.

    Parameters
    ----------
    task : {"regression", "classification"}

    Examples
    --------
    >>> from nirs4all_vit.heads import available_heads
    >>> "ridge" in available_heads()
    True
    """
    if task not in TASKS:
        raise ValueError(f"task={task!r} is not known; use one of {', '.join(TASKS)}.")
    reasons = {name: why_not(name, task) or _without_weights(name, task) for name in LIBRARIES}
    names = HeadNames(name for name in head_names(task) if reasons.get(name) is None)
    names.unavailable = {name: why for name, why in reasons.items() if why is not None}
    return names


def _without_weights(library: str, task: str) -> str | None:
    if weights_here(library, task):
        return None
    about = LIBRARIES[library]
    return (
        f"its weights are not on this machine: the first fit of make_head({library!r}, {task!r}) fetches them where "
        f"there is a network, or set {about.variables[task]}=/path/to/{about.files[task]}"
    )
