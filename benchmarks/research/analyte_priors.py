"""Reference values of other materials as prior knowledge for a small calibration (research log, section 37).

``python -m benchmarks.research.analyte_priors --x-bank DIR --out DIR`` takes 11 minutes on one core.

For each test set of the pooled phase (an analyte that other families measure, too), the committee is fitted on 10 and
25 local samples, alone and with what the other datasets know about the analyte by its name: its level, its direction
in the embedding (one ridge on all others, each centred), and the directions of each of the others.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nirs4all_vit.heads import GroupRidge
from nirs4all_vit.heads.committee import SpectralCommittee
from nirs4all_vit.progress import tracked

from ..calibrations import Calibration
from ..context import Context
from ..embeddings import EmbeddedView
from ..encoders import DEFAULT
from ..methods.registry import PARAMETERS
from ..phases import PHASES
from ..pooled import PENALTIES, Pool, covering, members
from ..problems import Problems
from ..runner import prepare
from ..tasks import Results, Task

#: Numbers of local samples; test samples are outside of the largest.
SIZES = (10, 25)
#: Candidate slopes of the common direction, and weights of the directions beside the embedding.
_SLOPES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)
_WEIGHTS = (0.0, 0.3, 1.0, 3.0, 10.0)
#: Share of a prior in the mean with the committee.
_SHARE = 0.35


def _scaled(Z: NDArray, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return features centred and scaled so that the given rows have a mean squared norm of one."""
    Z = Z - Z[rows].mean(axis=0)
    return Z / max(float(np.sqrt(np.square(Z[rows]).sum(axis=1).mean())), 1e-300)


def _ridge(Z: NDArray, y: NDArray, groups: NDArray) -> tuple[GroupRidge, float]:
    model = GroupRidge(PENALTIES).fit(Z, y, groups=groups)
    return model, float(model.best_score_)


class Prior:
    """What the datasets of a pool know about the analyte of its test set."""

    def __init__(self, pool: Pool) -> None:
        self.Z = pool.test_table
        tables = [table - table.mean(axis=0) for table in pool.tables]
        scale = np.sqrt(np.mean([np.square(table).sum(axis=1).mean() for table in tables]))
        values = [y - y.mean() for y in pool.y]
        together = _ridge(np.concatenate(tables) / scale, np.concatenate(values), pool.owner)[0]
        self.common = together.predict(self.Z / scale)
        each = [
            _ridge(t / scale, y, np.arange(len(y)))[0].predict(self.Z / scale)
            for t, y in zip(tables, values, strict=True)
        ]
        self.each = np.stack(each, axis=1)
        means = np.array([y.mean() for y in pool.y])
        self.level, self.variance = float(means.mean()), float(means.var(ddof=1)) if len(means) > 1 else np.inf

    def mean(self, y: NDArray) -> float:
        """Return the local mean, shrunk to the level of the other datasets."""
        weight = 1.0 / (1.0 + y.var(ddof=1) / len(y) / self.variance)
        return weight * float(y.mean()) + (1 - weight) * self.level

    def with_direction(self, rows: NDArray[np.int64], y: NDArray, groups: NDArray) -> tuple[NDArray, float]:
        """Return predictions of a ridge that is shrunk to the common direction, and the slope of that."""
        Z, p = _scaled(self.Z, rows), self.common - self.common[rows].mean()
        fitted = {slope: _ridge(Z[rows], y - slope * p[rows], groups) for slope in _SLOPES}
        slope = max(fitted, key=lambda s: fitted[s][1])
        return fitted[slope][0].predict(Z) + slope * p, slope

    def with_directions(self, rows: NDArray[np.int64], y: NDArray, groups: NDArray) -> NDArray:
        """Return predictions of a ridge on the embedding and the predictions of each of the others."""
        Z, P = _scaled(self.Z, rows), _scaled(self.each, rows)
        tables = [np.hstack([Z, weight * P]) for weight in _WEIGHTS]
        fitted = [_ridge(table[rows], y, groups) for table in tables]
        best = max(range(len(tables)), key=lambda k: fitted[k][1])
        return fitted[best][0].predict(tables[best])


