"""Run tasks in parallel, each result a file, so that an interrupted run goes on where it was."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby

from joblib import Parallel, delayed, parallel_config
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from .experiments import EXPERIMENTS, Context
from .methods.base import Unavailable
from .tasks import Results, Task


def run_tasks(
    tasks: Sequence[Task], context: Context, results: Results, *, jobs: int = 1, backend: str = "loky"
) -> None:
    """Measure what is not measured yet.

    Parameters
    ----------
    tasks : sequence of Task
        Of any experiments.
    context : Context
        Goes to every process.
    results : Results
        Where results go, a JSON each.
    jobs : int
        Processes; the machine's cores are shared out among them.
    backend : {"loky", "dask"}
        joblib's. With ``dask``, a `distributed.Client` of the caller's takes the tasks.
    """
    missing = [task for task in tasks if not results.done(task)]
    # Tasks of one target and split go together: their spectra are read once, and methods are timed side by side.
    missing.sort(key=lambda t: (t.dataset, t.target, t.split, t.seed, t.key))
    units = [list(group) for _, group in groupby(missing, lambda t: (t.dataset, t.target, t.split, t.seed))]
    threads = max(1, (os.cpu_count() or 1) // max(1, jobs))
    with (
        _backend(backend, jobs, threads),
        tqdm(total=len(tasks), initial=len(tasks) - len(missing), desc="benchmark", unit="task") as bar,
    ):
        parallel = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
        for done in parallel(delayed(_run_unit)(unit, context, results, threads) for unit in units):
            bar.update(done)


@contextmanager
def _backend(name: str, jobs: int, threads: int) -> Iterator[None]:
    if name == "loky" and jobs > 1:
        with parallel_config("loky", inner_max_num_threads=threads):
            yield
    elif name == "dask":
        with parallel_config("dask", wait_for_workers_timeout=60):
            yield
    else:
        with parallel_config("sequential"):
            yield


def _run_unit(unit: list[Task], context: Context, results: Results, threads: int) -> int:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for task in unit:
                results.write(task, _measure(task, context))
    finally:
        torch.set_num_threads(before)
    return len(unit)


def _measure(task: Task, context: Context) -> dict[str, object]:
    """Return a record; one method that fails or cannot run does not stop the others."""
    try:
        return {"status": "done", "result": EXPERIMENTS[task.experiment](task, context)}
    except Unavailable as error:
        return {"status": "unavailable", "reason": str(error)}
    except Exception as error:  # recorded, told at the end, and tried again with the next run
        return {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
