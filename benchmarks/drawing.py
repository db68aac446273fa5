"""Figures of the tables in a folder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import figures, statistics, transfer
from .answers import FIRST_SEED, to_first_seed, to_untrained
from .encoders import spectra_seen
from .names import parts, place, reader_name, readout, split_name, without_changes
from .ranges import CUTS, cut_name
from .robustness import STRENGTHS
from .tables import REFERENCE

#: By file name without suffix: function that draws the figure to a path without suffix.
Drawings = dict[str, Callable[[Path], None]]

_TARGET = ["family", "dataset", "target"]

#: Displayed name of the error, by kind of target.
_ERROR = {"regression": "RMSEP", "classification": "balanced error"}

#: Mean ranks are drawn for more targets than this.
_MIN_RANKED = 10


def draw(folder: Path) -> list[Path]:
    """Draw all figures of the tables in a folder into that folder; return the files."""
    files = []
    for name, function in drawings(folder).items():
        function(folder / name)
        files += [folder / f"{name}.png", folder / f"{name}.svg"]
    return files


def drawings(folder: Path) -> Drawings:
    """Return the figures for the tables in a folder."""
    by_table = {
        "small_samples": _sizes,
        "splits": _splits,
        "training_length": _training_length,
        **{phase: partial(_gains, phase) for phase in ("phase1", "phase2", "phase4", "phase5")},
        "seeds": _seeds,
        "finetuning": _finetuning,
        "published_targets": _published,
        "intervals": _coverage,
        "robustness": _robustness,
        "robustness_curves": _robustness_curves,
        "ranges": _ranges,
        "transfer": _transfer,
        "transfer_pairs": _transfer_pairs,
        "pooled_sets": _pooled,
        "pooled_pairs": _pooled_pairs,
        "leak": _leak,
        "cost": _cost,
    }
    every: Drawings = {}
    for path in sorted(folder.glob("*_targets.csv")):
        if path.stem not in by_table:
            every.update(_phase(path.stem.removesuffix("_targets"), pd.read_csv(path)))
    for name, figures_of in by_table.items():
        path = folder / f"{name}.csv"
        if path.exists():
            every.update(figures_of(pd.read_csv(path)))
    path = folder / "synthetic_utility.json"
    if path.exists():
        every["synthetic_utility"] = partial(draw_synthetic, json.loads(path.read_text("utf-8")))
    return every


def _phase(phase: str, targets: pd.DataFrame) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Yield figures of ratios, and of mean ranks for the baselines, for each kind of target."""
    for kind, of_kind in targets[targets["predictable"]].groupby("kind", sort=False):
        errors = {
            n: part.set_index(_TARGET).drop(columns=["kind", "n", "predictable", "mean"]).dropna(axis=1, how="all")
            for n, part in of_kind.groupby("n", sort=False)
        }
        errors = {n: part for n, part in errors.items() if REFERENCE in part and part.shape[1] > 1}
        if not errors:
            continue
        name = phase if kind == "regression" else f"{phase}_classes"
        what = "targets" if kind == "regression" else "targets (classes)"
        panels = {
            f"{len(part)} {what},\nat most {n} calibration samples": _ratios(part, statistics.FLOOR[str(kind)])
            for n, part in errors.items()
        }
        yield f"{name}_ratios", partial(figures.ratios, panels=panels, error=_ERROR[str(kind)], reference=REFERENCE)
        part = next(iter(errors.values()))
        part = part.loc[:, part.notna().mean() > 0.99].dropna()
        if phase == "phase0" and part.shape[1] > 2 and len(part) > _MIN_RANKED:
            yield f"{name}_ranks", partial(_ranks, part)


def _ratios(errors: pd.DataFrame, floor: float) -> pd.DataFrame:
    """Return errors relative to those of the reference, from means over each method's splits."""
    errors = errors.clip(lower=floor)
    return errors.div(errors[REFERENCE], axis=0).drop(columns=REFERENCE)


def _ranks(errors: pd.DataFrame, path: Path) -> None:
    figures.critical_difference(path, *statistics.average_ranks(errors))


