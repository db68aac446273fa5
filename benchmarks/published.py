"""Errors and ratios on the publishers' splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from . import statistics
from .tables import REFERENCE, measured, write_table

_TARGET = ["family", "dataset", "target"]


def report(tables: dict[str, pd.DataFrame], to: Path) -> None:
    """Write RMSEP of all targets on the publishers' splits, over all folds, and ratios to PLS."""
    table = measured(tables["calibration"], "rmsep")
    table = table[table["split"] == "published"] if len(table) else table
    if table.empty:
        return
    table = table.assign(method=table["method"].str.replace(r"~\d+", "~K", regex=True))
    table = table.assign(squares=table["n_test"] * np.square(table["rmsep"]))
    sums = table.groupby([*_TARGET, "method"])[["squares", "n_test"]].sum()
    folds = table.groupby(_TARGET)["seed"].nunique()
    errors = np.sqrt(sums["squares"] / sums["n_test"]).unstack("method")
    calibrating = table.groupby(_TARGET)["n_calibration"].mean().round().astype(int)
    tested = table.groupby([*_TARGET, "method"])["n_test"].sum().groupby(level=_TARGET).max()
    about = pd.DataFrame({"folds": folds, "n calibration": calibrating, "n test": tested})
    write_table(about.join(errors).reset_index(), to / "published_targets", 4)
    # The statistics average over seeds; here there is one.
    by_seed = errors.assign(seed=0).set_index("seed", append=True)
    skilled = statistics.predictable(by_seed)
    compared = statistics.of_targets(by_seed, skilled).drop(columns="mean")
    rows = [
        statistics.compare(compared, reference).assign(reference=reference)
        for reference in ("pls", REFERENCE)
        if len(compared)
    ]
    if rows:
        write_table(pd.concat(rows), to / "published")
