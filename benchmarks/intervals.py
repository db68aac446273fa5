"""Prediction intervals: nominal against empirical coverage."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nirs4all_vit.heads import CrossConformalRegressor, make_head

from .context import Context, mean_rmsep, parts, scores
from .embeddings import EmbeddedView
from .methods.registry import parse_method
from .tables import measured, write_table
from .tasks import Task

#: What share of answers prediction intervals are asked to hold.
COVERAGES = (0.8, 0.9, 0.95)


def measure(task: Task, context: Context) -> dict[str, Any]:
    """Fit a head with conformal intervals on the embedding; how many of the test set's answers do they hold?"""
    train, test, about = parts(task, context)
    head, encoder, readout = parse_method(task.method)
    view = EmbeddedView(context.weights[encoder], readout, context.embeddings).fit(train)
    fitted = CrossConformalRegressor(make_head(head))
    fitted.fit(view.view(train, "embedding"), train.y, groups=train.groups)
    embedded = view.view(test, "embedding")
    figures = {**about, **scores(test, fitted.predict(embedded)), "mean_rmsep": mean_rmsep(test.y, train.y)}
    for nominal in COVERAGES:
        low, high = fitted.predict_interval(embedded, nominal).T
        figures[f"coverage_{nominal}"] = float(((low <= test.y) & (test.y <= high)).mean())
        figures[f"width_{nominal}"] = float(np.median(high - low)) / (float(test.y.std()) or 1.0)
    return figures


def report(tables: dict[str, pd.DataFrame], to: Path) -> None:
    """Write how many answers the intervals of each method hold, and how wide they are."""
    table = measured(tables["intervals"], "rmsep")
    if table.empty:
        return
    rows = []
    for method, nominal in product(sorted(set(table["method"])), COVERAGES):
        by_target = table[table["method"] == method].groupby(["family", "dataset", "target"])
        coverage = by_target[f"coverage_{nominal}"].mean()
        row = {
            "method": method,
            "nominal": nominal,
            "targets": len(coverage),
            "coverage": coverage.mean(),
            "coverage by family": coverage.groupby("family").mean().mean(),
            "worst tenth of targets": coverage.quantile(0.1),
            "median width / SD": by_target[f"width_{nominal}"].mean().median(),
        }
        rows.append(row)
    write_table(pd.DataFrame(rows), to / "intervals")
