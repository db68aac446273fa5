"""Figures along the wavelength axis: the spectra, and the importance of wavelengths."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..results import CalibrationResult, TargetResult
from .bands import ShownBand, shown_bands
from .figures import BLACK, BLUE, CYCLE, N_NAMED, Figure, Trace, axis, drawn_sentence, wavelengths_drawn
from .formats import UNITS, axis_number, count, figure_text, rounded, rounded_to_range, sample_text, to_unit

#: Largest number of typical spectra, and of outliers, in the figure.
N_TYPICAL, N_ODD = 200, 200
#: Largest number of points of all lines together.
_N_POINTS = 120_000


class WavelengthAxis:
    """The axis in the unit of the input, with the wavelengths that are drawn.

    Attributes
    ----------
    index : ndarray
        Indices of the wavelengths drawn.
    places : list of float
        These wavelengths in the unit of the axis.
    """

    def __init__(self, result: CalibrationResult, limit: int = 500) -> None:
        self.unit = result.axis_unit
        self.nm = np.asarray(result.wavelengths, dtype=np.float64)
        self.index = wavelengths_drawn(len(self.nm), limit)
        self.places = rounded(to_unit(self.nm[self.index], self.unit), {"nm": 1, "cm-1": 1, "um": 4}[self.unit])

    @property
    def mode(self) -> str:
        return "lines" if len(self.index) > 2 else "lines+markers"

    def layout(self, **options: Any) -> dict[str, Any]:
        ends = to_unit(self.nm[[0, -1]], self.unit)
        pad = 0.01 * abs(ends[1] - ends[0]) or 0.02 * float(ends[0])
        step = np.sign(ends[1] - ends[0]) or 1.0
        shown = rounded([ends[0] - step * pad, ends[1] + step * pad], 4)
        return axis(UNITS[self.unit][1], range=shown, separatethousands=False, tickformat="~r", **options)

    def words(self) -> str:
        ends = [axis_number(place, self.unit) for place in to_unit(self.nm[[0, -1]], self.unit)]
        name = UNITS[self.unit][0]
        return f"{ends[0]}\u00a0{name}" if len(self.nm) == 1 else f"{ends[0]} to {ends[1]}\u00a0{name}"


def mean_spectrum(spectra: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean spectrum, without missing points."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a wavelength missing in all spectra
        return np.asarray(np.nanmean(spectra, axis=0))


def _lines(spectra: NDArray[np.float64], rows: NDArray[np.intp], along: WavelengthAxis) -> dict[str, Any]:
    """Return spectra for the page's script as integers, in units of a step too small to see."""
    values = spectra[np.ix_(rows, along.index)]
    finite = values[np.isfinite(values)]
    spread = float(np.ptp(finite)) if len(finite) else 1.0
    step = 10.0 ** np.floor(np.log10(spread / 1000)) if spread > 0 else 1e-4
    return {
        "x": along.places,
        "step": float(step),
        "rows": rows.tolist(),
        "y": [rounded(row, 0) for row in values / step],
    }


