"""Ready-made heads by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV, RidgeCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from .capped_pls import CappedPLSRegression
from .pca_columns import PCAColumns
from .plsda import PLSDA
from .stopped_early import NetworkClassifier, NetworkRegressor, ProcessClassifier, ProcessRegressor
from .tabular import HeadUnavailable, TabularClassifier, TabularRegressor, why_not
from .tuned import TunedHead

#: Penalties of a ridge on an embedding, whose scale makes one near 1 usual.
ALPHAS = np.logspace(-6, 4, 41)
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
        "ridge": (lambda: RidgeCV(ALPHAS, alpha_per_target=True), {}, False),
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
        "ridge": (lambda: RidgeClassifierCV(ALPHAS), {}, False),
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
#: These take an embedding as it is; the others get it rotated to few columns at unit spread.
_AS_IT_IS = ("ridge", "pls", "plsda", "tabpfn", "tabicl")


def make_head(name: str, task: str = "regression", **params: Any) -> BaseEstimator:
    """Return a scikit-learn estimator that suits an embedding, unfitted.

    ``ridge`` (penalty by leave-one-out), ``pls``, ``krr`` (kernel ridge, RBF), ``gp`` (Gaussian process, linear and RBF),
    ``svr``, ``mlp``, ``tabpfn``, ``tabicl`` for numbers; ``ridge``, ``plsda``, ``logistic``, ``svc``, ``gp``, ``mlp``,
    ``tabpfn``, ``tabicl`` for classes. What matters most (components, penalties, widths of kernels) is searched by
    cross-validation within the samples that `fit` sees; what is given in `params` is not searched. Rows count as samples: where there are
    replicate scans, average them first, or penalties are chosen by how well one replicate predicts another.

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
        core, prefix = TransformedTargetRegressor(core, transformer=StandardScaler()), "regressor__"
    if grid:
        core = TunedHead(
            core,
            {prefix + key: values for key, values in grid.items()},
            scoring="neg_mean_squared_error" if task == "regression" else "accuracy",
            cv=5,
            # A candidate that fails is a fault, not a bad score; and nirs4all's default engine cannot write down a NaN.
            error_score="raise",
        )
    if name in _AS_IT_IS:
        return core
    return Pipeline([("columns", PCAColumns()), (name, core)])


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
