"""The leak test's verdict: targets were shuffled over samples, so whatever predicts them has seen the answers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .statistics import ERROR, FLOOR, PREDICTABLE, better_than, holm

#: Experiments in the order of the table.
_EXPERIMENTS = ("calibration", "robustness", "transfer", "pooled")

_CONDITIONS = ["dataset", "target", "split", "n_train", "seed"]

#: Family-wise error of the verdict.
_LEVEL = 0.05

#: With fewer families than this a median below `PREDICTABLE` can be chance.
_FEW = 5


def leak_table(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return errors on shuffled targets over the mean predictor's, by experiment, split and method.

    Parameters
    ----------
    tables : dict of str to DataFrame
        `Results.table` by experiment; unshuffled rows are left out.

    Returns
    -------
    DataFrame
        Families, tasks, median ratio, p of a one-sided signed-rank test on the families' mean log ratios
        ("better than the mean predictor"), the same after Holm, and whether that is skill: significant, or,
        as few families never are after Holm, a median as low as a predictable target's. Empty without
        shuffled rows.
    """
    found = [_ratios(name, tables[name]) for name in _EXPERIMENTS if name in tables]
    found = [part for part in found if len(part)]
    if not found:
        return pd.DataFrame()
    keys = ["experiment", "kind", "split", "samples", "method"]
    every = pd.concat(found, ignore_index=True)
    every["experiment"] = pd.Categorical(every["experiment"], _EXPERIMENTS)
    rows = []
    for key, part in every.groupby(keys, observed=True):
        by_family = np.log(part["ratio"]).groupby(part["family"]).mean()
        rows.append(
            {
                **dict(zip(keys, key, strict=True)),
                "families": len(by_family),
                "tasks": len(part),
                "median error / mean predictor's": part["ratio"].median(),
                "low": bool(len(by_family) >= _FEW and np.exp(by_family.median()) <= PREDICTABLE),
                "p": better_than(by_family.to_numpy()),
            }
        )
    table = pd.DataFrame(rows)
    table["p Holm"] = holm(table["p"])
    return table.assign(skill=(table["p Holm"] < _LEVEL) | table["low"]).drop(columns="low")


def _ratios(experiment: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per shuffled task: family, experiment, kind, split, samples, method, ratio."""
    if table.empty:
        return table
    table = table[table["permuted"].astype(bool) & (table["status"] == "done")].copy()
    if table.empty:
        return table
    table["experiment"] = experiment
    table["samples"] = [("all" if np.isnan(n) else str(int(n))) for n in table["n_train"].astype(float)]
    if experiment == "calibration":
        parts = [_to_mean(part, str(kind)) for kind, part in table.groupby("kind")]
        table = pd.concat(parts) if parts else table.iloc[:0]
    elif experiment == "robustness":
        table["ratio"] = table["rmsep"] / table["mean_rmsep"]
    elif experiment == "transfer":
        table["ratio"] = table["rmsep"] / table["mean_rmsep"]
        table["samples"] = table["standardisation"] + " " + table["n_transfer"].astype(str)
    else:
        # Datasets differ in their means: what is left after the largest local correction counts.
        corrections = [name for name in table if name.startswith("rmsep_")]
        largest = max(corrections, key=lambda name: int(name.removeprefix("rmsep_")))
        table["ratio"] = table[largest] / table["deviation"]
    return table[["family", "experiment", "kind", "split", "samples", "method", "ratio"]]


def _to_mean(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    table = table.assign(error=table[ERROR[kind]].clip(lower=FLOOR[kind]))
    base = table[table["method"] == "mean"].set_index(_CONDITIONS)["error"].rename("base")
    joined = table[table["method"] != "mean"].join(base, on=_CONDITIONS)
    return joined.assign(ratio=joined["error"] / joined["base"]).dropna(subset="ratio")
