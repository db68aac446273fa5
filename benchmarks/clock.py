"""Time estimates of tasks and training, from what was measured or from the committed tables."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache

import pandas as pd

from .encoders import DEFAULT, LABELLED, Encoders, n_steps, recipe_of
from .methods.registry import trained_encoders
from .tables import RESULTS
from .tasks import Results, Task

#: Experiment and method; tasks of one kind take similar times.
Kind = tuple[str, str]

#: Approximate time of a task of an experiment, relative to a calibration.
_DURATION_FACTORS = {"robustness": 5.0, "ranges": 15.0, "intervals": 20.0, "transfer": 2.0, "pooled": 10.0}

#: Approximate seconds of methods that are not in the table of costs; by head for embeddings.
_SECONDS = {"committee": 1.5, "tuned": 120.0, "aom-ridge-blender": 120.0, "tabpfn-nirs": 30.0, "pca-tabpfn": 30.0}


@lru_cache(maxsize=1)
def _costs() -> dict[str, float]:
    table = pd.read_csv(RESULTS / "cost.csv").set_index("method")
    return table[["fit_seconds", "encode_seconds", "predict_seconds"]].sum(axis=1).to_dict()


def expected_seconds(kind: Kind) -> float:
    """Estimate the seconds of a task from the committed table of costs (of another machine)."""
    experiment, method = kind
    head = method.partition("@")[0]
    seconds = _costs().get(method, _SECONDS.get(head, _costs()[f"ridge@{DEFAULT}"]))
    return seconds * _DURATION_FACTORS.get(experiment, 1.0)


@lru_cache(maxsize=1)
def _seconds_per_step() -> dict[str, float]:
    return pd.read_csv(RESULTS / "training_steps.csv").set_index("recipe")["seconds_per_step"].to_dict()


def training_seconds(encoder: str) -> float:
    """Estimate the seconds to train an encoder of a phase on one core, from the committed table of steps."""
    if recipe_of(encoder) in LABELLED:  # tuning starts from an encoder and takes about as long as its training
        encoder = LABELLED[recipe_of(encoder)][0]
    return n_steps(encoder) * _seconds_per_step()[recipe_of(encoder)]


def plain_key(task: Task) -> str:
    """Return the key of a task without the hash of its weights, which depends on training."""
    options = {name: value for name, value in task.options.items() if name != "weights"}
    return dataclasses.replace(task, options=options).key


class Clock:
    """Estimate of the remaining time, from mean task times by experiment and method.

    Parameters
    ----------
    tasks : iterable of Task
        All tasks; a task of two phases counts once.
    results : Results
        Results so far.
    jobs : int
        Number of processes.
    """

    def __init__(self, tasks: Iterable[Task], results: Results, jobs: int) -> None:
        self._jobs = jobs
        self._encoders = Encoders(results.folder.parent)
        self._measured: set[str] = set()
        self._seconds: dict[Kind, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for record in results:
            task = Task(**record["task"])
            if record["status"] == "done":
                self._measured.add(plain_key(task))
                if "seconds" in record:
                    self._add((task.experiment, task.method), record["seconds"])
        self._left = Counter(self._missing(tasks).values())

    def _missing(self, tasks: Iterable[Task]) -> dict[str, Kind]:
        every = {plain_key(task): (task.experiment, task.method) for task in tasks}
        return {key: kind for key, kind in every.items() if key not in self._measured}

    def _add(self, kind: Kind, seconds: float) -> None:
        total = self._seconds[kind]
        total[0] += seconds
        total[1] += 1

    def count(self, times: Sequence[tuple[Task, float]]) -> None:
        """Record measured tasks and their seconds."""
        for task, seconds in times:
            kind = (task.experiment, task.method)
            self._measured.add(plain_key(task))
            self._add(kind, seconds)
            self._left[kind] = max(0, self._left[kind] - 1)

    def missing(self, tasks: Iterable[Task]) -> list[Kind]:
        """Return experiment and method of the tasks that are not measured yet."""
        return list(self._missing(tasks).values())

    def left(self, kinds: Iterable[Kind] | None = None) -> float:
        """Estimate the seconds of tasks of the given kinds, with training; by default of all remaining tasks."""
        counts = self._left if kinds is None else Counter(kinds)
        training = sum(map(training_seconds, self.to_train(kind for kind, n in counts.items() if n)))
        return (training + sum(n * self._mean(kind) for kind, n in counts.items())) / self._jobs

    def to_train(self, kinds: Iterable[Kind]) -> set[str]:
        """Return the encoders of phases that tasks of the given kinds need and that are not trained yet."""
        encoders = trained_encoders(method for _, method in kinds)
        return {name for name in encoders if not self._encoders.is_trained(name)}

    def _mean(self, kind: Kind) -> float:
        total, n = self._seconds[kind]
        return total / n if n else expected_seconds(kind)


def duration(seconds: float) -> str:
    """Format seconds as "2 min", "3 h 20 min" or "2 days 4 h"."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
    hours = round(minutes / 60)
    return f"{hours // 24} days {hours % 24} h" if hours % 24 else f"{hours // 24} days"