def _committee(test: Calibration, rows: NDArray[np.int64], context: Context) -> tuple[NDArray, NDArray]:
    """Return features of the local samples and of all of the test set, as the committee reads them."""
    local = test.take(rows)
    view = EmbeddedView(context.weights[DEFAULT], "contrast", context.embeddings, **PARAMETERS["committee"]).fit(local)
    return np.asarray(view.view(local, "")), np.asarray(view.view(test, ""))


def _measure(task: Task, context: Context) -> list[dict[str, Any]]:
    every = members(context.problems)[task.options["analyte"]]
    test = next(p for p in every if (p.dataset, p.target) == (task.dataset, task.target))
    pooled = EmbeddedView(context.weights[DEFAULT], "contrast", context.embeddings)
    pool = Pool(f"ridge@{DEFAULT}", covering(every, test), test, pooled, task.seed)
    prior = Prior(pool)
    samples = np.random.default_rng(task.seed).permutation(np.unique(test.groups))
    held = np.flatnonzero(~np.isin(test.groups, samples[: max(SIZES)]))
    out = []
    for n in SIZES:
        rows = np.flatnonzero(np.isin(test.groups, samples[:n]))
        y, groups = test.y[rows], test.groups[rows]
        Z, T = _committee(test, rows, context)
        committee = SpectralCommittee().fit(Z, y, groups=groups).predict(T)
        direction, slope = prior.with_direction(rows, y, groups)
        p = slope * (prior.common - prior.common[rows].mean())
        priors = {
            "ridge": _ridge(_scaled(prior.Z, rows)[rows], y, groups)[0].predict(_scaled(prior.Z, rows)),
            "pooled and local samples": pool.predict_with(rows),
            "ridge with the common direction": direction,
            "ridge with all directions": prior.with_directions(rows, y, groups),
        }
        mixed = {f"committee and {name}": (1 - _SHARE) * committee + _SHARE * of for name, of in priors.items()}
        predictions = {
            "mean": np.full(len(test.y), y.mean()),
            "mean, shrunk to the level of others": np.full(len(test.y), prior.mean(y)),
            "committee": committee,
            "committee beside the common direction": SpectralCommittee().fit(Z, y - p[rows], groups=groups).predict(T)
            + p,
            **priors,
            **mixed,
        }
        errors = {name: float(np.sqrt(np.square(of[held] - test.y[held]).mean())) for name, of in predictions.items()}
        about = {"analyte": task.options["analyte"], "family": test.family, "dataset": test.dataset}
        out.append({**about, "target": test.target, "seed": task.seed, "n": n, "slope": slope} | errors)
    return out


def _report(table: pd.DataFrame) -> None:
    methods = list(table.columns[table.columns.get_loc("slope") + 1 :])
    means = table.groupby(["n", "analyte", "family", "dataset"])[methods].mean()
    ratio = np.log(means.div(means["committee"], axis=0))
    families = ratio.groupby(["n", "family"]).mean()
    summary = pd.concat(
        {
            "sets": np.exp(ratio.groupby("n").mean()).T,
            "families": np.exp(families.groupby("n").mean()).T,
            "wins": (ratio < 0).groupby("n").mean().T,
        },
        axis=1,
    )
    print(summary.round(3).to_string())
    for n in SIZES:
        print(f"\n{n} samples, by analyte\n" + np.exp(ratio.loc[n].groupby("analyte").mean()).T.round(3).to_string())


def main() -> None:
    """Measure all test sets and print ratios to the committee."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--x-bank", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    problems = Problems(options.x_bank.resolve())
    method = f"ridge@{DEFAULT}"
    tasks = [t for t in PHASES["phase3b"](problems) if t.method == method and t.options["trained_on"] is None]
    rows: list[dict[str, Any]] = []
    tasks, context = prepare(tasks, problems, Results(options.out / "results"))
    for task in tracked(tasks, "test sets", "set"):
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows += _measure(task, context)
        pd.DataFrame(rows).to_csv(options.out / "analyte_priors.csv", index=False)
    _report(pd.DataFrame(rows))


if __name__ == "__main__":
    main()
