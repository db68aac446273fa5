"""Fit helpers that undo failed fits and detect parameter changes after a fit."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def all_or_nothing(fit: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Decorate a ``fit`` to restore all attributes if it raises, so that fits are never mixed.

    The attributes of pipeline steps are restored, too. The fit must replace attributes, not modify them in place.
    """

    @wraps(fit)
    def fitted(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        estimator: Any = args[0]
        steps = [step for _, step in getattr(estimator, "steps", ()) if hasattr(step, "__dict__")]
        before = [(vars(one), dict(vars(one))) for one in (estimator, *steps)]
        try:
            return fit(*args, **kwargs)
        except BaseException:
            for attributes, earlier in before:
                attributes.clear()
                attributes.update(earlier)
            raise

    return fitted


def note_parameters(estimator: Any, *names: str) -> None:
    """Record the values of parameters at the time of a fit."""
    vars(estimator)["_fitted_with"] = {name: getattr(estimator, name) for name in names}


def require_fitted(estimator: Any, attributes: str | None = None) -> None:
    """Raise an error if an estimator is not fitted or recorded parameters have changed since.

    Raises
    ------
    NotFittedError
        The estimator is not fitted; `attributes` names attributes set by `fit`.
    ValueError
        A parameter has changed since; the message names it.
    """
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(estimator, attributes)
    for name, fitted in vars(estimator).get("_fitted_with", {}).items():
        value = getattr(estimator, name)
        if value != fitted:
            raise ValueError(
                f"{type(estimator).__name__} was fitted with {name}={fitted!r}, and has {name}={value!r} now; fit it "
                f"again, or set {name}={fitted!r}."
            )
