"""Types of figures, as PNG and SVG, with readable names and fixed colours of the methods."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .names import Style, ordered, reader_name, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Limits of the ratio axis; values beyond are drawn at the ends.
_ENDS = (0.25, 4.0)
_TICKS = [0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0]

#: Panels of `curves` per row; characters per line of a method's name and of a label.
_IN_A_ROW, _NAME, _LINE = 4, 52, 44

#: Width in inches of a character of the labels on the left.
_CHARACTER = 0.068


@contextmanager
def figure(
    path: Path, rows: int = 1, columns: int = 1, size: tuple[float, float] = (7.0, 4.0), **options: Any
) -> Iterator[Any]:
    """Yield axes; save the figure reproducibly as `path` with ``.png`` and ``.svg``."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    with mpl.rc_context(
        {
            "svg.hashsalt": "nirs4all_vit",
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    ):
        canvas, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, **options)
        yield axes[0, 0] if rows == columns == 1 else axes
        canvas.savefig(path.with_name(f"{path.name}.png"), dpi=200, metadata={"Software": None})
        canvas.savefig(path.with_name(f"{path.name}.svg"), metadata={"Date": None})
        plt.close(canvas)


def ratios(path: Path, panels: dict[str, pd.DataFrame], error: str, reference: str) -> None:
    """Draw the ratios of each method to the reference as points, boxes and geometric mean.

    `panels` maps titles to tables with targets in rows and methods in columns. `error` is the name
    of the error. `path` has no suffix.
    """
    methods = ordered({name for panel in panels.values() for name in panel})[::-1]
    generator = np.random.default_rng(0)
    names = [fill(reader_name(name), _NAME, break_on_hyphens=False) for name in methods]
    size = (3.3 * len(panels) + _width(names), 0.3 * len(methods) + 1.5)
    with figure(path, 1, len(panels), size, sharey=True) as axes:
        for ax, (title, panel) in zip(np.ravel(axes), panels.items(), strict=True):
            n_beyond = 0
            for i, name in enumerate(methods):
                if name not in panel:
                    continue
                values = panel[name].dropna()
                shown = values.clip(*_ENDS)
                n_beyond += int((shown != values).sum())
                jitter = generator.uniform(-0.3, 0.3, len(shown))
                size_of_points = 3 if len(shown) > 60 else 6
                ax.plot(shown, i + jitter, ".", ms=size_of_points, mew=0, alpha=0.5, color=style(name).colour, zorder=1)
                _box(ax, shown, i)
                mean = np.exp(np.log(values).mean())
                ax.text(1.02, i, f"{mean:.2f}", transform=ax.get_yaxis_transform(), va="center", fontsize=8)
            ax.text(1.02, len(methods) - 0.4, "geom.\nmean", transform=ax.get_yaxis_transform(), fontsize=6)
            label = f"{error} / {error} of {reader_name(reference)} (left is better)"
            label += f"; ratios beyond the axis, drawn at its ends: {n_beyond}" if n_beyond else ""
            _ratio_axis(ax, label)
            ax.set_title(title)
        first = np.ravel(axes)[0]
        first.set_yticks(range(len(methods)), names)
        first.set_ylim(-0.6, len(methods) - 0.2)


def _box(ax: Axes, values: pd.Series, position: float) -> None:
    ax.boxplot(
        values,
        positions=[position],
        orientation="horizontal",
        widths=0.5,
        showfliers=False,
        zorder=2,
        manage_ticks=False,
        medianprops={"color": "black", "lw": 1.6},
    )


def _ratio_axis(ax: Axes, label: str) -> None:
    ax.axvline(1.0, color="0.4", lw=1, zorder=0)
    ax.set_xscale("log")
    ax.set_xlim(_ENDS[0] / 1.04, _ENDS[1] * 1.04)
    ax.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    ax.minorticks_off()
    ax.set_xlabel(fill(label, _LINE))


def _width(names: list[str]) -> float:
    """Return the width of the labels on the left in inches."""
    return _CHARACTER * max((len(line) for name in names for line in name.split("\n")), default=0) + 0.3


def critical_difference(path: Path, ranks: pd.Series, p: pd.DataFrame) -> None:
    """Draw the critical-difference diagram."""
    import scikit_posthocs

    names = {method: reader_name(method) for method in ranks.index}
    with figure(path, size=(9.0, 0.26 * len(ranks) + 1.2)) as ax:
        scikit_posthocs.critical_difference_diagram(
            ranks.rename(names),
            p.rename(index=names, columns=names),
            ax=ax,
            text_h_margin=0.02,
            color_palette={names[method]: style(method).colour for method in ranks.index},
        )
        for line in ax.lines:  # the order of a bar's points differs between processes
            x, y = line.get_xdata(), line.get_ydata()
            if len(set(y)) == 1:
                line.set_data([min(x), max(x)], [y[0], y[0]])
        for text in ax.texts:  # pale colours are hard to read
            text.set_color("black")
        ax.set_title(
            "mean rank over targets (left is better); bars join methods that Nemenyi's test does not separate at 5 %"
        )


