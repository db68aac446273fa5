"""Realism and utility of the synthetic spectra.

``python -m benchmarks data --x-bank ../shared/x_bank`` writes ``synthetic_utility.json`` and a plot
to ``benchmarks/results/``.

Two kinds: *hybrid* spectra, which pretraining uses beside a bank (real spectra with simulated
components), and wholly *simulated* ones.

- Classifier test: AUC, per family, of a linear probe on embeddings that distinguishes synthetic
  from real spectra, on unseen families and synthetic datasets (0.5: indistinguishable).
- Realism scorecard of nirs4all, per family and on its grid: correlation length, derivatives, peaks,
  baseline and noise.
- Retrieval in synthetic pairs: share of samples whose nearest neighbour among 60 second views is
  the same sample, by embedding, by absorbance and by its scatter-corrected derivative.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nirs4all.synthesis import compute_spectral_realism_scorecard
from numpy.typing import NDArray
from scipy.signal import savgol_filter
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.pretraining import HybridSpectralDataset, SpectralDataset, hybrid_bank, load_x_bank, synthetic_bank
from nirs4all_vit.progress import tracked

#: Largest number of spectra per dataset in the classifier test, for an AUC within 0.03 in a minute;
#: number of pairs.
N_PROBED, N_PAIRS = 120, 60


def separability(real: list[SpectralDataset], generated: list[SpectralDataset], n_folds: int = 10) -> dict[str, float]:
    """Return the AUC of a linear probe for synthetic against real spectra, by unseen family."""
    blocks = [(d, d.family, 0) for d in real] + [(d, _origin(d), 1) for d in generated]
    embedder = SpectralEmbedder(readout="compact", adapt=False)
    Z, group, label = [], [], []
    for dataset, name, kind in tracked(blocks, "embedding", "set"):
        rows = np.linspace(0, len(dataset) - 1, min(len(dataset), N_PROBED)).astype(int)
        Z.append(embedder.fit_transform(dataset.absorbance(rows), wavelengths=dataset.wavelengths))
        group += [name] * len(rows)
        label += [kind] * len(rows)
    X, groups, y = np.concatenate(Z), np.array(group), np.array(label)
    fold = _folds(y, groups, n_folds)
    n_folds = int(fold.max()) + 1
    auc = {}
    for number in range(n_folds):
        train, test = fold != number, fold == number
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=3000))
        score = probe.fit(X[train], y[train]).decision_function(X)
        for family in np.unique(groups[test & (y == 0)]):
            rows = test & ((y == 1) | (groups == family))
            auc[str(family)] = float(roc_auc_score(y[rows], score[rows]))
    return auc


def _origin(dataset: SpectralDataset) -> str:
    """Return the family of the real spectra in a dataset; its own name without any."""
    return dataset.background.family if isinstance(dataset, HybridSpectralDataset) else dataset.name


def _folds(y: NDArray[np.int64], groups: NDArray[np.str_], n_folds: int) -> NDArray[np.int64]:
    """Return a fold for each row; each contains whole families and whole synthetic datasets.

    Hybrid spectra are in the fold of their real family. Datasets without one are split by
    themselves, so that each fold contains some.
    """
    fold = np.full(len(y), -1)
    families = set(groups[y == 0])
    real = np.flatnonzero([group in families for group in groups])
    for rows in (real, np.flatnonzero([group not in families for group in groups])):
        if len(rows):
            n = min(n_folds, len(families), len(set(groups[rows])))
            splitter = GroupKFold(n, shuffle=True, random_state=0)
            for number, (_, test) in enumerate(splitter.split(rows, groups=groups[rows])):
                fold[rows[test]] = number
    return fold


def on_grid(datasets: list[SpectralDataset], nm: NDArray[np.float64], n: int, seed: int) -> NDArray[np.float32] | None:
    """Draw n spectra of datasets that cover a grid, interpolated to it; None for fewer than 3."""
    covering = [d for d in datasets if d.wavelengths[0] <= nm[0] + 5 and d.wavelengths[-1] >= nm[-1] - 5]
    if len(covering) < 3:
        return None
    generator = np.random.default_rng(seed)
    spectra = []
    for index, count in zip(*np.unique(generator.integers(len(covering), size=n), return_counts=True), strict=True):
        one = covering[index]
        rows = generator.choice(len(one), min(count, len(one)), replace=False)
        spectra += [np.interp(nm, one.wavelengths, spectrum) for spectrum in one.absorbance(rows)]
    return np.array(spectra, dtype=np.float32)


def realism(real: list[SpectralDataset], generated: list[SpectralDataset], seed: int = 0) -> dict[str, dict[str, Any]]:
    """Return nirs4all's realism scorecard by family, on the grid of each dataset."""
    cards = {}
    for dataset in tracked(real, "realism", "family"):
        nm = dataset.wavelengths
        rows = np.linspace(0, len(dataset) - 1, min(len(dataset), N_PROBED)).astype(int)
        synthetic = on_grid(generated, nm, len(rows), seed)
        if synthetic is None:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            card = compute_spectral_realism_scorecard(
                dataset.absorbance(rows), synthetic, nm, include_adversarial=False, random_state=seed
            )
        cards[dataset.family] = {
            str(m.metric.value): {"value": float(m.value), "passed": bool(m.passed)} for m in card.metric_results
        }
    return cards


