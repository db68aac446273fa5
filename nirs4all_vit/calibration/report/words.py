"""Findings of a calibration in sentences, no stronger than the numbers allow."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.stats import binomtest

from ..metrics import ClassificationMetrics, RegressionMetrics
from ..results import CalibrationResult, Comparison, LearningPoint, Predicted, TargetResult
from .formats import count, fixed, percent, significant

#: A change of the learning curve below this share of the error counts as flat, where the deviation is small too.
_FLAT = 0.03


def error_name(target: TargetResult) -> str:
    """Return what the error in cross-validation is called."""
    return "RMSECV" if target.task == "regression" else "error rate"


def reference(target: TargetResult) -> Comparison | None:
    """Return the PLS (PLS-DA) that the others are compared with, None where it is missing."""
    named = [one for one in target.comparisons if one.name.startswith("PLS")]
    exact = [one for one in target.comparisons if one.ratio == one.lower == one.upper == 1]
    return next(iter([one for one in named if one in exact] or exact or named), None)


def against_pls(target: TargetResult) -> str:
    """Say how the chosen head compares with PLS."""
    pls = reference(target)
    if pls is None:
        return ""
    chosen = target.comparisons[0]
    if chosen is pls:
        return f"The chosen method is {chosen.name}."
    name = "PLS" if target.task == "regression" else "PLS-DA"
    error = error_name(target)
    if not all(math.isfinite(value) for value in (chosen.ratio, chosen.lower, chosen.upper)):
        return f"The {error} cannot be compared with that of {name}."
    if chosen.lower <= 1 <= chosen.upper:
        interval = f"95\u00a0% interval {fixed(chosen.lower, 2)} to {fixed(chosen.upper, 2)}"
        return (
            f"No difference from {name} can be told: the ratio of the errors is {fixed(chosen.ratio, 2)} ({interval})."
        )
    if chosen.upper < 1:
        change, ends, word = 1 - chosen.ratio, (1 - chosen.upper, 1 - chosen.lower), "lower"
    else:
        change, ends, word = chosen.ratio - 1, (chosen.lower - 1, chosen.upper - 1), "higher"
    digits = 1 if min(ends) < 0.01 else 0
    interval = f"95\u00a0% interval {fixed(100 * ends[0], digits)} to {percent(ends[1], digits)}"
    return f"{_capital(error)} is {percent(change, digits)} {word} than that of {name} ({interval})."


def verdict(target: TargetResult) -> str:
    """Say how the figures of merit in cross-validation are commonly read."""
    metrics = target.cross_validated.metrics
    if isinstance(metrics, ClassificationMetrics):
        guess = 1 / max(len(target.classes), 1)
        return (
            f"Balanced accuracy is {percent(metrics.balanced_accuracy)}; guessing would reach {percent(guess)} "
            f"with {count(len(target.classes), 'class', 'classes')}."
        )
    rpd = metrics.rpd
    if not math.isfinite(rpd):
        return "RPD cannot be calculated from these values."
    rpd = round(rpd, 1)
    if rpd < 1.5:
        reading = "little better than the mean of all samples"
    elif rpd < 2:
        reading = "enough to tell high from low values"
    elif rpd < 3:
        reading = "enough for rough screening"
    else:
        reading = "good"
    return f"An RPD of {fixed(rpd, 1)} is commonly read as {reading}."


def coverage_sentence(part: Predicted, asked: float, *, numeric: bool) -> str:
    """Say which share of the measured values the intervals (the sets of possible classes) hold, and whether that fits."""
    what = "intervals" if numeric else "sets of possible classes"
    n = part.metrics.n
    if not n or not math.isfinite(part.coverage):
        return f"The coverage of the {what} was not measured."
    held = min(max(round(part.coverage * n), 0), n)
    ends = binomtest(held, n).proportion_ci(0.95, method="wilson")
    share = f"95\u00a0% interval of that share {fixed(100 * ends.low, 0)} to {percent(ends.high)}"
    if numeric:
        first = f"{percent(part.coverage, 1)} of {count(n, 'measured value')} lie inside their intervals ({share})"
    else:
        classes = count(n, "true class", "true classes")
        first = f"{percent(part.coverage, 1)} of {classes} are among the possible ones ({share})"
    fit = f"This agrees with the {percent(asked)} that was asked for."
    if ends.low > asked:
        fit = f"This is more than the {percent(asked)} that was asked for: the {what} are {'wider' if numeric else 'larger'} than needed."
    elif ends.high < asked:
        fit = f"This is less than the {percent(asked)} that was asked for: the {what} are too {'narrow' if numeric else 'small'}."
    return f"{first}. {fit}"


def would_more_help(target: TargetResult) -> str:
    """Say what the last step of the learning curve tells about more samples."""
    curve = [point for point in target.learning_curve if math.isfinite(point.error)]
    if len(curve) < 2:
        return "Too few points to tell whether more samples would help."
    last: Sequence[LearningPoint] = curve[-2:]
    before, after = last
    noise = math.hypot(*(point.deviation if math.isfinite(point.deviation) else 0.0 for point in last))
    fall = before.error - after.error
    share = abs(fall) / before.error if before.error > 0 else 0.0
    error = error_name(target)
    step = f"From {before.n_samples:,} to {count(after.n_samples, 'sample')} the {error}"
    if share <= _FLAT and noise <= 2 * _FLAT * before.error:
        return f"{step} hardly changed: more samples of the same kind would probably help little."
    if abs(fall) <= noise:
        direction = "fell" if fall > 0 else "rose"
        return (
            f"{step} {direction} by {percent(share)}, less than the deviation between repetitions: "
            "whether more samples would help cannot be told."
        )
    if fall > 0:
        return (
            f"{step} fell by {percent(share)}, more than the deviation between repetitions: more samples would "
            "probably help, though each adds less than the one before."
        )
    return f"{step} rose by {percent(share)}: the samples added last differ from the others, and are worth a look."


def headline(target: TargetResult) -> str:
    """Return the main figures of merit of a target in one line."""
    metrics = target.cross_validated.metrics
    if isinstance(metrics, RegressionMetrics):
        return f"RMSECV {significant(metrics.rmse)}, R² {fixed(metrics.r2, 3)}, {count(metrics.n, 'sample')}."
    return f"Accuracy {percent(metrics.accuracy)}, {count(metrics.n, 'sample')}."


def outliers_sentence(result: CalibrationResult) -> str:
    """Say how many spectra stand apart."""
    n = len(result.outliers)
    if not n:
        return "No spectrum stands apart."
    return f"{count(n, 'spectrum stands', 'spectra stand')} apart from the others."


def findings_sentence(result: CalibrationResult) -> str:
    """Say what the checks found."""
    if not result.findings:
        return "The checks found nothing odd."
    kinds = [count(sum(one.severity == kind for one in result.findings), kind) for kind in ("error", "warning", "note")]
    present = [text for text in kinds if not text.startswith("0\u00a0")]
    return f"The checks found {_listed(present)}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
