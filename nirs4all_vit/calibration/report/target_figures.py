"""Figures of a regression target: predicted against measured values, residuals, intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metrics import RegressionMetrics
from .figures import (
    BLACK,
    BLUE,
    VERMILION,
    Figure,
    Trace,
    axis,
    drawn_rows,
    drawn_sentence,
    level,
    note,
)
from .formats import count, figure_text, fixed, like, nice_step, rounded, significant
from .samples import Columns, Samples

#: Largest number of samples with error bars, and of intervals in the interval figure.
N_BARS, N_INTERVALS = 200, 300


@dataclass(frozen=True, eq=False)
class Part:
    """Samples of cross-validation or test set with measured and predicted value, for a figure."""

    name: str
    rows: NDArray[np.intp]
    n: int
    color: str
    symbol: str
    metrics: RegressionMetrics


def parts_of(samples: Samples, columns: Columns, limit: int) -> list[Part]:
    """Return cross-validation and any test set, with the rows to draw."""
    residual = np.abs(columns.predicted - columns.measured)
    parts = []
    target = columns.target
    blocks = [("Cross-validation", np.arange(samples.n_calibration), BLUE, "circle", target.cross_validated)]
    if target.test is not None:
        blocks.append(("Test set", samples.test_rows(target.test), VERMILION, "diamond", target.test))
    for name, rows, color, symbol, predicted in blocks:
        assert isinstance(predicted.metrics, RegressionMetrics)
        rows = rows[np.isfinite(residual[rows])]
        worst = rows[np.argsort(-residual[rows])[:20]]
        always = [*(row for row in samples.reasons if np.isfinite(residual[row])), *worst.tolist()]
        drawn = drawn_rows(rows, always, limit)
        parts.append(Part(name, drawn, len(rows), color, symbol, predicted.metrics))
    return parts


def _points(part: Part, x: NDArray[np.float64], y: NDArray[np.float64], digits: int, hover: str) -> Trace:
    many = len(part.rows) > 400
    return {
        "type": "scatter",
        "mode": "markers",
        "name": part.name,
        "x": rounded(x[part.rows], digits),
        "y": rounded(y[part.rows], digits),
        "rows": part.rows.tolist(),
        "marker": {
            "color": part.color,
            "symbol": part.symbol,
            "size": 5 if many else 7,
            "opacity": 0.45 if many else 0.7,
            "line": {"color": "#ffffff", "width": 0.5},
        },
        "hovertemplate": hover,
    }


def _ringed(
    samples: Samples, parts: list[Part], x: NDArray[np.float64], y: NDArray[np.float64], digits: int
) -> list[Trace]:
    """Return rings around the outliers."""
    drawn = np.concatenate([part.rows for part in parts]) if parts else np.array([], dtype=np.intp)
    rows = np.array([row for row in samples.reasons if row in set(drawn.tolist())], dtype=np.intp)
    if not len(rows):
        return []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "Outlier",
            "x": rounded(x[rows], digits),
            "y": rounded(y[rows], digits),
            "marker": {"symbol": "circle-open", "size": 12, "color": BLACK, "line": {"width": 1.4, "color": BLACK}},
            "hoverinfo": "skip",
        }
    ]


def _span(values: NDArray[np.float64], pad: float = 0.05) -> list[float]:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    margin = pad * (high - low) or max(abs(low) * pad, 1e-3)
    return [low - margin, high + margin]


def predicted_figure(samples: Samples, columns: Columns, number: int, limit: int) -> Figure:
    """Return predicted against measured values with the line of identity."""
    digits, parts = columns.decimals, parts_of(samples, columns, limit)
    name = columns.target.name
    hover = f"%{{text}}<br>measured %{{x:.{digits}f}}<br>predicted %{{y:.{digits}f}}<extra></extra>"
    traces: list[Trace] = []
    shown = np.concatenate([columns.measured[p.rows] for p in parts] + [columns.predicted[p.rows] for p in parts])
    ends = _span(shown.astype(np.float64))
    has_bars = sum(len(part.rows) for part in parts) <= N_BARS
    bars_drawn = False
    for part in parts:
        trace = _points(part, columns.measured, columns.predicted, digits, hover)
        low, high = (part_side[part.rows] for part_side in (columns.lower, columns.upper))
        if has_bars and np.isfinite(low).any():
            bars_drawn = True
            middle = columns.predicted[part.rows]
            trace["error_y"] = {
                "type": "data",
                "symmetric": False,
                "array": rounded(np.maximum(high - middle, 0), digits),
                "arrayminus": rounded(np.maximum(middle - low, 0), digits),
                "thickness": 0.7,
                "width": 0,
                "color": part.color,
            }
        traces.append(trace)
    traces += _ringed(samples, parts, columns.measured, columns.predicted, digits)
    step = nice_step(ends[1] - ends[0])
    line = {"type": "line", "x0": ends[0], "y0": ends[0], "x1": ends[1], "y1": ends[1], "layer": "between"}
    texts = [_figures_of_merit(part, i > 0) for i, part in enumerate(parts) if part.metrics.n]
    caption = "Predicted against measured values; the line is identity."
    if bars_drawn:
        caption += " Bars are prediction intervals."
    return Figure(
        f"predicted-{number}",
        f"Scatter figure of predicted against measured {name}. " + " ".join(_words(part) for part in parts),
        caption + _how_many(parts),
        traces,
        {
            "xaxis": axis(f"Measured {figure_text(name, 28)}", range=ends, dtick=step),
            "yaxis": axis(f"Predicted {figure_text(name, 28)}", range=ends, dtick=step),
            "shapes": [{**line, "line": {"color": "#767676", "width": 1.2}}],
            "annotations": [note("<br>".join(texts))],
        },
        0,
    )


def _figures_of_merit(part: Part, is_test: bool) -> str:
    metrics = part.metrics
    error = "RMSEP" if is_test else "RMSECV"
    return (
        f"<b>{error} {significant(metrics.rmse)}</b>  R² {fixed(metrics.r2, 3)}<br>"
        f"bias {like(metrics.bias, metrics.rmse)}  RPD {fixed(metrics.rpd, 1)}  n {metrics.n:,}"
    )


def _words(part: Part) -> str:
    metrics = part.metrics
    return f"{part.name}: RMSE {significant(metrics.rmse)}, R² {fixed(metrics.r2, 3)}, {count(metrics.n, 'sample')}."


def _how_many(parts: list[Part]) -> str:
    return drawn_sentence(sum(len(part.rows) for part in parts), sum(part.n for part in parts))


def residual_figure(samples: Samples, columns: Columns, number: int, limit: int) -> Figure:
    """Return residuals against predicted values."""
    digits, parts = columns.decimals, parts_of(samples, columns, limit)
    residual = columns.predicted - columns.measured
    hover = f"%{{text}}<br>predicted %{{x:.{digits}f}}<br>residual %{{y:.{digits}f}}<extra></extra>"
    traces = [_points(part, columns.predicted, residual, digits, hover) for part in parts]
    traces += _ringed(samples, parts, columns.predicted, residual, digits)
    shown = np.concatenate([part.rows for part in parts])
    biggest = float(np.abs(residual[shown]).max()) if len(shown) else 1.0
    return Figure(
        f"residual-{number}",
        f"Scatter figure of residuals against predicted {columns.target.name}; the largest is {significant(biggest)}.",
        "Residuals (predicted minus measured) against predicted values." + _how_many(parts),
        traces,
        {
            "xaxis": axis(f"Predicted {figure_text(columns.target.name, 28)}", range=_span(columns.predicted[shown])),
            "yaxis": axis("Residual", range=[-1.12 * biggest or -1.0, 1.12 * biggest or 1.0]),
            "shapes": [level(0, dash="solid", layer="between")],
        },
        0,
    )


def interval_figure(samples: Samples, columns: Columns, number: int) -> Figure | None:
    """Return prediction intervals, sorted by the predicted value, with the measured values."""
    rows = np.arange(samples.n_calibration)
    rows = rows[np.isfinite(columns.lower[rows]) & np.isfinite(columns.upper[rows])]
    if not len(rows):
        return None
    order = rows[np.argsort(columns.predicted[rows], kind="stable")]
    drawn = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), N_INTERVALS)).round().astype(np.intp))]
    measured, low, high = columns.measured[drawn], columns.lower[drawn], columns.upper[drawn]
    rank = np.arange(1, len(drawn) + 1)
    inside = (measured >= low) & (measured <= high)
    has_value = np.isfinite(measured)
    digits = columns.decimals
    bars: Trace = {
        "type": "scatter",
        "mode": "lines",
        "name": "Interval",
        "x": [place for i in rank.tolist() for place in (i, i, None)],
        "y": [end for pair in zip(rounded(low, digits), rounded(high, digits), strict=True) for end in (*pair, None)],
        "line": {"color": "#9ec5de", "width": 1.6 if len(drawn) > 120 else 3},
        "hoverinfo": "skip",
    }
    traces = [bars]
    hover = f"%{{text}}<br>measured %{{y:.{digits}f}}<extra></extra>"
    for name, which, color, symbol in (
        ("Measured, inside", has_value & inside, BLUE, "circle"),
        ("Measured, outside", has_value & ~inside, VERMILION, "diamond"),
    ):
        if which.any():
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": rank[which].tolist(),
                    "y": rounded(measured[which], digits),
                    "rows": drawn[which].tolist(),
                    "marker": {"color": color, "symbol": symbol, "size": 4.5 if symbol == "circle" else 7.5},
                    "hovertemplate": hover,
                }
            )
    width = float(np.median(columns.upper[rows] - columns.lower[rows]))
    caption = f"Prediction intervals, sorted by predicted value; the median width is {significant(width)}."
    return Figure(
        f"intervals-{number}",
        f"Prediction intervals of {columns.target.name}, median width {significant(width)}; "
        f"{int((has_value & ~inside).sum()):,} of {int(has_value.sum()):,} measured values drawn lie outside.",
        caption + drawn_sentence(len(drawn), len(order)),
        traces,
        {
            "xaxis": axis("Samples, by predicted value", range=_span(rank.astype(float), 0.02)),
            "yaxis": axis(figure_text(columns.target.name, 32)),
        },
        360,
    )


def coverage_by_third(samples: Samples, columns: Columns) -> list[dict[str, Any]]:
    """Return coverage and median width of intervals for thirds of the predicted values.

    With fewer than 60 samples, the list is empty.
    """
    rows = np.arange(samples.n_calibration)
    rows = rows[np.isfinite(columns.measured[rows]) & np.isfinite(columns.lower[rows])]
    if len(rows) < 60:
        return []
    thirds = np.array_split(rows[np.argsort(columns.predicted[rows], kind="stable")], 3)
    shares = []
    for name, third in zip(("Lowest third", "Middle third", "Highest third"), thirds, strict=True):
        low, high, measured = columns.lower[third], columns.upper[third], columns.measured[third]
        ends = columns.predicted[third[[0, -1]]]
        shares.append(
            {
                "name": name,
                "ends": f"{fixed(ends[0], columns.decimals)} to {fixed(ends[1], columns.decimals)}",
                "coverage": float(((measured >= low) & (measured <= high)).mean()),
                "width": float(np.median(high - low)),
            }
        )
    return shares
