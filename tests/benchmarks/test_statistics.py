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
        [(f"family{i // 3}", f"set{i}", "y", 0) for i in range(30)], names=["family", "dataset", "target", "seed"]
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


def test_kinds_are_kept_apart_and_failures_left_out() -> None:
    rows = [
        {"status": s, "kind": k, "family": "f", "dataset": "d", "target": t, "seed": 0, "method": "m", **error}
        for s, k, t, error in (
            ("done", "regression", "y", {"rmsep": 2.0}),
            ("failed", "regression", "x", {"rmsep": 99.0}),
            ("done", "classification", "c", {"balanced_error": 0.2}),
        )
    ]
    table = pd.DataFrame(rows)
    assert statistics.errors(table)["m"].to_dict() == {("f", "d", "y", 0): 2.0}
    assert statistics.errors(table, "classification")["m"].to_dict() == {("f", "d", "c", 0): 0.2}


def test_a_split_that_one_method_lacks_counts_for_none(errors: pd.DataFrame) -> None:
    """The hard second split is there for one of two equal methods."""
    both = errors[["mean", "reference"]].assign(other=errors["reference"])
    hard = (3 * both).rename(index={0: 1}, level="seed").assign(other=np.nan)
    table = statistics.compare(pd.concat([both, hard]), "reference", ["other"]).set_index("method")
    assert table.loc["other", "geometric mean"] == pytest.approx(1.0)
    assert table.loc["other", "targets"] == 30


def test_splits_are_averaged(errors: pd.DataFrame) -> None:
    two = pd.concat([errors, (3 * errors).rename(index={0: 1}, level="seed")])
    pd.testing.assert_frame_equal(statistics.per_target(two), 2 * statistics.per_target(errors), check_like=True)


def test_methods_that_share_nothing_with_the_reference_are_left_out(errors: pd.DataFrame) -> None:
    table = statistics.compare(errors.assign(apart=np.nan), "reference")
    assert "apart" not in set(table["method"])
    assert statistics.compare(errors[["reference"]], "reference").empty
