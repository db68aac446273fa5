"""Predictions for spectra on another axis: cut, gaps, coarser, shifted, finer, dead channels."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from .calibrations import Calibration
from .context import Context, mean_rmsep, parts, scores
from .embeddings import EmbeddedView
from .statistics import PREDICTABLE
from .tables import measured, write_table
from .tasks import Task

#: Shares of the channels removed at one end; 0 stands for a single point.
CUTS = (0.0, 0.01, 0.05, 0.1, 0.2)
#: Share of the channels missing in the middle; number of dead channels.
_GAP, _N_DEAD = 0.1, 3


def _cut(share: float, low: bool) -> Callable[[Calibration], Calibration]:
    def cut(part: Calibration) -> Calibration:
        n = part.X.shape[1]
        width = max(1, round(share * n))
        return part.channels(np.arange(width, n) if low else np.arange(n - width))

    return cut


def _gap(part: Calibration) -> Calibration:
    n = part.X.shape[1]
    width = round(_GAP * n)
    start = (n - width) // 2
    return part.channels(np.r_[0:start, start + width : n])


def _dead_channels(part: Calibration) -> Calibration:
    n = part.X.shape[1]
    X = part.X.copy()
    X[:, np.random.default_rng(0).choice(n, min(_N_DEAD, n // 4), replace=False)] = np.nan
    return dataclasses.replace(part, X=X, rows=None)


def _every_second(part: Calibration) -> Calibration:
    return part.channels(np.arange(0, part.X.shape[1], 2))


def _half_a_step(part: Calibration) -> Calibration:
    return _on_axis(part, (part.wavelengths[1:] + part.wavelengths[:-1]) / 2)


def _twice_as_fine(part: Calibration) -> Calibration:
    middles = (part.wavelengths[1:] + part.wavelengths[:-1]) / 2
    return _on_axis(part, np.sort(np.r_[part.wavelengths, middles]))


def _on_axis(part: Calibration, axis: NDArray[np.float64]) -> Calibration:
    X = CubicSpline(part.wavelengths, part.X.astype(np.float64), axis=1)(axis)
    return dataclasses.replace(part, X=X.astype(np.float32), wavelengths=axis, rows=None)


def cut_name(share: float, low: bool) -> str:
    """Return the name of the change that cuts a share off the short (`low`) or the long end."""
    return f"{f'{share:.0%}' if share else 'one point'} off the {'short' if low else 'long'} end"


#: Changes of the test spectra, by name.
CHANGES: dict[str, Callable[[Calibration], Calibration]] = {
    **{cut_name(share, low): _cut(share, low) for share in CUTS for low in (True, False)},
    "10% missing in the middle": _gap,
    "every second point": _every_second,
    "shifted by half a step": _half_a_step,
    "twice as fine": _twice_as_fine,
    "three dead channels": _dead_channels,
}
#: Changes for which a new calibration is made for comparison.
_RECALIBRATED = tuple(cut_name(share, low) for share in CUTS[1:] for low in (True, False))


def measure(task: Task, context: Context) -> dict[str, Any]:
    """Predict the test set unchanged and changed; also calibrate again on cut spectra."""
    train, test, about = parts(task, context)
    train, test = (part.channels(np.argsort(part.wavelengths)) for part in (train, test))
    method = _uncached(context, task).fit(train)
    whole = method.predict(test)
    error = {"whole": scores(test, whole)["rmsep"]}
    moved, recalibrated = {}, {}
    deviation = float(test.y.std()) or 1.0
    with warnings.catch_warnings():
        # Ignore warnings about missing channels.
        warnings.simplefilter("ignore", UserWarning)
        for name, change in CHANGES.items():
            predicted = np.asarray(method.predict(change(test)), dtype=np.float64)
            error[name] = scores(test, predicted)["rmsep"]
            moved[name] = float(np.sqrt(np.mean((predicted - whole) ** 2))) / deviation
        for name in _RECALIBRATED:
            narrower = _uncached(context, task).fit(CHANGES[name](train))
            recalibrated[name] = scores(test, narrower.predict(CHANGES[name](test)))["rmsep"]
    return {
        **about,
        "rmsep": error["whole"],
        "mean_rmsep": mean_rmsep(test.y, train.y),
        "error": error,
        "moved": moved,
        "recalibrated": recalibrated,
    }


def _uncached(context: Context, task: Task) -> Any:
    """Return the method without a cache, because changed spectra are used once."""
    method = context.method(task.method)
    views = getattr(method, "views", None)
    if isinstance(views, EmbeddedView):
        views.embedder.set_params(cache=False)
    return method


def report(tables: dict[str, pd.DataFrame], to: Path) -> None:
    """Write the error after each change, relative to that of unchanged spectra."""
    table = measured(tables["ranges"], "error")
    if table.empty:
        return
    # Use one name for the encoders of all folds, each scored on unseen families.
    table = table.assign(method=table["method"].str.replace(r"~\d+", "~K", regex=True))
    table = table[table["rmsep"] <= PREDICTABLE * table["mean_rmsep"]]
    target = [table["method"], table["dataset"], table["target"]]
    rows = []
    for name in CHANGES:
        whole = table["rmsep"].clip(lower=1e-12)
        ratio = np.log(pd.Series([e[name] for e in table["error"]], table.index) / whole).groupby(target).mean()
        recalibrated = (
            np.log(pd.Series([a.get(name, np.nan) for a in table["recalibrated"]], table.index) / whole)
            .groupby(target)
            .mean()
        )
        moved = pd.Series([m[name] for m in table["moved"]], table.index).groupby(target).mean()
        for method, logs in ratio.groupby(level=0):
            values = np.exp(logs)
            rows.append(
                {
                    "method": method,
                    "change": name,
                    "targets": len(values),
                    "ratio": float(np.exp(logs.mean())),
                    "worst": float(values.max()),
                    "worst_target": ", ".join(values.idxmax()[1:]),
                    "recalibrated": float(np.exp(recalibrated[method].mean())),
                    "moved": float(moved[method].median()),
                }
            )
    result = pd.DataFrame(rows).sort_values(["method", "change"], key=_as_listed)
    write_table(result, to / "ranges", 3)


def _as_listed(column: pd.Series) -> pd.Series:
    return column.map({name: i for i, name in enumerate(CHANGES)}) if column.name == "change" else column
