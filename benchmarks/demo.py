"""Demonstration: compare SpectralEmbedder + ridge with PLS and ridge; then write a report.

The pipelines run in ``nirs4all.run``. ``python -m benchmarks demo`` uses synthetic spectra;
``--x-bank DIR`` uses real ones.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, KFold

from nirs4all_vit import SpectralEmbedder, calibrate
from nirs4all_vit.progress import ProgressBar

from .calibrations import load_calibrations

if TYPE_CHECKING:
    from nirs4all.data import SpectroDataset

#: Real datasets of the demonstration, with the target.
REAL_SETS = {"tecator_meat": "fat", "corn_m5": "protein", "n4a_bge_micronir": "Prot"}

#: Instruments of the synthetic datasets: full-range lab, mid-range and short-range portable.
INSTRUMENTS = ("foss_xds", "neospectra_micro", "viavi_micronir")


@dataclass(frozen=True)
class Problem:
    """Spectra with a target; the first `n_train` are the calibration set."""

    name: str
    X: NDArray[Any]
    wavelengths: NDArray[np.float64]
    y: NDArray[np.float64]
    n_train: int

    def dataset(self) -> SpectroDataset:
        """Return the problem as a nirs4all dataset with its axis in the header."""
        from nirs4all.data import SpectroDataset

        dataset = SpectroDataset(self.name)
        for partition, rows in (("train", slice(None, self.n_train)), ("test", slice(self.n_train, None))):
            headers = [f"{nm:.3f}" for nm in self.wavelengths]
            dataset.add_samples(self.X[rows], {"partition": partition}, headers=headers, header_unit="nm")
            dataset.add_targets(self.y[rows])
        return dataset


def synthetic_problems(n_samples: int = 160, seed: int = 7) -> Iterator[Problem]:
    """Yield the same corn samples on three synthetic instruments of nirs4all's generator."""
    from nirs4all.synthesis import ComponentLibrary, ProductGenerator, SyntheticNIRSGenerator

    product = ProductGenerator("corn_grain", random_state=seed)
    _, composition = product.generate(n_samples, return_concentrations=True)
    names = product.template.component_names
    for offset, instrument in enumerate(INSTRUMENTS):
        generator = SyntheticNIRSGenerator(
            instrument=instrument,
            component_library=ComponentLibrary.from_predefined(names),
            complexity="complex",
            random_state=seed + offset,
        )
        X, _ = generator.generate_from_concentrations(composition)
        y = 100.0 * composition[:, names.index("protein")]
        yield Problem(f"corn on {instrument}: protein", X, generator.wavelengths, y, 2 * n_samples // 3)


def real_problems(x_bank: Path) -> Iterator[Problem]:
    """Yield calibration problems of the bank."""
    for calibration in load_calibrations(x_bank, datasets=list(REAL_SETS)):
        if calibration.target == REAL_SETS[calibration.dataset]:
            train, test = calibration.split(seed=0)
            rows = np.concatenate([train, test])
            name = f"{calibration.dataset}: {calibration.target}"
            yield Problem(name, calibration.X[rows], calibration.wavelengths, calibration.y[rows], len(train))


def pipelines() -> dict[str, list[Any]]:
    """Return the nirs4all pipelines to compare, each tuned inside the calibration set."""
    from nirs4all.operators.transforms import StandardNormalVariate

    pls = GridSearchCV(PLSRegression(scale=False), {"n_components": list(range(1, 16))}, cv=5, error_score="raise")
    ridge = RidgeCV(alphas=np.logspace(-8, 2, 21).tolist())
    return {
        "PLS": [{"model": pls}],
        "SNV + PLS": [StandardNormalVariate(), {"model": pls}],
        "Ridge": [{"model": ridge}],
        "SpectralEmbedder + Ridge": [SpectralEmbedder(), {"model": RidgeCV(alphas=np.logspace(-4, 4, 17).tolist())}],
    }


@dataclass(frozen=True)
class Outcome:
    """Test predictions of one pipeline on one problem."""

    measured: NDArray[np.float64]
    predicted: NDArray[np.float64]

    @property
    def rmsep(self) -> float:
        """Root mean squared error of prediction."""
        return float(np.sqrt(np.mean((self.measured - self.predicted) ** 2)))

    @property
    def r2(self) -> float:
        """Coefficient of determination on the test set."""
        return 1.0 - self.rmsep**2 / float(np.var(self.measured))


def run(problem: Problem, steps: list[Any]) -> Outcome:
    """Run a pipeline on a problem with nirs4all: three-fold CV, refit, test set."""
    import nirs4all

    with tempfile.TemporaryDirectory() as workspace:
        result = nirs4all.run(
            [KFold(3, shuffle=True, random_state=0), *steps],
            dataset=problem.dataset(),
            workspace_path=workspace,
            verbose=0,
            save_charts=False,
            random_state=0,
        )
        final = result.final
        return Outcome(np.ravel(final["y_true"]), np.ravel(final["y_pred"]))


def table(outcomes: dict[str, dict[str, Outcome]]) -> str:
    """Format RMSEP (and R2) by method and problem, with the best of each column marked."""
    columns = {}
    for problem, by_method in outcomes.items():
        best = min(outcome.rmsep for outcome in by_method.values())
        marked = {method: "*" if outcome.rmsep == best else " " for method, outcome in by_method.items()}
        columns[problem] = {m: f"{o.rmsep:.4g} ({o.r2:.3f}) {marked[m]}" for m, o in by_method.items()}
    return f"RMSEP on the test set (R2); * = best\n\n{pd.DataFrame(columns).to_string()}"


def plot(outcomes: dict[str, dict[str, Outcome]], path: Path) -> None:
    """Plot predicted against measured values, with rows of methods and columns of problems."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    problems, methods = list(outcomes), list(next(iter(outcomes.values())))
    size = (3.1 * len(problems), 2.7 * len(methods))
    figure, axes = plt.subplots(len(methods), len(problems), figsize=size, layout="constrained", squeeze=False)
    for column, problem in enumerate(problems):
        values = np.concatenate([np.r_[o.measured, o.predicted] for o in outcomes[problem].values()])
        margin = 0.05 * np.ptp(values)
        limits = (values.min() - margin, values.max() + margin)
        for row, method in enumerate(methods):
            o, ax = outcomes[problem][method], axes[row, column]
            ax.plot(limits, limits, color="0.7", linewidth=1, zorder=0)
            ours = method.startswith("SpectralEmbedder")
            ax.scatter(o.measured, o.predicted, s=12, alpha=0.7, color="tab:red" if ours else "tab:blue")
            ax.set(xlim=limits, ylim=limits, aspect="equal")
            ax.set_title(f"{problem}\n{method}: RMSEP {o.rmsep:.3g}", fontsize=8)
            if column == 0:
                ax.set_ylabel("predicted")
            if row == len(methods) - 1:
                ax.set_xlabel("measured")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def write_report(problem: Problem, path: Path) -> None:
    """Calibrate a problem as ``nirs4all-vit calibrate`` does and write the report."""
    spectra = pd.DataFrame(problem.X, index=[f"sample {k + 1}" for k in range(len(problem.X))])
    name = problem.name.rpartition(": ")[2]
    calibrate(
        spectra, pd.Series(problem.y, name=name), wavelengths=problem.wavelengths, test=0.25, cv="5x1"
    ).write_report(path)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--x-bank", type=Path, help="folder of real spectra; synthetic ones by default")
    parser.add_argument("--out", type=Path, default=Path("demo.png"), help="plot to write; the report goes beside it")


def main(options: argparse.Namespace) -> int:
    """Run the demonstration."""
    logging.getLogger("nirs4all").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=DeprecationWarning)

    started = time.perf_counter()
    problems = list(real_problems(options.x_bank) if options.x_bank else synthetic_problems())
    methods = pipelines()
    outcomes: dict[str, dict[str, Outcome]] = {}
    with ProgressBar("runs", "run", len(problems) * len(methods)) as bar:
        for problem in problems:
            outcomes[problem.name] = {}
            for method, steps in methods.items():
                bar.note(run=f"{problem.name} / {method}")
                outcomes[problem.name][method] = run(problem, steps)
                bar.update()
    print(f"\n{table(outcomes)}\n")
    plot(outcomes, options.out)
    report = options.out.with_name(f"{options.out.stem}_report.html")
    write_report(problems[0], report)
    spectra = "synthetic spectra" if options.x_bank is None else "real spectra"
    seconds = time.perf_counter() - started
    print(f"{seconds:.0f} s on {spectra}; predicted against measured: {options.out}; report: {report}")
    return 0
