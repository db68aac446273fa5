"""What one task measures, by the name of its experiment."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirs4all_vit.heads import CrossConformalRegressor, make_head
from nirs4all_vit.pretraining import GroupKennardStone

from .calibrations import Calibration
from .embeddings import EmbeddedView, Embeddings
from .measure import Measured
from .methods.base import Unavailable
from .methods.registry import make_method, parse_method
from .metrics import classification_scores, regression_scores
from .perturbations import PERTURBATIONS
from .pooled import CORRECTIONS, corrected, covering, members, predict_left_out
from .problems import Problems
from .tasks import Task
from .transfer import Pair, joined, load_pair, standardised

#: What share of answers prediction intervals are asked to hold.
COVERAGES = (0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Context:
    """What tasks need to run, in whatever process.

    Attributes
    ----------
    problems : Problems
    kept : Embeddings
    weights : dict of str to str
        Weight file by encoder name.
    """

    problems: Problems
    kept: Embeddings
    weights: dict[str, str]

    def method(self, name: str) -> Any:
        """Return a method, unfitted."""
        encoder = name.partition("@")[2].partition(":")[0]
        return make_method(name, self.weights.get(encoder), self.kept)


def calibration(task: Task, context: Context) -> dict[str, Any]:
    """Fit on a calibration set, predict a test set of other samples."""
    train, test, about = parts(task, context)
    method = context.method(task.method)
    with Measured() as fitting:
        method.fit(train)
    with Measured() as predicting:
        predicted = method.predict(test)
    return {
        **about,
        **scores(test, predicted),
        "fit_seconds": fitting.seconds,
        "predict_seconds": predicting.seconds,
        "encode_seconds": _encoding(method, train, test),
        "peak_memory_mb": max(fitting.peak_mb, predicting.peak_mb),
        **{k: getattr(method, k) for k in ("chosen",) if hasattr(method, k)},
    }


def parts(task: Task, context: Context) -> tuple[Calibration, Calibration, dict[str, Any]]:
    """Return calibration and test set of a task and what is to be said of them."""
    problem = context.problems.get(task.dataset, task.target)
    if task.permuted:
        problem = shuffled(problem, task.seed)
    train, test = (problem.take(rows) for rows in problem.split(task.seed, task.n_train, kind=task.split))
    about = {"family": problem.family, "kind": problem.task, "n_calibration": len(train), "n_test": len(test)}
    return train, test, about


def shuffled(problem: Calibration, seed: int) -> Calibration:
    """Return a problem with its targets shuffled over samples; replicates still agree with each other."""
    samples, codes = np.unique(problem.groups, return_inverse=True)
    first = np.array([np.flatnonzero(codes == i)[0] for i in range(len(samples))])
    order = np.random.default_rng([seed, 1]).permutation(first)
    return dataclasses.replace(problem, y=problem.y[order][codes])


def _encoding(method: Any, train: Calibration, test: Calibration) -> float:
    """Return the seconds that kept embeddings saved this task: what encoding its spectra took."""
    views = getattr(method, "views", None)
    if not isinstance(views, EmbeddedView):
        return 0.0
    return views.seconds_per_spectrum(train.dataset) * (len(train) + len(test))


def scores(test: Calibration, predicted: Any) -> dict[str, float]:
    """Return the figures of merit that suit the target."""
    if test.task == "classification":
        return classification_scores(test.y, predicted)
    predicted = np.asarray(predicted, dtype=np.float64)
    if not np.isfinite(predicted).all():
        raise FloatingPointError("predictions that are not finite.")
    return regression_scores(test.y, predicted)


def _mean_rmsep(y: NDArray, known: NDArray) -> float:
    """Return the RMSEP of predicting the mean of known values."""
    return float(np.sqrt(((y - known.mean()) ** 2).mean()))


def robustness(task: Task, context: Context) -> dict[str, Any]:
    """Fit once, predict the test set as it is and perturbed in growing strength.

    The area under a curve is the mean growth of the RMSEP over the strengths, in units of the targets'
    standard deviation.
    """
    train, test, about = parts(task, context)
    method = context.method(task.method).fit(train)
    clean, deviation = scores(test, method.predict(test))["rmsep"], float(test.y.std()) or 1.0
    curves: dict[str, Any] = {}
    areas = {}
    for name, (perturb, strengths) in PERTURBATIONS.items():
        found = []
        for strength in strengths:
            # The same disturbance for every method, whatever ran before.
            generator = np.random.default_rng([task.seed, zlib.crc32(name.encode())])
            found.append(scores(test, method.predict(perturb(test, strength, generator)))["rmsep"])
        curves[name] = {"strength": [0.0, *strengths], "rmsep": [clean, *found]}
        areas[name] = float(np.mean(found) - clean) / deviation
    error = {"rmsep": clean, "mean_rmsep": _mean_rmsep(test.y, train.y), "deviation": deviation}
    return {**about, **error, "curves": curves, "areas": areas}


def intervals(task: Task, context: Context) -> dict[str, Any]:
    """Fit a head with conformal intervals on the embedding; how many of the test set's answers do they hold?"""
    train, test, about = parts(task, context)
    head, encoder, readout = parse_method(task.method)
    view = EmbeddedView(context.weights[encoder], readout, context.kept).fit(train)
    fitted = CrossConformalRegressor(make_head(head))
    fitted.fit(view.view(train, "embedding"), train.y, groups=train.groups)
    embedded = view.view(test, "embedding")
    out = {**about, **scores(test, fitted.predict(embedded)), "mean_rmsep": _mean_rmsep(test.y, train.y)}
    for nominal in COVERAGES:
        low, high = fitted.predict_interval(embedded, nominal).T
        out[f"coverage_{nominal}"] = float(((low <= test.y) & (test.y <= high)).mean())
        out[f"width_{nominal}"] = float(np.median(high - low)) / (float(test.y.std()) or 1.0)
    return out


