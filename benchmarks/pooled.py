"""One head for one analyte over many datasets: trained on all others, tested on the one left out."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .calibrations import Calibration, read_about
from .context import Context, mean_rmsep, shuffled
from .embeddings import EmbeddedView
from .methods.base import Unavailable
from .methods.pls import PLS
from .methods.preprocessing import PREPROCESSINGS, PreprocessedViews
from .methods.registry import parse_method
from .methods.ridge import ScaledRidge
from .problems import Problems
from .tables import measured, write_table
from .tasks import Task

#: What the datasets call an analyte. The basis (as is, dry matter, 12 % moisture) differs, as it does in practice: a
#: correction by local samples takes it out.
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

#: Of the same name, but something else: carbon of dried grass.
_NOT_MEANT = {("grass_shootout1998_foss6500", "carbon")}

#: Factors from a unit, by its beginning, to mass percent or pH; in any other unit (unknown ones, too) a target is left out.
_UNITS = {"%": 1.0, "pH": 1.0, "g/kg": 0.1}

#: Samples that a dataset needs: the largest local correction and as many again to judge it by.
_MIN_SAMPLES = 40

#: Local samples that a bias, or bias and slope, correction may use.
CORRECTIONS = (0, 5, 10, 20)

#: Spectra of one dataset at most, in training.
_CAP = 60


@lru_cache(maxsize=1)
def members(problems: Problems) -> dict[str, list[Calibration]]:
    """Return the problems that measure an analyte, where two families at least do; read once per process."""
    every = {name for names in ANALYTES.values() for name in names}
    candidates = (p for p in problems if p.task == "regression" and p.target in every)
    converted = [problem for p in candidates if (problem := _in_common_unit(problems, p)) is not None]
    by_analyte = {analyte: [p for p in converted if p.target in names] for analyte, names in ANALYTES.items()}
    return {analyte: of for analyte, of in by_analyte.items() if len({p.family for p in of}) >= 2}


def _in_common_unit(problems: Problems, problem: Calibration) -> Calibration | None:
    """Return a problem in mass percent or pH; None where its unit says that it is something else, or nothing."""
    if (problem.dataset, problem.target) in _NOT_MEANT or np.unique(problem.groups).size < _MIN_SAMPLES:
        return None
    if problems.x_bank is None:
        return problem
    unit = str(read_about(problems.x_bank, problem.dataset)["targets"][problem.target].get("unit", ""))
    factor = next((by for start, by in _UNITS.items() if unit.startswith(start)), None)
    return None if factor is None else dataclasses.replace(problem, y=problem.y * factor)


def predict_left_out(
    method: str, training: list[Calibration], test: Calibration, views: object, seed: int
) -> NDArray[np.float64]:
    """Train one head on several datasets, of other families, and predict another.

    ``snv-pls`` interpolates spectra to the grid of `test`; other methods are a ridge on the embedding, of which `views`
    are, each dataset on its own grid. Components and penalty are chosen over datasets. At most 60 spectra of each, by
    the seed, are used.
    """
    generator = np.random.default_rng(seed)
    parts = [p.take(np.sort(generator.permutation(len(p))[:_CAP])) for p in training]
    y = np.concatenate([p.y for p in parts])
    # Choices are made over datasets; over samples where there is one dataset only.
    owner = np.repeat(np.arange(len(parts)), [len(p) for p in parts]) if len(parts) > 1 else parts[0].groups
    if method == "snv-pls":
        grid = PreprocessedViews(["snv"]).fit(test)
        X = np.concatenate([grid.view(p, "snv") for p in parts]).astype(np.float32)
        pooled = Calibration("pooled", test.target, "pooled", X, test.wavelengths, y, owner)
        test = Calibration(
            "pooled", test.target, "pooled", PREPROCESSINGS["snv"](test.X), test.wavelengths, test.y, test.groups
        )
        return PLS(PreprocessedViews(["raw"])).fit(pooled).predict(test)
    features = views.fit_pooled(parts)
    pooled = Calibration("pooled", test.target, "pooled", features, test.wavelengths, y, owner)
    return ScaledRidge(over_groups=True).fit(features, pooled).predict(views.view(test, "embedding"))


def covering(training: list[Calibration], test: Calibration) -> list[Calibration]:
    """Return the datasets that cover at least half of the test set's channels: what interpolation can use.

    `Unavailable` says that there is none.
    """
    w = test.wavelengths
    wide = [p for p in training if ((w >= p.wavelengths.min()) & (w <= p.wavelengths.max())).mean() >= 0.5]
    if not wide:
        raise Unavailable("no dataset covers half of this one's range")
    return wide


def corrected(predicted: NDArray, y: NDArray, local: NDArray[np.int64]) -> NDArray:
    """Correct predictions by bias (below 10 local samples), or by bias and slope."""
    if len(local) == 0:
        return predicted
    if len(local) < 10:
        return predicted + (y[local] - predicted[local]).mean()
    slope, offset = (
        np.polyfit(predicted[local], y[local], 1) if np.ptp(predicted[local]) > 0 else (0.0, y[local].mean())
    )
    return slope * predicted + offset


def measure(task: Task, context: Context) -> dict[str, Any]:
    """Train one head for an analyte on other datasets, test on this one, raw and with local correction."""
    analyte, only = task.options["analyte"], task.options.get("trained_on")
    every = members(context.problems)[analyte]
    if task.permuted:
        every = [shuffled(p, i) for i, p in enumerate(every)]
    test = next(p for p in every if p.dataset == task.dataset and p.target == task.target)
    training = [p for p in every if p.family != test.family and only in (None, p.dataset)]
    if task.options["training"] == "covering":
        training = covering(training, test)
    _, encoder, readout = parse_method(task.method)
    view = None if encoder is None else EmbeddedView(context.weights[encoder], readout, context.embeddings)
    predicted = predict_left_out(task.method, training, test, view, task.seed)
    # Replicates of a local sample are not predicted.
    samples = np.random.default_rng(task.seed).permutation(np.unique(test.groups))
    held = np.flatnonzero(~np.isin(test.groups, samples[: max(CORRECTIONS)]))
    out: dict[str, Any] = {"family": test.family, "kind": "regression", "n_datasets": len(training)}
    for k in CORRECTIONS:
        local = np.flatnonzero(np.isin(test.groups, samples[:k]))
        better = corrected(predicted, test.y, local)
        out[f"rmsep_{k}"] = float(np.sqrt(((better - test.y)[held] ** 2).mean()))
    # The last, largest correction's samples are what a mean predictor would have.
    out["mean_rmsep"] = mean_rmsep(test.y[held], test.y[local])
    out["rmsep"], out["deviation"] = out["rmsep_0"], float(test.y[held].std())
    out["r"] = float(np.corrcoef(predicted[held], test.y[held])[0, 1]) if np.ptp(predicted[held]) > 0 else 0.0
    return out


def report(tables: dict[str, pd.DataFrame], to: Path) -> None:
    """Write the errors of each analyte, test set and method with every correction, and correlations between datasets."""
    table = measured(tables["pooled"], "rmsep_0")
    if table.empty:
        return
    table = table.assign(method=table["method"].where(table["training"] == "covering", table["method"] + ", all sets"))
    every = table[table["trained_on"].isna()]
    # Test sets that every method can be trained for.
    n_methods = every.groupby(["analyte", "dataset", "target"])["method"].transform("nunique")
    every = every[n_methods == every["method"].nunique()]
    if every.empty:
        return
    columns = [name for name in table if name.startswith("rmsep_")]
    relative = every[columns].div(every["deviation"], axis=0).join(every[["analyte", "dataset", "method", "r"]])
    grouped = relative.groupby(["analyte", "method"])
    summary = grouped[[*columns, "r"]].median()
    summary.insert(0, "test sets", grouped["dataset"].nunique())
    write_table(summary.reset_index(), to / "pooled")
    write_table(relative[["analyte", "dataset", "method", *columns]], to / "pooled_sets")
    pairs = table.dropna(subset=["trained_on"]).groupby(["analyte", "method", "trained_on", "dataset"])["r"].mean()
    if len(pairs):
        write_table(pairs.reset_index(), to / "pooled_pairs")
