"""Measure every phase and build the report: ``python -m benchmarks paper --x-bank DIR --out DIR``.

Finished tasks are skipped, so an interrupted command resumes.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from functools import lru_cache

from nirs4all_vit.spectra.findings import counted

from . import report
from .calibrations import Calibration
from .clock import Clock, duration
from .phases import NAMES, PHASES
from .problems import Problems
from .runner import add_common_arguments, chosen, measure_phase, problems_of
from .tasks import Results, Task

#: Phases without training first, then phases that train encoders, then ablations, then the leak
#: test.
ORDER = (
    "phase0", "small", "splits", "intervals", "robustness", "transfer", "phase3b", "phase6", "views", "finetuning",
    "phase3a", "phase3a-heads", "published", "ranges", "labels",
    "phase1", "training_length", "seeds", "phase2", "phase4", "phase5", "leak",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_common_arguments(parser)
    parser.add_argument("--plan", action="store_true", help="print the phases, tasks and the time they take, no more")


def main(options: argparse.Namespace) -> int:
    """Measure the missing tasks of every phase, then build tables, figures and page.

    The exit status is 1 after a failure or skill on shuffled targets; the other phases still run.
    """
    try:
        problems = problems_of(options)
        plan = _plan(problems, options)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    results = Results(options.out)
    clock = Clock((task for tasks in plan.values() for task in tasks), results, options.jobs)
    status = 0
    for i, (phase, tasks) in enumerate(plan.items(), 1):
        _print_state(f"[{i}/{len(plan)}] {_name(phase)}", tasks, clock)
        if options.plan:
            continue
        try:
            status = max(status, measure_phase(phase, tasks, problems, results, options, clock))
        except (FileNotFoundError, ValueError) as error:
            print(f"error: {phase}: {error}", file=sys.stderr)
            status = 1
    print(f"time left: {duration(clock.left())} with {options.jobs} processes")
    if not options.plan:
        report.build(options.out, options.out / "report")
        print(options.out / "report" / "index.html")
    return status


def _plan(problems: Problems, options: argparse.Namespace) -> dict[str, list[Task]]:
    """Return the tasks of each phase; print and omit phases that cannot run.

    Raises ValueError if no phase remains.
    """
    overview = Overview(problems.x_bank, problems.y_bank, problems.datasets, problems.registry)
    plan = {}
    for phase in ORDER:
        try:
            tasks = list(PHASES[phase](overview))
            present = {task.method for task in tasks}
            plan[phase] = chosen(tasks, [name for name in options.methods if name in present] or options.methods)
        except ValueError as error:
            print(f"left out: {_name(phase)}: {error}")
    if not plan:
        raise ValueError("nothing to do: no phase suits these datasets and methods.")
    return plan


def _name(phase: str) -> str:
    return f"{NAMES[phase]} ({phase})" if phase in NAMES else phase


def _print_state(title: str, tasks: list[Task], clock: Clock) -> None:
    missing = clock.missing(tasks)
    print(f"{title}: {len(missing):,} of {len(tasks):,} tasks to measure", end="", flush=True)
    if missing:
        encoders = clock.to_train(missing)
        trained = f", with the training of {counted(len(encoders), 'encoder')}" if encoders else ""
        print(f", {duration(clock.left(missing))}{trained}; {duration(clock.left())} in all", end="")
    print(flush=True)


class Overview(Problems):
    """Problems without spectra, read once, to list the tasks."""

    def __iter__(self) -> Iterator[Calibration]:
        yield from _without_spectra(self)


@lru_cache(maxsize=1)
def _without_spectra(problems: Overview) -> list[Calibration]:
    return [
        dataclasses.replace(problem, X=problem.X[:, :0]) for name in problems.names for problem in problems.of(name)
    ]
