"""Results of synthetic calibrations, for tests of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirs4all_vit.calibration.metrics import classification_metrics, regression_metrics
from nirs4all_vit.calibration.results import CalibrationResult, Comparison, LearningPoint, Predicted, TargetResult
from nirs4all_vit.spectra.checks import Finding

#: Centre and width, in nm, of the bands of water, protein, oil and starch.
_BANDS = ((970, 25), (1200, 30), (1450, 45), (1730, 30), (1940, 45), (2060, 35), (2180, 30), (2310, 25))
_FINDINGS = (
    Finding(
        "warning", "spectra.csv, row 14", "the spectrum is constant from 2,400 nm on", "look at the instrument's range"
    ),
    Finding("note", "protein.csv, column 3", "4 values are missing and were left out"),
    Finding(
        "warning",
        "protein.csv, row 77",
        "the value 131 lies 8 deviations above the mean",
        "compare it with the lab's record",
    ),
)


def make_spectra(
    n: int, nm: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return absorbance spectra and the concentrations of their bands."""
    shapes = np.stack([np.exp(-0.5 * ((nm - centre) / width) ** 2) for centre, width in _BANDS])
    amounts = rng.gamma(6.0, 0.05, (n, len(shapes)))
    baseline = rng.normal(0.35, 0.05, (n, 1)) + rng.normal(0.00008, 0.00003, (n, 1)) * (nm - 1000)
    return amounts @ shapes + baseline + rng.normal(0, 0.0006, (n, len(nm))), amounts


def regression_target(
    name: str,
    values: NDArray[np.float64],
    error: float,
    rng: np.random.Generator,
    ids: NDArray[Any],
    *,
    n_test: int = 0,
    **options: Any,
) -> TargetResult:
    """Return a regression target with intervals of about 90 % coverage."""

    def part(measured: NDArray[np.float64], names: NDArray[Any], scale: float) -> Predicted:
        spread = error * scale * (0.8 + 0.4 * rng.random(len(measured)))
        predicted = measured + rng.normal(0, 1, len(measured)) * spread
        predicted = np.where(np.isfinite(predicted), predicted, values[np.isfinite(values)].mean())
        low, high = predicted - 1.7 * spread, predicted + 1.7 * spread
        inside = ((measured >= low) & (measured <= high))[np.isfinite(measured)]
        metrics = regression_metrics(measured, predicted)
        return Predicted(
            names, measured, predicted, low, high, None, metrics, float(inside.mean()) if len(inside) else np.nan
        )

    calibrated = part(values, ids, 1.0)
    test = None
    if n_test:
        held_out = rng.choice(values[np.isfinite(values)], n_test) + rng.normal(0, error, n_test)
        test = part(held_out, np.array([f"T{i:03d}" for i in range(n_test)]), 1.15)
    m: Any = calibrated.metrics
    comparisons = (
        Comparison("committee of heads", m, 0.82, 0.74, 0.91),
        Comparison("ridge on the embedding", replace(m, rmse=m.rmse * 0.93 / 0.82), 0.93, 0.84, 1.02),
        Comparison("PLS, best of five preprocessings", replace(m, rmse=m.rmse / 0.82), 1.0, 1.0, 1.0),
    )
    sizes = [int(len(ids) * share) for share in (0.2, 0.4, 0.6, 0.8)]
    base = float(m.rmse)
    curve = tuple(LearningPoint(k, base * (1 + 0.9 * sizes[0] / k - 0.2), base * 0.03) for k in sizes)
    return TargetResult(
        name, "regression", (), calibrated, test, **{"comparisons": comparisons, "learning_curve": curve, **options}
    )


