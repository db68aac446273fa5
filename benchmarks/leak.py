"""Leak test: a method that predicts shuffled targets has used the reference values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from .pooled import CORRECTIONS
from .statistics import ERROR, FLOOR, PREDICTABLE, holm, signed_rank
from .tables import markdown, write_table
from .tasks import Results, Task

#: Experiments in the order of the table.
_EXPERIMENTS = ("calibration", "robustness", "transfer", "pooled")

_CONDITIONS = ["dataset", "target", "split", "n_train", "seed"]

#: Possible verdicts.
VERDICTS = ("skill", "undecided", "none")

#: Family-wise error rate of the verdict.
_LEVEL = 0.05

#: Smallest number of families for a verdict; five families agree by chance once in thirty times.
_MIN_FAMILIES = 5


def leak_table(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return errors on shuffled targets relative to the mean predictor, with a verdict per method.

    `tables` are `Results.table` by experiment; rows without shuffling are ignored. Each row of the
    result is a combination of experiment, kind, split, samples and method, with the number of
    families and tasks, the geometric mean of the ratios over families, the p value of a one-sided
    signed-rank test on the families' mean log ratios ("better than the mean predictor"), the p
    value after Holm's correction, and the verdict. The verdict is ``skill`` if the corrected p
    value is below 0.05, or if the uncorrected one is and the mean is at most 0.95 (few families are
    never significant after correction); ``undecided`` below five families; otherwise ``none``.
    """
    parts = [part for name in _EXPERIMENTS if name in tables and len(part := _ratios(name, tables[name]))]
    if not parts:
        return pd.DataFrame()
    keys = ["experiment", "kind", "split", "samples", "method"]
    every = pd.concat(parts, ignore_index=True)
    every["experiment"] = pd.Categorical(every["experiment"], _EXPERIMENTS)
    rows = []
    for key, part in every.groupby(keys, observed=True):
        by_family = np.log(part["ratio"]).groupby(part["family"]).mean()
        rows.append(
            {
                **dict(zip(keys, key, strict=True)),
                "families": len(by_family),
                "tasks": len(part),
                "error / mean predictor's": np.exp(by_family.mean()),
                "p": signed_rank(by_family.to_numpy(), "less"),
            }
        )
    table = pd.DataFrame(rows)
    decided = table["families"] >= _MIN_FAMILIES
    table["p Holm"] = np.nan
    if decided.any():
        table.loc[decided, "p Holm"] = holm(table.loc[decided, "p"])
    large = (table["p"] < _LEVEL) & (table["error / mean predictor's"] <= PREDICTABLE)
    skill = decided & ((table["p Holm"] < _LEVEL) | large)
    return table.assign(verdict=np.select([skill, ~decided], VERDICTS[:2], VERDICTS[2]))


def report(tables: dict[str, pd.DataFrame], to: Path) -> None:
    """Write the verdicts of all methods and experiments."""
    table = leak_table(tables)
    if len(table):
        write_table(table, to / "leak")


def print_verdict(results: Results, tasks: Sequence[Task]) -> int:
    """Print the result of the leak test; return 1 if a method has skill or nothing was tested."""
    table = leak_table(results.tables(tasks))
    tested = set(table.get("method", ()))
    untested = sorted({task.method for task in tasks} - tested - {"mean"})
    if len(table):
        print(markdown(table))
    if untested:
        print(f"not tested: {', '.join(untested)}")
    counts = Counter(table.get("verdict", ()))
    print("shuffled targets, rows: " + ", ".join(f"{counts[name]} {name}" for name in VERDICTS))
    return 1 if counts["skill"] or not tested else 0


def _ratios(experiment: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per shuffled task: family, experiment, kind, split, samples, method, ratio."""
    if table.empty:
        return table
    table = table[table["permuted"] & (table["status"] == "done")].copy()
    if table.empty:
        return table
    table["experiment"] = experiment
    table["samples"] = [("all" if np.isnan(n) else str(int(n))) for n in table["n_train"].astype(float)]
    if experiment == "calibration":
        table = pd.concat([_to_mean(part, str(kind)) for kind, part in table.groupby("kind")])
    elif experiment == "robustness":
        # Mean over the strengths of each perturbation, then median over perturbations.
        perturbed = [np.median([np.mean(c["rmsep"][1:]) for c in curves.values()]) for curves in table["curves"]]
        table["ratio"] = perturbed / table["mean_rmsep"]
    elif experiment == "transfer":
        table["ratio"] = table["rmsep"] / table["mean_rmsep"]
        table["samples"] = table["standardisation"] + " " + table["n_transfer"].astype(str)
    else:
        # Datasets differ in their means: use the error after the largest local correction, relative
        # to the mean of the same local samples.
        largest = f"rmsep_{max(CORRECTIONS)}"
        table["ratio"] = table[largest] / table["mean_rmsep"]
        table["samples"] = np.where(table["trained_on"].isna(), "other sets", "one set")
    return table[["family", "experiment", "kind", "split", "samples", "method", "ratio"]]


def _to_mean(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    table = table.assign(error=table[ERROR[kind]].clip(lower=FLOOR[kind]))
    base = table[table["method"] == "mean"].set_index(_CONDITIONS)["error"].rename("base")
    joined = table[table["method"] != "mean"].join(base, on=_CONDITIONS)
    return joined.assign(ratio=joined["error"] / joined["base"]).dropna(subset="ratio")
