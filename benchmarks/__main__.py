"""``python -m benchmarks run PHASE`` and ``python -m benchmarks report``."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from . import report
from .embeddings import ADAPTATION, Embeddings
from .encoders import Encoders, require_unseen
from .experiments import EXPERIMENTS, Context
from .leak import VERDICTS, leak_table
from .methods.registry import parse_method
from .phases import PHASES
from .problems import Problems
from .runner import run_tasks
from .tasks import Results, Task


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Benchmark of spectral embeddings.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure a phase; what is there already is not measured again")
    run.add_argument("phase", choices=PHASES, metavar="PHASE", help=", ".join(sorted(PHASES)))
    run.add_argument("--x-bank", type=Path, help="folder of spectra; without one, synthetic sets")
    run.add_argument("--y-bank", type=Path, help="folder of targets (y_bank beside the x-bank)")
    run.add_argument("--registry", type=Path, help="without a bank: checkout of nirs4all-datasets, for public sets too")
    run.add_argument("--datasets", nargs="+", default=[], help="only these (all)")
    run.add_argument("--methods", nargs="+", help="only these of the phase's methods")
    run.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one per core)")
    run.add_argument("--backend", choices=("loky", "dask"), default="loky", help="how they are started")
    run.add_argument("--scheduler", help="address of a dask scheduler (a cluster on this machine)")
    run.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="folder of the results")
    told = commands.add_parser("report", help="build every table and figure of what was measured")
    told.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="folder of the results")
    told.add_argument("--to", type=Path, help="folder of the report (report/ within the results)")
    options = parser.parse_args(arguments)
    return _run(options) if options.command == "run" else _report(options)


def _report(options: argparse.Namespace) -> int:
    if not (options.out / "tasks").is_dir():
        print(
            f"error: no results in {options.out}; `python -m benchmarks run PHASE --out DIR` makes some.",
            file=sys.stderr,
        )
        return 2
    for path in report.build(options.out, options.to or options.out / "report"):
        print(path)
    return 0


def _run(options: argparse.Namespace) -> int:
    out = options.out.resolve()
    try:
        problems = _problems(options)
        tasks = list(PHASES[options.phase](problems))
        # The leak test compares with the mean predictor.
        always = ["mean"] if options.phase == "leak" else []
        tasks = _chosen(tasks, [*options.methods, *always] if options.methods else [])
        results = Results(out)
        tasks, context = prepare(tasks, problems, results)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.backend == "dask":
        from distributed import Client

        with Client(options.scheduler) if options.scheduler else Client(n_workers=options.jobs, threads_per_worker=1):
            run_tasks(tasks, context, results, jobs=options.jobs, backend="dask")
    else:
        run_tasks(tasks, context, results, jobs=options.jobs)
    status = _told(results, tasks)
    return max(status, _verdict(results, tasks)) if options.phase == "leak" else status


def _problems(options: argparse.Namespace) -> Problems:
    x_bank, y_bank = _absolute(options.x_bank), _absolute(options.y_bank)
    if x_bank is not None and options.registry is not None:
        raise ValueError("--registry stands for --x-bank; give one of them.")
    if y_bank is not None and x_bank is None:
        raise ValueError("--y-bank needs --x-bank.")
    for folder in (x_bank, y_bank or (x_bank and x_bank.parent / "y_bank")):
        if folder is not None and not folder.is_dir():
            raise FileNotFoundError(f"no folder {folder}.")
    if options.jobs < 1:
        raise ValueError(f"--jobs {options.jobs}; at least one process is needed.")
    return Problems(x_bank, y_bank, tuple(options.datasets), _absolute(options.registry))


def _chosen(tasks: list[Task], methods: Sequence[str]) -> list[Task]:
    """Return the tasks of some methods, or all."""
    present = {task.method for task in tasks}
    unknown = sorted(set(methods) - present)
    if unknown and tasks:
        raise ValueError(f"no method {', '.join(unknown)} in this phase; it has {', '.join(sorted(present))}.")
    chosen = [task for task in tasks if not methods or task.method in methods]
    if not chosen:
        raise ValueError("nothing to do: no target of these datasets suits this phase (transfer needs a bank).")
    return chosen


def prepare(tasks: list[Task], problems: Problems, results: Results) -> tuple[list[Task], Context]:
    """Make the weights and embeddings that tasks need; returns the tasks with the weights' hashes in them.

    Raises
    ------
    ValueError
        An encoder that has seen what it is to be scored on, or results of other data in the folder.
    """
    from nirs4all_vit.files import file_sha256

    datasets = sorted({name for task in tasks for name in (task.dataset, task.options.get("to")) if name})
    results.require_same_data({name: problems.fingerprint(name) for name in datasets})
    out = results.folder.parent
    encoders, kept, weights = Encoders(out, problems.x_bank, problems.y_bank), Embeddings(out), {}
    wanted: dict[tuple[str, str], set[str]] = {}
    for task in tasks:
        _, encoder, readout = parse_method(task.method)
        if encoder is not None:
            wanted.setdefault((encoder, readout), set()).add(task.dataset)
    for (encoder, readout), names in wanted.items():
        weights[encoder] = encoders.path(encoder)
        if "~" in encoder:
            families = {problems.of(name)[0].family for name in names}
            require_unseen(weights[encoder], families)
        kept.make(weights[encoder], readout, sorted(names), problems.read)
    hashes = {encoder: f"{ADAPTATION}-{file_sha256(path)}" for encoder, path in weights.items()}
    named = []
    for task in tasks:
        encoder = parse_method(task.method)[1]
        extra = {"weights": hashes[encoder]} if encoder is not None else {}
        named.append(dataclasses.replace(task, options={**task.options, **extra}))
    return named, Context(problems, kept, weights)


def _told(results: Results, tasks: Sequence[Task]) -> int:
    """Print what failed and what could not run; returns 1 where something failed."""
    keys, failed, unavailable = {task.key for task in tasks}, Counter(), Counter()
    for record in results:
        task = Task(**record["task"])
        if record["status"] == "failed" and task.key in keys:
            failed[f"{task.method}: {record['reason']}"] += 1
        elif record["status"] == "unavailable" and task.key in keys:
            unavailable[f"{task.method}: {record['reason']}"] += 1
    for title, found in (("not run", unavailable), ("failed", failed)):
        for what, count in found.most_common(20):
            print(f"{title} ({count} tasks): {what}")
    return 1 if failed else 0


def _verdict(results: Results, tasks: Sequence[Task]) -> int:
    """Print what the leak test says; returns 1 where something has skill, or nothing was tested."""
    table = leak_table({name: results.table(name, tasks) for name in EXPERIMENTS})
    tested = set(table.get("method", ()))
    untested = sorted({task.method for task in tasks} - tested - {"mean"})
    if len(table):
        print(report.markdown(table))
    if untested:
        print(f"not tested: {', '.join(untested)}")
    counts = Counter(table.get("verdict", ()))
    print("shuffled targets, rows: " + ", ".join(f"{counts[name]} {name}" for name in VERDICTS))
    return 1 if counts["skill"] or not tested else 0


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.resolve()


if __name__ == "__main__":
    sys.exit(main())
