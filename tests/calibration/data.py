"""Small tables of spectra and reference values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

NM = np.linspace(1100.0, 2500.0, 71)


def make(n: int = 48, seed: int = 0) -> tuple[np.ndarray, pd.DataFrame]:
    """Return spectra of four absorbers, and reference values: two numbers and one of classes."""
    rng = np.random.default_rng(seed)
    bands = np.exp(-0.5 * ((NM - np.array([[1210.0], [1450.0], [1940.0], [2180.0]])) / 50.0) ** 2)
    amounts = rng.uniform(0.1, 1.0, (n, 4))
    X = amounts @ bands + 0.3 + 0.1 * rng.random((n, 1)) + 1e-3 * rng.standard_normal((n, len(NM)))
    protein = 10.0 * amounts[:, 3] + 0.1 * rng.standard_normal(n)
    table = pd.DataFrame(
        {
            "sample": [f"S{k:03d}" for k in range(n)],
            "protein": protein.round(3),
            "moisture": (20.0 * amounts[:, 2]).round(3),
            "grade": np.where(protein > 7, "high", np.where(protein > 4, "middle", "low")),
        }
    )
    return X.round(6), table


def write(folder: Path, n: int = 48, seed: int = 0, **changes: Any) -> tuple[Path, Path]:
    """Write ``spectra.csv`` (with ids) and ``targets.csv``.

    `changes` replace columns of the targets; None drops a column.
    """
    X, table = make(n, seed)
    spectra = pd.DataFrame(X, columns=[f"{nm:g}" for nm in NM])
    spectra.insert(0, "sample", table["sample"])
    spectra.to_csv(folder / "spectra.csv", index=False)
    for name, values in changes.items():
        table = table.drop(columns=name) if values is None else table.assign(**{name: values})
    table.to_csv(folder / "targets.csv", index=False)
    return folder / "spectra.csv", folder / "targets.csv"
