"""Tables (CSV and Markdown) and figures (PNG and SVG) of everything that was measured."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from . import figures, readme, statistics
from .encoders import DEFAULT
from .experiments import COVERAGES, EXPERIMENTS
from .leak import leak_table
from .phases import PHASE0, PHASE6, STRICT
from .tables import REFERENCE, write_table
from .tasks import Results

#: Of calibration transfer: spectra of the second instrument interpolated to the first's grid.
TRANSFER_REFERENCE = "snv-pls, none 0"

#: Results by experiment, as `Results.table` gives them.
Tables = dict[str, pd.DataFrame]

_FOLD = re.compile(r"~(\d+)")

#: What methods are compared with besides.
_OTHERS = ("best-ridge", "gp", "ridge@untrained", f"ridge@{DEFAULT}~K")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="folder of the results (%(default)s)")
    parser.add_argument("--to", type=Path, help="folder of the report (report/ within the results)")
    parser.add_argument("--readme", action="store_true", help="write the tables of the README from the committed ones")


def main(options: argparse.Namespace) -> int:
    """Build the report, or the tables of the README."""
    if options.readme:
        readme.write()
        return 0
    if not (options.out / "tasks").is_dir():
        print(
            f"error: no results in {options.out}; `python -m benchmarks run PHASE --out DIR` makes some.",
            file=sys.stderr,
        )
        return 2
    for path in build(options.out, options.to or options.out / "report"):
        print(path)
    return 0


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
    before = {path: path.stat().st_mtime_ns for path in to.iterdir()}
    results = Results(out)
    tables = {experiment: _labelled(results.table(experiment)) for experiment in EXPERIMENTS}
    for make in (_phases, _splits, _small, _finetuning, _leak, _robustness, _intervals, _transfer, _pooled):
        make(tables, to)
    return sorted(path for path in to.iterdir() if before.get(path) != path.stat().st_mtime_ns)


def _labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Tell apart what one name stands for: an encoder's weights may have changed between two runs."""
    if "weights" not in table:
        return table
    several = table.groupby("method")["weights"].transform("nunique") > 1
    return table.assign(method=table["method"].where(~several, table["method"] + "#" + table["weights"].str[:6]))


def _phases(tables: Tables, to: Path) -> None:
    """Compare the methods of each phase of the common protocol: random splits, at most 200 samples."""
    table = tables["calibration"]
    if table.empty or "kind" not in table:
        return
    of_size = table[(table["split"] == "random") & ~table["permuted"]]
    table = of_size[of_size["n_train"] == 200]
    _compared(table[table["method"].isin(PHASE0)], "phase0", to, _OTHERS, figure=True)
    final = table[table["method"].isin(PHASE6)]
    if final["method"].isin(set(PHASE6) - set(PHASE0)).any():
        _compared(final, "phase6", to, ("gp",))
    # Encoders of all folds under one name, each on the families that it has not seen.
    fold = of_size["method"].str.extract(_FOLD, expand=False).astype(float)
    of_size = of_size.assign(method=of_size["method"].str.replace(_FOLD, "~K", regex=True))
    for (name, phase), n in ((item, n) for item in STRICT.items() for n in item[1].sizes):
        # An encoder that two phases share has more folds in one of them; in a table all have the same targets.
        everywhere = of_size[(of_size["n_train"] == n) & (fold.isna() | fold.isin(list(phase.folds)))]
        trained = [m for m in phase.named() if "~K" in m]
        found = everywhere[everywhere["method"].isin(trained)]
        if len(found):
            scored = everywhere["dataset"].isin(found["dataset"]) & everywhere["method"].isin(phase.named())
            named = name if n == phase.sizes[0] else f"{name}_n{n}"
            _compared(everywhere[scored], named, to, _OTHERS, figure=True)
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
        skilled, by_target = statistics.predictable(errors), statistics.per_target(errors)
        name = phase if kind == "regression" else f"{phase}_classes"
        write_table(by_target.reset_index(), to / f"{name}_targets", 4)
        write_table(by_target[~skilled].reset_index()[["dataset", "target"]], to / f"{name}_unpredictable")
        if not skilled.any():
            continue
        kept = statistics.kept(errors, skilled).drop(columns="mean")
        for reference in (REFERENCE, *others):
            if reference in kept:
                suffix = "" if reference == REFERENCE else f"_against_{re.sub('[@:]', '_', reference)}"
                write_table(statistics.compare(kept, reference, floor=statistics.FLOOR[kind]), to / f"{name}{suffix}")
        if not figure:
            continue
        figures.ratios(to / f"{name}_ratios", kept, REFERENCE, f"{skilled.sum()} predictable targets")
        everywhere = kept.loc[:, kept.notna().mean() > 0.99].dropna()
        if everywhere.shape[1] > 2 and len(everywhere) > 10:
            figures.critical_difference(to / f"{name}_ranks", *statistics.average_ranks(everywhere))


