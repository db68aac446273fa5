"""Comparison of methods over many targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import wilcoxon
from statsmodels.stats.multitest import multipletests

#: A target is predictable if the error of a method is at most this share of that of the mean
#: predictor.
PREDICTABLE = 0.95

#: Smaller errors are replaced by this value; for classes, half a percent.
FLOOR = {"regression": 1e-12, "classification": 0.005}

#: Compared error: RMSEP, or one minus the balanced accuracy.
ERROR = {"regression": "rmsep", "classification": "balanced_error"}

_TARGET = ["family", "dataset", "target"]


def errors(table: pd.DataFrame, kind: str = "regression") -> pd.DataFrame:
    """Return errors by method (columns) and split of each target, from `Results.table`.

    Rows are indexed by family, dataset, target and seed. Missing results are NaN.
    """
    rows = table[(table["status"] == "done") & (table["kind"] == kind)]
    if rows.empty:
        return pd.DataFrame()
    return rows.pivot_table(index=[*_TARGET, "seed"], columns="method", values=ERROR[kind], aggfunc="mean")


def per_target(errors: pd.DataFrame) -> pd.DataFrame:
    """Return the mean error of each target over the available splits of each method."""
    return errors.groupby(level=_TARGET).mean()


def predictable(errors: pd.DataFrame, reference: str = "mean") -> pd.Series:
    """Return which targets any method predicts better than the reference, over common splits."""
    ratios = {
        name: pair[name] / pair[reference]
        for name in errors.columns.drop(reference)
        for pair in [paired(errors, name, reference)]
    }
    best = pd.DataFrame(ratios).min(axis=1)
    return (best <= PREDICTABLE).reindex(per_target(errors).index, fill_value=False)


def of_targets(errors: pd.DataFrame, targets: pd.Series) -> pd.DataFrame:
    """Return the splits of the targets for which `targets` is true."""
    return errors[targets.reindex(errors.index.droplevel("seed"), fill_value=False).to_numpy(dtype=bool)]


def paired(errors: pd.DataFrame, name: str, reference: str) -> pd.DataFrame:
    """Return two columns by target, averaged over the splits that both methods have."""
    return per_target(errors[[name, reference]].dropna())


def compare(
    errors: pd.DataFrame,
    reference: str,
    methods: Sequence[str] | None = None,
    *,
    floor: float = 1e-12,
    n_bootstrap: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare methods with a reference, paired by target.

    Parameters
    ----------
    errors : DataFrame
        Errors as returned by `errors`, of predictable targets, with any number of splits.
    reference : str
        Method whose errors are the denominators of the ratios.
    methods : sequence of str, optional
        Methods to compare; by default all others.
    floor : float
        Smaller errors are replaced by this value, to avoid infinite ratios.
    n_bootstrap, seed : int
        Number of bootstrap samples and seed of the intervals. Whole families are resampled, because
        targets of a family are not independent.

    Returns
    -------
    DataFrame
        One row per method: number of targets, geometric mean and median of the ratios with 95 %
        intervals, share of wins, p value of the Wilcoxon signed-rank test on log ratios, and the p
        value after Holm's correction.
    """
    names = [m for m in (methods or errors.columns) if m != reference and m in errors]
    rows = []
    for name in names:
        pair = paired(errors, name, reference)
        if pair.empty:
            continue
        ratio = np.log(pair[name].clip(lower=floor) / pair[reference].clip(lower=floor))
        families = pair.index.get_level_values("family").to_numpy()
        means, medians = _bootstrap(ratio.to_numpy(), families, n_bootstrap, seed)
        rows.append(
            {
                "method": name,
                "targets": len(ratio),
                "geometric mean": np.exp(ratio.mean()),
                "low": np.exp(np.percentile(means, 2.5)),
                "high": np.exp(np.percentile(means, 97.5)),
                "median": np.exp(ratio.median()),
                "median low": np.exp(np.percentile(medians, 2.5)),
                "median high": np.exp(np.percentile(medians, 97.5)),
                "wins": float((ratio < 0).mean()),
                "p": signed_rank(ratio.to_numpy()),
            }
        )
    table = pd.DataFrame(rows)
    if len(table):
        table["p Holm"] = holm(table["p"])
    return table.sort_values("geometric mean", ignore_index=True) if len(table) else table


def signed_rank(ratio: NDArray, alternative: str = "two-sided") -> float:
    """Return the Wilcoxon p value of log ratios (n,); ``less`` tests whether they are below 0."""
    if len(ratio) < 2 or not np.any(ratio):
        return 1.0
    return float(wilcoxon(ratio, alternative=alternative).pvalue)


def holm(p: Sequence[float]) -> NDArray:
    """Return p values after Holm's correction."""
    return np.asarray(multipletests(p, method="holm")[1])


def average_ranks(errors: pd.DataFrame) -> tuple[pd.Series, pd.DataFrame]:
    """Return the mean rank of each method over complete targets, and Nemenyi's p for each pair.

    Demsar, J. (2006). Statistical comparisons of classifiers over multiple data sets. JMLR 7.
    """
    import scikit_posthocs

    complete = per_target(errors.dropna())
    ranks = complete.rank(axis=1).mean().sort_values()
    p = scikit_posthocs.posthoc_nemenyi_friedman(complete.to_numpy())
    p.index = p.columns = complete.columns
    return ranks, p


def _bootstrap(ratio: NDArray, families: NDArray, n: int, seed: int) -> tuple[NDArray, NDArray]:
    """Return means and medians of log ratios over bootstrap samples of families."""
    _, codes = np.unique(families, return_inverse=True)
    n_families = int(codes.max()) + 1
    sampled_families = np.random.default_rng(seed).integers(n_families, size=(n, n_families))
    times = np.stack([np.bincount(row, minlength=n_families) for row in sampled_families])
    # Number of draws of each ratio, in ascending order; the median follows from the cumulative sum.
    order = np.argsort(ratio, kind="stable")
    weights, ratio = times[:, codes[order]], ratio[order]
    behind, total = weights.cumsum(axis=1), weights.sum(axis=1, keepdims=True)
    low, high = ((behind > middle).argmax(axis=1) for middle in ((total - 1) // 2, total // 2))
    return weights @ ratio / total[:, 0], (ratio[low] + ratio[high]) / 2
