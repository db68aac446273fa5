"""Tables and figures of merit as CSV, JSON and Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

#: Folder of the committed tables.
RESULTS = Path(__file__).parent / "results"

ROOT = Path(__file__).resolve().parent.parent

#: Read-outs of the untrained encoder, on patches and on points, with which trained encoders are compared.
UNTRAINED = (
    *(f"ridge@untrained:{readout}" for readout in ("contrast", "compact", "mean", "cls")),
    *(f"ridge@untrained-points:{readout}" for readout in ("compact", "mean")),
)
#: Default reference of ratios.
REFERENCE = "best-pls"


def write_table(frame: pd.DataFrame, path: Path, digits: int = 3) -> None:
    """Write a table as CSV; `path` has no suffix."""
    # Additional digits avoid double rounding when the table is read again.
    frame.to_csv(path.with_suffix(".csv"), index=False, float_format=f"%.{digits + 5}g")


def measured(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the finished rows of `Results.table` on original targets, none without `column`."""
    if column not in table:
        return pd.DataFrame()
    return table[(table["status"] == "done") & ~table["permuted"]]


def labelled(frame: pd.DataFrame, **labels: Any) -> pd.DataFrame:
    """Return a table with constant columns added in front."""
    return pd.concat([pd.DataFrame(labels, index=frame.index), frame], axis=1)


def read_comparison(
    phase: str, *, kind: str = "regression", n: int = 200, reference: str = REFERENCE, folder: Path = RESULTS
) -> pd.DataFrame:
    """Return a comparison of a phase, for example ``phase0``, with one row per method.

    The comparison is on targets of a `kind`, with at most `n` calibration samples, relative to
    `reference`.
    """
    table = pd.read_csv(folder / f"{phase}.csv")
    rows = (table["kind"] == kind) & (table["n"] == n) & (table["reference"] == reference)
    return table[rows].drop(columns=["kind", "n", "reference"]).reset_index(drop=True)


def markdown(frame: pd.DataFrame, digits: int = 3) -> str:
    """Return a table in Markdown."""

    def cell(value: object) -> str:
        if not isinstance(value, float):
            return str(value)
        if np.isnan(value):
            return ""
        return f"{value:.{digits}f}" if abs(value) >= 10**-digits or value == 0 else f"{value:.1e}"

    rows = [[cell(v) for v in row] for row in frame.itertuples(index=False)]
    lines = [frame.columns.astype(str).tolist(), ["---"] * frame.shape[1], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_json(value: dict[str, Any], path: Path) -> None:
    """Write values as JSON, with numbers to four decimals; create the folder if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rounded(value), indent=1) + "\n", "utf-8")


def rounded(value: Any) -> Any:
    """Return nested values with numbers to four decimals; None replaces non-finite numbers."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return value
