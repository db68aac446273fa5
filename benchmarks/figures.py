"""Figures of the report, each as PNG and SVG."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@contextmanager
def figure(path: Path, rows: int = 1, columns: int = 1, size: tuple[float, float] = (7.0, 4.0)) -> Iterator[Any]:
    """Yield axes; the figure is saved as `path` with ``.png`` and ``.svg``, the same bytes for the same data."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    with mpl.rc_context(
        {"svg.hashsalt": "nirs4all_vit", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    ):
        canvas, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
        yield axes[0, 0] if rows == columns == 1 else axes
        canvas.savefig(path.with_suffix(".png"), dpi=120, metadata={"Software": None})
        canvas.savefig(path.with_suffix(".svg"), metadata={"Date": None})
        plt.close(canvas)


def ratios(path: Path, errors: pd.DataFrame, reference: str, title: str) -> None:
    """Draw each method's ratios to the reference, a point per predictable target, boxes over them; `path` has no suffix."""
    ratio = {}
    for name in errors.columns.drop(reference):
        pair = statistics.paired(errors, name, reference)
        ratio[name] = pair[name] / pair[reference]
    order = sorted(ratio, key=lambda name: -np.log(ratio[name].clip(lower=1e-6)).mean())
    generator = np.random.default_rng(0)
    with figure(path, size=(7.5, 0.32 * len(order) + 1.4)) as ax:
        for i, name in enumerate(order):
            values = ratio[name].dropna().clip(0.2, 5.0)
            ax.plot(values, i + generator.uniform(-0.25, 0.25, len(values)), ".", ms=2.5, color="0.6", zorder=1)
            ax.boxplot(
                values,
                positions=[i],
                orientation="horizontal",
                widths=0.5,
                showfliers=False,
                zorder=2,
                manage_ticks=False,
            )
        ax.axvline(1.0, color="C3", lw=1)
        ax.set_xscale("log")
        ax.set_xticks([0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0], ["0.25", "0.5", "0.8", "1", "1.25", "2", "4"])
        ax.minorticks_off()
        ax.set_yticks(range(len(order)), order)
        ax.set_xlabel(f"error / error of {reference} (left is better)")
        ax.set_title(title)


def critical_difference(path: Path, ranks: pd.Series, p: pd.DataFrame) -> None:
    """Draw the critical-difference diagram."""
    import scikit_posthocs

    with figure(path, size=(8.0, 0.28 * len(ranks) + 1.2)) as ax:
        scikit_posthocs.critical_difference_diagram(ranks, p, ax=ax, text_h_margin=0.02)
        ax.set_title("mean rank over targets (left is better); bars join what Nemenyi's test does not part at 5 %")


def curves(path: Path, groups: dict[str, pd.DataFrame], x_label: str, y_label: str, *, log_x: bool = False) -> None:
    """Draw a panel per group: lines by method (columns) over the index."""
    columns = min(4, len(groups))
    rows = -(-len(groups) // columns)
    with figure(path, rows, columns, (3.2 * columns + 0.8, 2.6 * rows + 0.6)) as axes:
        flat: list[Axes] = list(np.atleast_1d(np.asarray(axes, dtype=object)).ravel())
        for ax, (title, frame) in zip(flat, groups.items(), strict=False):
            for k, name in enumerate(frame.columns):
                line = frame[name].dropna()
                ax.plot(line.index, line, marker="o", ms=3, lw=1.2, color=f"C{k}", label=name)
            if log_x:
                ax.set_xscale("log")
            ax.set_title(title)
            ax.set_xlabel(x_label)
            ax.set_ylabel(y_label)
        for ax in flat[len(groups) :]:
            ax.set_visible(False)
        flat[0].legend(fontsize=7)


def heat_map(path: Path, frame: pd.DataFrame, label: str, *, low: float, high: float, title: str = "") -> None:
    """Draw a matrix with its values written in."""
    height, width = 0.34 * len(frame) + 1.8, 0.5 * frame.shape[1] + 3.0
    with figure(path, size=(width, height)) as ax:
        image = ax.imshow(
            frame.to_numpy(dtype=float), vmin=low, vmax=high, cmap="RdYlGn_r" if low < 1 < high else "viridis"
        )
        for (i, j), value in np.ndenumerate(frame.to_numpy(dtype=float)):
            if np.isfinite(value):
                ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=6)
        ax.set_xticks(range(frame.shape[1]), frame.columns, rotation=60, ha="right", fontsize=7)
        ax.set_yticks(range(len(frame)), frame.index, fontsize=7)
        ax.figure.colorbar(image, ax=ax, label=label, shrink=0.8)
        ax.set_title(title)


def boxes(path: Path, groups: dict[str, pd.Series], y_label: str) -> None:
    """Draw a box per group."""
    with figure(path, size=(0.6 * len(groups) + 2.0, 4.0)) as ax:
        ax.boxplot([values.dropna() for values in groups.values()], showfliers=True)
        ax.set_xticks(range(1, len(groups) + 1), groups, rotation=45, ha="right", fontsize=7)
        ax.axhline(1.0, color="C3", lw=1)
        ax.set_ylabel(y_label)
