"""Statistics against scipy and against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import friedmanchisquare, wilcoxon

from benchmarks import statistics


@pytest.fixture
def errors() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    index = pd.MultiIndex.from_tuples(
        [(f"family{i // 3}", f"set{i}", "y") for i in range(30)], names=["family", "dataset", "target"]
    )
    base = generator.uniform(0.2, 0.8, 30)
    return pd.DataFrame(
        {
            "mean": 1.0,
            "reference": base,
            "better": base * np.exp(-0.1 + 0.05 * generator.normal(size=30)),
            "same": base * np.exp(0.05 * generator.normal(size=30)),
        },
        index=index,
    )


def test_ratios_wins_and_p_values(errors: pd.DataFrame) -> None:
    table = statistics.compare(errors.drop(columns="mean"), "reference").set_index("method")
    ratio = errors["better"] / errors["reference"]
    assert table.loc["better", "geometric mean"] == pytest.approx(np.exp(np.log(ratio).mean()))
    assert table.loc["better", "median"] == pytest.approx(ratio.median())
    assert table.loc["better", "wins"] == (ratio < 1).mean()
    p = [wilcoxon(np.log(errors[m] / errors["reference"])).pvalue for m in ("better", "same")]
    assert table.loc["better", "p"] == pytest.approx(p[0])
    # Holm by hand: the smaller of two is doubled, the larger is at least that.
    assert table.loc["better", "p Holm"] == pytest.approx(min(1.0, 2 * min(p)))
    assert table.loc["same", "p Holm"] == pytest.approx(max(2 * min(p), max(p)))
    assert table.loc["better", "low"] < table.loc["better", "geometric mean"] < table.loc["better", "high"] < 1.0
    assert table.loc["same", "low"] < 1.0 < table.loc["same", "high"]


def test_intervals_draw_families_not_targets() -> None:
    """Thirty copies of one family's result say no more than one."""
    ratio = np.r_[np.full(30, -0.5), 0.0, 0.1, -0.1]
    families = np.r_[np.zeros(30), 1, 2, 3]
    means, _ = statistics._bootstrap(ratio, families, 500, 0)
    assert means.std() > 3 * ratio.std() / np.sqrt(len(ratio))


def test_targets_that_nobody_predicts_are_told(errors: pd.DataFrame) -> None:
    errors = errors.copy()
    errors.iloc[4, 1:] = 0.97
    skilled = statistics.predictable(errors)
    assert not skilled.iloc[4]
    assert skilled.sum() == 29


def test_ranks(errors: pd.DataFrame) -> None:
    pytest.importorskip("scikit_posthocs")
    ranks, p = statistics.average_ranks(errors.drop(columns="mean"))
    assert ranks.index[0] == "better"
    assert ranks.sum() == pytest.approx(6.0)
    assert p.loc["better", "reference"] < 0.01
    assert friedmanchisquare(*errors.drop(columns="mean").to_numpy().T).pvalue < 0.01


def test_seeds_are_averaged_and_kinds_kept_apart() -> None:
    rows = [
        {
            "status": s,
            "kind": k,
            "family": "f",
            "dataset": "d",
            "target": t,
            "method": "m",
            "rmsep": r,
            "balanced_error": b,
        }
        for s, k, t, r, b in (
            ("done", "regression", "y", 1.0, np.nan),
            ("done", "regression", "y", 3.0, np.nan),
            ("failed", "regression", "y", 99.0, np.nan),
            ("done", "classification", "c", np.nan, 0.2),
        )
    ]
    table = pd.DataFrame(rows)
    assert statistics.errors(table).loc[("f", "d", "y"), "m"] == 2.0
    assert statistics.errors(table, "classification").loc[("f", "d", "c"), "m"] == 0.2
