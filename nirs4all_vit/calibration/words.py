"""Figures of merit of a calibration as lines of text."""

from __future__ import annotations

from .metrics import RegressionMetrics
from .report.words import against_pls
from .results import CalibrationResult

#: Largest number of classes that a line names.
_NAMED = 6


def summary_lines(result: CalibrationResult) -> list[str]:
    """Return the figures of merit of each target, and its comparison with PLS, as lines of text."""
    lines = []
    for one in result.targets:
        parts = [("cross-validation", one.cross_validated)] + ([("test", one.test)] if one.test is not None else [])
        for name, part in parts:
            m = part.metrics
            if isinstance(m, RegressionMetrics):
                error = "RMSECV" if name == "cross-validation" else "RMSEP"
                figures = (
                    f"{error} {m.rmse:.4g}, R2 {m.r2:.3f}, bias {m.bias:.3g}, SEP {m.sep:.4g}, RPD {m.rpd:.2f}, "
                    f"RPIQ {m.rpiq:.2f}"
                )
            else:
                figures = f"accuracy {m.accuracy:.3f}, balanced accuracy {m.balanced_accuracy:.3f}, F1 {m.f1:.3f}"
            what = ""
            if one.classes and name == "cross-validation":
                more = f" and {len(one.classes) - _NAMED} more" if len(one.classes) > _NAMED else ""
                what = f" (classes: {', '.join(one.classes[:_NAMED])}{more})"
            lines.append(f"{one.name}, {name} of {m.n} samples{what}: {figures}")
        lines.append(f"  {against_pls(one)}".replace("\u00a0", " "))
    return lines
