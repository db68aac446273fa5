"""Run the tasks of a phase in parallel; each result is a file, so an interrupted run resumes."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from joblib import Parallel, cpu_count, delayed

from nirs4all_vit.embedding.folder import workers
from nirs4all_vit.progress import ProgressBar

from . import leak
from .clock import Clock, duration
from .context import Context
from .embeddings import ADAPTATION, Embeddings
from .encoders import Encoders, require_unseen, weights_hash
from .experiments import EXPERIMENTS
from .measure import limited_threads
from .methods.base import Unavailable
from .methods.registry import parse_method
from .phases import NAMES, PHASES
from .problems import Problems
from .tasks import Results, Task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    named = [f"{name} ({number})" for number, name in NAMES.items()]
    others = sorted(set(PHASES) - {*NAMES, *NAMES.values()})
    parser.add_argument("phase", choices=PHASES, metavar="PHASE", help=", ".join([*named, *others]))
    add_common_arguments(parser)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for data, methods, processes and output."""
    parser.add_argument("--x-bank", type=_folder, help="folder of spectra; without one, synthetic sets")
    parser.add_argument("--y-bank", type=_folder, help="folder of targets (y_bank beside the x-bank)")
    parser.add_argument(
        "--registry", type=_folder, help="without a bank: checkout of nirs4all-datasets, for public sets"
    )
    parser.add_argument("--datasets", nargs="+", default=[], help="only these (all)")
    parser.add_argument("--methods", nargs="+", default=[], help="only these of the phase's methods")
    parser.add_argument("--jobs", type=int, default=cpu_count(), help="processes (one per core)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a dask cluster that takes the tasks")
    parser.add_argument("--out", type=_folder, default="runs/benchmark", help="folder of the results (%(default)s)")


def _folder(text: str) -> Path:
    # Do not resolve links: y_bank is beside the link, not beside its destination.
    return Path(text).absolute()


def main(options: argparse.Namespace) -> int:
    """Measure the missing tasks of a phase.

    The exit status is 1 after a failure or skill on shuffled targets, and 2 for invalid options.
    """
    try:
        problems = problems_of(options)
        tasks = chosen(list(PHASES[options.phase](problems)), options.methods)
        return measure_phase(options.phase, tasks, problems, Results(options.out), options)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def measure_phase(
    phase: str,
    tasks: list[Task],
    problems: Problems,
    results: Results,
    options: argparse.Namespace,
    clock: Clock | None = None,
) -> int:
    """Measure the missing tasks of a phase, print failures and return the exit status.

    Errors are those of `prepare`. `clock` records the measured tasks.
    """
    tasks, context = prepare(tasks, problems, results, options.jobs)
    with workers(options.scheduler):
        run_tasks(tasks, context, results, jobs=options.jobs, clock=clock)
    status = _finish(phase, results, tasks)
    return max(status, leak.print_verdict(results, tasks)) if phase == "leak" else status


def problems_of(options: argparse.Namespace) -> Problems:
    """Return the problems for the options; raises ValueError or FileNotFoundError."""
    x_bank, y_bank = options.x_bank, options.y_bank
    if x_bank is not None and options.registry is not None:
        raise ValueError("--registry stands for --x-bank; give one of them.")
    if y_bank is not None and x_bank is None:
        raise ValueError("--y-bank needs --x-bank.")
    for folder in (x_bank, y_bank or (x_bank and x_bank.parent / "y_bank")):
        if folder is not None and not folder.is_dir():
            raise FileNotFoundError(f"no folder {folder}.")
    if options.jobs < 1:
        raise ValueError(f"--jobs {options.jobs}; at least one process is needed.")
    return Problems(x_bank, y_bank, tuple(options.datasets), options.registry)


def chosen(tasks: list[Task], methods: Sequence[str]) -> list[Task]:
    """Return the tasks of the given methods, or all; raises ValueError if none remains."""
    present = {task.method for task in tasks}
    unknown = sorted(set(methods) - present)
    if unknown and tasks:
        raise ValueError(f"no method {', '.join(unknown)} in this phase; it has {', '.join(sorted(present))}.")
    # The leak test needs the mean predictor.
    selected = [t for t in tasks if not methods or t.method in methods or (t.permuted and t.method == "mean")]
    if not selected:
        raise ValueError("nothing to do: no target of these datasets suits this phase (transfer needs a bank).")
    return selected


