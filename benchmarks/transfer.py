"""Calibration transfer between instruments, with and without transfer samples."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from functools import lru_cache
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nirs4all_vit import InstrumentStandardiser, SpectralAxisError
from nirs4all_vit.embedding.instrument import FEWEST
from nirs4all_vit.pretraining import GroupKennardStone

from . import statistics
from .calibrations import Calibration, load_calibrations
from .context import Context, mean_rmsep, scores, shuffled
from .methods.base import GridViews, Unavailable
from .tables import labelled, measured, write_table
from .tasks import Task

#: Datasets of the same samples on several instruments.
INSTRUMENT_GROUPS = (
    ("corn_m5", "corn_mp5", "corn_mp6"),
    ("tablets_idrc2002_spec1", "tablets_idrc2002_spec2"),
    ("marzipan_bomem", "marzipan_infraprover", "marzipan_nirs1", "marzipan_nirs2", "marzipan_nit"),
    ("wheat_idrc2016_a2", "wheat_idrc2016_atest", "wheat_idrc2016_b2", "wheat_idrc2016_btest"),
    ("sugarcane_chaix_f750", "sugarcane_chaix_micronir1700", "sugarcane_chaix_micronir2200", "sugarcane_chaix_nirone22",
     "sugarcane_chaix_nirscan_nano", "sugarcane_chaix_scio", "sugarcane_chaix_tellspec"),
    ("n4a_bge_flamenir", "n4a_bge_micronir"),
)  # fmt: skip

#: Reference of ratios: spectra of the second instrument, interpolated to the grid of the first.
REFERENCE = "snv-pls, none 0"

#: Smallest number of shared samples, shared range (nm) and points within it. (marzipan_ia260 has 15
#: samples only.)
_MIN_SAMPLES, _MIN_RANGE, _MIN_POINTS = 25, 100.0, 20

#: Largest number of unlabelled spectra of the second instrument.
_UNLABELLED = 30

#: Largest difference between reference values of a sample, in standard deviations of the target.
_VALUE_TOLERANCE = 0.02


@dataclasses.dataclass(frozen=True)
class Pair:
    """The same samples, row by row, on the instruments of calibration and prediction."""

    source: Calibration
    destination: Calibration


def instrument_pairs() -> Iterator[tuple[str, str]]:
    """Yield pairs (from, to) of every group, in both directions."""
    for group in INSTRUMENT_GROUPS:
        yield from permutations(group, 2)


def shared_targets(x_bank: Path, y_bank: Path | None, a: str, b: str) -> list[str]:
    """Return the targets with enough samples on both instruments."""
    first, second = ({c.target for c in _calibrations(x_bank, y_bank, name)} for name in (a, b))
    return [t for t in sorted(first & second) if load_pair(x_bank, y_bank, a, b, t) is not None]


@lru_cache(maxsize=16)
def _calibrations(x_bank: Path, y_bank: Path | None, name: str) -> list[Calibration]:
    return list(load_calibrations(x_bank, y_bank, [name], min_samples=_MIN_SAMPLES))


@lru_cache(maxsize=64)
def load_pair(x_bank: Path, y_bank: Path | None, a: str, b: str, target: str, cut: bool = True) -> Pair | None:
    """Return the shared samples of two instruments, with averaged replicates, or None.

    None means that the instruments share too few samples, points or wavelengths. With `cut`,
    spectra are limited to the shared range.
    """
    first, second = (_averaged(x_bank, y_bank, name, target) for name in (a, b))
    if first is None or second is None:
        return None
    _, i, j = np.intersect1d(first.groups, second.groups, return_indices=True)
    # Samples with different reference values are not the same sample.
    agree = np.abs(first.y[i] - second.y[j]) <= _VALUE_TOLERANCE * first.y.std()
    i, j = i[agree], j[agree]
    if len(i) < _MIN_SAMPLES:
        return None
    pair = first.take(i), second.take(j)
    low = max(part.wavelengths.min() for part in pair)
    high = min(part.wavelengths.max() for part in pair)
    cropped = [_within(part, low, high) for part in pair]
    if high - low < _MIN_RANGE or min(part.X.shape[1] for part in cropped) < _MIN_POINTS:
        return None
    return Pair(cropped[0], cropped[1]) if cut else Pair(*pair)


def is_narrower(x_bank: Path, y_bank: Path | None, a: str, b: str, target: str) -> bool:
    """Return whether the second instrument lacks 1 % or more of the range of the first."""
    pair = load_pair(x_bank, y_bank, a, b, target, cut=False)
    if pair is None:
        return False
    first, second = pair.source.wavelengths, pair.destination.wavelengths
    lacking = max(second.min() - first.min(), 0.0) + max(first.max() - second.max(), 0.0)
    return bool(lacking >= 0.01 * (first.max() - first.min()))


def standardised(kind: str, source: Calibration, destination: Calibration, test: Calibration) -> Calibration:
    """Return test spectra of the second instrument, standardised to the first.

    `kind` is ``ds``, ``pds`` or ``sst``: direct standardisation, piecewise direct standardisation
    or spectral space transformation. `source` and `destination` are the transfer samples on both
    instruments, row by row.
    """
    step = InstrumentStandardiser(kind, wavelengths=test.wavelengths, source_wavelengths=source.wavelengths)
    step.fit(destination.X, X_source=source.X)
    moved, axis = step.transform(test.X), step.wavelengths_
    return dataclasses.replace(test, X=np.asarray(moved, dtype=np.float32), wavelengths=axis, rows=None)


def joined(a: Calibration, b: Calibration) -> Calibration:
    """Combine spectra of two instruments into one calibration set, on the grid of the first."""
    on_grid = GridViews.fit(_Grid(), a).on_grid(b).astype(np.float32)
    return dataclasses.replace(
        a,
        X=np.concatenate([a.X, on_grid]),
        y=np.concatenate([a.y, b.y]),
        groups=np.concatenate([a.groups, b.groups]),
        rows=None,
    )


class _Grid(GridViews):
    def view(self, part: Calibration, name: str) -> NDArray:  # noqa: ARG002
        return self.on_grid(part)


def _averaged(x_bank: Path, y_bank: Path | None, name: str, target: str) -> Calibration | None:
    """Return one mean spectrum per sample; `groups` identifies the sample on all instruments."""
    part = next((c for c in _calibrations(x_bank, y_bank, name) if c.target == target), None)
    if part is None:
        return None
    table = pd.read_csv((Path(y_bank) if y_bank else Path(x_bank).parent / "y_bank") / f"{name}.csv")
    named = table["meta_sample_id"].astype(str) if "meta_sample_id" in table else table.index.astype(str)
    ids = np.asarray(named)[part.rows]
    names, codes = np.unique(ids, return_inverse=True)
    counts = np.bincount(codes)
    X = np.zeros((len(names), part.X.shape[1]))
    np.add.at(X, codes, part.X)
    y = np.bincount(codes, weights=part.y) / counts
    spread = np.zeros(len(names))
    np.maximum.at(spread, codes, np.abs(part.y - y[codes]))
    # The number depends on the name only, not on the instrument.
    numbers = pd.util.hash_array(names.astype(object)).astype(np.int64)
    averaged = dataclasses.replace(part, X=(X / counts[:, None]).astype(np.float32), y=y, groups=numbers, rows=None)
    # Replicates with different reference values are not the same sample.
    return averaged.take(np.flatnonzero(spread <= _VALUE_TOLERANCE * part.y.std()))


def _within(part: Calibration, low: float, high: float) -> Calibration:
    shared = (part.wavelengths >= low - 1e-6) & (part.wavelengths <= high + 1e-6)
    return part.channels(shared)


def measure(task: Task, context: Context) -> dict[str, Any]:
    """Calibrate on one instrument and predict on another, with optional transfer samples.

    Raises `Unavailable` for too few shared samples or too small a shared range.
    """
    problems, options = context.problems, task.options
    cut = options.get("range") != "uncut"
    pair = load_pair(problems.x_bank, problems.y_bank, task.dataset, options["to"], task.target, cut)
    if pair is None:
        raise Unavailable("the instruments share too few samples or too little of their range")
    if task.permuted:
        pair = Pair(*(shuffled(part, task.seed) for part in (pair.source, pair.destination)))
    rows = np.random.default_rng(task.seed).permutation(len(pair.source))
    kind, k = options["standardisation"], options["n_transfer"]
    n_test = len(rows) // 3
    test_rows, calibration_rows = rows[:n_test], rows[n_test:]
    if "population" in options:
        # Some samples outside the test set are unlabelled spectra of the second instrument.
        candidates = calibration_rows
        if options["population"] == "upper":
            # Half of the samples calibrate, to cover the range; candidates are the others above the
            # median.
            candidates = rows[len(rows) // 2 :]
            candidates = candidates[pair.source.y[candidates] > np.median(pair.source.y)]
        n_unlabelled = min(_UNLABELLED, len(candidates) // 2)
        if n_unlabelled < FEWEST:
            raise Unavailable(f"{n_unlabelled} unlabelled samples are too few")
        unlabelled = pair.destination.take(candidates[:n_unlabelled])
        if options["population"] == "upper":
            calibration_rows, test_rows = rows[: len(rows) // 2], candidates[n_unlabelled:]
        else:
            calibration_rows = candidates[n_unlabelled:]
    calibration_rows = calibration_rows[: task.n_train]
    test = pair.destination.take(test_rows)
    train, again = pair.source.take(calibration_rows), pair.destination.take(calibration_rows)
    transfer_rows = np.arange(len(train))
    if 0 < k < len(train):
        # Select transfer samples that span the calibration spectra. The half sample prevents
        # rounding from removing one.
        transfer_rows, _ = next(iter(GroupKennardStone(test_size=1.0 - (k + 0.5) / len(train)).split(train.X)))
    about = {"family": pair.source.family, "kind": "regression", "n_calibration": len(train), "n_test": len(test)}
    if kind == "native":
        train = again
    elif kind == "augment":
        train = joined(train, again.take(transfer_rows))
    elif kind not in ("none", "unlabelled"):
        test = standardised(kind, train.take(transfer_rows), again.take(transfer_rows), test)
    method = context.method(task.method).fit(train)
    if kind == "unlabelled":
        with warnings.catch_warnings():
            # Ignore the warning that instruments without a difference need no correction.
            warnings.simplefilter("ignore", UserWarning)
            method.views.embedder.adapt_to(unlabelled.X, wavelengths=unlabelled.wavelengths)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            predicted = method.predict(test)
    except SpectralAxisError as error:
        raise Unavailable("the second instrument covers less than half of the calibration's range") from error
    return {**about, **scores(test, predicted), "mean_rmsep": mean_rmsep(test.y, train.y)}


def report(tables: dict[str, pd.DataFrame], to: Path) -> None:
    """Compare methods and standardisations over instrument pairs; write ratios of each pair."""
    table = measured(tables["transfer"], "mean_rmsep")
    if table.empty:
        return
    if "range" in table:
        uncut = table["range"].notna()
        _uncut(table, uncut, to)
        table = table[~uncut]
    if "population" in table:
        whole = table["population"].isna() & table["standardisation"].isin(["none", "native"])
        whole &= table["method"].isin(table["method"][table["population"].notna()])
        _unlabelled(pd.concat([table[table["population"].notna()], table[whole].assign(population="all")]), to)
        table = table[table["population"].isna()]
    if table.empty:
        return
    way = table["method"] + ", " + table["standardisation"] + " " + table["n_transfer"].astype(str)
    table = table.assign(target=table["target"] + ", " + table["to"], way=way)
    errors = table.pivot_table(index=["family", "dataset", "target", "seed"], columns="way", values="rmsep")
    # Exclude pairs without a working native calibration.
    native = table[table["standardisation"] == "native"].groupby(["family", "dataset", "target"])
    usable = native["rmsep"].min() <= statistics.PREDICTABLE * native["mean_rmsep"].mean()
    usable = usable.reindex(statistics.per_target(errors).index, fill_value=False)
    if REFERENCE not in errors or not usable.any():
        return
    errors = statistics.of_targets(errors, usable)
    write_table(statistics.compare(errors, REFERENCE), to / "transfer")
    ratio = statistics.per_target(errors)
    ratio = np.log(ratio.div(ratio[REFERENCE], axis=0).clip(lower=1e-3)).reset_index()
    ratio["to"] = ratio["target"].str.rpartition(", ")[2]
    pairs = [
        labelled(np.exp(ratio.groupby(["dataset", "to"])[column].mean()).rename("ratio").reset_index(), method=method)
        for method in sorted(set(table["method"]) - {"snv-pls"})
        if (column := f"{method}, none 0") in ratio
    ]
    if pairs:
        write_table(pd.concat(pairs), to / "transfer_pairs")


def _unlabelled(table: pd.DataFrame, to: Path) -> None:
    """Write the effect of unlabelled spectra of the second instrument, by population.

    The RMSEP is divided by that without these spectra and by that of SNV + PLS. Means over targets
    and over groups of instruments are geometric.
    """
    if table.empty:
        return
    key = ["family", "dataset", "to", "target"]
    rows = []
    for population, part in table.groupby("population"):
        way = part["method"] + ", " + part["standardisation"]
        logs = part.assign(way=way).pivot_table(index=[*key, "seed"], columns="way", values="rmsep")
        logs = np.log(logs.clip(lower=1e-12))
        # Exclude pairs without a working native calibration.
        mean = np.log(part.groupby([*key, "seed"])["mean_rmsep"].first())
        native = logs[[name for name in logs if name.endswith(", native")]].min(axis=1)
        skilled = native.sub(mean).groupby(level=key).transform("mean") <= np.log(statistics.PREDICTABLE)
        logs = logs[skilled].dropna().groupby(level=key).mean()
        for name in logs.columns:
            method, _, kind = name.rpartition(", ")
            row = {"population": population, "method": method, "standardisation": kind, "targets": len(logs)}
            for label, reference in (("without", f"{method}, none"), ("snv-pls", "snv-pls, none")):
                if reference in logs:
                    ratio = logs[name] - logs[reference]
                    row[f"over {label}"] = float(np.exp(ratio.mean()))
                    row[f"over {label}, by group"] = float(np.exp(ratio.groupby(level="family").mean().mean()))
                    row[f"over {label}, median"] = float(np.exp(ratio.median()))
            rows.append(row)
    write_table(pd.DataFrame(rows), to / "transfer_unlabelled", 3)


def _uncut(table: pd.DataFrame, uncut: pd.Series, to: Path) -> None:
    """Write the RMSEP on a narrower instrument, relative to that on the shared range."""
    key = ["method", "family", "dataset", "to", "target", "seed"]
    plain = table["standardisation"] == "none"
    if "population" in table:
        plain &= table["population"].isna()
    by_hand = table[plain & ~uncut].set_index(key)["rmsep"]
    both = table[uncut].set_index(key)[["rmsep"]].join(by_hand.rename("by_hand"), how="inner")
    if both.empty:
        return
    logs = np.log(both["rmsep"].clip(lower=1e-12) / both["by_hand"].clip(lower=1e-12)).groupby(level=key[:-1]).mean()
    rows = []
    for method, part in logs.groupby(level="method"):
        by_group = part.groupby(level="family").mean()
        ratios = {"ratio": part.mean(), "ratio, by group": by_group.mean(), "median": part.median()}
        rows.append({"method": method, "targets": len(part), **{k: float(np.exp(v)) for k, v in ratios.items()}})
    write_table(pd.DataFrame(rows), to / "transfer_uncut", 3)
