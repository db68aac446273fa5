"""Figures of merit, intervals and comparisons from cross-validation and test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..heads.conformal import conformal_quantile
from .cross_validation import HeldOut
from .metrics import classification_metrics, regression_metrics, rmse_ratio_interval
from .model import CalibratedTarget, join_possible
from .reading import Joined
from .results import Comparison, LearningPoint, Predicted, TargetResult
from .targets import Target


def compared(
    ids: NDArray[Any],
    target: CalibratedTarget,
    measured: NDArray[Any],
    predicted: NDArray[Any],
    lower: Any,
    upper: Any,
    possible: Any,
) -> Predicted:
    """Compare predicted with measured values, each (n_samples,)."""
    if target.classes:
        both = (measured != "") & (predicted.astype(str) != "")
        metrics: Any = classification_metrics(measured[both], predicted[both].astype(str))
        inside = [m in str(p).split("|") for m, p in zip(measured[both], possible[both], strict=True)]
    else:
        metrics = regression_metrics(measured, predicted)
        both = np.isfinite(measured) & np.isfinite(predicted)
        inside = ((lower <= measured) & (measured <= upper))[both]
    return Predicted(
        ids,
        measured,
        predicted,
        lower,
        upper,
        possible,
        metrics,
        float(np.mean(inside)) if len(inside) else float("nan"),
    )


def target_result(
    data: Joined,
    held_out: HeldOut,
    target: CalibratedTarget,
    tested: Predicted | None,
    importance: Any,
    coverage: float,
    head: str,
) -> TargetResult:
    """Return the results of one target."""
    n, rows = len(data.spectra), held_out.rows
    others = held_out.others
    codes = np.unique(data.groups[rows], return_inverse=True)[1]
    if target.classes:
        cross_validated, errors = _classes_left_out(data, held_out, target, coverage)
    else:
        lower, upper = _left_out_intervals(held_out, codes, coverage)
        full = {name: np.full(n, np.nan) for name in ("predicted", "lower", "upper")}
        for name, values in (("predicted", held_out.centre.mean(axis=0)), ("lower", lower), ("upper", upper)):
            full[name][rows] = values
        cross_validated = compared(
            data.spectra.ids, target, held_out.target.values, full["predicted"], full["lower"], full["upper"], None
        )
        cross_validated = replace(cross_validated, metrics=_mean_metrics(held_out.measured, held_out.centre))
        errors = {
            name: np.square(values - held_out.measured).mean(axis=0)
            for name, values in {"": held_out.centre, **others}.items()
        }
    reference = next(name for name in others if name.startswith("PLS"))
    comparisons = []
    for name, predicted in {"": held_out.centre, **others}.items():
        if target.classes:
            words = np.asarray(target.classes)
            each = [
                classification_metrics(words[held_out.measured.astype(int)], words[p.astype(int)]) for p in predicted
            ]
            metrics: Any = _mean_of(each)
        else:
            metrics = _mean_metrics(held_out.measured, predicted)
        ratio = (1.0, 1.0, 1.0) if name == reference else rmse_ratio_interval(errors[name], errors[reference], codes)
        if target.classes and name != reference:
            # Shares of errors: without the root.
            ratio = tuple(value**2 for value in ratio)  # type: ignore[assignment]
        comparisons.append(Comparison(name or f"Embedding + {head}", metrics, *ratio))
    learning = tuple(
        LearningPoint(size, *_error_and_deviation(folds, held_out.target))
        for size, folds in _merged(held_out.learning)
        if len(folds) > 1  # the deviation needs two folds
    )
    return TargetResult(
        target.name,
        held_out.target.task,
        target.classes,
        cross_validated,
        tested,
        tuple(comparisons),
        learning,
        importance,
    )


def _mean_metrics(measured: NDArray[Any], predicted: NDArray[np.float64]) -> Any:
    """Return the figures of merit, averaged over repetitions."""
    return _mean_of([regression_metrics(measured, one) for one in predicted])


def _mean_of(each: Sequence[Any]) -> Any:
    kind = type(each[0])
    means = {name: float(np.mean([getattr(one, name) for one in each])) for name in each[0].__dataclass_fields__}
    return kind(**{**means, "n": each[0].n})


def _left_out_intervals(held_out: HeldOut, codes: NDArray[np.intp], coverage: float) -> tuple[Any, Any]:
    """Return lower and upper bounds of calibration samples, each from residuals of other folds."""
    centre = held_out.centre.mean(axis=0)
    scale = np.ones(len(centre)) if held_out.scale is None else held_out.scale.mean(axis=0)
    residuals = held_out.nonconformity()
    half = np.empty(len(centre))
    for fold in np.unique(held_out.fold):
        others = held_out.fold != fold
        width = conformal_quantile(residuals[others], len(np.unique(codes[others])), coverage)
        half[~others] = width
    return centre - half * scale, centre + half * scale


def _classes_left_out(
    data: Joined, held_out: HeldOut, target: CalibratedTarget, coverage: float
) -> tuple[Predicted, dict[str, NDArray[np.float64]]]:
    assert held_out.scores is not None
    n, rows = len(data.spectra), held_out.rows
    words = np.asarray(target.classes)
    votes = np.stack([(held_out.centre == k).sum(axis=0) for k in range(len(words))], axis=1)
    # The most frequent class; ties go to the higher score.
    scores = held_out.scores.mean(axis=0)
    chosen = (votes + 1e-9 * scores.argsort(axis=1).argsort(axis=1)).argmax(axis=1)
    predicted, possible = np.full(n, "", dtype=object), np.full(n, "", dtype=object)
    predicted[rows] = words[chosen]
    limit = conformal_quantile(held_out.nonconformity(), target.n_samples, coverage)
    possible[rows] = join_possible(words, scores, limit)
    predicted_classes = compared(data.spectra.ids, target, held_out.target.values, predicted, None, None, possible)
    each = [classification_metrics(words[held_out.measured.astype(int)], words[p.astype(int)]) for p in held_out.centre]
    weights = 1.0 / np.bincount(held_out.measured.astype(int), minlength=len(words))[held_out.measured.astype(int)]
    errors = {
        name: weights * (values != held_out.measured).mean(axis=0)
        for name, values in {"": held_out.centre, **held_out.others}.items()
    }
    return replace(predicted_classes, metrics=_mean_of(each)), errors


def _error_and_deviation(folds: Sequence[tuple[NDArray[Any], NDArray[Any]]], target: Target) -> tuple[float, float]:
    """Return the error and its standard deviation between folds.

    RMSE is averaged over folds. The error of classes is that of all folds together, since some
    folds lack rare classes.
    """
    if target.classes:
        each = [classification_metrics(*fold).error for fold in folds]
        measured, predicted = (np.concatenate(part) for part in zip(*folds, strict=True))
        return classification_metrics(measured, predicted).error, float(np.std(each))
    each = [regression_metrics(*fold).rmse for fold in folds]
    return float(np.mean(each)), float(np.std(each))


def _merged(learning: dict[int, list[Any]]) -> list[tuple[int, list[Any]]]:
    """Merge points whose numbers of samples differ by at most 10 %, as those of folds do."""
    merged: list[tuple[list[int], list[Any]]] = []
    for size in sorted(learning):
        if merged and size <= 1.1 * merged[-1][0][0]:
            merged[-1][0].append(size)
            merged[-1][1].extend(learning[size])
        else:
            merged.append(([size], list(learning[size])))
    return [(round(float(np.mean(sizes))), values) for sizes, values in merged]
