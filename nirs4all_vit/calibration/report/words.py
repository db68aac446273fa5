"""Results of a calibration in sentences, with statements that the numbers support."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.stats import binomtest

from ..metrics import ClassificationMetrics, RegressionMetrics
from ..results import CalibrationResult, Comparison, LearningPoint, Predicted, TargetResult
from .formats import count, fixed, percent, significant

#: A learning curve is flat if its last change is at most this share of the error, and the
#: deviation at most twice this share.
_FLAT = 0.03


def error_name(target: TargetResult) -> str:
    """Return the name of the error in cross-validation."""
    return "RMSECV" if target.task == "regression" else "error rate"


def reference(target: TargetResult) -> Comparison | None:
    """Return the PLS (PLS-DA) that is the reference of the ratios; None if it is missing."""
    named = [one for one in target.comparisons if one.name.startswith("PLS")]
    exact = [one for one in target.comparisons if one.ratio == one.lower == one.upper == 1]
    return next(iter([one for one in named if one in exact] or exact or named), None)


def against_pls(target: TargetResult) -> str:
    """Return the comparison of the chosen head with PLS in words."""
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
            f"The difference from {name} is not significant: the ratio of the errors is {fixed(chosen.ratio, 2)} "
            f"({interval})."
        )
    if chosen.upper < 1:
        change, ends, word = 1 - chosen.ratio, (1 - chosen.upper, 1 - chosen.lower), "lower"
    else:
        change, ends, word = chosen.ratio - 1, (chosen.lower - 1, chosen.upper - 1), "higher"
    digits = 1 if min(ends) < 0.01 else 0
    interval = f"95\u00a0% interval {fixed(100 * ends[0], digits)} to {percent(ends[1], digits)}"
    return f"{_capital(error)} is {percent(change, digits)} {word} than that of {name} ({interval})."


def verdict(target: TargetResult) -> str:
    """Return the common interpretation of the figures of merit in cross-validation."""
    metrics = target.cross_validated.metrics
    if isinstance(metrics, ClassificationMetrics):
        guess = 1 / max(len(target.classes), 1)
        return (
            f"Balanced accuracy is {percent(metrics.balanced_accuracy)}; random guesses would reach {percent(guess)} "
            f"with {count(len(target.classes), 'class', 'classes')}."
        )
    rpd = metrics.rpd
    if not math.isfinite(rpd):
        return "RPD cannot be calculated from these values."
    rpd = round(rpd, 1)
    if rpd < 1.5:
        reading = "little better than the mean of all samples"
    elif rpd < 2:
        reading = "enough to distinguish high from low values"
    elif rpd < 3:
        reading = "enough for rough screening"
    else:
        reading = "good"
    return f"An RPD of {fixed(rpd, 1)} is commonly read as {reading}."


def coverage_sentence(part: Predicted, nominal: float, *, numeric: bool) -> str:
    """Return the coverage of the intervals (sets of classes) in words, against the nominal one."""
    what = "intervals" if numeric else "sets of possible classes"
    n = part.metrics.n
    if not n or not math.isfinite(part.coverage):
        return f"The coverage of the {what} was not measured."
    held = min(max(round(part.coverage * n), 0), n)
    ends = binomtest(held, n).proportion_ci(0.95, method="wilson")
    share = f"95\u00a0% interval of that share {fixed(100 * ends.low, 0)} to {percent(ends.high)}"
    if numeric:
        first = f"{percent(part.coverage, 1)} of {count(n, 'measured value')} are inside their intervals ({share})"
    else:
        classes = count(n, "true class", "true classes")
        first = f"{percent(part.coverage, 1)} of {classes} are in their sets of possible classes ({share})"
    against = f"the nominal coverage of {percent(nominal)}"
    fit = f"This agrees with {against}."
    if ends.low > nominal:
        fit = f"This is more than {against}: the {what} are {'wider' if numeric else 'larger'} than needed."
    elif ends.high < nominal:
        fit = f"This is less than {against}: the {what} are too {'narrow' if numeric else 'small'}."
    return f"{first}. {fit}"


def would_more_help(target: TargetResult) -> str:
    """Return in words whether the last step of the learning curve suggests more samples."""
    curve = [point for point in target.learning_curve if math.isfinite(point.error)]
    if len(curve) < 2:
        return "The learning curve has too few points to show whether more samples would help."
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
            f"{step} {direction} by {percent(share)}, less than the deviation between folds: "
            "the effect of more samples is uncertain."
        )
    if fall > 0:
        return (
            f"{step} fell by {percent(share)}, more than the deviation between folds: more samples would "
            "probably help, each less than the previous one."
        )
    return f"{step} rose by {percent(share)}: the samples added last may differ from the others; check them."


def headline(target: TargetResult) -> str:
    """Return the main figures of merit of a target in one line."""
    metrics = target.cross_validated.metrics
    if isinstance(metrics, RegressionMetrics):
        return f"RMSECV {significant(metrics.rmse)}, R² {fixed(metrics.r2, 3)}, {count(metrics.n, 'sample')}."
    return f"Accuracy {percent(metrics.accuracy)}, {count(metrics.n, 'sample')}."


def outliers_sentence(result: CalibrationResult) -> str:
    """Return the number of outliers in words."""
    n = len(result.outliers)
    if not n:
        return "No spectrum is an outlier."
    return f"{count(n, 'spectrum is an outlier', 'spectra are outliers')}."


def findings_sentence(result: CalibrationResult) -> str:
    """Return the number of findings in words."""
    if not result.findings:
        return "The checks found no problem."
    kinds = [count(sum(one.severity == kind for one in result.findings), kind) for kind in ("error", "warning", "note")]
    present = [text for text in kinds if not text.startswith("0\u00a0")]
    return f"The checks found {_listed(present)}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
