"""Tables (CSV), figures (PNG and SVG) and one page (HTML and Markdown) of all results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from . import drawing, intervals, leak, page, pooled, published, ranges, robustness, statistics, transfer
from .answers import UNDER_HEADS
from .clock import training_seconds
from .experiments import EXPERIMENTS
from .methods import tuned
from .phases import PHASE0, PHASE6, STRICT, TRANSFER_RECIPE, VIEWS
from .problems import KINDS
from .quoted import write_pages
from .tables import REFERENCE, RESULTS, UNTRAINED, labelled, measured, write_table
from .tasks import Results

#: Reference methods of the comparisons.
_REFERENCES = (
    REFERENCE, "best-ridge", "gp", "ridge@untrained", f"ridge@{TRANSFER_RECIPE}~K",
    *UNTRAINED,
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="folder of the results (%(default)s)")
    parser.add_argument("--to", type=Path, help="folder of the report (report/ within the results)")
    parser.add_argument(
        "--readme",
        action="store_true",
        help="write the figures that README and documentation quote from the committed tables",
    )
    parser.add_argument("--figures", action="store_true", help="draw the committed figures from the committed tables")


def main(options: argparse.Namespace) -> int:
    """Build the report, or update figures and quoted numbers from the committed tables."""
    if options.readme:
        write_pages()
    if options.figures:
        drawing.draw(RESULTS)
    if options.readme or options.figures:
        return 0
    if not (options.out / "tasks").is_dir():
        advice = "`python -m benchmarks run PHASE --out DIR` makes some."
        print(f"error: no results in {options.out}; {advice}", file=sys.stderr)
        return 2
    for path in build(options.out, options.to or options.out / "report"):
        print(path)
    return 0


def build(out: Path, to: Path) -> list[Path]:
    """Write tables, figures and page of the results in `out` to `to`; return changed files."""
    to.mkdir(parents=True, exist_ok=True)
    before = {path: path.stat().st_mtime_ns for path in to.iterdir()}
    results = Results(out)
    measured_tables = results.tables()
    tables = {name: by_weights(measured_tables.get(name, pd.DataFrame())) for name in EXPERIMENTS}
    _not_run(tables, to)
    phases = results.phases()
    if len(phases):
        names = phases["encoders"].str.split()
        training = names.map(lambda of_phase: sum(map(training_seconds, of_phase)))
        write_table(phases.assign(encoders=names.map(len), training_seconds=training.round(1)), to / "phases")
    calibration = measured(tables["calibration"], "kind")
    if len(calibration):
        _phases(calibration, to)
        _splits(calibration, to)
        _sizes(calibration, to)
    for module in (tuned, leak, robustness, ranges, intervals, published, transfer, pooled):
        module.report(tables, to)
    drawing.draw(to)
    page.write(to)
    return sorted(path for path in to.iterdir() if before.get(path) != path.stat().st_mtime_ns)


def by_weights(table: pd.DataFrame) -> pd.DataFrame:
    """Distinguish methods by weights if an encoder has changed between runs."""
    if "weights" not in table:
        return table
    several = table.groupby("method")["weights"].transform("nunique") > 1
    return table.assign(method=table["method"].where(~several, table["method"] + "#" + table["weights"].str[:6]))


def _not_run(tables: dict[str, pd.DataFrame], to: Path) -> None:
    """Write which tasks failed or could not run, on original and on shuffled targets."""
    missing = [table[table["status"] != "done"] for table in tables.values() if len(table)]
    if sum(map(len, missing)):
        groups = pd.concat(missing).groupby(["experiment", "permuted", "method", "status", "reason"])
        write_table(groups.size().rename("tasks").reset_index(), to / "not_run")


def _phases(table: pd.DataFrame, to: Path) -> None:
    """Compare the methods of each phase on random splits, by default with at most 200 samples."""
    table = table[table["split"] == "random"]
    usual = table[table["n_train"] == 200]
    _compare("phase0", {200: usual[usual["method"].isin(PHASE0)]}, to)
    if usual["method"].isin(set(PHASE6) - set(PHASE0)).any():
        _compare("phase6", {200: usual[usual["method"].isin(PHASE6)]}, to)
    if usual["method"].isin(set(VIEWS) - set(PHASE0) - set(PHASE6)).any():
        _compare("views", {200: usual[usual["method"].isin(VIEWS)]}, to, (REFERENCE, *UNDER_HEADS))
    # Use one name for the encoders of all folds, each scored on unseen families.
    fold = table["method"].str.extract(r"~(\d+)", expand=False).astype(float)
    table = table.assign(method=table["method"].str.replace(r"~\d+", "~K", regex=True), fold=fold)
    for name, phase in STRICT.items():
        # An encoder may have more folds in another phase: keep the folds of this phase, so that all
        # methods have the same targets.
        part = table[(fold.isna() | fold.isin(list(phase.folds))) & table["method"].isin(phase.named())]
        by_size = {n: part[part["n_train"] == n] for n in phase.sizes}
        _compare(name, {n: _scored_datasets(of_size) for n, of_size in by_size.items()}, to)
    costs = ["fit_seconds", "encode_seconds", "predict_seconds", "peak_memory_mb"]
    usual = usual[~usual["method"].str.contains("~")]
    cost = usual.groupby("method")[[name for name in costs if name in usual]].median()
    write_table(cost.reset_index(), to / "cost", 4)


def _scored_datasets(table: pd.DataFrame) -> pd.DataFrame:
    """Return the results on datasets of the folds that are measured for each encoder trained for the phase."""
    trained = table[table["method"].str.contains("~K")]
    folds = [set(of_method) for _, of_method in trained.groupby("method")["fold"]]
    shared = trained["fold"].isin(set.intersection(*folds)) if folds else []
    return table[table["dataset"].isin(trained["dataset"][shared])]


def _compare(phase: str, by_size: dict[int, pd.DataFrame], to: Path, references: Sequence[str] = _REFERENCES) -> None:
    """Write ratios to each reference and errors by target of a phase, by calibration size."""
    comparisons, targets = [], []
    for n, table in by_size.items():
        for kind in KINDS:
            errors = statistics.errors(table, kind)
            if errors.empty:
                continue
            lacking = [name for name in ("mean", REFERENCE) if name not in errors]
            if lacking:
                print(
                    f"left out: {phase} ({kind}, {n} samples) needs results of {' and '.join(lacking)}", file=sys.stderr
                )
                continue
            about = {"kind": kind, "n": n}
            skilled, by_target = statistics.predictable(errors), statistics.per_target(errors)
            targets.append(labelled(by_target.reset_index(), **about, predictable=skilled.to_numpy()))
            if not skilled.any():
                continue
            errors = statistics.of_targets(errors, skilled).drop(columns="mean")
            for reference in references:
                if reference in errors:
                    compared = statistics.compare(errors, reference, floor=statistics.FLOOR[kind])
                    comparisons.append(labelled(compared, **about, reference=reference))
    for name, rows, digits in ((phase, comparisons, 3), (f"{phase}_targets", targets, 4)):
        if sum(map(len, rows)):
            write_table(pd.concat([part for part in rows if len(part)]), to / name, digits)


def _splits(table: pd.DataFrame, to: Path) -> None:
    """Compare the methods under each kind of split."""
    table = table[table["n_train"] == 200]
    if table["split"].nunique() > 1 and (rows := list(_side_by_side(table, "split"))):
        write_table(pd.concat(rows), to / "splits")


def _sizes(table: pd.DataFrame, to: Path) -> None:
    """Compare the methods at each size of the calibration set."""
    table = table[table["split"] == "random"]
    table = table.assign(n=table["n_train"].fillna(np.inf))
    rows = list(_side_by_side(table, "n")) if table["n"].nunique() > 1 else []
    if len(rows) < 2:
        return
    write_table(pd.concat(rows), to / "small_samples")


def _side_by_side(table: pd.DataFrame, condition: str) -> Iterator[pd.DataFrame]:
    """Yield a comparison for each value of a column, of the same methods on the same targets.

    Methods are those with results under all values. Targets are those measured under all values and
    predictable under at least one.
    """
    for kind in KINDS:
        errors = {value: statistics.errors(part, kind) for value, part in table.groupby(condition)}
        if kind == "classification":  # some splits exist for regression only
            errors = {value: part for value, part in errors.items() if not part.empty}
        methods = set.intersection(*(set(part) for part in errors.values())) if errors else set()
        if not {REFERENCE, "mean"} < methods:
            continue
        errors = {value: part[sorted(methods)].dropna() for value, part in errors.items()}
        skilled = pd.concat([statistics.predictable(part) for part in errors.values()], axis=1, join="inner")
        shared = skilled.any(axis=1)
        if not shared.any():
            continue
        for value, part in errors.items():
            part = statistics.of_targets(part, shared).drop(columns="mean")
            compared = statistics.compare(part, REFERENCE, floor=statistics.FLOOR[kind])
            yield labelled(compared, **{condition: value}, kind=kind)
