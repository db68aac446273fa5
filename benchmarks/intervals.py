"""Prediction intervals: nominal against empirical coverage."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from nirs4all_vit.heads import CrossConformalRegressor, make_head

from .context import Context, mean_rmsep, parts, scores
from .embeddings import EmbeddedView
from .encoders import DEFAULT
from .methods.registry import PARAMETERS, parse_method
from .tables import measured, write_table
from .tasks import Task

#: Nominal coverages of the prediction intervals.
COVERAGES = (0.8, 0.9, 0.95)
#: Method whose intervals have constant width.
_CONSTANT_WIDTH = f"ridge@{DEFAULT}"


def measure(task: Task, context: Context) -> dict[str, Any]:
    """Fit a head with conformal intervals on the embedding; measure coverage on the test set."""
    train, test, about = parts(task, context)
    head, encoder, readout = parse_method(task.method)
    parameters = PARAMETERS.get(head, {})
    view = EmbeddedView(context.weights[encoder], readout, context.embeddings, **parameters).fit(train)
    fitted = CrossConformalRegressor(make_head(head))
    fitted.fit(view.view(train, "embedding"), train.y, groups=train.groups)
    embedded = view.view(test, "embedding")
    figures = {**about, **scores(test, fitted.predict(embedded)), "mean_rmsep": mean_rmsep(test.y, train.y)}
    far = _distances(view.view(train, "embedding"), embedded)
    far = far > np.median(far)
    for nominal in COVERAGES:
        low, high = fitted.predict_interval(embedded, nominal).T
        held = (low <= test.y) & (test.y <= high)
        figures[f"coverage_{nominal}"] = float(held.mean())
        figures[f"far_{nominal}"] = float(held[far].mean()) if far.any() else np.nan
        figures[f"width_{nominal}"] = float(np.mean(high - low)) / (float(test.y.std()) or 1.0)
    return figures


def _distances(train: NDArray, test: NDArray) -> NDArray[np.float64]:
    """Return Hotelling's T2 of test samples (m,), in at most ten principal components."""
    pca = PCA(max(1, min(10, len(train) // 3)), svd_solver="randomized", random_state=0).fit(train)
    return np.square(pca.transform(test) / np.sqrt(pca.explained_variance_ + 1e-12)).sum(axis=1)


def _relative_width(table: pd.DataFrame, method: str, column: str) -> float:
    """Return the geometric mean of widths, relative to those of ridge, which are constant."""
    widths = table.pivot_table(index=["dataset", "target", "seed"], columns="method", values=column)
    if _CONSTANT_WIDTH not in widths:
        return np.nan
    return float(np.exp(np.log(widths[method] / widths[_CONSTANT_WIDTH]).mean()))


def report(tables: dict[str, pd.DataFrame], to: Path) -> None:
    """Write coverage and width of the intervals of each method."""
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
            "coverage of the far half": by_target[f"far_{nominal}"].mean().mean()
            if f"far_{nominal}" in table
            else np.nan,
            "mean width / SD": by_target[f"width_{nominal}"].mean().median(),
            "width / ridge's": _relative_width(table, method, f"width_{nominal}"),
        }
        rows.append(row)
    write_table(pd.DataFrame(rows), to / "intervals")
