"""Pooled calibration: one head per analyte, trained on other datasets and tested on one."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from nirs4all_vit.heads import GroupRidge, make_head
from nirs4all_vit.pretraining import SpectralDataset

from .calibrations import Calibration, read_about
from .context import Context, mean_rmsep, shuffled
from .embeddings import EmbeddedView
from .methods.base import Unavailable
from .methods.pls import PLS
from .methods.preprocessing import PreprocessedViews
from .methods.registry import PARAMETERS, parse_method
from .methods.ridge import ALPHAS
from .problems import Problems
from .tables import measured, write_table
from .tasks import Task

#: Names of the targets of each analyte. The basis (as is, dry matter, 12 % moisture) differs, as in
#: practice; a correction with local samples removes this difference.
ANALYTES: dict[str, tuple[str, ...]] = {
    "protein": ("protein", "Protein", "crude_protein_pct", "crude_protein", "Prot"),
    "moisture": ("moisture", "Moisture", "moisture_pct", "water"),
    "starch": ("starch", "Starch"),
    "fibre (ADF)": ("adf", "adf_pct"),
    "fibre (NDF)": ("ndf", "ndf_pct"),
    "soil organic carbon": ("soc", "carbon", "OC"),
    "clay": ("clay",),
    "pH": ("ph", "pH"),
}

#: Targets with the same name but another meaning: carbon of dried grass.
_EXCLUDED = {("grass_shootout1998_foss6500", "carbon")}

#: Factors to mass percent or pH, by the beginning of the unit; other targets are omitted.
_UNITS = {"%": 1.0, "pH": 1.0, "g/kg": 0.1}

#: Smallest number of samples: those of the largest local correction, and as many for testing.
_MIN_SAMPLES = 40

#: Numbers of local samples for a correction of bias, or of bias and slope.
CORRECTIONS = (0, 5, 10, 20)

#: Share of the channels of the test set that a dataset must cover; end values are extended.
_MIN_COVERED = 0.9

#: Largest number of training spectra per dataset.
_MAX_SPECTRA = 60

#: Candidate penalties. Smaller ones fit the rounding of float32 embeddings: with replicates of a few
#: samples, the chosen penalty then depends on the last bit, and the error with it (up to 39 %).
PENALTIES = ALPHAS[ALPHAS >= 1e-8]


@lru_cache(maxsize=1)
def members(problems: Problems) -> dict[str, list[Calibration]]:
    """Return the problems of each analyte that at least two families measure.

    Read once per process.
    """
    every = {name for names in ANALYTES.values() for name in names}
    candidates = (p for p in problems if p.task == "regression" and p.target in every)
    converted = [problem for p in candidates if (problem := _in_common_unit(problems, p)) is not None]
    by_analyte = {analyte: [p for p in converted if p.target in names] for analyte, names in ANALYTES.items()}
    return {analyte: of for analyte, of in by_analyte.items() if len({p.family for p in of}) >= 2}


def _in_common_unit(problems: Problems, problem: Calibration) -> Calibration | None:
    """Return a problem in mass percent or pH, or None if excluded or in another unit."""
    if (problem.dataset, problem.target) in _EXCLUDED or np.unique(problem.groups).size < _MIN_SAMPLES:
        return None
    if problems.x_bank is None:
        return problem
    unit = str(read_about(problems.x_bank, problem.dataset)["targets"][problem.target].get("unit", ""))
    factor = next((by for start, by in _UNITS.items() if unit.startswith(start)), None)
    return None if factor is None else dataclasses.replace(problem, y=problem.y * factor)


def _in_absorbance(problem: Calibration) -> Calibration:
    """Return a problem with spectra as absorbance, in ascending order of wavelength."""
    order = np.argsort(problem.wavelengths)
    axis = problem.wavelengths[order]
    spectra = SpectralDataset(problem.dataset, problem.X[:, order], axis, problem.metadata)
    return dataclasses.replace(problem, X=spectra.absorbance(), wavelengths=axis, rows=None)


def covering(training: list[Calibration], test: Calibration) -> list[Calibration]:
    """Return the datasets of other families that cover the test range; raises `Unavailable`."""
    w = test.wavelengths
    wide = [
        p
        for p in training
        if p.family != test.family and ((w >= p.wavelengths.min()) & (w <= p.wavelengths.max())).mean() >= _MIN_COVERED
    ]
    if not wide:
        raise Unavailable("no dataset of another family covers this one's range")
    return wide


class Pool:
    """Features of a test set and of datasets of other families, on the axis of the test set.

    At most 60 spectra per dataset, drawn with the seed, are used.

    Parameters
    ----------
    method : str
        ``snv-pls``, ``pca-ridge``, ``ridge@ENCODER`` or ``committee@ENCODER``.
    training : list of Calibration
    test : Calibration
    views : EmbeddedView or None
        The embedding, if `method` has an encoder.
    seed : int
    """

    def __init__(self, method: str, training: list[Calibration], test: Calibration, views: Any, seed: int) -> None:
        generator = np.random.default_rng(seed)
        parts = [_in_absorbance(p.take(np.sort(generator.permutation(len(p))[:_MAX_SPECTRA]))) for p in training]
        test = _in_absorbance(test)
        self.head = parse_method(method)[0]
        grid = PreprocessedViews(["snv" if method == "snv-pls" else "raw"]).fit(test)
        tables = [grid.view(p, grid.names[0]) for p in (*parts, test)]
        if views is not None:
            rows = np.concatenate(tables[:-1]).astype(np.float32)
            pooled = Calibration("pooled", test.target, "pooled", rows, test.wavelengths, test.y[:0], test.groups[:0])
            views.fit(pooled)
            embedded = (dataclasses.replace(pooled, X=t.astype(np.float32)) for t in tables)
            tables = [views.view(part, "embedding") for part in embedded]
        elif self.head == "pca-ridge":
            pca = PCA(min(30, sum(map(len, parts)) - 1), svd_solver="full").fit(np.concatenate(tables[:-1]))
            tables = [pca.transform(table) for table in tables]
        self.tables = [np.asarray(table, dtype=np.float64) for table in tables[:-1]]
        self.y = [part.y for part in parts]
        # Components and penalty are selected over datasets, or over samples of a single dataset.
        sizes = [len(y) for y in self.y]
        self.owner = np.repeat(np.arange(len(sizes)), sizes) if len(sizes) > 1 else np.arange(sum(sizes))
        self.test, self.test_table = test, np.asarray(tables[-1], dtype=np.float64)

    def predict(self) -> NDArray[np.float64]:
        """Return predictions of the test set by a head trained on the other datasets only."""
        return self._predicted(self.tables, self.y, self.owner, self.test_table)

    def predict_with(self, local: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return predictions by a head trained on the other datasets and on local samples.

        The local samples have the same total weight as all others. Features and values of each
        dataset are centred, those of the test set on the mean of its local samples.
        """
        centre, level = self.test_table[local].mean(axis=0), self.test.y[local].mean()
        # Weight the local samples by repetition, which works with every head.
        rows = np.repeat(local, max(1, round(len(self.owner) / len(local))))
        tables = [*(table - table.mean(axis=0) for table in self.tables), self.test_table[rows] - centre]
        values = [*(y - y.mean() for y in self.y), self.test.y[rows] - level]
        owner = np.concatenate([self.owner, len(self.owner) + self.test.groups[rows]])
        return self._predicted(tables, values, owner, self.test_table - centre) + level

    def predict_by(self, local: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return predictions by the same head trained on the local samples only."""
        return self._predicted([self.test_table[local]], [self.test.y[local]], self.test.groups[local], self.test_table)

    def _predicted(
        self, tables: list[NDArray], values: list[NDArray], owner: NDArray[np.int64], at: NDArray
    ) -> NDArray[np.float64]:
        """Fit a head on features and values, grouped by `owner`; predict for features `at`."""
        Z, y = np.concatenate(tables), np.concatenate(values)
        if self.head == "committee":
            return np.ravel(make_head("committee").fit(Z, y, groups=owner).predict(at))
        if self.head == "snv-pls":
            axis = np.arange(1.0, Z.shape[1] + 1)
            part = Calibration("pooled", self.test.target, "pooled", Z.astype(np.float32), axis, y, owner)
            whole = dataclasses.replace(part, X=at.astype(np.float32), y=np.zeros(len(at)), groups=np.arange(len(at)))
            return PLS(PreprocessedViews(["raw"])).fit(part).predict(whole)
        # Penalties are relative to the mean diagonal of the kernel.
        scale = max(float(np.sqrt((Z - Z.mean(axis=0)).var(axis=0).sum())), 1e-300)
        return GroupRidge(PENALTIES).fit(Z / scale, y, groups=owner).predict(at / scale)


def corrected(predicted: NDArray, y: NDArray, local: NDArray[np.int64]) -> NDArray:
    """Correct predictions for bias (below 10 local samples), or for bias and slope."""
    if len(local) == 0:
        return predicted
    if len(local) < 10:
        return predicted + (y[local] - predicted[local]).mean()
    slope, offset = (
        np.polyfit(predicted[local], y[local], 1) if np.ptp(predicted[local]) > 0 else (0.0, y[local].mean())
    )
    return slope * predicted + offset


def measure(task: Task, context: Context) -> dict[str, Any]:
    """Train a head for an analyte on other datasets; test it without and with local samples."""
    analyte, only = task.options["analyte"], task.options.get("trained_on")
    every = members(context.problems)[analyte]
    if task.permuted:
        every = [shuffled(p, i) for i, p in enumerate(every)]
    test = next(p for p in every if p.dataset == task.dataset and p.target == task.target)
    training = covering([p for p in every if only in (None, p.dataset)], test)
    head, encoder, readout = parse_method(task.method)
    view = None
    if encoder is not None:
        view = EmbeddedView(context.weights[encoder], readout, context.embeddings, **PARAMETERS.get(head, {}))
    pool = Pool(task.method, training, test, view, task.seed)
    predicted = pool.predict()
    # Exclude local samples and their replicates from the test.
    samples = np.random.default_rng(task.seed).permutation(np.unique(test.groups))
    held = np.flatnonzero(~np.isin(test.groups, samples[: max(CORRECTIONS)]))
    y, deviation = test.y[held], float(test.y[held].std())

    def rmsep(values: NDArray) -> float:
        return float(np.sqrt(((values[held] - y) ** 2).mean()))

    out: dict[str, Any] = {"family": test.family, "kind": "regression", "n_datasets": len(training)}
    local = np.array([], dtype=np.int64)
    for k in CORRECTIONS:
        local = np.flatnonzero(np.isin(test.groups, samples[:k]))
        out[f"rmsep_{k}"] = rmsep(corrected(predicted, test.y, local))
        if k and only is None:
            out[f"rmsep_{k}_added"] = rmsep(pool.predict_with(local))
            out[f"rmsep_{k}_alone"] = rmsep(pool.predict_by(local))
    # The mean predictor uses the samples of the largest correction.
    out["mean_rmsep"] = mean_rmsep(y, test.y[local])
    out["rmsep"], out["deviation"] = out["rmsep_0"], deviation
    error = predicted[held] - y
    out["bias"], out["sep"] = abs(float(error.mean())), float(error.std())
    # Difference between the means of test and training values.
    out["level"] = abs(float(test.y.mean() - np.mean([p.y.mean() for p in training])))
    out["r"] = float(np.corrcoef(predicted[held], y)[0, 1]) if np.ptp(predicted[held]) > 0 else 0.0
    return out


def report(tables: dict[str, pd.DataFrame], to: Path) -> None:
    """Write errors by analyte, test set and method, and correlations for pairs of datasets."""
    table = measured(tables["pooled"], "rmsep_0")
    if table.empty:
        return
    every = table[table["trained_on"].isna()]
    # Use test sets with results of all methods.
    n_methods = every.groupby(["analyte", "dataset", "target"])["method"].transform("nunique")
    every = every[n_methods == every["method"].nunique()]
    if every.empty:
        return
    columns = [name for name in every if name.startswith("rmsep_")]
    relative = every[columns].div(every["deviation"], axis=0)
    relative = relative.join(every[["bias", "sep", "level"]].div(every["deviation"], axis=0)).join(
        every[["analyte", "dataset", "method", "r"]]
    )
    # Average over splits first, so that every test set counts once.
    by_set = relative.groupby(["analyte", "dataset", "method"]).mean().reset_index()
    grouped = by_set.groupby(["analyte", "method"])
    summary = grouped[list(by_set.columns[3:])].median()
    summary.insert(0, "test sets", grouped["dataset"].nunique())
    write_table(summary.reset_index(), to / "pooled")
    write_table(by_set, to / "pooled_sets")
    pairs = table.dropna(subset=["trained_on"]).groupby(["analyte", "method", "trained_on", "dataset"])["r"].mean()
    if len(pairs):
        write_table(pairs.reset_index(), to / "pooled_pairs")