def curves(
    path: Path,
    panels: dict[str, pd.DataFrame],
    x_labels: list[str],
    y_label: str,
    *,
    log_x: bool = False,
    share_y: bool = False,
    bands: dict[str, list[pd.DataFrame]] | None = None,
) -> None:
    """Draw one panel per table: a line per method (column) over the index, with a common legend.

    `bands` has lower and upper ends by panel.
    """
    columns = min(_IN_A_ROW, len(panels))
    rows = -(-len(panels) // columns)
    methods = ordered({name for panel in panels.values() for name in panel})
    size = (2.7 * columns + 1.0, 2.4 * rows + 0.13 * len(methods) + 0.4)
    with figure(path, rows, columns, size, sharey=share_y) as axes:
        flat: list[Axes] = list(np.atleast_1d(np.asarray(axes, dtype=object)).ravel())
        lines = {}
        for ax, (title, panel), x_label in zip(flat, panels.items(), x_labels, strict=False):
            for name in [m for m in methods if m in panel]:
                line = panel[name].dropna()
                (lines[name],) = ax.plot(line.index, line, ms=4, lw=1.3, **_line_style(name))
                if bands:
                    low, high = (end.loc[line.index, name] for end in bands[title])
                    ax.fill_between(line.index, low, high, color=style(name).colour, alpha=0.2, lw=0)
            if log_x:
                ax.set_xscale("log")
                ax.set_xticks(panel.index, [f"{value:g}" for value in panel.index])
                ax.minorticks_off()
            ax.set_title(title)
            ax.set_xlabel(x_label)
        for row in range(rows):
            flat[row * columns].set_ylabel(y_label)
        for ax in flat[len(panels) :]:
            ax.set_visible(False)
        shown = [name for name in methods if name in lines]
        flat[0].figure.legend(
            [lines[name] for name in shown],
            [reader_name(name) for name in shown],
            loc="outside lower center",
            ncols=2 if columns > 1 else 1,
            frameon=False,
            fontsize=8,
        )


def _line_style(method: str) -> dict[str, str]:
    """Return the style of a line; names with a condition have dotted lines and open markers."""
    of: Style = style(method)
    look = {"color": of.colour, "marker": of.marker, "linestyle": of.line}
    return {**look, "markerfacecolor": "white", "linestyle": ":"} if ", " in method else look


def intervals(path: Path, panels: dict[str, pd.DataFrame], x_label: str) -> None:
    """Draw geometric means with intervals (`low` to `high`), one row per `label`, one panel per table."""
    labels = list(dict.fromkeys(label for table in panels.values() for label in table["label"]))[::-1]
    width = 4.0 if len(panels) == 1 else 2.7 * len(panels)
    with figure(path, 1, len(panels), (width + _width(labels), 0.27 * len(labels) + 1.2), sharey=True) as axes:
        every = np.ravel(axes)
        for ax, (title, table) in zip(every, panels.items(), strict=True):
            for row in table.to_dict("records"):
                mean, of = row["geometric mean"], style(row["method"])
                sides = [[max(0.0, mean - row["low"])], [max(0.0, row["high"] - mean)]]
                height = labels.index(row["label"])
                ax.errorbar(mean, height, xerr=sides, fmt=of.marker, color=of.colour, ms=5, capsize=2, lw=1.3)
            ax.axvline(1.0, color="0.4", lw=1, zorder=0)
            if table["high"].max() > 3 * table["low"].min():
                ax.set_xscale("log")
                low, high = ax.get_xlim()
                wide, narrow = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0), (0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0)
                ticks = [tick for tick in (wide if high > 10 * low else narrow) if low <= tick <= high]
                ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
                ax.minorticks_off()
            ax.set_xlabel(fill(f"{x_label} (left is better; 95 % intervals)", 60 if len(panels) == 1 else 36))
            ax.set_title(title)
        every[0].set_yticks(range(len(labels)), labels)
        every[0].set_ylim(-0.6, len(labels) - 0.4)


def dots(path: Path, table: pd.DataFrame, x_label: str) -> None:
    """Draw values by method (columns), one row per index entry."""
    rows = list(table.index)[::-1]
    methods = ordered(table)
    with figure(path, size=(6.5, 0.36 * len(rows) + 0.2 * len(methods) + 0.9)) as ax:
        for k, name in enumerate(methods):
            of = style(name)
            shift = 0.12 * ((len(methods) - 1) / 2 - k) if len(methods) <= 6 else 0.0
            heights = np.arange(len(rows)) + shift
            ax.plot(table.loc[rows, name], heights, of.marker, color=of.colour, ms=5, label=reader_name(name))
        ax.set_yticks(range(len(rows)), rows)
        ax.grid(axis="y", color="0.9", lw=0.8)
        ax.set_xlabel(fill(x_label, 60))
        ax.figure.legend(loc="outside lower center", frameon=False, fontsize=8)


