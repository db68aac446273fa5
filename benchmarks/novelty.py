"""Detection of faulty spectra: ``python -m benchmarks novelty --x-bank DIR``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from nirs4all_vit import SpectralAxisError, SpectralEmbedder, SpectralNovelty
from nirs4all_vit.embedding.bank import bank_coverage, bank_scores, bank_statistics
from nirs4all_vit.embedding.novelty import signal_numbers
from nirs4all_vit.pretraining import load_x_bank
from nirs4all_vit.progress import tracked
from nirs4all_vit.spectra.data import MAX_WAVELENGTH

from .encoders import DEFAULT
from .problems import Problems
from .tables import write_table

#: Function that introduces a fault into spectra and their axis, both ascending in nm.
Fault = Callable[[NDArray, NDArray, np.random.Generator], tuple[NDArray, NDArray]]
_SEEDS = (0, 1, 2)
_MAX_TRAIN, _MAX_TEST = 100, 30


def _dead_channel(X: NDArray, nm: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    X = X.copy()
    X[np.arange(len(X)), rng.integers(1, X.shape[1] - 1, len(X))] = 0.0
    return X, nm


def _dead_block(X: NDArray, nm: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    X, n = X.copy(), X.shape[1]
    width = max(2, n // 100)
    for row, start in zip(X, rng.integers(0, n - width + 1, len(X)), strict=True):
        row[start : start + width] = 0.0
    return X, nm


def _sharp_peaks(X: NDArray, nm: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Return sharp peaks, as in Raman spectra or chromatograms."""
    place = np.linspace(0.0, 1.0, X.shape[1])
    shape = (len(X), 20, 1)
    peaks = np.exp(-0.5 * ((place - rng.uniform(size=shape)) / rng.uniform(0.001, 0.004, shape)) ** 2)
    return (rng.uniform(0.2, 1.0, shape) * peaks).sum(axis=1), nm