def _published(targets: pd.DataFrame) -> Drawings:
    about = ["folds", "n calibration", "n test"]
    errors = targets.set_index(_TARGET).drop(columns=about)
    skilled = errors.drop(columns="mean").min(axis=1) <= statistics.PREDICTABLE * errors["mean"]
    errors = errors[skilled].drop(columns="mean")
    if errors.empty or REFERENCE not in errors:
        return {}
    panels = {f"{len(errors)} targets, publishers' own splits": _ratios(errors, statistics.FLOOR["regression"])}
    return {"published_ratios": partial(figures.ratios, panels=panels, error="RMSEP", reference=REFERENCE)}


def _sizes(table: pd.DataFrame) -> Drawings:
    # Draw "all" at 500 samples.
    shown = table[table["kind"] == "regression"].replace({"n": {np.inf: 500}})
    panel = shown.pivot(index="n", columns="method", values="geometric mean")
    y_label = f"RMSEP / RMSEP of\n{reader_name(REFERENCE)}\n(geometric mean)"
    draw_curves = partial(figures.curves, x_labels=["calibration samples (500: all)"], y_label=y_label, log_x=True)
    return {"small_samples": partial(draw_curves, panels={f"{shown['targets'].max()} targets": panel})}


def _training_length(table: pd.DataFrame) -> Drawings:
    rows = to_untrained(table[table["kind"] == "regression"])
    if rows.empty:
        return {}
    _, encoders, readouts = zip(*map(parts, rows["method"]), strict=True)
    rows = rows.assign(
        size=[round(spectra_seen(encoder) / 1000) for encoder in encoders],
        readout=readouts,
        method=[f"ridge@{without_changes(encoder)}" for encoder in encoders],
    )
    panels, bands = {}, {}
    for name, part in rows.groupby("readout", sort=False):
        title = f"{name} read-out, {part['targets'].max()} targets"
        panels[title], *bands[title] = (
            part.pivot(index="size", columns="method", values=value) for value in ("geometric mean", "low", "high")
        )
    x_labels = ["spectra seen in training (thousands)"] * len(panels)
    y_label = "RMSEP / RMSEP of the same read-out\nof the untrained encoder\n(geometric mean, 95 % interval)"
    draw_curves = partial(figures.curves, panels=panels, bands=bands, x_labels=x_labels, y_label=y_label, log_x=True)
    return {"training_length": draw_curves}


def _gains(phase: str, table: pd.DataFrame) -> Drawings:
    """Return the figure of trained encoders against the same read-out of the untrained one."""
    rows = to_untrained(table[table["kind"] == "regression"])
    if rows.empty:
        return {}
    rows = _in_order(rows.assign(readout=rows["method"].map(readout)), "readout")
    rows["label"] = [reader_name(method).rpartition(": ")[0] for method in rows["method"]]
    panels = {
        f"{name} read-out, {part['targets'].max()} targets": part for name, part in rows.groupby("readout", sort=False)
    }
    label = "RMSEP / RMSEP of the same read-out of the untrained encoder"
    return {f"{phase}_gain": partial(figures.intervals, panels=panels, x_label=label)}


def _seeds(table: pd.DataFrame) -> Drawings:
    """Return the figure of encoders of several seeds against the untrained one of seed 0."""
    rows = _in_order(to_first_seed(table), "kind")
    if rows.empty:
        return {}
    panels = {f"{rows['targets'].max()} targets": rows.assign(label=rows["method"].map(reader_name))}
    label = f"RMSEP / RMSEP of {reader_name(FIRST_SEED)}, seed 0"
    return {"seeds_gain": partial(figures.intervals, panels=panels, x_label=label)}


def _splits(table: pd.DataFrame) -> Drawings:
    table = _in_order(table[table["kind"] == "regression"], "split")
    split = table["split"].map(split_name)
    label = f"RMSEP / RMSEP of {reader_name(REFERENCE)}"
    return _intervals("splits", table.assign(label=table["method"].map(reader_name) + ", " + split), label)