def heat_map(
    path: Path, table: pd.DataFrame, label: str, *, ends: tuple[float, float], title: str, ratio: bool
) -> None:
    """Draw a matrix with its values; blue is good. Colours of ratios are logarithmic around 1."""
    from matplotlib.colors import LogNorm, Normalize

    values = table.to_numpy(dtype=float)
    norm = (LogNorm if ratio else Normalize)(*ends)
    with figure(path, size=(max(0.42 * table.shape[1] + 3.6, 5.2), 0.3 * len(table) + 2.4)) as ax:
        image = ax.imshow(values, norm=norm, cmap="RdBu_r" if ratio else "RdBu", aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value):
                dark = abs(float(norm(value)) - 0.5) > 0.3
                ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=6, color="w" if dark else "k")
        ax.set_xticks(
            range(table.shape[1]), _plain(table.columns), rotation=60, ha="right", rotation_mode="anchor", fontsize=7
        )
        ax.set_yticks(range(len(table)), _plain(table.index), fontsize=7)
        beyond = bool(((values < ends[0]) | (values > ends[1])).any())
        note = f"\n(colours end at {ends[0]:g} and {ends[1]:g})" if beyond else ""
        bar = ax.figure.colorbar(image, ax=ax, label=label + note, shrink=0.8, extend="both" if beyond else "neither")
        if ratio:
            bar.set_ticks([0.25, 0.5, 1.0, 2.0, 4.0], labels=["0.25", "0.5", "1", "2", "4"])
            bar.minorticks_off()
        ax.set_title(title, fontsize=9)


def _plain(names: pd.Index) -> list[str]:
    return [str(name).replace("_", " ") for name in names]


def boxes(path: Path, panels: dict[str, dict[str, pd.Series]], y_label: str, end: float) -> None:
    """Draw one panel per group with a box per method; values beyond `end` are drawn at `end`."""
    methods = ordered({name for panel in panels.values() for name in panel})
    values = [series for panel in panels.values() for series in panel.values()]
    n_beyond = sum(int((series > end).sum()) for series in values)
    with figure(path, 1, len(panels), (1.6 * len(panels) + 1.0, 3.6), sharey=True) as axes:
        for ax, (title, panel) in zip(np.ravel(axes), panels.items(), strict=True):
            for i, name in enumerate(methods):
                if name in panel:
                    shown = panel[name].dropna().clip(upper=end)
                    drawn = ax.boxplot(shown, positions=[i], widths=0.6, patch_artist=True, manage_ticks=False, sym=".")
                    drawn["boxes"][0].set(facecolor=style(name).colour, alpha=0.6, label=reader_name(name))
                    drawn["medians"][0].set(color="black")
            ax.axhline(1.0, color="0.4", lw=1, zorder=0)
            ax.set_xticks([])
            ax.set_xlabel(title)
        first = np.ravel(axes)[0]
        first.set_ylabel(f"{y_label}\n(beyond {end:g}, drawn there: {n_beyond})" if n_beyond else y_label)
        handles, labels = first.get_legend_handles_labels()
        first.figure.legend(handles, labels, loc="outside lower center", frameon=False, fontsize=8)


def coverage(path: Path, table: pd.DataFrame) -> None:
    """Draw the empirical over the nominal coverage of intervals, by method (columns)."""
    with figure(path, size=(4.2, 4.2)) as ax:
        for name in ordered(table):
            ax.plot(100 * table.index, 100 * table[name], ms=5, lw=1.3, label=reader_name(name), **_line_style(name))
        ends = [100 * min(table.index) - 3, 100]
        ax.plot(ends, ends, color="0.4", lw=1, zorder=0)
        ax.set_xlabel("nominal coverage (%)")
        ax.set_ylabel("samples within their interval (%)")
        ax.legend(frameon=False, fontsize=8, loc="upper left")


def strips(path: Path, groups: dict[str, pd.Series], x_label: str, line: float) -> None:
    """Draw one row of points per group."""
    names, generator = list(groups)[::-1], np.random.default_rng(0)
    with figure(path, size=(6.5, 0.36 * len(names) + 1.0)) as ax:
        for i, name in enumerate(names):
            jitter = generator.uniform(-0.25, 0.25, len(groups[name]))
            ax.plot(groups[name], i + jitter, ".", ms=5, mew=0, alpha=0.6, color="#0072B2")
        ax.axvline(line, color="0.4", lw=1, zorder=0)
        ax.set_yticks(range(len(names)), names)
        ax.set_xlabel(fill(x_label, 60))


def bars(path: Path, values: pd.Series, x_label: str) -> None:
    """Draw one bar per method on a logarithmic axis, followed by its value."""
    methods = ordered(values.index)[::-1]
    with figure(path, size=(6.5, 0.26 * len(methods) + 0.9)) as ax:
        for i, name in enumerate(methods):
            ax.barh(i, values[name], color=style(name).colour, height=0.7)
            ax.text(values[name] * 1.1, i, f"{values[name]:.2g}", va="center", fontsize=8)
        ax.set_xscale("log")
        ax.set_xlim(values.min() / 2, values.max() * 3)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
        ax.set_yticks(range(len(methods)), [reader_name(name) for name in methods])
        ax.set_xlabel(x_label)
