"""Ready-made heads by name, those of them that run here, and pipelines that end in one."""

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
    """A few hundred steps are a penalty of their own, and a bound that a kernel runs into is meant as one: no news to users."""

    def fit(self, X: Any, y: Any) -> Any:
        """Fit without warnings of convergence."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().fit(X, y)  # type: ignore[misc]


class NetworkRegressor(_StoppedEarly, MLPRegressor):
    """``MLPRegressor``, quiet."""


class NetworkClassifier(_StoppedEarly, MLPClassifier):
    """``MLPClassifier``, quiet."""


class ProcessRegressor(_StoppedEarly, GaussianProcessRegressor):
    """``GaussianProcessRegressor``, quiet."""


class ProcessClassifier(_StoppedEarly, GaussianProcessClassifier):
    """``GaussianProcessClassifier``, quiet."""


class TunedHead(GridSearchCV):
    """`sklearn.model_selection.GridSearchCV` for calibration sets as they come.

    With an integer `cv`, folds are shuffled with a fixed seed, as calibration samples often come sorted; classes are spread
    evenly, groups are kept together; and there are fewer folds where there are fewer samples, or members of a class.

    Its score is that of the estimator that it found. A search that minimises squared errors would score by them; beside a plain
    regressor, which scores by R2, a search over heads could not compare the two.
    """

    __metadata_request__fit: ClassVar = {"groups": True}

    def get_metadata_routing(self) -> Any:
        """Return what `fit` asks for: groups. What it does with them is its own affair."""
        return self._get_metadata_request()

    @all_or_nothing
    def fit(self, X: Any, y: Any = None, *, groups: Any = None, **params: Any) -> TunedHead:
        """Search; `groups` (n_samples,) names the physical sample of each row, where there are replicates."""
        cv: Any = self.cv  # type: ignore[has-type] # scikit-learn's
        if isinstance(cv, (int, np.integer)):
            # Made here, not by whoever builds the head: nirs4all's default engine writes parameters down as JSON.
            self.cv = self._folds(int(cv), y, groups, _num_samples(X))
        try:
            # Groups are for the folds, whatever the user routes to where.
            with config_context(enable_metadata_routing=False):
                return super().fit(X, y, **params) if groups is None else super().fit(X, y, groups=groups, **params)
        finally:
            self.cv = cv

    def _run_search(self, evaluate_candidates: Any) -> None:
        """Try all candidates: one by one, which can be counted, unless they are spread over processes."""
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
            # A fold of two leaves one to fit on.
            plural = "" if n_samples == 1 else "s"
            raise ValueError(f"{n_samples} sample{plural}: a head that searches its parameters needs three or more.")
        if groups is None and is_classifier(self.estimator):
            classes, counts = np.unique(np.asarray(y), return_counts=True)
            if counts.min() < 2:
                rare = str(classes[counts.argmin()])
                raise ValueError(
                    f"class {rare!r} has one sample: a head that searches its parameters needs two of each; drop it, or give "
                    f"make_head {', '.join(name.rpartition('__')[2] for name in self.param_grid)}."
                )
            return StratifiedKFold(min(n_folds, counts.min()), shuffle=True, random_state=0)
        return shuffled_folds(n_folds, n_samples, groups)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return R2, or the accuracy of a classifier."""
        check_is_fitted(self)
        return self.best_estimator_.score(X, y, **({} if sample_weight is None else {"sample_weight": sample_weight}))


class TunedRegressor(Targetwise, TunedHead):
    """`TunedHead` of a regressor: several targets are searched one by one, each on the samples that it was measured on."""

    fit = Targetwise.fit  # type: ignore[assignment] # what fits one target takes no more
    predict = Targetwise.predict

    def _fit_target(self, X: Any, y: Any, *, groups: Any = None) -> TunedHead:
        return TunedHead.fit(self, X, y, groups=groups)

    def _predict_target(self, X: Any) -> Any:
        return TunedHead.predict(self, X)


class ColumnsHead(Targetwise, Pipeline):
    """Few columns of an embedding, and an estimator on them; several targets one by one."""

    def get_metadata_routing(self) -> Any:
        """Return what `fit` asks for: groups."""
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
#: At unit spread the mean square distance is 2: from nearly linear to a tenth of it.
_GAMMAS = (0.003, 0.01, 0.03, 0.1, 0.3)