def _finetuning(table: pd.DataFrame) -> Drawings:
    table = _in_order(table[table["method"].str.startswith("tuned@")], "n")
    samples = ["all samples" if np.isinf(n) else f"at most {n:.0f} samples" for n in table["n"]]
    label = [f"{reader_name(m)}, {n}" for m, n in zip(table["method"], samples, strict=True)]
    label_x = f"RMSEP / RMSEP of the encoder as it is, {table['targets'].max()} targets"
    return _intervals("finetuning", table.assign(label=label), label_x)


def _transfer(table: pd.DataFrame) -> Drawings:
    samples = table["method"].str.extract(r"(\d+)$", expand=False).astype(int)
    method = table["method"].str.replace(r"\d+$", "", regex=True)
    table = _in_order(table.assign(way=method, samples=samples), "samples", "way")
    label = (
        f"RMSEP / RMSEP of {reader_name(transfer.REFERENCE)}; {table['targets'].max()} pairs of instruments and target"
    )
    return _intervals("transfer", table.assign(label=table["method"].map(reader_name)), label)


def _in_order(table: pd.DataFrame, then: str, method: str = "method") -> pd.DataFrame:
    """Return a table in the common order of methods, then by another column."""
    return table.iloc[sorted(range(len(table)), key=lambda i: (place(table[method].iloc[i]), table[then].iloc[i]))]


def _intervals(name: str, table: pd.DataFrame, label: str) -> Drawings:
    return {name: partial(figures.intervals, panels={"": table}, x_label=label)} if len(table) else {}


def _coverage(table: pd.DataFrame) -> Drawings:
    table = table.pivot(index="nominal", columns="method", values="coverage")
    return {"intervals": partial(figures.coverage, table=table)}


def _robustness(table: pd.DataFrame) -> Drawings:
    areas = table.set_index("method").T
    label = "mean growth of the RMSEP over the strengths / SD of the target (median of targets)"
    return {"robustness": partial(figures.dots, table=areas, x_label=label)}


def _robustness_curves(table: pd.DataFrame) -> Drawings:
    panels = {
        name: part.pivot(index="strength", columns="method", values="growth")
        for name, part in table.groupby("perturbation", sort=False)
    }
    x_labels = [STRENGTHS[name] for name in panels]
    y_label = "growth of RMSEP / SD\n(median of targets)"
    return {"robustness_curves": partial(figures.curves, panels=panels, x_labels=x_labels, y_label=y_label)}


def _ranges(table: pd.DataFrame) -> Drawings:
    # Methods on spectra extend the end values; their errors are off the scale of the figure.
    embedded = table[table["method"].str.contains("@")]
    if embedded.empty:
        return {}
    panels = {}
    for end in ("short", "long"):
        names = [cut_name(share, end == "short") for share in CUTS]
        part = embedded[embedded["change"].isin(names)]
        wide = part.pivot(index="change", columns="method", values="ratio").reindex(names)
        recalibrated = part.pivot(index="change", columns="method", values="recalibrated").reindex(names)
        both = pd.concat([wide, recalibrated.add_suffix(", recalibrated")], axis=1)
        panels[f"cut off at the {end}-wavelength end"] = both.set_axis([100.0 * share for share in CUTS])
    label = "share of the range cut off (%)"
    y_label = "RMSEP / RMSEP of whole spectra\n(geometric mean)"
    return {"ranges": partial(figures.curves, panels=panels, x_labels=[label] * 2, y_label=y_label, share_y=True)}


def _transfer_pairs(table: pd.DataFrame) -> Drawings:
    every: Drawings = {}
    for method, part in table.groupby("method"):
        wide = part.pivot(index="dataset", columns="to", values="ratio")
        label = f"RMSEP / RMSEP of {reader_name('snv-pls')}"
        title = f"{reader_name(str(method))},\ncalibrated on the row's instrument, used on the column's"
        every[f"transfer_{_file_name(str(method))}"] = partial(
            figures.heat_map, table=wide, label=label, ends=(0.25, 4.0), title=title, ratio=True
        )
    return every


