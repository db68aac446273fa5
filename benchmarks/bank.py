"""Compare frozen embedding + RidgeCV with PCA(30) + RidgeCV on all regression targets of the bank.

``python -m benchmarks bank --x-bank ../shared/x_bank`` prints both tables and writes them to
``benchmarks/results/``. Pretraining used the spectra of these datasets, but not their targets. The
model card gives the results on unseen families.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.embedding.column_weighting import ColumnWeighting
from nirs4all_vit.progress import tracked

from .calibrations import DEFAULT_X_BANK, load_calibrations
from .encoders import DEFAULT, Encoders
from .tables import RESULTS

#: Ridge penalties, for raw spectra and embeddings.
ALPHAS = np.logspace(-8, 4, 25)


def _rmsep(model: RidgeCV | Pipeline, X: NDArray, y: NDArray, train: NDArray, test: NDArray) -> float:
    return float(np.sqrt(np.mean((model.fit(X[train], y[train]).predict(X[test]) - y[test]) ** 2)))


def compare(x_bank: Path, *, seeds: int = 2) -> pd.DataFrame:
    """Compare PCA with embeddings of the bundled and an untrained encoder, with RidgeCV.

    Returns one row per target with the RMSEP of the mean predictor, of PCA + RidgeCV and of RidgeCV
    on each embedding. RMSEP is averaged over splits by group, with a third for testing and at most
    200 calibration samples.
    """
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = {"untrained": Encoders(folder).path("untrained"), "embedding": DEFAULT}
        embedders = {
            name: SpectralEmbedder(path, readout="contrast", adapt=False) for name, path in checkpoints.items()
        }
        return _compare(x_bank, embedders, seeds)


def _compare(x_bank: Path, embedders: dict[str, SpectralEmbedder], seeds: int) -> pd.DataFrame:
    rows, embedded, last = [], {}, None
    for calibration in tracked(list(load_calibrations(x_bank)), "embedding against PCA", "target"):
        # Targets measured on the same samples share the embedding.
        if last is None or not np.array_equal(calibration.X, last):
            axis = calibration.wavelengths
            embedded = {name: e.fit_transform(calibration.X, wavelengths=axis) for name, e in embedders.items()}
            last = calibration.X
        scores = []
        for seed in range(seeds):
            train, test = calibration.split(seed)
            y = calibration.y
            components = min(30, len(train) - 1, calibration.X.shape[1])
            pca = Pipeline([("pca", PCA(components, svd_solver="full")), ("ridge", RidgeCV(ALPHAS))])
            scores.append(
                (
                    float(np.sqrt(np.mean((y[test] - y[train].mean()) ** 2))),
                    _rmsep(pca, calibration.X.astype(np.float64), y, train, test),
                    *(_rmsep(RidgeCV(ALPHAS), _adapted(z, train), y, train, test) for z in embedded.values()),
                )
            )
        row = (calibration.dataset, calibration.target, calibration.family, len(calibration.y))
        rows.append((*row, *np.mean(scores, axis=0)))
    return pd.DataFrame(rows, columns=["dataset", "target", "family", "n", "mean", "pca", *embedders])


def _adapted(z: NDArray, train: NDArray) -> NDArray:
    return ColumnWeighting.fit(z[train]).apply(z.copy())


def summarise(table: pd.DataFrame, method: str = "embedding", reference: str = "pca") -> pd.Series:
    """Compare two methods over all targets and over the predictable ones.

    A target is predictable if the error of either method is at most 95 % of that of the mean
    predictor.
    """
    ratio = table[method] / table[reference]
    predictable = table[[method, reference]].min(axis=1) <= 0.95 * table["mean"]
    values = {
        "targets": len(table),
        "wins": (ratio < 1).mean(),
        "predictable targets": predictable.sum(),
        "wins, predictable": (ratio[predictable] < 1).mean(),
        "geometric mean of ratios, predictable": np.exp(np.log(ratio[predictable]).mean()),
        "median ratio, predictable": ratio[predictable].median(),
    }
    return pd.Series(values, name=f"{method} / {reference}")


def resampling(x_bank: Path, rows: int = 32) -> pd.DataFrame:
    """Compare embeddings of spectra with embeddings of every second point of the same spectra.

    Only smooth datasets are used: at least 200 points, and a point-to-point curvature of at most
    0.5 % of the spectrum's standard deviation, so that the omitted points could be interpolated.
    Returns one row per dataset with the smallest and mean cosine between the two embeddings of a
    spectrum, and the mean cosine after subtraction of the mean embedding of the dataset, which is a
    stricter criterion.
    """
    from nirs4all_vit.pretraining import load_x_bank

    embedder, out = SpectralEmbedder(readout="contrast", adapt=False, align=False), []
    for dataset in load_x_bank(x_bank):
        X, nm = dataset.values[:rows].astype(np.float64), dataset.wavelengths
        curvature = np.abs(np.diff(X, 2, axis=1)).mean(axis=1) / X.std(axis=1)
        if nm.size < 200 or np.median(curvature) > 0.005:
            continue
        full = embedder.fit_transform(X, wavelengths=nm).astype(np.float64)
        half = embedder.transform(X[:, ::2], wavelengths=nm[::2]).astype(np.float64)
        raw = _cosine(full, half)
        centred = _cosine(full - full.mean(axis=0), half - full.mean(axis=0))
        out.append((dataset.name, nm.size, raw.min(), raw.mean(), centred.mean()))
    return pd.DataFrame(out, columns=["dataset", "points", "smallest cosine", "mean cosine", "mean centred cosine"])


def _cosine(a: NDArray, b: NDArray) -> NDArray:
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--x-bank", type=Path, default=DEFAULT_X_BANK, help="folder of spectra, y_bank beside it")


def main(options: argparse.Namespace) -> int:
    """Run the comparisons; print them and write them to ``benchmarks/results/``."""
    table = compare(options.x_bank)
    summary = pd.concat([summarise(table), summarise(table, reference="untrained")], axis=1)
    print(table.to_string(index=False, float_format="%.4g"))
    print(f"\n{summary.to_string(float_format='%.3f')}\n")
    stable = resampling(options.x_bank)
    print(stable.to_string(index=False, float_format="%.4f"))
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / "bank_pca.csv", index=False, float_format="%.6g")
    stable.to_csv(RESULTS / "resampling.csv", index=False, float_format="%.5f")
    return 0
