"""Methods of other projects: what they refuse is told as theirs, what breaks is not hidden."""

from __future__ import annotations

import pytest

from benchmarks.methods.base import Unavailable
from benchmarks.methods.external import Estimator
from benchmarks.methods.preprocessing import PreprocessedViews
from benchmarks.problems import Problems


class N4MError(RuntimeError):
    """Stands for the one of nirs4all's numerical library."""


class _Refusing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def fit(self, *_: object) -> None:
        raise self.error


def test_what_the_library_refuses_is_unavailable() -> None:
    problem = Problems().of("synthetic-0")[0]
    refused = Estimator(lambda _: _Refusing(N4MError("NUMERICAL_FAILURE: no component")), PreprocessedViews(["raw"]))
    with pytest.raises(Unavailable, match="N4MError: NUMERICAL_FAILURE: no component"):
        refused.fit(problem)
    broken = Estimator(lambda _: _Refusing(RuntimeError("out of memory")), PreprocessedViews(["raw"]))
    with pytest.raises(RuntimeError, match="out of memory"):
        broken.fit(problem)
