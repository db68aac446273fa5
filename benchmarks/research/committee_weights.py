"""Rules that weigh the members of a committee, compared on materials left out (research log, sections 28 and 29).

``python -m benchmarks.research.committee_weights --x-bank DIR --out DIR`` uses the encoders of strict transfer, as
``phase3a-heads`` does. The first run stores the predictions of each member (half an hour on two cores). The comparison
of the rules then takes a second.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from nirs4all_vit.files import atomic_path
from nirs4all_vit.heads.committee import SpectralCommittee, left_out_rmse
from nirs4all_vit.progress import tracked

from .. import statistics
from ..context import Context, parts
from ..embeddings import EmbeddedView
from ..methods.registry import PARAMETERS, parse_method
from ..phases import PHASES
from ..problems import Problems
from ..runner import prepare
from ..tables import REFERENCE
from ..tasks import Results, Task


def _members(task: Task, context: Context, path: Path) -> None:
    """Store what each member predicts of a task's test set, and its error on calibration samples left out."""
    train, test, about = parts(task, context)
    _, encoder, readout = parse_method(task.method)
    view = EmbeddedView(context.weights[encoder], readout, context.embeddings, **PARAMETERS["committee"]).fit(train)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        committee = SpectralCommittee().fit(view.view(train, ""), train.y, groups=train.groups)
        views = committee.views(np.asarray(view.view(test, "")))
    predicted = {}
    for name, member in committee.members_.items():
        own = member.predict(views[name])
        predicted[name] = np.ravel(own[0] if isinstance(own, tuple) else own).tolist()
    record = {
        **about,
        "dataset": task.dataset,
        "target": task.target,
        "seed": task.seed,
        "n": task.n_train,
        "y": test.y.tolist(),
        "left_out": {name: left_out_rmse(member) for name, member in committee.members_.items()},
        "predicted": predicted,
    }
    with atomic_path(path) as target:
        target.write_text(json.dumps(record), "utf-8")


def _by_power(errors: NDArray, n: int, power: float = 1.0, most: float = np.inf) -> NDArray:
    """Return weights 1 / RMSE to a power that grows with n; 0 for errors above `most` times the smallest error."""
    ratio = errors / errors.min()
    return np.where(ratio > most, 0.0, ratio ** (-power * n / (n + 100.0)))


#: Weights by left-out errors and the number of samples.
RULES: dict[str, Callable[[NDArray, int], NDArray]] = {
    "equal": lambda errors, _n: np.ones_like(errors),
    **{
        f"power {p}, within {m} of the least": lambda e, n, p=p, m=m: _by_power(e, n, p, m)
        for p in (1.0, 2.0, 4.0)
        for m in (1.5, 2.0, np.inf)
    },
    **{
        f"power {p}, within {m} ** ((n + 100) / n)": lambda e, n, p=p, m=m: _by_power(e, n, p, m ** (1.0 + 100.0 / n))
        for p in (1.0, 2.0)
        for m in (1.2, 1.3, 1.4, 1.5)
    },
}


def main() -> None:
    """Store the members' predictions where they are missing, and print the table of rules."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--x-bank", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of results of phase3a-heads")
    options = parser.parse_args()
    results = Results(options.out)
    problems = Problems(options.x_bank.resolve())
    tasks = [t for t in PHASES["phase3a-heads"](problems) if t.method.startswith("committee@")]
    tasks = [t for t in tasks if problems.get(t.dataset, t.target).task == "regression"]
    tasks, context = prepare(tasks, problems, results)
    folder = options.out / "members"
    folder.mkdir(exist_ok=True)
    jobs = [(t, folder / f"{t.key}.json") for t in tasks if not (folder / f"{t.key}.json").exists()]
    parallel = Parallel(n_jobs=os.cpu_count(), return_as="generator_unordered")
    for _ in tracked(parallel(delayed(_members)(t, context, p) for t, p in jobs), "targets", "target", total=len(jobs)):
        pass
    records = [json.loads((folder / f"{task.key}.json").read_text("utf-8")) for task in tasks]
    print(compare(records, results.table("calibration")).to_string())


def compare(records: list[dict[str, Any]], measured: pd.DataFrame) -> pd.DataFrame:
    """Return, by size and rule, the ratio to best-of-five PLS over predictable targets, wins, and the worst target."""
    rows = []
    for size, part in pd.DataFrame(records).groupby("n"):
        usual = measured[(measured["n_train"] == size) & (measured["split"] == "random") & ~measured["permuted"]]
        errors = statistics.errors(usual[usual["method"].isin(["mean", REFERENCE, "gp", "best-ridge"])])
        for name, rule in RULES.items():
            errors[name] = pd.Series(
                {(r.family, r.dataset, r.target, r.seed): _rmsep(r, rule) for r in part.itertuples()}
            )
        errors = errors.dropna()
        skilled = statistics.predictable(errors)
        by_target = statistics.per_target(statistics.of_targets(errors, skilled))
        for name in RULES:
            ratio, to_gp = by_target[name] / by_target[REFERENCE], by_target[name] / by_target["gp"]
            families = np.log(ratio).groupby("family").mean()
            rows.append({
                "n": size, "rule": name, "targets": len(by_target), "ratio": np.exp(np.log(ratio).mean()),
                "by family": np.exp(families.mean()), "wins": (ratio < 1).mean(), "worst": ratio.max(),
                "second": ratio.nlargest(2).iloc[-1], "to gp": np.exp(np.log(to_gp).mean()),
            })  # fmt: skip
    return pd.DataFrame(rows).round(3)


def _rmsep(row: Any, rule: Callable[[NDArray, int], NDArray]) -> float:
    weights = rule(np.array(list(row.left_out.values())), row.n_calibration)
    mean = weights @ np.array(list(row.predicted.values())) / weights.sum()
    return float(np.sqrt(np.square(mean - np.array(row.y)).mean()))


if __name__ == "__main__":
    main()
