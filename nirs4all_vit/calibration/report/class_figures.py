"""Figures of a classification target: confusion matrix, number of possible classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .figures import BLUE, VERMILION, Figure, axis
from .formats import figure_text, percent
from .samples import Columns, Samples

#: Largest number of classes for which the matrix contains the counts as text.
_N_WRITTEN = 25


def parts_of(samples: Samples, columns: Columns) -> list[tuple[str, NDArray[np.intp]]]:
    """Return name and rows of cross-validation and of any test set, without missing classes."""
    blocks = [("Cross-validation", np.arange(samples.n_calibration))]
    if columns.target.test is not None:
        blocks.append(("Test set", samples.test_rows(columns.target.test)))
    return [(name, rows[columns.measured[rows].astype(str) != ""]) for name, rows in blocks]


def classes_of(columns: Columns) -> list[str]:
    """Return the classes; those that are not in the calibration come last."""
    classes = [str(name) for name in columns.target.classes]
    seen = {str(name) for name in (*columns.measured, *columns.predicted)} - {""}
    return classes + sorted(seen - set(classes))


def confusion(columns: Columns, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the confusion matrix: a row per true class, a column per predicted class."""
    place = {name: i for i, name in enumerate(classes_of(columns))}
    counts = np.zeros((len(place), len(place)), dtype=np.intp)
    for row in rows.tolist():
        predicted = place.get(str(columns.predicted[row]))
        if predicted is not None:
            counts[place[str(columns.measured[row])], predicted] += 1
    return counts


def confusion_figure(samples: Samples, columns: Columns, number: int) -> list[Figure]:
    """Return a heat map for cross-validation and one for the test set."""
    names = classes_of(columns)
    ticks = [figure_text(name, 16) for name in names]
    fits = max(map(len, ticks), default=0) * 6.5 * len(names) < 220  # pixels of the smallest figure
    figures = []
    for which, (part, rows) in enumerate(parts_of(samples, columns)):
        counts = confusion(columns, rows)
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        right = int(np.trace(counts))
        written = [[f"{value:,}" if value else "" for value in row] for row in counts.tolist()]
        trace: dict[str, Any] = {
            "type": "heatmap",
            "z": [[round(value, 3) for value in row] for row in share.tolist()],
            "customdata": counts.tolist(),
            "colorscale": [[0, "#f3f5f6"], [0.001, "#e3eef6"], [1, BLUE]],
            "zmin": 0,
            "zmax": 1,
            "xgap": 2,
            "ygap": 2,
            "showscale": False,
            "hovertemplate": "%{customdata} samples of true class %{y}<br>predicted as %{x}<br>"
            "%{z:.0%} of the class<extra></extra>",
            "x": list(range(len(names))),
            "y": list(range(len(names))),
        }
        if len(names) <= _N_WRITTEN:
            trace |= {"text": written, "texttemplate": "%{text}", "textfont": {"size": 14 if len(names) <= 8 else 11}}
        marks = {
            "tickvals": list(range(len(names))),
            "ticktext": ticks,
            "showgrid": False,
            "showline": False,
            "ticks": "",
        }
        figures.append(
            Figure(
                f"confusion-{number}-{which}",
                f"Confusion matrix of {columns.target.name}, {part.lower()}: {right:,} of {int(counts.sum()):,} "
                "samples on the diagonal. The table of classes has recall and precision.",
                f"{part}: true classes in rows, predicted classes in columns, with the number of samples. "
                "Shades are shares of the true class.",
                [trace],
                {
                    "xaxis": axis("Predicted class", tickangle=0 if fits else -90, **marks),
                    "yaxis": axis("True class", **{**marks, "autorange": "reversed"}),
                },
                0,
            )
        )
    return figures


def class_table(samples: Samples, columns: Columns) -> list[dict[str, Any]]:
    """Return n, recall and precision per class, in cross-validation and on the test set."""
    rows: list[dict[str, Any]] = [{"name": name, "parts": []} for name in classes_of(columns)]
    for _, part in parts_of(samples, columns):
        counts = confusion(columns, part)
        for i, row in enumerate(rows):
            true, predicted, hit = int(counts[i].sum()), int(counts[:, i].sum()), int(counts[i, i])
            row["parts"].append(
                {
                    "n": f"{true:,}",
                    "recall": percent(hit / true if true else float("nan")),
                    "precision": percent(hit / predicted if predicted else float("nan")),
                }
            )
    return rows


def possible_figure(samples: Samples, columns: Columns, number: int) -> Figure | None:
    """Return a bar figure: samples by number of possible classes, with and without the true one."""
    rows = np.arange(samples.n_calibration)
    if columns.target.cross_validated.possible is None:
        return None
    sets = [[name for name in str(columns.possible[row]).split("|") if name] for row in rows.tolist()]
    sizes = np.array([len(names) for names in sets])
    true = [str(value) for value in columns.measured[rows]]
    has_class = np.array([value != "" for value in true])
    held = np.array([value in names for value, names in zip(true, sets, strict=True)])
    if not has_class.any():
        return None
    axis_sizes = list(range(int(sizes[has_class].max()) + 1))
    if not (sizes[has_class] == 0).any():
        axis_sizes = axis_sizes[1:]
    traces = [
        {
            "type": "bar",
            "name": name,
            "x": axis_sizes,
            "y": [int((has_class & which & (sizes == size)).sum()) for size in axis_sizes],
            "marker": {"color": color},
            "hovertemplate": f"%{{y}} samples with %{{x}} possible classes<br>{name.lower()}<extra></extra>",
        }
        for name, which, color in (
            ("True class among them", held, BLUE),
            ("True class not among them", ~held, VERMILION),
        )
    ]
    alone = int((has_class & (sizes == 1)).sum())
    return Figure(
        f"intervals-{number}",
        f"Bar figure: {alone:,} of {int(has_class.sum()):,} samples have one possible class of {columns.target.name}.",
        f"Samples by number of possible classes; {alone:,} of {int(has_class.sum()):,} have a single one.",
        traces,
        {
            "barmode": "stack",
            "bargap": 0.45,
            "xaxis": axis("Possible classes of a sample", tickmode="linear", dtick=1, showgrid=False),
            "yaxis": axis("Samples", rangemode="tozero"),
        },
        320,
    )
