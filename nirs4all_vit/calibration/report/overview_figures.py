"""Overview figures: comparison with PLS, learning curve, scores of the samples, T2 and Q."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..results import CalibrationResult, TargetResult
from .figures import (
    BLUE,
    GREEN,
    N_NAMED,
    ORANGE,
    PURPLE,
    SKY,
    SYMBOLS,
    VERMILION,
    Figure,
    Trace,
    axis,
    drawn_rows,
    drawn_sentence,
    level,
    named_points,
)
from .formats import count, figure_text, fixed, percent, rounded, rounded_to_range, significant
from .spectra_figures import by_oddness
from .words import error_name, reference


def comparison_figure(result: CalibrationResult) -> Figure | None:
    """Return the errors relative to PLS, with confidence intervals: a row per target."""
    targets = [target for target in result.targets if reference(target) is not None and len(target.comparisons) > 1]
    if not targets:
        return None
    names: list[str] = []
    for target in targets:
        names += [one.name for one in target.comparisons if one is not reference(target) and one.name not in names]
    colors = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY)
    traces: list[Trace] = []
    lowest, highest = 0.9, 1.1
    for k, name in enumerate(names):
        x: list[float] = []
        y: list[float] = []
        above: list[float] = []
        below: list[float] = []
        texts: list[str] = []
        for place, target in enumerate(targets):
            others = [one for one in target.comparisons if one is not reference(target)]
            for j, one in enumerate(others):
                if one.name != name or not math.isfinite(one.ratio):
                    continue
                shift = (j - (len(others) - 1) / 2) * 0.24
                low, high = (end if math.isfinite(end) else one.ratio for end in (one.lower, one.upper))
                lowest, highest = min(lowest, low), max(highest, high)
                x.append(round(one.ratio, 3))
                y.append(round(place + shift, 3))
                above.append(round(high - one.ratio, 3))
                below.append(round(one.ratio - low, 3))
                texts.append(
                    f"{figure_text(target.name)}<br>{fixed(one.ratio, 2)} ({fixed(low, 2)} to {fixed(high, 2)})"
                )
        bars = {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.6, "width": 4}
        color = colors[k % len(colors)]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": figure_text(name),
                "x": x,
                "y": y,
                "text": texts,
                "error_x": {**bars, "color": color},
                "marker": {"color": color, "symbol": ["circle", *SYMBOLS][k % 8], "size": 9},
                "hovertemplate": f"%{{text}}<extra>{figure_text(name)}</extra>",
            }
        )
    pad = 0.06 * (highest - lowest)
    return Figure(
        "comparison",
        "Dot figure of the error of each method relative to PLS, with 95 % confidence intervals; the table below has "
        "the numbers.",
        "Error in cross-validation relative to PLS (PLS-DA for classes), with 95\u00a0% confidence intervals over the "
        "samples.",
        traces,
        {
            "xaxis": axis("Error relative to PLS", range=[lowest - pad, highest + pad], tickformat=".2~f"),
            "yaxis": axis(
                "",
                tickvals=list(range(len(targets))),
                ticktext=[figure_text(target.name, 20) for target in targets],
                range=[len(targets) - 0.4, -0.6],
                showgrid=False,
            ),
            "shapes": [level(1, vertical=True, dash="solid", layer="between")],
        },
        130 + (62 if len(targets) < 5 else 40) * len(targets),
    )


def learning_figure(target: TargetResult, number: int) -> Figure | None:
    """Return the error against the number of samples."""
    curve = [point for point in target.learning_curve if math.isfinite(point.error)]
    if not curve:
        return None
    error = error_name(target)
    errors = [point.error for point in curve]
    deviations = [point.deviation if math.isfinite(point.deviation) else 0.0 for point in curve]
    return Figure(
        f"learning-{number}",
        f"Learning curve of {target.name}: {error} {significant(errors[0])} with "
        f"{count(curve[0].n_samples, 'sample')}, {significant(errors[-1])} with "
        f"{count(curve[-1].n_samples, 'sample')}.",
        f"{error[:1].upper() + error[1:]} of {target.name} against the number of calibration samples; bars are "
        "standard deviations between folds.",
        [
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": [point.n_samples for point in curve],
                "y": rounded_to_range([*errors, 0.0])[:-1],
                "error_y": {
                    "type": "data",
                    "array": rounded_to_range([*deviations, *errors, 0.0])[: len(curve)],
                    "thickness": 1.2,
                    "width": 4,
                    "color": BLUE,
                },
                "line": {"color": BLUE, "width": 1.6},
                "marker": {"size": 8, "color": BLUE},
                "hovertemplate": f"%{{x:,}} samples<br>{error} %{{y:.3~g}}<extra></extra>",
            }
        ],
        {
            "xaxis": axis("Samples in calibration", rangemode="tozero"),
            "yaxis": axis(error[:1].upper() + error[1:], rangemode="tozero"),
        },
        320,
    )


def scores_figure(result: CalibrationResult, limit: int) -> Figure | None:
    """Return the samples on the first two principal components of the embeddings."""
    scores = np.asarray(result.scores, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[1] < 2:
        return None
    first, second = (f"PC{i + 1} ({percent(result.explained[i])})" for i in range(2))
    return _map(
        result,
        "scores",
        scores[:, 0],
        scores[:, 1],
        limit,
        "Scores of the samples on the first two principal components of the embeddings, with explained variance.",
        ("PC1", "PC2"),
        {"xaxis": axis(first), "yaxis": axis(second)},
    )


def distances_figure(result: CalibrationResult, limit: int) -> Figure | None:
    """Return Q residuals against Hotelling's T2, both relative to their limits."""
    t2, q = np.asarray(result.t2, dtype=np.float64), np.asarray(result.q, dtype=np.float64)
    finite = np.isfinite(t2) & np.isfinite(q)
    if not finite.any():
        return None
    biggest = max(float(t2[finite].max()), float(q[finite].max()))
    scale: dict[str, Any] = {"rangemode": "tozero"}
    if biggest > 8:
        scale = {"type": "log", "tickformat": "~g", "dtick": 1}
        t2, q = np.maximum(t2, 0.01), np.maximum(q, 0.01)
    titles = ("Hotelling’s T² / limit", "Q residual / limit")
    return _map(
        result,
        "distances",
        t2,
        q,
        limit,
        "Hotelling’s T² (distance within the model) and Q residual (distance from the model), relative to their "
        "limits.",
        ("T²", "Q"),
        {
            "xaxis": axis(titles[0], **scale),
            "yaxis": axis(titles[1], **scale),
            "shapes": [level(1), level(1, vertical=True)],
        },
    )


