"""Answers to the questions of the phases, as sentences computed from the tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from nirs4all_vit.spectra.findings import counted

from .encoders import DEFAULT
from .methods.registry import VIEW_HEADS
from .names import ordered, reader_name, readout, split_name
from .tables import REFERENCE, UNTRAINED

#: Function that returns a sentence for the table of a CSV file.
Answer = Callable[[pd.DataFrame], str]

_NONE = "No regression target was compared."

_EMBEDDED, _TUNED = f"ridge@{DEFAULT}", f"tuned@{DEFAULT}"


def compared(row: pd.Series, error: str, reference: str) -> str:
    """Describe a row of a comparison: change, ratio with interval, wins and number of targets."""
    return f"The {error} of {reader_name(row['method'])} is {_change(row, reference)}."


def _change(row: pd.Series, reference: str) -> str:
    mean = row["geometric mean"]
    if row["high"] < 1:
        change = f"{100 * (1 - mean):.0f} % lower than"
    elif row["low"] > 1:
        change = f"{100 * (mean - 1):.0f} % higher than"
    else:
        change = "not clearly different from"
    return (
        f"{change} that of {reference} (geometric mean ratio {mean:.3f}, "
        f"95 % interval {row['low']:.3f} to {row['high']:.3f}), "
        f"and lower on {100 * row['wins']:.0f} % of {row['targets']:.0f} targets"
    )


def _ratio(row: pd.Series) -> str:
    return f"{row['geometric mean']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


def _ratios(rows: pd.DataFrame, column: str, name: Callable[[str], str]) -> str:
    """List the ratios of rows with intervals, each after the reader's name of a column's value."""
    return "; ".join(f"{name(row[column])} {_ratio(row)}" for _, row in rows.iterrows())


def _regression(table: pd.DataFrame) -> pd.DataFrame:
    """Return the comparison with tuned PLS on regression targets, at the first calibration size."""
    table = table[table["reference"] == REFERENCE]
    if "kind" in table:
        table = table[table["kind"] == "regression"]
    return table[table["n"] == table["n"].iloc[0]] if "n" in table and len(table) else table


def regression_of(*subjects: str) -> Answer:
    """Describe the first of the given methods in the table, or else the best method."""

    def answer(table: pd.DataFrame) -> str:
        table = _regression(table)
        if table.empty:
            return _NONE
        by_method = table.set_index("method", drop=False)
        subject = next((name for name in subjects if name in by_method.index), None)
        if subject is not None:
            return compared(by_method.loc[subject], "RMSEP", reader_name(REFERENCE))
        best = by_method.loc[by_method["geometric mean"].idxmin()]
        change = _change(best, reader_name(REFERENCE))
        return f"Of {len(table)} methods, {reader_name(best['method'])} has the lowest error: its RMSEP is {change}."

    return answer


def to_untrained(table: pd.DataFrame) -> pd.DataFrame:
    """Return the comparisons of trained encoders with the same read-out of the untrained one on the same tokens."""
    if "reference" not in table:
        return table.iloc[:0]
    reference = table["reference"].astype(str)
    same_readout = table["method"].map(readout) == reference.map(readout)
    same_tokens = table["method"].str.contains("points") == reference.str.contains("points")
    return table[reference.isin(UNTRAINED) & same_readout & same_tokens]


#: Reference of the comparison of seeds.
FIRST_SEED = "ridge@untrained"


def to_first_seed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the comparisons of encoders, on regression targets, with the untrained one of seed 0."""
    encoders = table["method"].str.contains("@")
    return table[(table["kind"] == "regression") & (table["reference"] == FIRST_SEED) & encoders]


