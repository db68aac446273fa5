"""A calibration's figures of merit in sentences and lines."""

from __future__ import annotations

from .metrics import RegressionMetrics
from .results import CalibrationResult, Comparison, TargetResult


def against_pls(one: TargetResult) -> str:
    """Say how the chosen head compares with PLS."""
    head = one.comparisons[0]
    figure = "RMSECV" if one.task == "regression" else "the error of the classes"
    pls = "PLS" if one.task == "regression" else "PLS-DA"
    if head.lower > 1.0:
        return f"{figure} is {_percent(head.ratio - 1)} higher than that of {pls} ({_range(head)})"
    if head.upper < 1.0:
        return f"{figure} is {_percent(1 - head.ratio)} lower than that of {pls} ({_range(head)})"
    return f"no difference from {pls} can be told ({_range(head)} of its {'RMSECV' if one.task == 'regression' else 'error'})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _range(head: Comparison) -> str:
    return f"ratio {head.ratio:.2f}, 95 % interval {head.lower:.2f} to {head.upper:.2f}"


def summary_lines(result: CalibrationResult) -> list[str]:
    """Return a line or two for each target."""
    lines = []
    for one in result.targets:
        parts = [("cross-validation", one.cross_validated)] + ([("test", one.test)] if one.test is not None else [])
        for name, part in parts:
            m = part.metrics
            if isinstance(m, RegressionMetrics):
                error = "RMSECV" if name == "cross-validation" else "RMSEP"
                figures = f"{error} {m.rmse:.4g}, R2 {m.r2:.3f}, bias {m.bias:.3g}, SEP {m.sep:.4g}, RPD {m.rpd:.2f}, RPIQ {m.rpiq:.2f}"
            else:
                figures = f"accuracy {m.accuracy:.3f}, balanced accuracy {m.balanced_accuracy:.3f}, F1 {m.f1:.3f}"
            what = f" (classes: {', '.join(one.classes[:6])})" if one.classes and name == "cross-validation" else ""
            lines.append(f"{one.name}, {name} of {m.n} samples{what}: {figures}")
        lines.append(f"  {against_pls(one)}")
    return lines
