"""Shared parts of the experiments: methods, calibration and test sets, figures of merit."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, f1_score, r2_score, root_mean_squared_error

from .calibrations import Calibration
from .embeddings import Embeddings
from .methods.registry import make_method
from .problems import Problems
from .tasks import Task


@dataclass(frozen=True)
class Context:
    """Resources of tasks in a process; `weights` are checkpoint files by name of the encoder."""

    problems: Problems
    embeddings: Embeddings
    weights: dict[str, str]

    def method(self, name: str) -> Any:
        """Return a method, unfitted."""
        encoder = name.partition("@")[2].partition(":")[0]
        return make_method(name, self.weights.get(encoder), self.embeddings)


def parts(task: Task, context: Context) -> tuple[Calibration, Calibration, dict[str, Any]]:
    """Return calibration set, test set and their description for a task."""
    problem = context.problems.get(task.dataset, task.target)
    if task.permuted:
        problem = shuffled(problem, task.seed)
    train, test = (problem.take(rows) for rows in problem.split(task.seed, task.n_train, kind=task.split))
    about = {"family": problem.family, "kind": problem.task, "n_calibration": len(train), "n_test": len(test)}
    return train, test, about


def shuffled(problem: Calibration, seed: int) -> Calibration:
    """Return a problem with targets shuffled over samples; replicates share a value."""
    samples, codes = np.unique(problem.groups, return_inverse=True)
    first = np.array([np.flatnonzero(codes == i)[0] for i in range(len(samples))])
    order = np.random.default_rng([seed, 1]).permutation(first)
    return dataclasses.replace(problem, y=problem.y[order][codes])


def scores(test: Calibration, predicted: Any) -> dict[str, float]:
    """Return the figures of merit for the kind of target.

    Raises FloatingPointError for predictions that are not finite.
    """
    if test.task == "classification":
        return classification_scores(test.y, predicted)
    predicted = np.asarray(predicted, dtype=np.float64)
    if not np.isfinite(predicted).all():
        raise FloatingPointError("predictions that are not finite.")
    return regression_scores(test.y, predicted)


def mean_rmsep(y: NDArray, train: NDArray) -> float:
    """Return the RMSEP of predicting the mean of the calibration values."""
    return float(np.sqrt(((y - train.mean()) ** 2).mean()))


def regression_scores(y: NDArray, predicted: NDArray) -> dict[str, float]:
    """Return RMSEP, R2, bias, SEP, RPD and RPIQ of predictions of a test set.

    RPD is the standard deviation, RPIQ the interquartile range of the reference values over the
    RMSEP (Bellon-Maurel et al. 2010, TrAC 29, 1073); SEP is the RMSEP without the bias.
    """
    error = predicted - y
    rmsep = float(root_mean_squared_error(y, predicted))
    spread = float(np.subtract(*np.percentile(y, [75, 25])))
    return {
        "rmsep": rmsep,
        "r2": float(r2_score(y, predicted)) if len(y) > 1 else float("nan"),
        "bias": float(error.mean()),
        "sep": float(error.std(ddof=1)) if len(y) > 1 else float("nan"),
        "rpd": float(y.std(ddof=1)) / rmsep if len(y) > 1 and rmsep > 0 else float("inf"),
        "rpiq": spread / rmsep if rmsep > 0 else float("inf"),
    }


def classification_scores(y: NDArray, predicted: NDArray) -> dict[str, float]:
    """Return balanced accuracy, its complement, and macro F1."""
    accuracy = float(balanced_accuracy_score(y, predicted))
    return {
        "balanced_accuracy": accuracy,
        "balanced_error": 1.0 - accuracy,
        "macro_f1": float(f1_score(y, predicted, average="macro", zero_division=0)),
    }