def pretraining(table: pd.DataFrame) -> str:
    """Say how many encoders have another error than the untrained one, and list the ratios by read-out."""
    rows = to_untrained(table)
    rows = rows[(rows["kind"] == "regression") & (rows["n"] == 200)] if len(rows) else rows
    if rows.empty:
        return "No trained encoder was compared with the untrained one."
    better, worse = int((rows["high"] < 1).sum()), int((rows["low"] > 1).sum())
    of_readout = [
        f"{name} read-out: {_ratios(part, 'method', lambda method: reader_name(method).partition(': ')[0])}"
        for name, part in rows.groupby(rows["method"].map(readout), sort=False)
    ]
    return (
        f"The trained encoder has a clearly lower RMSEP than the same read-out of the untrained one in {better} of "
        f"{counted(len(rows), 'comparison')}, and a clearly higher one in {worse} (95 % interval over families). "
        f"Ratios (geometric mean over {rows['targets'].max():.0f} targets, interval). {'. '.join(of_readout)}."
    )


def encoders(table: pd.DataFrame) -> str:
    """List the ratios of all encoders; of several read-outs, only those of `contrast`."""
    table = _regression(table)
    rows = table[table["method"].str.contains("@")] if len(table) else table
    if rows.empty:
        return _NONE
    contrast = rows[rows["method"].str.endswith(":contrast")]
    rows = contrast if len(contrast) else rows
    return (
        f"RMSEP over that of {reader_name(REFERENCE)} (geometric mean, 95 % interval) "
        f"on {rows['targets'].max():.0f} targets: {_ratios(rows, 'method', reader_name)}."
    )


#: Heads on the embedding that are compared with the same heads on untrained views.
UNDER_HEADS = tuple(f"{head}@{DEFAULT}" for head in VIEW_HEADS)


def views(table: pd.DataFrame) -> str:
    """List the ratios of untrained views to the embedding under the same head."""
    table = table[(table["kind"] == "regression") & table["reference"].isin(UNDER_HEADS)]
    sentences = []
    for reference, rows in table.groupby("reference", sort=False):
        head = str(reference).partition("@")[0]
        rows = rows[rows["method"].str.endswith(f"-{head}") | (rows["method"] == f"{head}@untrained")]
        if len(rows):
            sentences.append(
                f"RMSEP over that of {reader_name(str(reference))} on {counted(rows['targets'].max(), 'target')} "
                f"(geometric mean, 95 % interval): {_ratios(rows, 'method', reader_name)}"
            )
    return ". ".join(sentences) + "." if sentences else "No untrained view was compared with the embedding."


def seeds(table: pd.DataFrame) -> str:
    """Compare the gain of training with the differences between seeds."""
    rows = to_first_seed(table)
    trained = rows["method"].str.contains("~")
    if not trained.any():
        return "No trained encoder was compared with the untrained one."
    # Seed 0 is the reference.
    untrained = [1.0, *rows.loc[~trained, "geometric mean"]]
    means = rows.loc[trained, "geometric mean"]
    gain = "larger than" if means.max() < min(untrained) else "not larger than"
    return (
        f"Relative to {reader_name(FIRST_SEED)}, seed 0, the RMSEP is {means.min():.3f} to {means.max():.3f} "
        f"with {counted(len(means), 'trained encoder')} and {min(untrained):.3f} to {max(untrained):.3f} with "
        f"{counted(len(untrained), 'untrained one')}: the gain is {gain} the differences between seeds "
        f"({rows['targets'].max():.0f} targets). Geometric mean, 95 % interval: {_ratios(rows, 'method', reader_name)}."
    )


def by_size(table: pd.DataFrame) -> str:
    """Compare the embedding at the smallest and the largest calibration sets."""
    rows = table[(table["kind"] == "regression") & (table["method"] == _EMBEDDED)].sort_values("n")
    if rows.empty:
        return "The embedding was not compared."
    few, many = rows.iloc[0], rows.iloc[-1]
    size = "all" if np.isinf(many["n"]) else f"{many['n']:.0f}"
    return (
        f"The RMSEP of {reader_name(_EMBEDDED)} over that of {reader_name(REFERENCE)} is {_ratio(few)} "
        f"with {few['n']:.0f} calibration samples and {_ratio(many)} with {size}, on {many['targets']:.0f} targets."
    )