def retrieval(datasets: Sequence[SpectralDataset]) -> dict[str, list[float]]:
    """Return, per dataset, how often the nearest second view is that of the same sample (top 1).

    Both views are cut to their common range, and the embedder is fitted on the first one, as on a
    calibration. Features are centred within each view, to remove the offset of the instrument.
    Absorbance is interpolated to 200 points.
    """
    shares: dict[str, list[float]] = {}
    for first in tracked(datasets, "pairs", "set"):
        other = first.paired()
        same = other and other.paired()
        for label, second in (("other instrument", other), ("same instrument", same)):
            if second is None:
                continue
            low, high = (
                max(first.wavelengths[0], second.wavelengths[0]),
                min(first.wavelengths[-1], second.wavelengths[-1]),
            )
            if high - low < 200:
                continue
            views = [_within(d, low, high) for d in (first, second)]
            for name, robust in (("embedding", False), ("robust embedding", True)):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the second view has another axis
                    embedder = SpectralEmbedder(robust=robust).fit(views[0][0], wavelengths=views[0][1])
                    embedded = [embedder.transform(X, wavelengths=nm) for X, nm in views]
                shares.setdefault(f"{name}, {label}", []).append(top1(*embedded))
            axis = np.linspace(low, high, 200)
            spectra = [np.array([np.interp(axis, nm, x) for x in X]) for X, nm in views]
            shares.setdefault(f"absorbance, {label}", []).append(top1(*spectra))
            corrected = [savgol_filter(X, 15, 2, deriv=1, axis=1) for X in spectra]
            corrected = [
                (X - X.mean(axis=1, keepdims=True)) / np.maximum(X.std(axis=1, keepdims=True), 1e-12) for X in corrected
            ]
            shares.setdefault(f"SG1 + SNV, {label}", []).append(top1(*corrected))
    return shares


def _within(dataset: SpectralDataset, low: float, high: float) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return absorbance and wavelengths between two wavelengths."""
    there = np.flatnonzero((dataset.wavelengths >= low) & (dataset.wavelengths <= high))
    columns = slice(int(there[0]), int(there[-1]) + 1)
    return dataset.absorbance(columns=columns), dataset.wavelengths[columns]


def top1(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return how often the nearest row of `b` (centred cosine) has the same number as in `a`."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    a, b = (z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12) for z in (a, b))
    return float(np.mean((a @ b.T).argmax(axis=1) == np.arange(len(a))))


def measure(x_bank: Path, n_sets: int = 64) -> dict[str, Any]:
    """Return, for each kind of synthetic spectra, the results of all tests and a summary."""
    largest = {d.family: d for d in sorted(load_x_bank(x_bank), key=len)}
    real = sorted(largest.values(), key=lambda d: d.family)
    kinds = {
        "hybrid": (hybrid_bank(real, n_sets, N_PROBED), hybrid_bank(real, min(n_sets, 40), N_PAIRS)),
        "simulated": (synthetic_bank(n_sets, N_PROBED), synthetic_bank(min(n_sets, 40), N_PAIRS)),
    }
    return {kind: _measured(real, *banks) for kind, banks in kinds.items()}


def _measured(
    real: list[SpectralDataset], generated: Sequence[SpectralDataset], pairs_of: Sequence[SpectralDataset]
) -> dict[str, Any]:
    auc, cards = separability(real, list(generated)), realism(real, list(generated))
    pairs = retrieval(pairs_of)
    metrics = sorted({name for card in cards.values() for name in card})
    summary = {
        "families": len(auc),
        "median_auc": float(np.median(list(auc.values()))),
        "families_with_auc_below_0.75": sum(value < 0.75 for value in auc.values()),
        "share_of_families_that_pass": {
            m: float(np.mean([card[m]["passed"] for card in cards.values()])) for m in metrics
        },
        "median_retrieval": {label: float(np.median(values)) for label, values in pairs.items()},
        "retrieval_by_chance": 1 / N_PAIRS,
    }
    return {"summary": summary, "auc": auc, "realism": cards, "retrieval": pairs}