def _splits(tables: Tables, to: Path) -> None:
    table = tables["calibration"]
    if table.empty or table["split"].nunique() < 2:
        return
    table = table[(table["n_train"] == 200) & ~table["permuted"]]
    rows = [part for split, part in _side_by_side(table, "split")]
    if rows:
        write_table(pd.concat(rows), to / "splits")


def _small(tables: Tables, to: Path) -> None:
    table = tables["calibration"]
    if table.empty or table["n_train"].nunique(dropna=False) < 2:
        return
    table = table[(table["split"] == "random") & ~table["permuted"]]
    table = table.assign(n=table["n_train"].fillna(np.inf))
    both = [part for _, part in _side_by_side(table, "n")]
    if len(both) < 2:
        return
    write_table(pd.concat(both), to / "small_samples")
    # "All" is drawn where the largest calibration sets lie.
    shown = pd.concat(both).replace({"n": {np.inf: 500}})
    shown = shown[shown["kind"] == "regression"].pivot(index="n", columns="method", values="geometric mean")
    figures.curves(
        to / "small_samples",
        {f"error / error of {REFERENCE}": shown},
        "calibration samples (500: all)",
        "geometric mean of ratios",
        log_x=True,
    )


def _side_by_side(table: pd.DataFrame, condition: str) -> Iterator[tuple[object, pd.DataFrame]]:
    """Yield a comparison for each value of a column: the same methods on the same targets under all of them.

    Methods are those that all have; a target counts that is measured under all and predictable under one.
    """
    for kind in ("regression", "classification"):
        errors = {value: statistics.errors(part, kind) for value, part in table.groupby(condition)}
        if kind == "classification":  # some splits are made for regression only
            errors = {value: found for value, found in errors.items() if not found.empty}
        methods = set.intersection(*(set(found) for found in errors.values())) if errors else set()
        if not {REFERENCE, "mean"} < methods:
            continue
        errors = {value: found[sorted(methods)].dropna() for value, found in errors.items()}
        skilled = pd.concat([statistics.predictable(found) for found in errors.values()], axis=1, join="inner")
        shared = skilled.any(axis=1)
        if not shared.any():
            continue
        for value, found in errors.items():
            kept = statistics.kept(found, shared).drop(columns="mean")
            part = statistics.compare(kept, REFERENCE, floor=statistics.FLOOR[kind])
            part.insert(0, "kind", kind)
            part.insert(0, condition, value)
            yield value, part


def _finetuning(tables: Tables, to: Path) -> None:
    """Compare the tuned encoder with the frozen one, at each size of the calibration set."""
    table, frozen, tuned = tables["calibration"], f"ridge@{DEFAULT}", f"tuned@{DEFAULT}"
    if table.empty or "kind" not in table:
        return
    table = table[(table["split"] == "random") & ~table["permuted"]]
    rows = []
    for n, part in table.assign(n=table["n_train"].fillna(np.inf)).groupby("n"):
        errors = statistics.errors(part[part["method"].isin(["mean", REFERENCE, frozen, tuned])], "regression")
        if not {"mean", frozen, tuned} <= set(errors):
            continue
        errors = errors.dropna()
        kept = statistics.kept(errors, statistics.predictable(errors)).drop(columns="mean")
        compared = statistics.compare(kept, frozen)
        compared.insert(0, "n", n)
        # How often samples held back spoke for it; else the frozen encoder is what it delivers.
        compared.loc[compared["method"] == tuned, "share_tuned"] = (
            part.loc[part["method"] == tuned, "chosen"] == "tuned"
        ).mean()
        rows.append(compared)
    if rows:
        write_table(pd.concat(rows), to / "finetuning")


def _leak(tables: Tables, to: Path) -> None:
    table = leak_table(tables)
    if len(table):
        write_table(table, to / "leak")
    found = [table for table in tables.values() if len(table)]
    missing = [table[table["permuted"] & (table["status"] != "done")] for table in found]
    if sum(map(len, missing)):
        reasons = pd.concat(missing).groupby(["experiment", "method", "status", "reason"]).size().rename("tasks")
        write_table(reasons.reset_index(), to / "leak_not_run")