def _map(
    result: CalibrationResult,
    key: str,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    limit: int,
    caption: str,
    short: tuple[str, str],
    layout: dict[str, Any],
) -> Figure | None:
    """Return a scatter figure of all samples; outliers are coloured and named."""
    present = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if not len(present):
        return None
    finite = set(present.tolist())
    odd = [row for row in by_oddness(result) if row in finite]
    drawn = drawn_rows(present, odd, limit)
    plain = np.setdiff1d(drawn, np.array(odd, dtype=np.intp))
    apart = np.array([row for row in odd if row in set(drawn.tolist())], dtype=np.intp)
    hover = f"%{{text}}<br>{short[0]} %{{x:.3~g}}<br>{short[1]} %{{y:.3~g}}<extra></extra>"
    many = len(plain) > 400
    look = {"color": BLUE, "size": 5 if many else 7, "opacity": 0.45 if many else 0.65}
    traces: list[Trace] = []
    for name, rows, marker in (
        ("Typical", plain, {**look, "line": {"color": "#ffffff", "width": 0.5}}),
        (
            "Outlier",
            apart,
            {"color": VERMILION, "symbol": "diamond", "size": 9, "line": {"color": "#ffffff", "width": 0.8}},
        ),
    ):
        if len(rows):
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": rounded_to_range(x[rows]),
                    "y": rounded_to_range(y[rows]),
                    "rows": rows.tolist(),
                    "marker": marker,
                    "hovertemplate": hover,
                }
            )
    in_order = np.concatenate([apart, plain])
    is_log = "type" in layout["xaxis"]
    across, up = (np.log10(x), np.log10(y)) if is_log else (x, y)
    frame = _frame(across[drawn], up[drawn], 0.0 if key == "distances" and not is_log else None)
    for name, ends in (("xaxis", frame[:2]), ("yaxis", frame[2:])):
        layout[name] = {**layout[name], "range": rounded(ends, 5)}
    names = [str(result.ids[row]) for row in apart[:N_NAMED].tolist()]
    return Figure(
        key,
        f"Scatter figure of {count(len(drawn), 'sample')}: {short[0]} and {short[1]}; {count(len(apart), 'outlier')}.",
        caption + drawn_sentence(len(drawn), len(present)),
        traces,
        {**layout, "annotations": named_points(across[in_order], up[in_order], names, frame)},
        0,
    )


def _frame(x: NDArray[np.float64], y: NDArray[np.float64], start: float | None) -> tuple[float, float, float, float]:
    ends: list[float] = []
    for values in (x, y):
        low, high = float(values.min()), float(values.max())
        if start is not None:
            low, high = start, max(high, 1.1)
        margin = 0.07 * (high - low) or 1.0
        ends += [low - (margin if start is None else margin / 2), high + margin]
    return ends[0], ends[1], ends[2], ends[3]