TASKS = ("regression", "classification")


def _kernel() -> Any:
    """Linear and wide RBF: calibrations are nearly linear, with a bend."""
    linear = ConstantKernel(10.0, (1e-3, 1e5)) * DotProduct(0.0, "fixed")
    return linear + ConstantKernel(1.0, (1e-3, 1e5)) * RBF(3.0, (0.3, 30.0)) + WhiteKernel(0.1, (1e-8, 10.0))


#: By task and name: the estimator, what is searched by cross-validation, whether targets are standardised for it.
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
        # No mean of heads has a smaller error than ridge (research log, section 28).
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
#: What tells classes apart often varies less than what does not: margins and distances on components as they are miss it
#: (research log, section 30).
_WHITENING = {"regression": 0.0, "classification": 0.5}
#: These take an embedding as it is; the others get it rotated to few columns at unit spread.
_AS_IT_IS = ("committee", "ridge", "pls", "plsda", "tabpfn", "tabicl")


def make_head(name: str, task: str = "regression", **params: Any) -> BaseEstimator:
    """Return a scikit-learn estimator that suits an embedding, unfitted.

    ``committee`` (a mean of five, recommended; see `SpectralCommittee`), ``ridge`` (penalty by leave-one-out), ``pls``, ``krr`` (kernel ridge, RBF), ``gp`` (Gaussian process, linear and RBF),
    ``svr``, ``mlp``, ``tabpfn``, ``tabicl`` for numbers; ``committee`` (ridge: no mean is better), ``ridge``, ``plsda``, ``logistic``, ``svc``, ``gp``, ``mlp``,
    ``tabpfn``, ``tabicl`` for classes. What matters most (components, penalties, widths of kernels) is searched by
    cross-validation within the samples that `fit` sees; what is given in `params` is not searched. Where there are replicate scans give
    ``fit(X, y, groups=...)``, or average them first (`average_replicates`); otherwise penalties are chosen by how well one replicate
    predicts another. `y` may have several columns, with NaN where a value was not measured.

    Parameters
    ----------
    name : str
    task : {"regression", "classification"}
    **params
        Of the estimator at the head's core, ``make_head("pls", n_components=7)``.

    Returns
    -------
    estimator
        It clones, pickles, and works as a value in a grid.

    Raises
    ------
    ValueError
        No such head, task or parameter.
    HeadUnavailable
        ``tabpfn`` and ``tabicl``: the package is not installed.

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
            # A candidate that fails is a fault, not a bad score; and nirs4all's default engine cannot write down a NaN.
            error_score="raise",
        )
    if name in _AS_IT_IS:
        return core
    # What scikit-learn is told to make of transformers' output is for the user's steps.
    columns = PCAColumns(whitening=_WHITENING[task]).set_output(transform="default")
    return ColumnsHead([("columns", columns), (name, core)])


def check_head(name: str, task: str) -> None:
    """Raise ValueError unless there is such a head for such a task."""
    if task not in TASKS:
        raise ValueError(f"task={task!r} is not known; use one of {', '.join(TASKS)}.")
    if name not in _HEADS[task]:
        other = next((t for t in TASKS if name in _HEADS[t]), None)
        hint = f"it is for {other}; " if other else ""
        raise ValueError(f"no head {name!r} for {task}: {hint}there are {', '.join(_HEADS[task])}.")


def head_names(task: str) -> tuple[str, ...]:
    """Return the names of all heads for a task, those that cannot run here too."""
    return tuple(_HEADS[task])


class HeadNames(tuple[str, ...]):
    """Names of heads that run here; `unavailable` gives the names of the other ones, and why not."""

    unavailable: dict[str, str]

    def __repr__(self) -> str:
        missing = "".join(f"\n  {name}: {why}" for name, why in self.unavailable.items())
        return ", ".join(self) + (f"\nnot here:{missing}" if missing else "")


def available_heads(task: str = "regression") -> HeadNames:
    """Return the names that `make_head` takes and that run here; ``.unavailable`` says why others do not.

    TabPFN and TabICL run where their weights lie: elsewhere `make_head` makes them all the same, and their first `fit` fetches the weights if
    there is a network.

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
        f"its weights are not on this machine: the first fit of make_head({library!r}, {task!r}) fetches them where there is a network, or "
        f"set {about.variables[task]}=/path/to/{about.files[task]}"
    )
