"""All samples of a calibration with common row numbers for figures and table, test set last."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..results import CalibrationResult, Metrics, Predicted, TargetResult
from .formats import MISSING, decimals_for, fixed, rounded

#: Rows of the static tables, for print and for browsers without JavaScript.
N_STATIC_ROWS = 200
#: Targets per static table.
_N_SIDE_BY_SIDE = 2
_DISTANCES = ["T²", "Q", "Reason"]


@dataclass(frozen=True, eq=False)
class Columns:
    """One target for all samples.

    Attributes
    ----------
    target : TargetResult
    decimals : int
        Decimals of its values in the report.
    measured, predicted, lower, upper : ndarray of shape (n_rows,)
        float64 with NaN, or str with "".
    possible : ndarray of shape (n_rows,), str
    """

    target: TargetResult
    decimals: int
    measured: NDArray[Any]
    predicted: NDArray[Any]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    possible: NDArray[Any]

    @property
    def is_numeric(self) -> bool:
        return self.target.task == "regression"


class Samples:
    """Rows of the calibration set, followed by those of the test set.

    Attributes
    ----------
    ids, groups : list of str
    n_calibration : int
    t2, q : ndarray of shape (n_rows,)
        NaN for the test set.
    reasons : dict of int to str
    columns : list of Columns
    """

    def __init__(self, result: CalibrationResult) -> None:
        self.ids = [str(name) for name in result.ids]
        self.groups = [str(name) for name in result.groups]
        self.n_calibration = len(self.ids)
        rows: dict[tuple[str, int], int] = {}
        for target in result.targets:
            for name in [] if target.test is None else _numbered(target.test.ids):
                rows.setdefault(name, self.n_calibration + len(rows))
        self._test_rows = rows
        self.ids += [name for name, _ in rows]
        self.groups += [""] * len(rows)
        empty = np.full(len(rows), np.nan)
        self.t2 = np.concatenate([np.asarray(result.t2, dtype=np.float64), empty])
        self.q = np.concatenate([np.asarray(result.q, dtype=np.float64), empty])
        self.reasons = {int(row): str(reason) for row, reason in sorted(result.outliers.items())}
        self.columns = [self._columns(target) for target in result.targets]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def has_replicates(self) -> bool:
        groups = self.groups[: self.n_calibration]
        return groups != self.ids[: self.n_calibration] or len(set(groups)) < len(groups)

    def test_rows(self, predicted: Predicted) -> NDArray[np.intp]:
        """Return the row of each sample of a test set."""
        return np.array([self._test_rows[name] for name in _numbered(predicted.ids)], dtype=np.intp)

    def _columns(self, target: TargetResult) -> Columns:
        numeric = target.task == "regression"
        size = len(self)
        blank = np.full(size, np.nan) if numeric else np.full(size, "", dtype=object)
        measured, predicted, possible = blank.copy(), blank.copy(), np.full(size, "", dtype=object)
        lower, upper = np.full(size, np.nan), np.full(size, np.nan)
        parts = [(target.cross_validated, np.arange(self.n_calibration))]
        if target.test is not None:
            parts.append((target.test, self.test_rows(target.test)))
        for part, rows in parts:
            measured[rows], predicted[rows] = part.measured, part.predicted
            if part.lower is not None and part.upper is not None:
                lower[rows], upper[rows] = part.lower, part.upper
            if part.possible is not None:
                possible[rows] = part.possible
        decimals = decimals_for(rmse(target.cross_validated.metrics), measured) if numeric else 0
        return Columns(target, decimals, measured, predicted, lower, upper, possible)

    def for_json(self) -> dict[str, Any]:
        """Return the data of the page's table and hover labels.

        Numbers are integers in units of the last decimal shown. Intervals are distances below and
        above the predicted value.
        """
        return {
            "ids": self.ids,
            "groups": self.groups if self.has_replicates else None,
            "calibration": self.n_calibration,
            "t2": rounded(self.t2, 2),
            "q": rounded(self.q, 2),
            "reasons": {str(row): reason for row, reason in self.reasons.items()},
            "targets": [_column_json(columns) for columns in self.columns],
        }

    def static_tables(self) -> list[dict[str, Any]]:
        """Return caption, header and first rows of the static tables as text.

        There is a table per two targets; with several targets, T2 and Q have their own table.
        """
        rows = range(min(len(self), N_STATIC_ROWS))
        part = "All samples" if len(rows) == len(self) else f"The first {len(rows)} of {len(self):,} samples"
        tables = []
        for first in range(0, len(self.columns), _N_SIDE_BY_SIDE):
            tables.append(_static_table(self, self.columns[first : first + _N_SIDE_BY_SIDE], rows, part))
        if len(self.columns) == 1:
            return tables
        distances = [[self.ids[row], *self.distances(row)] for row in rows]
        return [
            *tables,
            {"caption": f"{part}: T² and Q", "spans": [], "head": ["Sample", *_DISTANCES], "rows": distances},
        ]

    def distances(self, row: int) -> list[str]:
        """Return T2, Q and the reason why a sample is an outlier, as text."""
        return [fixed(self.t2[row], 2), fixed(self.q[row], 2), self.reasons.get(row, "")]


def _numbered(ids: Iterable[Any]) -> list[tuple[str, int]]:
    """Return ids with a number of occurrence, since replicates may share an id."""
    seen: Counter[str] = Counter()
    numbered = []
    for name in map(str, ids):
        numbered.append((name, seen[name]))
        seen[name] += 1
    return numbered


def rmse(metrics: Metrics) -> float:
    """Return the root mean squared error; NaN for classes."""
    return float(getattr(metrics, "rmse", math.nan))


def _column_json(columns: Columns) -> dict[str, Any]:
    about: dict[str, Any] = {"name": columns.target.name, "numeric": columns.is_numeric}
    if columns.is_numeric:
        scale = 10**columns.decimals
        about["decimals"] = columns.decimals
        steps = {key: np.round(getattr(columns, key) * scale) for key in ("measured", "predicted", "lower", "upper")}
        # Differences have fewer digits, which matters with 15,000 samples and twelve targets.
        steps["below"] = steps["predicted"] - steps.pop("lower")
        steps["above"] = steps.pop("upper") - steps["predicted"]
        for key, values in steps.items():
            about[key] = rounded(values, 0) if np.isfinite(values).any() else None
        return about
    texts = [columns.measured, columns.predicted, columns.possible]
    words, codes = np.unique(np.concatenate([column.astype(str) for column in texts]), return_inverse=True)
    about["words"] = words.tolist()
    for key, part in zip(("measured", "predicted", "possible"), np.split(codes, 3), strict=True):
        about[key] = part.tolist()
    return about


def _static_table(samples: Samples, targets: list[Columns], rows: range, part: str) -> dict[str, Any]:
    lead = ["Sample", "Group"] if samples.has_replicates else ["Sample"]
    head = list(lead)
    spans = [("", len(lead))]
    for columns in targets:
        own = ["Measured", "Predicted", *(["Interval", "Residual"] if columns.is_numeric else ["Possible classes"])]
        head += own
        spans.append((columns.target.name, len(own)))
    alone = len(samples.columns) == 1
    if alone:
        head += _DISTANCES
        spans.append(("", len(_DISTANCES)))
    body = []
    for row in rows:
        cells = [samples.ids[row], *([samples.groups[row]] if samples.has_replicates else [])]
        cells += [text for columns in targets for text in _values(columns, row)]
        body.append(cells + (samples.distances(row) if alone else []))
    return {"caption": f"{part}: predictions", "spans": spans, "head": head, "rows": body}


def _values(columns: Columns, row: int) -> list[str]:
    measured, predicted = columns.measured[row], columns.predicted[row]
    if not columns.is_numeric:
        return [str(measured) or MISSING, str(predicted), str(columns.possible[row]).replace("|", ", ") or MISSING]
    digits = columns.decimals
    low, high = columns.lower[row], columns.upper[row]
    interval = f"{fixed(low, digits)} to {fixed(high, digits)}" if np.isfinite([low, high]).any() else MISSING
    return [
        fixed(measured, digits),
        fixed(predicted, digits),
        interval,
        fixed(predicted - measured, digits, sign=True),
    ]