def prepare(tasks: list[Task], problems: Problems, results: Results, jobs: int = 1) -> tuple[list[Task], Context]:
    """Prepare weights and embeddings; return the tasks with hashes of the weights, and the context.

    `jobs` processes train encoders. Raises ValueError if an encoder was trained on a family on which
    it is to be scored, or if the folder contains results on other data.
    """
    datasets = sorted({name for task in tasks for name in (task.dataset, task.options.get("to")) if name})
    results.require_same_data({name: problems.fingerprint(name) for name in datasets})
    out = results.folder.parent
    encoders, embeddings, weights = Encoders(out, problems.x_bank, problems.y_bank), Embeddings(out), {}
    hashes = _finished(tasks, encoders, results)
    scored: dict[str, set[str]] = {}
    for task in tasks:
        encoder = parse_method(task.method)[1]
        if encoder is not None and encoder not in hashes:
            scored.setdefault(encoder, set()).add(task.dataset)
    encoders.train(scored, jobs)
    for encoder, names in scored.items():
        weights[encoder] = encoders.path(encoder)
        if "~" in encoder:
            require_unseen(weights[encoder], {problems.of(name)[0].family for name in names})
        hashes[encoder] = f"{ADAPTATION}-{weights_hash(weights[encoder])}"
    hashed = []
    to_embed: dict[tuple[str, str], set[str]] = {}
    for task in tasks:
        _, encoder, readout = parse_method(task.method)
        hashed.append(_with_weights(task, hashes[encoder]) if encoder is not None else task)
        if encoder is not None and not results.done(hashed[-1]):
            to_embed.setdefault((encoder, readout), set()).add(task.dataset)
    for (encoder, readout), names in to_embed.items():
        embeddings.make(weights[encoder], readout, sorted(names), problems.read)
    return hashed, Context(problems, embeddings, weights)


def _with_weights(task: Task, hash_: str) -> Task:
    return dataclasses.replace(task, options={**task.options, "weights": hash_})


def _finished(tasks: list[Task], encoders: Encoders, results: Results) -> dict[str, str]:
    """Return the hashes of encoders that need no training: they are not in the folder, but all of their results are."""
    absent: dict[str, list[Task]] = {}
    for task in tasks:
        encoder = parse_method(task.method)[1] or ""
        if "~" in encoder and not encoders.is_trained(encoder):
            absent.setdefault(encoder, []).append(task)
    out: dict[str, str] = {}
    for record in results if absent else ():
        encoder = parse_method(record["task"]["method"])[1] or ""
        hash_ = record["task"]["options"].get("weights")
        if encoder in absent and encoder not in out and hash_ is not None:
            if all(results.done(_with_weights(task, hash_)) for task in absent[encoder]):
                out[encoder] = hash_
            else:
                del absent[encoder]  # it is trained again
    return out


def run_tasks(
    tasks: Sequence[Task], context: Context, results: Results, *, jobs: int = 1, clock: Clock | None = None
) -> None:
    """Measure the missing tasks in `jobs` processes, which share the machine's cores.

    The backend is that of the caller's `joblib.parallel_config`, by default processes of joblib.
    `clock` records the finished tasks, and the progress bar shows its estimate of the remaining
    time.
    """
    missing = [task for task in tasks if not results.done(task)]
    # Group tasks by target and split: spectra are read once, and methods are timed under the same
    # conditions.
    missing.sort(key=lambda t: (t.dataset, t.target, t.split, t.seed, t.key))
    units = [list(group) for _, group in groupby(missing, lambda t: (t.dataset, t.target, t.split, t.seed))]
    threads = max(1, cpu_count() // max(1, jobs))
    with ProgressBar("benchmark", "task", len(tasks), initial=len(tasks) - len(missing)) as bar:
        parallel = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs")
        for times in parallel(delayed(_run_unit)(unit, context, results, threads) for unit in units):
            bar.update(len(times))
            if clock is not None:
                clock.count(times)
                bar.note(left=duration(clock.left()))


def _run_unit(unit: list[Task], context: Context, results: Results, threads: int) -> list[tuple[Task, float]]:
    """Measure tasks; return them with their seconds."""
    with limited_threads(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        times = []
        for task in unit:
            start = time.perf_counter()
            record = _measure(task, context)
            seconds = time.perf_counter() - start
            results.write(task, {**record, "seconds": seconds})
            times.append((task, seconds))
    return times


def _measure(task: Task, context: Context) -> dict[str, object]:
    """Return the record of a task; failures are recorded and do not stop other tasks."""
    try:
        return {"status": "done", "result": EXPERIMENTS[task.experiment](task, context)}
    except Unavailable as error:
        return {"status": "unavailable", "reason": str(error)}
    except Exception as error:  # reported at the end and tried again in the next run
        return {"status": "failed", "reason": f"{type(error).__name__}: {error}"}


def _finish(phase: str, results: Results, tasks: Sequence[Task]) -> int:
    """Record the phase, print failed and unavailable tasks, and return 1 after a failure."""
    keys = {task.key for task in tasks}
    missing = {"unavailable": Counter(), "failed": Counter()}
    for record in results:
        task = Task(**record["task"])
        if task.key not in keys:
            continue
        if record["status"] in missing:
            missing[record["status"]][f"{task.method}: {record['reason']}"] += 1
    results.note_phase(NAMES.get(phase, phase), tasks)
    for status, reasons in missing.items():
        title = "not run" if status == "unavailable" else status
        for reason, count in reasons.most_common(20):
            print(f"{title} ({count} tasks): {reason}")
    return 1 if missing["failed"] else 0