def _robustness(tables: Tables, to: Path) -> None:
    table = tables["robustness"]
    if table.empty or "areas" not in table:
        return
    table = table[(table["status"] == "done") & ~table["permuted"]]
    # Where nothing is predicted there is nothing to lose.
    best = table.groupby(["dataset", "target"])["rmsep"].transform("min")
    table = table[best <= statistics.PREDICTABLE * table["deviation"]]
    if table.empty:
        return
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


def _intervals(tables: Tables, to: Path) -> None:
    table = tables["intervals"]
    if table.empty or "rmsep" not in table:
        return
    table = table[(table["status"] == "done") & ~table["permuted"]]
    rows = []
    for method, nominal in product(sorted(set(table["method"])), COVERAGES):
        part = table[table["method"] == method]
        by_target = part.groupby(["family", "dataset", "target"])[[f"coverage_{nominal}", f"width_{nominal}"]].mean()
        held = by_target[f"coverage_{nominal}"]
        rows.append(
            {
                "method": method,
                "nominal": nominal,
                "targets": len(held),
                "coverage": held.mean(),
                "coverage by family": held.groupby("family").mean().mean(),
                "worst tenth of targets": held.quantile(0.1),
                "median width / SD": by_target[f"width_{nominal}"].median(),
            }
        )
    if rows:
        write_table(pd.DataFrame(rows), to / "intervals")


def _transfer(tables: Tables, to: Path) -> None:
    table = tables["transfer"]
    if table.empty or "mean_rmsep" not in table:
        return
    table = table[(table["status"] == "done") & ~table["permuted"]].copy()
    table["target"] = table["target"] + ", " + table["to"]
    table["way"] = table["method"] + ", " + table["standardisation"] + " " + table["n_transfer"].astype(str)
    errors = table.pivot_table(index=["family", "dataset", "target", "seed"], columns="way", values="rmsep")
    # Pairs whose own calibration fails say nothing about transfer.
    native = table[table["standardisation"] == "native"].groupby(["family", "dataset", "target"])
    usable = native["rmsep"].min() <= statistics.PREDICTABLE * native["mean_rmsep"].mean()
    usable = usable.reindex(statistics.per_target(errors).index, fill_value=False)
    if TRANSFER_REFERENCE not in errors or not usable.any():
        return
    errors = statistics.kept(errors, usable)
    write_table(statistics.compare(errors, TRANSFER_REFERENCE), to / "transfer")
    by_target = statistics.per_target(errors)
    ratio = (
        by_target.div(by_target[TRANSFER_REFERENCE], axis=0)
        .reset_index()
        .assign(to=lambda t: t["target"].str.rpartition(", ")[2])
    )
    for method in sorted(set(table["method"]) - {"snv-pls"}):
        column = f"{method}, none 0"
        if column in ratio:
            wide = np.exp(
                np.log(ratio.set_index(["dataset", "to"])[column].clip(1e-3)).groupby(["dataset", "to"]).mean()
            )
            name = f"transfer_{method.replace('@', '_')}"
            label = "RMSEP / interpolation + SNV + PLS"
            figures.heat_map(to / name, wide.unstack(), label, low=0.5, high=1.5, title=method)


def _corrections(table: pd.DataFrame) -> list[str]:
    return [name for name in table if name.startswith("rmsep_")]


def _pooled(tables: Tables, to: Path) -> None:
    table = tables["pooled"]
    if table.empty or "rmsep_0" not in table:
        return
    table = table[(table["status"] == "done") & ~table["permuted"]]
    table = table.assign(method=table["method"].where(table["training"] == "covering", table["method"] + ", all sets"))
    every = table[table["trained_on"].isna()]
    # Test sets that every method can be trained for.
    complete = (
        every.groupby(["analyte", "dataset", "target"])["method"].transform("nunique") == every["method"].nunique()
    )
    every = every[complete]
    if every.empty:
        return
    columns = _corrections(table)
    relative = (
        every[columns]
        .div(every["deviation"], axis=0)
        .assign(analyte=every["analyte"], dataset=every["dataset"], method=every["method"], r=every["r"])
    )
    grouped = relative.groupby(["analyte", "method"])
    summary = grouped[[*columns, "r"]].median()
    summary.insert(0, "test sets", grouped["dataset"].nunique())
    write_table(summary.reset_index(), to / "pooled")
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