def spectra_figure(result: CalibrationResult) -> Figure:
    """Return a figure of the mean spectrum, typical spectra and outliers."""
    spectra = np.asarray(result.spectra, dtype=np.float64)
    odd = np.array(by_oddness(result), dtype=np.intp)
    typical = np.setdiff1d(np.arange(len(spectra)), odd)
    drawn = typical
    if len(typical) > N_TYPICAL:
        drawn = np.sort(np.random.default_rng(0).choice(typical, N_TYPICAL, replace=False))
    n_drawn = len(drawn) + min(len(odd), N_ODD)
    along = WavelengthAxis(result, min(500, _N_POINTS // max(n_drawn, 1)))
    signal = figure_text(result.signal or "signal")
    hover = "%{text}<br>%{x}: %{y:.4~g}<extra></extra>"
    traces: list[Trace] = []
    if len(drawn):
        shade = {"color": "#b3b9bf", "width": 0.7}
        marker = {"color": "#9aa1a8", "size": 4}
        traces.append(
            {
                "type": "scatter",
                "name": "Typical",
                "mode": along.mode,
                "line": shade,
                "marker": marker,
                "lines": _lines(spectra, drawn, along),
                "hovertemplate": hover,
            }
        )
    if len(odd) > N_NAMED:
        traces.append(
            {
                "type": "scatter",
                "name": "Other outliers",
                "mode": along.mode,
                "line": {"color": "#e2a071", "width": 0.7},
                "marker": {"color": "#e2a071", "size": 5},
                "lines": _lines(spectra, odd[N_NAMED:N_ODD], along),
                "hovertemplate": hover,
            }
        )
    for i, row in enumerate(odd[:N_NAMED].tolist()):
        traces.append(
            {
                "type": "scatter",
                "name": sample_text(result.ids[row], 20),
                "mode": along.mode,
                "line": {"color": CYCLE[i], "width": 1.5},
                "marker": {"color": CYCLE[i], "size": 6},
                "lines": _lines(spectra, np.array([row]), along),
                "hovertemplate": hover,
            }
        )
    mean = mean_spectrum(spectra)
    traces.append(
        {
            "type": "scatter",
            "name": "Mean",
            "mode": along.mode,
            "line": {"color": BLACK, "width": 2.2},
            "marker": {"color": BLACK, "size": 8},
            "x": along.places,
            "y": rounded_to_range(mean[along.index]),
            "hovertemplate": "Mean<br>%{x}: %{y:.4~g}<extra></extra>",
        }
    )
    caption = "Mean of all spectra (black), typical spectra (grey) and outliers (coloured)."
    caption += drawn_sentence(n_drawn, len(spectra), "spectra")
    if len(along.index) < len(along.nm):
        caption += f" {len(along.index):,} of {len(along.nm):,} wavelengths are drawn."
    return Figure(
        "spectra",
        f"Line figure of {count(n_drawn, 'spectrum', 'spectra')}, {along.words()}, with their mean; "
        f"{count(len(odd), 'outlier')}.",
        caption,
        traces,
        {"xaxis": along.layout(), "yaxis": axis(signal[:1].upper() + signal[1:])},
        440,
    )


def by_oddness(result: CalibrationResult) -> list[int]:
    """Return the rows of outliers, sorted by the larger of T2 and Q, descending."""
    t2, q = np.nan_to_num(np.asarray(result.t2, float)), np.nan_to_num(np.asarray(result.q, float))
    return sorted((int(row) for row in result.outliers), key=lambda row: (-max(t2[row], q[row]), row))


def importance_figure(
    result: CalibrationResult, target: TargetResult, number: int, along: WavelengthAxis
) -> tuple[Figure, list[ShownBand]] | None:
    """Return the importance of wavelengths with the mean spectrum, and the bands shaded in it."""
    if target.importance is None or not np.isfinite(target.importance).any():
        return None
    importance = np.asarray(target.importance, dtype=np.float64)[along.index]
    bands = shown_bands(along.nm, along.unit)
    mean = mean_spectrum(np.asarray(result.spectra, dtype=np.float64))[along.index]
    hints = [_hint(place, bands) for place in along.places]
    traces: list[Trace] = [
        {
            "type": "scatter",
            "name": "Importance",
            "mode": along.mode,
            "fill": "tozeroy",
            "fillcolor": "rgba(0,114,178,0.18)",
            "line": {"color": BLUE, "width": 1.8},
            "marker": {"color": BLUE, "size": 8},
            "x": along.places,
            "y": rounded_to_range(importance),
            "text": hints,
            "hovertemplate": "%{x}: importance %{y:.3~g}%{text}<extra></extra>",
        },
        {
            "type": "scatter",
            "name": "Mean spectrum (own scale)",
            "mode": along.mode,
            "line": {"color": "#5b6166", "width": 1.4, "dash": "dot"},
            "marker": {"color": "#5b6166", "size": 6},
            "yaxis": "y2",
            "x": along.places,
            "y": rounded_to_range(mean),
            "hovertemplate": "%{x}: mean spectrum %{y:.4~g}<extra></extra>",
        },
    ]
    shapes = [_shade(band) for band in bands]
    letters = _letters(bands, along)
    top = along.nm[along.index][int(np.nanargmax(importance))]
    place = axis_number(float(to_unit(top, along.unit)), along.unit)
    unit = UNITS[along.unit][0]
    figure = Figure(
        f"importance-{number}",
        f"Importance of each wavelength for {target.name}; the highest is at {place} {unit}.",
        f"Importance for {target.name}, highest at {place}\u00a0{unit}, over the mean spectrum.",
        traces,
        {
            "xaxis": along.layout(),
            "yaxis": axis("Importance", rangemode="tozero"),
            "yaxis2": {
                **axis(""),
                "overlaying": "y",
                "side": "right",
                "showgrid": False,
                "showticklabels": False,
                "ticks": "",
                "showline": False,
            },
            "shapes": shapes,
            "annotations": letters,
            "margin": {"l": 56, "r": 14, "t": 30, "b": 48},
        },
        360,
    )
    return figure, bands


def _hint(place: float | int | None, bands: list[ShownBand]) -> str:
    inside = [band.letter for band in bands if place is not None and band.low <= place <= band.high]
    return f"<br>band {inside[0]}" if inside else ""


def _shade(band: ShownBand) -> dict[str, Any]:
    low, high = rounded([band.low, band.high], 4)
    return {
        "type": "rect",
        "xref": "x",
        "yref": "paper",
        "x0": low,
        "x1": high,
        "y0": 0,
        "y1": 1,
        "fillcolor": "#E69F00",
        "opacity": 0.16,
        "line": {"width": 0},
        "layer": "below",
    }


def _letters(bands: list[ShownBand], along: WavelengthAxis) -> list[dict[str, Any]]:
    """Return the letters above the bands; a letter close to the previous one is raised."""
    ends = to_unit(along.nm[[0, -1]], along.unit)
    near = 0.05 * abs(float(ends[1] - ends[0]))
    letters: list[dict[str, Any]] = []
    before, raised = float("inf"), False
    for band in bands:
        middle = (band.low + band.high) / 2
        raised = not raised and abs(middle - before) < near
        before = middle
        letters.append(
            {
                "x": rounded([middle], 4)[0],
                "y": 1,
                "xref": "x",
                "yref": "paper",
                "yanchor": "bottom",
                "yshift": 11 if raised else 0,
                "showarrow": False,
                "text": band.letter,
                "font": {"size": 11, "color": "#5b6166"},
                "hovertext": band.name,
            }
        )
    return letters
