"""What the tables of the phases say, in one sentence each, computed from the table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from .encoders import DEFAULT
from .names import reader_name
from .tables import REFERENCE

#: Returns a sentence on a table as it lies in its CSV file.
Answer = Callable[[pd.DataFrame], str]

_EMBEDDED, _TUNED = f"ridge@{DEFAULT}", f"tuned@{DEFAULT}"


def compared(row: pd.Series, error: str, reference: str) -> str:
    """Return what a row of a comparison says: change, ratio with interval, wins, number of targets."""
    mean, name = row["geometric mean"], reader_name(row["method"])
    if row["high"] < 1:
        change = f"{1 - mean:.0%} lower than"
    elif row["low"] > 1:
        change = f"{mean - 1:.0%} higher than"
    else:
        change = "not clearly different from"
    return (
        f"The {error} of {name} is {change.replace('%', ' %')} that of {reference} "
        f"(geometric mean ratio {mean:.3f}, 95 % interval {row['low']:.3f} to {row['high']:.3f}), "
        f"and lower on {100 * row['wins']:.0f} % of {row['targets']:.0f} targets."
    )


def regression_of(*subjects: str) -> Answer:
    """Answer with the first of the methods that a phase has, or with its best one: regression, the usual size, over tuned PLS."""

    def answer(table: pd.DataFrame) -> str:
        table = table[table["reference"] == REFERENCE]
        if "kind" in table:
            table = table[table["kind"] == "regression"]
        if "n" in table:
            table = table[table["n"] == table["n"].iloc[0]] if len(table) else table
        if table.empty:
            return "No regression target was compared."
        row = next(
            (table[table["method"] == name].iloc[0] for name in subjects if (table["method"] == name).any()), None
        )
        best = table.loc[table["geometric mean"].idxmin()]
        sentence = compared(best if row is None else row, "RMSEP", reader_name(REFERENCE))
        return sentence if row is not None else f"Of {len(table)} methods, the one with the lowest error: {sentence}"

    return answer


def by_size(table: pd.DataFrame) -> str:
    """Compare the embedding at the smallest and the largest calibration sets."""
    rows = table[(table["kind"] == "regression") & (table["method"] == _EMBEDDED)].sort_values("n")
    if rows.empty:
        return "The embedding was not compared."
    few, many = rows.iloc[0], rows.iloc[-1]
    size = "all" if np.isinf(many["n"]) else f"{many['n']:.0f}"
    return (
        f"The RMSEP of {reader_name(_EMBEDDED)} over that of {reader_name(REFERENCE)} is {few['geometric mean']:.3f} "
        f"({few['low']:.3f} to {few['high']:.3f}) with {few['n']:.0f} calibration samples and {many['geometric mean']:.3f} "
        f"({many['low']:.3f} to {many['high']:.3f}) with {size}, on {many['targets']:.0f} targets."
    )


def by_split(table: pd.DataFrame) -> str:
    """Compare the embedding under each kind of split."""
    rows = table[(table["kind"] == "regression") & (table["method"] == _EMBEDDED)]
    if rows.empty:
        return "The embedding was not compared."
    each = "; ".join(
        f"{row['split'].replace('_', '-')} {row['geometric mean']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
        for _, row in rows.iterrows()
    )
    return f"RMSEP of {reader_name(_EMBEDDED)} over that of {reader_name(REFERENCE)}, by split, on {rows['targets'].max():.0f} targets: {each}."


def tuned(table: pd.DataFrame) -> str:
    """Compare the tuned encoder with the frozen one, at each size."""
    rows = table[table["method"] == _TUNED]
    each = "; ".join(
        f"{'all' if np.isinf(row['n']) else format(row['n'], '.0f')} samples {row['geometric mean']:.3f} "
        f"({row['low']:.3f} to {row['high']:.3f}), lower on {100 * row['wins']:.0f} % of {row['targets']:.0f} targets"
        for _, row in rows.iterrows()
    )
    return f"RMSEP of the encoder tuned on the calibration set over that of the encoder as it is: {each}."


def coverage(table: pd.DataFrame) -> str:
    """Say how many samples the intervals of 90 % hold."""
    rows = table[table["nominal"] == 0.9]
    each = "; ".join(
        f"{100 * row['coverage']:.1f} % ({reader_name(row['method'])}, {row['targets']:.0f} targets)"
        for _, row in rows.iterrows()
    )
    return f"Intervals that are asked to hold 90 % of the samples hold {each}."


def growth(table: pd.DataFrame) -> str:
    """Count the perturbations under which the embedding loses less than SNV and PLS."""
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
    """Say what a tenth of the range less does to each method."""
    rows = table[table["change"] == "10% off the long end"]
    each = "; ".join(
        f"{row['ratio']:.3f} ({reader_name(row['method'])}, {row['targets']:.0f} targets)" for _, row in rows.iterrows()
    )
    return f"With a tenth of the range cut off at the long-wavelength end, the RMSEP over that of whole spectra is {each} (geometric mean)."


def transferred(table: pd.DataFrame) -> str:
    """Compare the embedding without correction with SNV and PLS."""
    rows = table[table["method"] == f"{_EMBEDDED}, none 0"]
    if rows.empty:
        return "The embedding was not measured without correction."
    return compared(rows.iloc[0], "RMSEP on the second instrument", reader_name("snv-pls, none 0"))


def pooled(table: pd.DataFrame) -> str:
    """Say how far one head for an analyte gets with the largest local correction."""
    column = max((name for name in table if name.startswith("rmsep_")), key=lambda name: int(name.split("_")[1]))
    by_method = table.groupby("method")[column].median()
    each = "; ".join(f"{value:.2f} ({reader_name(str(name))})" for name, value in by_method.items())
    samples = column.removeprefix("rmsep_")
    return (
        f"With {samples} local samples, the RMSEP over the SD of the test set is {each} "
        f"(median of {table['analyte'].nunique()} analytes)."
    )


def verdict(table: pd.DataFrame) -> str:
    """Count what the leak test decided."""
    counts = table["verdict"].value_counts()
    return (
        f"Of {len(table)} combinations of experiment and method on shuffled targets, {counts.get('skill', 0)} show skill, "
        f"{counts.get('none', 0)} show none and {counts.get('undecided', 0)} have too few families to decide."
    )