def transfer(task: Task, context: Context) -> dict[str, Any]:
    """Calibrate on one instrument, predict on another, with so many transfer samples."""
    problems, options = context.problems, task.options
    pair = load_pair(problems.x_bank, problems.y_bank, task.dataset, options["to"], task.target)
    if pair is None:
        raise Unavailable("the instruments share too few samples or too little of their range")
    if task.permuted:
        pair = Pair(*(shuffled(part, task.seed) for part in (pair.source, pair.destination)))
    rows = np.random.default_rng(task.seed).permutation(len(pair.source))
    n_test = len(rows) // 3
    test, calibration_rows = pair.destination.take(rows[:n_test]), rows[n_test:][: task.n_train]
    train, again = pair.source.take(calibration_rows), pair.destination.take(calibration_rows)
    kind, k = options["standardisation"], options["n_transfer"]
    chosen = np.arange(len(train))
    if 0 < k < len(train):
        # Transfer samples span the calibration spectra.
        # Half a sample less for testing, so that rounding never takes one away.
        chosen, _ = next(iter(GroupKennardStone(test_size=1.0 - (k + 0.5) / len(train)).split(train.X)))
    about = {"family": pair.source.family, "kind": "regression", "n_calibration": len(train), "n_test": n_test}
    if kind == "native":
        train = again
    elif kind == "augment":
        train = joined(train, again.take(chosen))
    elif kind != "none":
        test = standardised(kind, train.take(chosen), again.take(chosen), test)
    predicted = context.method(task.method).fit(train).predict(test)
    return {**about, **scores(test, predicted), "mean_rmsep": _mean_rmsep(test.y, train.y)}


def pooled(task: Task, context: Context) -> dict[str, Any]:
    """Train one head for an analyte on other datasets, test on this one, raw and with local correction."""
    analyte, only = task.options["analyte"], task.options.get("trained_on")
    found = members(context.problems)[analyte]
    if task.permuted:
        found = [shuffled(p, i) for i, p in enumerate(found)]
    test = next(p for p in found if p.dataset == task.dataset and p.target == task.target)
    training = [p for p in found if p.family != test.family and only in (None, p.dataset)]
    if task.options["training"] == "covering":
        training = covering(training, test)
    _, encoder, readout = parse_method(task.method)
    view = None if encoder is None else EmbeddedView(context.weights[encoder], readout, context.kept)
    predicted = predict_left_out(task.method, training, test, view, task.seed)
    # Replicates of a local sample are not predicted.
    samples = np.random.default_rng(task.seed).permutation(np.unique(test.groups))
    held = np.flatnonzero(~np.isin(test.groups, samples[: max(CORRECTIONS)]))
    out: dict[str, Any] = {"family": test.family, "kind": "regression", "n_datasets": len(training)}
    for k in CORRECTIONS:
        local = np.flatnonzero(np.isin(test.groups, samples[:k]))
        better = corrected(predicted, test.y, local)
        out[f"rmsep_{k}"] = float(np.sqrt(((better - test.y)[held] ** 2).mean()))
    # The last, largest correction's samples are what a mean predictor would have.
    out["mean_rmsep"] = _mean_rmsep(test.y[held], test.y[local])
    out["rmsep"], out["deviation"] = out["rmsep_0"], float(test.y[held].std())
    out["r"] = float(np.corrcoef(predicted[held], test.y[held])[0, 1]) if np.ptp(predicted[held]) > 0 else 0.0
    return out


#: By the name in `Task.experiment`.
EXPERIMENTS: dict[str, Callable[[Task, Context], dict[str, Any]]] = {
    "calibration": calibration,
    "robustness": robustness,
    "transfer": transfer,
    "pooled": pooled,
    "intervals": intervals,
}
