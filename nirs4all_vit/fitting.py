"""A fit that fails leaves an estimator as it was."""

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
