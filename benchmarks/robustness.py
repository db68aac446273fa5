"""Perturbations of spectra in increasing strength, and their effect on predictions."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from .calibrations import Calibration
from .context import Context, mean_rmsep, parts, scores
from .statistics import PREDICTABLE
from .tables import measured, write_table
from .tasks import Task


def baseline_drift(part: Calibration, strength: float, generator: np.random.Generator) -> Calibration:
    """Add a random cubic; strength is its SD relative to the SD of the mean spectrum."""
    t = np.linspace(-1.0, 1.0, part.X.shape[1])
    basis = np.polynomial.legendre.legvander(t, 3)
    drift = generator.normal(size=(len(part), 4)) @ basis.T
    drift /= np.sqrt((drift**2).mean(axis=1, keepdims=True)) + 1e-12
    return _with(part, part.X + strength * _level(part) * drift)


def scatter(part: Calibration, strength: float, generator: np.random.Generator) -> Calibration:
    """Multiply each spectrum; strength is the SD of the logarithm of the factor."""
    return _with(part, part.X * np.exp(strength * generator.normal(size=(len(part), 1))))


def noise(part: Calibration, strength: float, generator: np.random.Generator) -> Calibration:
    """Add white noise; strength is its SD relative to the SD of the mean spectrum."""
    return _with(part, part.X + strength * _level(part) * generator.normal(size=part.X.shape))


def wavelength_shift(part: Calibration, strength: float, generator: np.random.Generator) -> Calibration:
    """Shift all spectra by `strength` nm, in a random direction."""
    order = np.argsort(part.wavelengths)
    axis = part.wavelengths[order]
    shifted = axis + strength * generator.choice([-1.0, 1.0])
    X = np.empty(part.X.shape)
    X[:, order] = np.stack([np.interp(shifted, axis, row) for row in part.X[:, order].astype(np.float64)])
    return _with(part, X)


def resolution_loss(part: Calibration, strength: float, generator: np.random.Generator) -> Calibration:  # noqa: ARG001
    """Smooth with a Gaussian; strength is its full width at half maximum in nm."""
    if strength == 0:
        return _with(part, part.X)
    step = float(np.median(np.abs(np.diff(part.wavelengths))))
    return _with(part, gaussian_filter1d(part.X.astype(np.float64), strength / 2.3548 / step, axis=1, mode="nearest"))


def missing_bands(part: Calibration, strength: float, generator: np.random.Generator) -> Calibration:
    """Remove a block of channels; strength is the share of the channels."""
    n = part.X.shape[1]
    width = min(round(strength * n), n - 5)
    start = int(generator.integers(0, n - width + 1))
    return part.channels(np.r_[0:start, start + width : n])


def coarser_sampling(part: Calibration, strength: float, generator: np.random.Generator) -> Calibration:  # noqa: ARG001
    """Keep every k-th channel; strength is k."""
    channels = np.arange(0, part.X.shape[1], int(strength))
    return part.channels(channels) if len(channels) >= 5 else part


#: Perturbations and their strengths, by name; curves begin with the unperturbed spectra.
PERTURBATIONS: dict[str, tuple[Callable[[Calibration, float, np.random.Generator], Calibration], tuple[float, ...]]] = {
    "baseline drift": (baseline_drift, (0.02, 0.05, 0.1, 0.2, 0.5)),
    "scatter": (scatter, (0.02, 0.05, 0.1, 0.2, 0.5)),
    "noise": (noise, (0.001, 0.003, 0.01, 0.03, 0.1)),
    "wavelength shift": (wavelength_shift, (0.5, 1.0, 2.0, 3.0, 5.0)),
    "resolution loss": (resolution_loss, (5.0, 10.0, 20.0, 40.0)),
    "missing bands": (missing_bands, (0.05, 0.1, 0.2, 0.3)),
    "coarser sampling": (coarser_sampling, (2, 4, 8)),
}

#: Axis labels of the strengths, by name.
STRENGTHS = {
    "baseline drift": "SD of the drift / SD of the mean spectrum",
    "scatter": "SD of the logarithm of the factor",
    "noise": "SD of the noise / SD of the mean spectrum",
    "wavelength shift": "shift (nm)",
    "resolution loss": "full width at half maximum (nm)",
    "missing bands": "share of the channels removed",
    "coarser sampling": "every k-th channel, k",
}


def _level(part: Calibration) -> float:
    return float(part.X.mean(axis=0).std()) or 1.0


def _with(part: Calibration, X: NDArray) -> Calibration:
    return dataclasses.replace(part, X=X.astype(np.float32), rows=None)


def measure(task: Task, context: Context) -> dict[str, Any]:
    """Predict the test set unperturbed and with increasing perturbations.

    The area under a curve is the mean increase of the RMSEP over the strengths, in units of the
    standard deviation of the target.
    """
    train, test, about = parts(task, context)
    method = context.method(task.method).fit(train)
    clean, deviation = scores(test, method.predict(test))["rmsep"], float(test.y.std()) or 1.0
    curves: dict[str, Any] = {}
    areas = {}
    for name, (perturb, strengths) in PERTURBATIONS.items():
        rmsep = []
        for strength in strengths:
            # Same perturbation for every method.
            generator = np.random.default_rng([task.seed, zlib.crc32(name.encode())])
            rmsep.append(scores(test, method.predict(perturb(test, strength, generator)))["rmsep"])
        curves[name] = {"strength": [0.0, *strengths], "rmsep": [clean, *rmsep]}
        areas[name] = float(np.mean(rmsep) - clean) / deviation
    error = {"rmsep": clean, "mean_rmsep": mean_rmsep(test.y, train.y), "deviation": deviation}
    return {**about, **error, "curves": curves, "areas": areas}


def report(tables: dict[str, pd.DataFrame], to: Path) -> None:
    """Write the curves of each method, as medians over targets, and the areas under them."""
    table = measured(tables["robustness"], "areas")
    if table.empty:
        return
    # Use one name for the encoders of all folds, each scored on unseen families.
    table = table.assign(method=table["method"].str.replace(r"~\d+", "~K", regex=True))
    # Use predictable targets only.
    best = table.groupby(["dataset", "target"])["rmsep"].transform("min")
    table = table[best <= PREDICTABLE * table["deviation"]]
    if table.empty:
        return
    areas = pd.DataFrame(table["areas"].tolist(), index=table.index).assign(method=table["method"])
    write_table(areas.groupby("method").median().reset_index(), to / "robustness")
    curves = []
    for name in areas.columns.drop("method"):
        strength = table["curves"].iloc[0][name]["strength"]
        for method, part in table.groupby("method"):
            rmsep = np.array([of_task[name]["rmsep"] for of_task in part["curves"]])
            growth = np.median((rmsep - rmsep[:, :1]) / part["deviation"].to_numpy()[:, None], axis=0)
            about = {"perturbation": name, "method": method, "targets": len(part)}
            curves.append(pd.DataFrame({**about, "strength": strength, "growth": growth}))
    write_table(pd.concat(curves), to / "robustness_curves")