#: Columns of the table of pooled calibrations in the figure, with their titles.
_POOLED = {
    "rmsep_0": "no local\nsample",
    "rmsep_5": "5 samples\ncorrected",
    "rmsep_5_added": "5 samples\nadded",
    "rmsep_5_alone": "5 samples\nalone",
    "rmsep_20": "20 samples\ncorrected",
    "rmsep_20_added": "20 samples\nadded",
    "rmsep_20_alone": "20 samples\nalone",
}


def _pooled(table: pd.DataFrame) -> Drawings:
    panels = {
        title: {str(method): part[name] for method, part in table.groupby("method")}
        for name, title in _POOLED.items()
        if name in table
    }
    return {"pooled": partial(figures.boxes, panels=panels, y_label="RMSEP / SD of the test set", end=5.0)}


def _pooled_pairs(table: pd.DataFrame) -> Drawings:
    every: Drawings = {}
    for (analyte, method), part in table.groupby(["analyte", "method"]):
        about = f"{analyte}, {reader_name(str(method))}: predicted and measured values,"
        wide = part.pivot(index="trained_on", columns="dataset", values="r")
        every[f"pooled_{_file_name(f'{analyte}_{method}')}"] = partial(
            figures.heat_map,
            table=wide,
            label="correlation",
            ends=(-1.0, 1.0),
            title=f"{about}\nrows: training set, columns: test set",
            ratio=False,
        )
    return every


def _file_name(text: str) -> str:
    return re.sub(r"[^\w-]+", "_", text).strip("_").lower()


def _leak(table: pd.DataFrame) -> Drawings:
    # Methods are listed in the table only: a legend would have forty entries.
    label = "error / error of the mean predictor on shuffled targets (below 1: better than chance)"
    groups = {
        f"{experiment}, {kind}": part["error / mean predictor's"]
        for (experiment, kind), part in table.groupby(["experiment", "kind"], sort=False)
    }
    return {"leak": partial(figures.strips, groups=groups, x_label=label, line=1.0)}


def _cost(table: pd.DataFrame) -> Drawings:
    seconds = table.set_index("method").filter(["fit_seconds", "encode_seconds"]).sum(axis=1)
    seconds = seconds[seconds > 0]
    label = "seconds to calibrate, with encoding (median of tasks)"
    return {"cost": partial(figures.bars, values=seconds, x_label=label)} if len(seconds) else {}


def draw_synthetic(utility: dict[str, Any], path: Path) -> None:
    """Draw the AUC of real against both kinds of synthetic spectra, and retrieval; `path` has no suffix."""
    hybrid = utility["hybrid"]
    families = [family for family, _ in sorted(hybrid["auc"].items(), key=lambda pair: pair[1])]
    names = {"hybrid": "real spectra with\nsimulated components", "simulated": "wholly simulated"}
    with figures.figure(path, 1, 2, (9.5, 0.14 * len(families) + 1.4), width_ratios=(3, 2)) as axes:
        left, right = axes[0]
        for (kind, name), marker, colour in zip(names.items(), "os", ("#0072B2", "#E69F00"), strict=True):
            auc = [utility[kind]["auc"][family] for family in families]
            left.plot(auc, range(len(families)), marker, ms=4, color=colour, label=name)
        left.axvline(0.5, color="0.4", lw=1)
        left.set_yticks(range(len(families)), [family.replace("_", " ") for family in families], fontsize=6)
        left.set_ylim(-1, len(families))
        left.set(xlabel="AUC, synthetic or this family's spectra (0.5: not told apart)", xlim=(-0.02, 1.02))
        left.legend(loc="upper left", fontsize=7)
        labels = list(hybrid["retrieval"])
        right.boxplot(
            [hybrid["retrieval"][label] for label in labels],
            orientation="horizontal",
            tick_labels=[label.replace(", ", ",\n") for label in labels],
            medianprops={"color": "black", "lw": 1.6},
        )
        chance = hybrid["summary"]["retrieval_by_chance"]
        right.axvline(chance, color="0.4", lw=1)
        label = f"same sample is the nearest\n(share; line: by chance, 1 in {1 / chance:.0f})"
        right.set(xlabel=label, xlim=(0, 1.02), title=names["hybrid"].replace("\n", " "))
