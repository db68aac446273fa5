"""Calibration tasks without labels: each derives spectra and targets from an episode."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from .bands import LinearFunctionals, LinearSpikes, NonlinearFunctionals
from .bands import corrupt as corrupt
from .regions import HiddenComponents, RegionToRegion

#: Task generators by their name in recipes.
TASKS = {
    "hidden_components": HiddenComponents,
    "linear_spikes": LinearSpikes,
    "linear_functionals": LinearFunctionals,
    "nonlinear_functionals": NonlinearFunctionals,
    "region_to_region": RegionToRegion,
}


def make_tasks(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[Any, float]]:
    """Return the task generators of a recipe with their shares, which sum to 1, by name.

    `settings` contains, by name, ``weight`` (relative share of the episodes, default 1) and the
    parameters of the generator. Raises ValueError for an unknown name or parameter or a weight that
    is not positive.
    """
    if not settings:
        raise ValueError(f"name one or more of {', '.join(TASKS)}.")
    tasks = {}
    for name, values in settings.items():
        if name not in TASKS:
            raise ValueError(f"no task {name!r}; there are: {', '.join(TASKS)}.")
        parameters = dict(values or {})
        weight = float(parameters.pop("weight", 1.0))
        if not 0 < weight < float("inf"):
            raise ValueError(f"{name}: weight={weight} must be positive.")
        names = inspect.signature(TASKS[name]).parameters
        if set(parameters) - set(names):
            raise ValueError(
                f"{name} has no parameter {sorted(set(parameters) - set(names))[0]!r}; it has: {', '.join(names)}."
            )
        tasks[name] = (TASKS[name](**parameters), weight)
    total = sum(weight for _, weight in tasks.values())
    return {name: (task, weight / total) for name, (task, weight) in tasks.items()}