def _sines(X: NDArray, nm: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    place = np.linspace(0.0, 2 * np.pi, X.shape[1])
    return np.sin(rng.uniform(3, 30, (len(X), 1)) * place + rng.uniform(0, 6, (len(X), 1))), nm


FAULTS: dict[str, Fault] = {
    "saturated": lambda X, nm, _: (np.minimum(X, np.quantile(X, 0.7, axis=1, keepdims=True)), nm),
    "flipped": lambda X, nm, _: (X[:, ::-1].copy(), nm),
    "cm-1 read as nm": lambda X, nm, _: (X[:, ::-1].copy(), 1e7 / nm[::-1]),
    "percent reflectance": lambda X, nm, _: (100.0 * 10.0 ** -X.clip(-1.0, 4.0), nm),
    "dead channel": _dead_channel,
    "dead block": _dead_block,
    "white noise": lambda X, nm, rng: (rng.normal(size=X.shape), nm),
    "sines": _sines,
    "random walk": lambda X, nm, rng: (rng.normal(size=X.shape).cumsum(axis=1), nm),
    "sharp peaks": _sharp_peaks,
}


def measure(problems: Problems, checkpoint: str = DEFAULT) -> pd.DataFrame:
    """Return AUC and share flagged by dataset, split and fault; "none" counts false alarms.

    A detector is fitted on at most 100 spectra. It scores spectra of other samples of the same
    dataset, with and without faults.
    """
    rows = []
    for name in tracked(problems.names, "datasets", "dataset"):
        problem = next(iter(problems.of(name)), None)
        if problem is None:
            continue
        order = np.argsort(problem.wavelengths)
        nm = np.asarray(problem.wavelengths, dtype=np.float64)[order]
        for seed in _SEEDS:
            train, test = (problem.take(part) for part in problem.split(seed, _MAX_TRAIN, _MAX_TEST))
            calibration, clean = (part.X[:, order].astype(np.float64) for part in (train, test))
            detector = SpectralNovelty(checkpoint, axis_unit="nm", device="cpu")
            detector.fit(calibration, wavelengths=nm, groups=train.groups)
            about = {"dataset": name, "family": problem.family, "seed": seed}

            def score(X: NDArray, axis: NDArray, detector: SpectralNovelty = detector) -> NDArray:
                try:
                    return detector.score_samples(X, wavelengths=axis)
                except SpectralAxisError:  # rejected: other wavelength range
                    return np.full(len(X), -100.0)

            rows += _scored(about, score, clean, nm, lambda seed=seed: np.random.default_rng(seed))
    return pd.DataFrame(rows)


def measure_bank(folder: Path, checkpoint: str = DEFAULT) -> pd.DataFrame:
    """Return the same rows for the bank scores, with statistics from the other families only.

    The encoder was pretrained on these families, unless it is untrained. The fault "as published"
    denotes correct spectra in reflectance or transmittance, if a dataset has them; the scores are
    defined for absorbance.
    """
    bank = load_x_bank(folder)

    def compact(X: NDArray, nm: NDArray) -> NDArray:
        embedder = SpectralEmbedder(
            checkpoint, readout="compact", adapt=False, align=False, axis_unit="nm", device="cpu"
        )
        return embedder.fit_transform(X, wavelengths=nm)

    described = []
    for dataset in tracked(bank, "bank", "dataset"):
        rows = np.linspace(0, len(dataset) - 1, min(64, len(dataset))).astype(int)
        X, nm = dataset.absorbance(rows), dataset.wavelengths
        described.append((compact(X, nm), signal_numbers(X), (nm[0], nm[-1]), dataset.family))
    rows = []
    for dataset in tracked(bank, "datasets", "dataset"):
        statistics = bank_statistics(*zip(*(part for part in described if part[-1] != dataset.family), strict=True))

        def score(X: NDArray, nm: NDArray, statistics: dict[str, NDArray] = statistics) -> NDArray:
            coverage = np.full(len(X), bank_coverage(statistics, nm[0], nm[-1]))
            return bank_scores(statistics, compact(X, nm), signal_numbers(X), coverage)

        rng = np.random.default_rng(0)
        sample = np.sort(rng.permutation(len(dataset))[:_MAX_TEST])
        clean, nm = dataset.absorbance(sample).astype(np.float64), dataset.wavelengths
        about = {"dataset": dataset.name, "family": dataset.family, "seed": 0}
        of_dataset = _scored(about, score, clean, nm, lambda rng=rng: rng)
        if dataset.mode in ("reflectance", "transmittance"):
            published = float((score(dataset.values[sample], nm) < 0).mean())
            of_dataset.insert(1, {**about, "fault": "as published", "flagged": published})
        rows += of_dataset
    return pd.DataFrame(rows)


def _scored(
    about: dict[str, Any],
    score: Callable[[NDArray, NDArray], NDArray],
    clean: NDArray,
    nm: NDArray,
    generator: Callable[[], np.random.Generator],
) -> list[dict[str, Any]]:
    """Return one row for spectra without faults and one for each fault."""
    usual = score(clean, nm)
    rows = [{**about, "fault": "none", "flagged": float((usual < 0).mean())}]
    for fault, spoil in FAULTS.items():
        X, axis = spoil(clean, nm, generator())
        if axis[-1] > MAX_WAVELENGTH:  # rejected as an axis
            continue
        strange = score(X, axis)
        truth = np.repeat([0, 1], [len(usual), len(strange)])
        auc = roc_auc_score(truth, -np.concatenate([usual, strange]))
        rows.append({**about, "fault": fault, "auc": auc, "flagged": float((strange < 0).mean())})
    return rows


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return means over families with equal weights, and the AUC of the worst tenth."""
    by_family = rows.groupby(["fault", "family"], sort=False)[["auc", "flagged"]].mean()
    means = by_family.groupby("fault", sort=False).agg(
        families=("flagged", "size"),
        AUC=("auc", "mean"),
        worst=("auc", lambda values: values.quantile(0.1)),
        flagged=("flagged", "mean"),
    )
    return means.rename(columns={"worst": "AUC of the worst tenth", "flagged": "share flagged"}).reset_index()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--x-bank", type=Path, help="folder of spectra; without one, synthetic sets")
    parser.add_argument("--datasets", nargs="+", default=[], help="only these (all)")
    parser.add_argument("--checkpoint", default=DEFAULT, help="encoder (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/novelty"), help="folder of the table (%(default)s)")


def main(options: argparse.Namespace) -> int:
    """Measure; print and write the tables."""
    rows = measure(Problems(options.x_bank, datasets=tuple(options.datasets)), options.checkpoint)
    options.out.mkdir(parents=True, exist_ok=True)
    _report(rows, options.out / "novelty")
    if options.x_bank is not None and not options.datasets:
        _report(measure_bank(options.x_bank, options.checkpoint), options.out / "novelty_bank")
    return 0


def _report(rows: pd.DataFrame, target: Path) -> None:
    table = summary(rows)
    write_table(table, target)
    print(f"{target.name}\n{table.round(3).to_string(index=False)}")
