"""Common parts of the figures: colours, axes, labels, and selection of the points to draw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .formats import sample_text

Trace = dict[str, Any]

#: Palette of Okabe and Ito, which remains distinct with colour vision deficiency.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
BLACK = "#1a1a1a"
CYCLE = (VERMILION, GREEN, PURPLE, ORANGE, BLUE, SKY)
SYMBOLS = ("diamond", "square", "triangle-up", "cross", "x", "star", "hexagon")
#: Largest number of points of a scatter figure, and of all targets together.
N_POINTS, N_POINTS_ALL_TARGETS = 3000, 8000
#: Largest number of outliers named in a figure.
N_NAMED = len(CYCLE)


@dataclass(frozen=True)
class Figure:
    """One figure of the page.

    Attributes
    ----------
    key : str
        Id of the figure in the page.
    label : str
        Description for screen readers.
    caption : str
    traces : list of dict
        plotly traces. The page's script turns `rows` into hover labels with sample ids, and `lines`
        into one line per row.
    layout : dict
        Differences from the common layout.
    height : int
        In pixels; 0 for a square figure.
    """

    key: str
    label: str
    caption: str
    traces: list[Trace]
    layout: dict[str, Any] = field(default_factory=dict)
    height: int = 380

    def for_json(self) -> dict[str, Any]:
        return {"data": self.traces, "layout": {**BASE_LAYOUT, **self.layout}, "height": self.height}


def axis(title: str, **options: Any) -> dict[str, Any]:
    """Return an axis of the page's style."""
    return {
        "title": {"text": title, "standoff": 8},
        "showline": True,
        "linecolor": "#8a8f94",
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": "#8a8f94",
        "gridcolor": "#edeff1",
        "zeroline": False,
        "automargin": True,
        "exponentformat": "power",
        **options,
    }


BASE_LAYOUT: dict[str, Any] = {
    "font": {"family": "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif", "size": 12, "color": "#2b2f33"},
    "paper_bgcolor": "#ffffff",
    "plot_bgcolor": "#ffffff",
    "margin": {"l": 56, "r": 14, "t": 8, "b": 48},
    "hovermode": "closest",
    "hoverlabel": {
        "bgcolor": "#ffffff",
        "bordercolor": "#8a8f94",
        "font": {"color": "#1a1a1a", "size": 12},
        "align": "left",
    },
    "showlegend": False,  # the page's script adds legends that wrap and are keyboard accessible
}


def level(value: float, *, vertical: bool = False, dash: str = "dash", layer: str = "above") -> dict[str, Any]:
    """Return a horizontal or vertical line across a figure."""
    along, across = ("y", "x") if vertical else ("x", "y")
    return {
        "type": "line",
        f"{along}ref": "paper",
        f"{along}0": 0,
        f"{along}1": 1,
        f"{across}0": value,
        f"{across}1": value,
        "line": {"color": "#5b6166", "width": 1.2, "dash": dash},
        "layer": layer,
    }


def note(text: str, *, x: float = 0.02, y: float = 0.98, **options: Any) -> dict[str, Any]:
    """Return text in a corner of a figure; plotly interprets tags in it."""
    return {
        "text": text,
        "xref": "paper",
        "yref": "paper",
        "x": x,
        "y": y,
        "xanchor": "left" if x < 0.5 else "right",
        "yanchor": "top" if y > 0.5 else "bottom",
        "align": "left",
        "showarrow": False,
        "bgcolor": "rgba(255,255,255,0.82)",
        "font": {"size": 11.5, "color": "#2b2f33"},
        **options,
    }


def points_drawn(n_targets: int) -> int:
    """Return the largest number of points in a scatter figure of one target."""
    return max(min(N_POINTS, N_POINTS_ALL_TARGETS // max(n_targets, 1)), 500)


def drawn_rows(rows: NDArray[np.intp], always: Iterable[int], limit: int) -> NDArray[np.intp]:
    """Return at most `limit` of `rows`, ascending: those in `always`, then a random choice."""
    if len(rows) <= limit:
        return rows
    outliers = np.intersect1d(rows, np.fromiter(always, dtype=np.intp))[:limit]
    others = np.setdiff1d(rows, outliers)
    chosen = np.random.default_rng(0).choice(others, limit - len(outliers), replace=False)
    return np.sort(np.concatenate([outliers, chosen]))


def drawn_sentence(n_drawn: int, n: int, noun: str = "samples") -> str:
    """Return a sentence on the number of samples drawn; "" if all are drawn."""
    return "" if n_drawn == n else f" {n_drawn:,} of {n:,} {noun} are drawn."


def wavelengths_drawn(n: int, limit: int = 500) -> NDArray[np.intp]:
    """Return evenly spaced indices of wavelengths, including the first and the last."""
    return np.unique(np.linspace(0, n - 1, min(n, limit)).round().astype(np.intp))


def named_points(
    x: NDArray[np.float64], y: NDArray[np.float64], names: Sequence[str], frame: tuple[float, float, float, float]
) -> list[dict[str, Any]]:
    """Return labels of the first points, except labels that cannot be placed.

    A label must not cover a point or another label, nor leave the figure. `names` are those of the
    first points; `frame` is left, right, bottom and top of the axes in the units of `x` and `y`.
    """
    width, height, line = 290.0, 270.0, 14.0  # pixels of the smallest figure
    left, right, bottom, top = frame
    taken: list[tuple[float, float, float, float]] = []
    labels = []
    across = (x - left) / max(right - left, 1e-300) * width
    up = (y - bottom) / max(top - bottom, 1e-300) * height
    for i, name in enumerate(names):
        text = sample_text(name, 18)
        size = 6.6 * len(text) + 4
        places = {"left": (across[i] + 7, up[i] - line / 2), "right": (across[i] - 7 - size, up[i] - line / 2)}
        places |= {"center": (across[i] - size / 2, up[i] + 6)}
        for anchor, (start, base) in places.items():
            box = (start, base, start + size, base + line)
            inside = box[0] >= 0 and box[2] <= width and box[1] >= 0 and box[3] <= height
            covered = (across > box[0] - 5) & (across < box[2] + 5) & (up > box[1] - 3) & (up < box[3] + 3)
            covered[i] = False
            overlaps = any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken)
            if inside and not overlaps and not covered.any():
                taken.append(box)
                shift = {"left": 7, "right": -7, "center": 0}[anchor]
                labels.append(
                    {
                        "x": float(x[i]),
                        "y": float(y[i]),
                        "text": text,
                        "showarrow": False,
                        "xanchor": anchor,
                        "yanchor": "bottom" if anchor == "center" else "middle",
                        "xshift": shift,
                        "yshift": 6 if anchor == "center" else 0,
                        "font": {"size": 11, "color": "#2b2f33"},
                    }
                )
                break
    return labels
