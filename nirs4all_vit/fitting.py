"""A fit that fails leaves an estimator as it was, and one that succeeded holds for the parameters that it had."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def all_or_nothing(fit: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Make a ``fit`` put every attribute back where it raises: half of a new fit beside half of an old one predicts nonsense.

    So does it for the steps of a pipeline. The fit must replace attributes, not change what they hold.
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
    """Note the parameters that a fit holds for."""
    vars(estimator)["_fitted_with"] = {name: getattr(estimator, name) for name in names}


def require_fitted(estimator: Any, attributes: str | None = None) -> None:
    """Refuse an estimator that is not fitted, or whose noted parameters are others now.

    Raises
    ------
    NotFittedError
        Not fitted; `attributes` names what a fit leaves.
    ValueError
        Names the parameter that was set since.
    """
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(estimator, attributes)
    for name, fitted in vars(estimator).get("_fitted_with", {}).items():
        value = getattr(estimator, name)
        if value != fitted:
            raise ValueError(
                f"{type(estimator).__name__} was fitted with {name}={fitted!r}, and has {name}={value!r} now; fit it again, or set "
                f"{name}={fitted!r}."
            )
