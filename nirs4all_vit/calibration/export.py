"""Results of a calibration as JSON and as a table."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from .results import CalibrationResult

if TYPE_CHECKING:
    import pandas as pd


def metrics_of(result: CalibrationResult) -> dict[str, Any]:
    """Return all figures of merit as JSON types."""
    targets = {}
    for one in result.targets:
        row: dict[str, Any] = {
            "task": one.task,
            "cross_validation": {**asdict(one.cross_validated.metrics), "coverage": one.cross_validated.coverage},
            "compared": {
                c.name: {**asdict(c.metrics), "ratio_to_pls": c.ratio, "ratio_95": [c.lower, c.upper]}
                for c in one.comparisons
            },
            "learning_curve": [asdict(point) for point in one.learning_curve],
        }
        if one.test is not None:
            row["test"] = {**asdict(one.test.metrics), "coverage": one.test.coverage}
        targets[one.name] = row
    outliers = [{"row": row, "id": str(result.ids[row]), "reason": reason} for row, reason in result.outliers.items()]
    findings = [asdict(finding) for finding in result.findings]
    return _finite(
        {
            "targets": targets,
            "outliers": outliers,
            "findings": findings,
            "settings": result.settings,
            "provenance": result.provenance,
        }
    )


def predictions_of(result: CalibrationResult) -> pd.DataFrame:
    """Return a row per sample: first the cross-validated samples, then the test set."""
    import pandas as pd

    parts = [("cross-validation", [one.cross_validated for one in result.targets])]
    if result.targets[0].test is not None:
        parts.append(("test", [one.test for one in result.targets if one.test is not None]))
    frames = []
    for name, each in parts:
        frame = pd.DataFrame({"id": each[0].ids, "set": name})
        if name == "cross-validation" and not np.array_equal(result.groups, result.ids):
            frame["group"] = result.groups
        for target, one in zip(result.targets, each, strict=True):
            frame[f"{target.name} measured"], frame[f"{target.name} predicted"] = one.measured, one.predicted
            if one.lower is not None:
                frame[f"{target.name} lower"], frame[f"{target.name} upper"] = one.lower, one.upper
            if one.possible is not None:
                frame[f"{target.name} possible"] = one.possible
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _finite(thing: Any) -> Any:
    """Replace NaN and infinity, which JSON does not have, by None."""
    if isinstance(thing, dict):
        return {key: _finite(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [_finite(value) for value in thing]
    return None if isinstance(thing, float) and not np.isfinite(thing) else thing