def class_target(
    name: str,
    classes: Sequence[str],
    n: int,
    rng: np.random.Generator,
    ids: NDArray[Any],
    *,
    n_test: int = 0,
    **options: Any,
) -> TargetResult:
    """Return a classification target with sets of possible classes."""
    labels = np.array(classes)

    def part(size: int, names: NDArray[Any], wrong: float) -> Predicted:
        true = rng.integers(len(labels), size=size)
        guess = np.where(rng.random(size) < wrong, (true + rng.integers(1, 3, size)) % len(labels), true)
        sets = []
        for t, g in zip(true.tolist(), guess.tolist(), strict=True):
            members = (
                {g}
                | ({t} if rng.random() < 0.6 else set())
                | ({(g + 1) % len(labels)} if rng.random() < 0.15 else set())
            )
            sets.append("|".join(labels[sorted(members)]))
        held = np.mean([labels[t] in s.split("|") for t, s in zip(true.tolist(), sets, strict=True)])
        metrics = classification_metrics(labels[true], labels[guess])
        return Predicted(names, labels[true], labels[guess], None, None, np.array(sets), metrics, float(held))

    calibrated = part(n, ids, 0.12)
    test = part(n_test, np.array([f"T{i:03d}" for i in range(n_test)]), 0.15) if n_test else None
    m: Any = calibrated.metrics
    comparisons = (
        Comparison("ridge on the embedding", m, 0.88, 0.71, 1.09),
        Comparison("PLS-DA, best of five preprocessings", replace(m, error=m.error / 0.88), 1.0, 1.0, 1.0),
    )
    curve = tuple(LearningPoint(int(n * share), 0.12 + 0.05 * (1 - share), 0.02) for share in (0.3, 0.6, 0.8))
    return TargetResult(
        name,
        "classification",
        tuple(classes),
        calibrated,
        test,
        **{"comparisons": comparisons, "learning_curve": curve, **options},
    )


def make_result(
    n: int = 160,
    n_wavelengths: int = 700,
    targets: Sequence[str] = ("Protein (% of dry matter)",),
    *,
    classes: Sequence[str] = (),
    n_test: int = 0,
    n_outliers: int = 4,
    unit: str = "nm",
    missing: float = 0.0,
    ids: Sequence[str] | None = None,
    seed: int = 0,
    **options: Any,
) -> CalibrationResult:
    """Return results of regression `targets`, and of a classification target with `classes`.

    `missing` is the share of missing reference values.
    """
    rng = np.random.default_rng(seed)
    nm = np.linspace(1000.0, 2498.0, n_wavelengths) if n_wavelengths > 1 else np.array([1450.0])
    spectra, amounts = make_spectra(n, nm, rng)
    names = np.array([f"W{i:04d}" for i in range(n)], dtype=object)
    names[: len(ids or ())] = list(ids or ())[:n]
    odd = rng.choice(n, min(n_outliers, n), replace=False)
    spectra[odd] += rng.normal(0, 0.12, (len(odd), 1)) + 0.25 * np.exp(-0.5 * ((nm - 1940) / 60) ** 2)
    results: list[TargetResult] = []
    for k, name in enumerate(targets):
        values = 8 + 14 * amounts[:, k % 8] + rng.normal(0, 0.2, n)
        values[rng.random(n) < missing] = np.nan
        importance = (
            np.exp(-0.5 * ((nm - _BANDS[k % 8][0]) / 40) ** 2) + 0.4 * np.exp(-0.5 * ((nm - 2180) / 40) ** 2) + 0.03
        )
        results.append(
            regression_target(name, values, 0.45 + 0.1 * k, rng, names, n_test=n_test, importance=importance)
        )
    if classes:
        results.append(class_target("Variety", classes, n, rng, names, n_test=n_test))
    t2, q = rng.gamma(3, 0.13, n), rng.gamma(4, 0.1, n)
    t2[odd], q[odd] = rng.uniform(1.1, 3.2, len(odd)), rng.uniform(0.6, 4.5, len(odd))
    scores = rng.normal(0, 1, (n, 2)) * [3.0, 1.2]
    scores[odd] += rng.choice([-1, 1], (len(odd), 2)) * [6, 3]
    values_of: dict[str, Any] = {
        "title": "Wheat, protein by near-infrared reflectance",
        "ids": names,
        "groups": names,
        "spectra": spectra,
        "wavelengths": nm,
        "axis_unit": unit,
        "signal": "absorbance",
        "targets": tuple(results),
        "t2": t2,
        "q": q,
        "scores": scores,
        "explained": (0.52, 0.21),
        "outliers": {int(row): f"T² is {t2[row]:.1f} times its limit" for row in odd},
        "coverage": 0.9,
        "findings": _FINDINGS,
        "settings": {"head": "committee", "folds": 5, "repetitions": 3, "seed": 0, "coverage": 0.9, "test": None},
        "provenance": {
            "date": "2026-11-27 18:04",
            "duration (s)": 84.2,
            "versions": {"nirs4all-vit": "0.1.0", "numpy": "2.4.1", "torch": "2.13.0"},
            "SHA-256": {"spectra.csv": "9f" * 32, "protein.csv": "0a" * 32, "nirs-base-v2": "c4" * 32},
        },
    }
    return CalibrationResult(**{**values_of, **options})