def by_split(table: pd.DataFrame) -> str:
    """Compare the embedding under each kind of split."""
    rows = table[(table["kind"] == "regression") & (table["method"] == _EMBEDDED)]
    if rows.empty:
        return "The embedding was not compared."
    return (
        f"RMSEP of {reader_name(_EMBEDDED)} over that of {reader_name(REFERENCE)}, by split, "
        f"on {rows['targets'].max():.0f} targets: {_ratios(rows, 'split', split_name)}."
    )


def tuned(table: pd.DataFrame) -> str:
    """Compare the tuned encoder with the frozen one at each calibration size."""
    rows = table[table["method"] == _TUNED]
    each = "; ".join(
        f"{'all' if np.isinf(row['n']) else format(row['n'], '.0f')} samples {_ratio(row)}, "
        f"lower on {100 * row['wins']:.0f} % of {row['targets']:.0f} targets"
        for _, row in rows.iterrows()
    )
    return f"RMSEP of the encoder tuned on the calibration set over that of the frozen encoder: {each}."


def coverage(table: pd.DataFrame) -> str:
    """Report the coverage of the 90 % intervals."""
    rows = table[table["nominal"] == 0.9]
    each = "; ".join(
        f"{100 * row['coverage']:.1f} % ({reader_name(row['method'])}, {row['targets']:.0f} targets)"
        for _, row in rows.iterrows()
    )
    return f"The coverage of intervals at a nominal 90 % is {each}."


def growth(table: pd.DataFrame) -> str:
    """Count the perturbations that affect the embedding less than SNV + PLS."""
    areas = table.set_index("method")
    subject = f"robust-{_EMBEDDED}" if f"robust-{_EMBEDDED}" in areas.index else _EMBEDDED
    if not {"snv-pls", subject} <= set(areas.index):
        return "The embedding and SNV + PLS were not both measured."
    better = areas.columns[areas.loc[subject] < areas.loc["snv-pls"]]
    return (
        f"The RMSEP of {reader_name(subject)} grows less than that of {reader_name('snv-pls')} under {len(better)} of "
        f"{areas.shape[1]} perturbations{': ' if len(better) else ''}{', '.join(better)}."
    )


def cut(table: pd.DataFrame) -> str:
    """Report the error of each method when a tenth of the range is cut off."""
    rows = table[table["change"] == "10% off the long end"]
    each = "; ".join(
        f"{row['ratio']:.3f} ({reader_name(row['method'])}, {row['targets']:.0f} targets)" for _, row in rows.iterrows()
    )
    return (
        "With a tenth of the range cut off at the long-wavelength end, "
        f"the RMSEP over that of whole spectra is {each} (geometric mean)."
    )


def transferred(table: pd.DataFrame) -> str:
    """Compare the embedding with SNV + PLS, both without correction."""
    rows = table[table["method"] == f"{_EMBEDDED}, none 0"]
    if rows.empty:
        return "The embedding was not measured without correction."
    return compared(rows.iloc[0], "RMSEP on the second instrument", reader_name("snv-pls, none 0"))


def pooled(table: pd.DataFrame) -> str:
    """Compare pooled calibrations, without and with local samples, with local calibrations."""
    added = min((name for name in table if name.endswith("_added")), key=lambda name: int(name.split("_")[1]))
    alone, k = added.replace("_added", "_alone"), added.split("_")[1]

    def each(column: str) -> str:
        medians = table.groupby("method")[column].median()
        return "; ".join(f"{medians[name]:.2f} ({reader_name(name)})" for name in ordered(medians.index))

    return (
        f"The RMSEP over the SD of the test set is {each('rmsep_0')} without local samples, "
        f"{each(added)} with {k} of them added, and {each(alone)} with these {k} alone "
        f"(median of {table['analyte'].nunique()} analytes)."
    )


def verdict(table: pd.DataFrame) -> str:
    """Count the verdicts of the leak test."""
    counts = table["verdict"].value_counts()
    return (
        f"Combinations of experiment and method on shuffled targets that show skill: "
        f"{counts.get('skill', 0)} of {len(table)} "
        f"(none: {counts.get('none', 0)}; too few families to decide: {counts.get('undecided', 0)})."
    )
