"""Tables (CSV and Markdown) and figures (PNG and SVG) of everything that was measured."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from . import figures, statistics
from .phases import PHASE0, PHASE6, STRICT
from .tasks import Results

#: What ratios are taken to.
REFERENCE = "best-pls"

_FOLD = re.compile(r"~\d+")


def build(out: Path, to: Path) -> list[Path]:
    """Build the report of a folder of results.

    Parameters
    ----------
    out : path
        Where `python -m benchmarks run` put its results.
    to : path
        Where tables and figures go.

    Returns
    -------
    list of path
        What was written.
    """
    to.mkdir(parents=True, exist_ok=True)
    before = set(to.iterdir())
    results = Results(out)
    for make in (_phases, _splits, _small, _leak, _robustness, _transfer, _pooled):
        make(results, to)
    return sorted(set(to.iterdir()) - before) or sorted(to.iterdir())


def write_table(frame: pd.DataFrame, path: Path, digits: int = 3) -> None:
    """Write a table as CSV and Markdown."""
    frame.to_csv(path.with_suffix(".csv"), index=False, float_format=f"%.{digits + 2}g")
    path.with_suffix(".md").write_text(markdown(frame, digits) + "\n", "utf-8")


def markdown(frame: pd.DataFrame, digits: int = 3) -> str:
    """Return a table in Markdown."""

    def cell(value: object) -> str:
        if isinstance(value, float):
            return (
                ""
                if np.isnan(value)
                else f"{value:.{digits}f}"
                if abs(value) >= 10**-digits or value == 0
                else f"{value:.1e}"
            )
        return str(value)

    rows = [[cell(v) for v in row] for row in frame.itertuples(index=False)]
    lines = [frame.columns.astype(str).tolist(), ["---"] * frame.shape[1], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _phases(results: Results, to: Path) -> None:
    """Compare the methods of each phase of the common protocol: random splits, at most 200 samples."""
    table = results.table("calibration")
    if table.empty or "kind" not in table:
        return
    table = table[(table["split"] == "random") & (table["n_train"] == 200) & ~table["permuted"]]
    _compared(table[table["method"].isin(PHASE0)], "phase0", to, ("best-ridge", "gp", "ridge@untrained"), figure=True)
    # One seed in all methods, or what was measured with three would stand beside it.
    once = table[table["method"].isin(PHASE6) & (table["seed"] == 0)]
    if once["method"].isin(set(PHASE6) - set(PHASE0) - {"mean"}).any():
        _compared(once, "phase6", to, ("gp",))
    # Encoders of all folds under one name, each on the families that it has not seen.
    everywhere = table.assign(method=table["method"].str.replace(_FOLD, "", regex=True))
    for name, phase in STRICT.items():
        trained = [m for m in phase.named() if m.partition("@")[2] not in ("", "untrained")]
        found = everywhere[everywhere["method"].isin(trained)]
        if len(found):
            scored = everywhere["dataset"].isin(found["dataset"]) & everywhere["method"].isin(phase.named())
            _compared(everywhere[scored], name, to, ("best-ridge", "gp", "ridge@untrained"), figure=True)
    done = table[(table["status"] == "done") & ~table["method"].str.contains("~")]
    costs = ["fit_seconds", "encode_seconds", "predict_seconds", "peak_memory_mb"]
    cost = done.groupby("method")[[name for name in costs if name in done]].median()
    write_table(cost.reset_index(), to / "cost", 4)
    reasons = table[table["status"] != "done"].groupby(["method", "status", "reason"]).size().rename("tasks")
    if len(reasons):
        write_table(reasons.reset_index(), to / "not_run")


def _compared(table: pd.DataFrame, phase: str, to: Path, others: Sequence[str], *, figure: bool = False) -> None:
    """Write errors, ratios to the reference (and to others), and which targets nothing predicts."""
    for kind in ("regression", "classification"):
        errors = statistics.errors(table, kind)
        if errors.empty or REFERENCE not in errors or "mean" not in errors:
            continue
        skilled = statistics.predictable(errors)
        name = phase if kind == "regression" else f"{phase}_classes"
        write_table(errors.reset_index(), to / f"{name}_targets", 4)
        write_table(errors[~skilled].reset_index()[["dataset", "target"]], to / f"{name}_unpredictable")
        kept = errors[skilled].drop(columns="mean")
        for reference in (REFERENCE, *others):
            if reference in kept:
                suffix = "" if reference == REFERENCE else f"_against_{reference.replace('@', '_')}"
                write_table(statistics.compare(kept, reference, floor=statistics.FLOOR[kind]), to / f"{name}{suffix}")
        if not figure:
            continue
        figures.ratios(to / f"{name}_ratios", errors[skilled], REFERENCE, f"{skilled.sum()} predictable targets")
        everywhere = kept.loc[:, kept.notna().mean() > 0.99].dropna()
        if everywhere.shape[1] > 2 and len(everywhere) > 10:
            figures.critical_difference(to / f"{name}_ranks", *statistics.average_ranks(everywhere))


def _splits(results: Results, to: Path) -> None:
    table = results.table("calibration")
    if table.empty or table["split"].nunique() < 2:
        return
    rows = []
    for split, part in table[(table["n_train"] == 200) & ~table["permuted"]].groupby("split"):
        errors = statistics.errors(part)
        if {REFERENCE, "mean"} <= set(errors):
            kept = errors[statistics.predictable(errors)].drop(columns="mean")
            rows.append(statistics.compare(kept, REFERENCE).assign(split=split))
    if rows:
        write_table(pd.concat(rows).set_index("split").reset_index(), to / "splits")


def _small(results: Results, to: Path) -> None:
    table = results.table("calibration")
    if table.empty or table["n_train"].nunique(dropna=False) < 2:
        return
    table = table[(table["split"] == "random") & ~table["permuted"]]
    rows = []
    for n, part in table.assign(n_train=table["n_train"].fillna(np.inf)).groupby("n_train"):
        errors = statistics.errors(part)
        if {REFERENCE, "mean"} <= set(errors):
            kept = errors[statistics.predictable(errors)].drop(columns="mean")
            rows.append(statistics.compare(kept, REFERENCE).assign(n=n))
    if len(rows) < 2:
        return
    both = pd.concat(rows).set_index("n").reset_index()
    write_table(both, to / "small_samples")
    # "All" is drawn where the largest calibration sets lie.
    wide = both.replace({"n": {np.inf: 500}}).pivot(index="n", columns="method", values="geometric mean")
    shown = wide.loc[:, wide.notna().sum() > 1]
    figures.curves(
        to / "small_samples",
        {f"error / error of {REFERENCE}": shown},
        "calibration samples (500: all)",
        "geometric mean of ratios",
        log_x=True,
    )


def _leak(results: Results, to: Path) -> None:
    """Errors on shuffled targets over those of predicting the mean: nowhere may they be below one."""
    rows = []
    for experiment in ("calibration", "transfer", "pooled"):
        table = results.table(experiment)
        if table.empty or not table["permuted"].any():
            continue
        table = table[table["permuted"] & (table["status"] == "done")]
        for kind, part in table.groupby("kind"):
            if experiment == "calibration":
                errors = statistics.errors(part, str(kind))
                ratio = errors.div(errors["mean"], axis=0).melt(value_name="ratio").dropna()
            elif experiment == "transfer":
                ratio = part.assign(ratio=part["rmsep"] / part["mean_rmsep"])
            else:
                # Datasets differ in their means: what is left after the largest local correction counts.
                corrected = max(_corrections(part), key=lambda name: int(name.removeprefix("rmsep_")))
                ratio = part.assign(ratio=part[corrected] / part["deviation"])
            grouped = ratio.groupby("method")["ratio"].agg(targets="size", median="median").reset_index()
            rows.append(grouped.assign(experiment=experiment, kind=kind))
    if rows:
        every = pd.concat(rows).rename(columns={"median": "median error / mean predictor's"})
        write_table(every.set_index(["experiment", "kind"]).reset_index(), to / "leak")


def _robustness(results: Results, to: Path) -> None:
    table = results.table("robustness")
    if table.empty or "areas" not in table:
        return
    table = table[table["status"] == "done"]
    # Where nothing is predicted there is nothing to lose.
    best = table.groupby(["dataset", "target"])["rmsep"].transform("min")
    table = table[best <= statistics.PREDICTABLE * table["deviation"]]
    areas = pd.DataFrame(table["areas"].tolist(), index=table.index).assign(method=table["method"])
    write_table(areas.groupby("method").median().reset_index(), to / "robustness")
    panels = {}
    for name in areas.columns.drop("method"):
        lines = {}
        for method, part in table.groupby("method"):
            growth = np.array([np.array(c[name]["rmsep"]) for c in part["curves"]])
            lines[method] = np.median((growth - growth[:, :1]) / part["deviation"].to_numpy()[:, None], axis=0)
        strengths = table["curves"].iloc[0][name]["strength"]
        panels[name] = pd.DataFrame(lines, index=strengths)
    figures.curves(to / "robustness", panels, "strength", "growth of RMSEP / SD")


def _transfer(results: Results, to: Path) -> None:
    table = results.table("transfer")
    if table.empty or "mean_rmsep" not in table:
        return
    table = table[(table["status"] == "done") & ~table["permuted"]].copy()
    pair = ["dataset", "to", "target", "seed"]
    base = table[(table["method"] == "snv-pls") & (table["standardisation"] == "none")].set_index(pair)["rmsep"]
    native = table[table["standardisation"] == "native"].groupby(pair)[["rmsep", "mean_rmsep"]].min()
    # Pairs whose own calibration fails say nothing about transfer.
    usable = native.index[native["rmsep"] <= statistics.PREDICTABLE * native["mean_rmsep"]]
    table = table.set_index(pair).loc[lambda t: t.index.isin(usable)]
    table["ratio"] = table["rmsep"] / base.reindex(table.index)
    keys = ["standardisation", "n_transfer", "method"]
    grouped = table.groupby(keys)["ratio"]
    summary = grouped.agg(pairs="size", median="median", wins=lambda r: (r < 1).mean()).reset_index()
    write_table(summary, to / "transfer")
    for method, part in table[table["standardisation"] == "none"].groupby("method"):
        wide = np.exp(np.log(part["ratio"].clip(1e-3)).groupby(level=["dataset", "to"]).mean()).unstack()
        if method != "snv-pls":
            name = f"transfer_{method.replace('@', '_')}"
            figures.heat_map(to / name, wide, "RMSEP / interpolation + SNV + PLS", low=0.5, high=1.5, title=method)


def _corrections(table: pd.DataFrame) -> list[str]:
    return [name for name in table if name.startswith("rmsep_")]


def _pooled(results: Results, to: Path) -> None:
    table = results.table("pooled")
    if table.empty or "rmsep_0" not in table:
        return
    table = table[(table["status"] == "done") & ~table["permuted"]]
    every = table[table["trained_on"].isna()]
    columns = _corrections(table)
    relative = (
        every[columns]
        .div(every["deviation"], axis=0)
        .assign(analyte=every["analyte"], dataset=every["dataset"], method=every["method"], r=every["r"])
    )
    write_table(relative.groupby(["analyte", "method"])[[*columns, "r"]].median().reset_index(), to / "pooled")
    boxes = {
        f"{method}, {c.removeprefix('rmsep_')} local": part[c].clip(upper=5.0)
        for c in columns
        for method, part in relative.groupby("method")
    }
    figures.boxes(to / "pooled", boxes, "RMSEP / SD of the test set (clipped at 5)")
    for (analyte, method), part in table.dropna(subset=["trained_on"]).groupby(["analyte", "method"]):
        wide = part.pivot_table(index="trained_on", columns="dataset", values="r")
        name = re.sub(r"\W+", "_", f"pooled_{analyte}_{method}").strip("_").lower()
        figures.heat_map(
            to / name,
            wide,
            "correlation, trained on row, tested on column",
            low=-1.0,
            high=1.0,
            title=f"{analyte}: {method}",
        )
