"""The tables of the README, from ``benchmarks/results/``: ``python -m benchmarks report --readme`` writes them."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from .tables import RESULTS, markdown, read_comparison

ROOT = Path(__file__).resolve().parent.parent

_BLOCK = re.compile(r"(<!-- table: methods -->\n).*?(<!-- end -->)", re.DOTALL)


def _methods() -> str:
    table = read_comparison("phase0").merge(pd.read_csv(RESULTS / "cost.csv"), on="method")
    shown = pd.DataFrame(
        {
            "method": table["method"],
            "RMSEP ratio": [f"{r:.3f}" for r in table["geometric mean"]],
            "95 %": [f"{a:.3f} to {b:.3f}" for a, b in zip(table["low"], table["high"], strict=True)],
            "wins": [f"{w:.0%}" for w in table["wins"]],
            "p (Holm)": [f"{p:.1e}" for p in table["p Holm"]],
            "seconds to fit": [
                f"{f + e:.2f}" for f, e in zip(table["fit_seconds"], table["encode_seconds"], strict=True)
            ],
        }
    )
    return markdown(shown)


def updated(text: str) -> str:
    """Return the README's text with its table as the results say."""
    return _BLOCK.sub(lambda match: f"{match[1]}{_methods()}\n{match[2]}", text)


def write() -> None:
    """Write the README."""
    path = ROOT / "README.md"
    path.write_text(updated(path.read_text("utf-8")), "utf-8")
