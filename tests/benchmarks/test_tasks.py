"""Tasks, their names and their results."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.tasks import Results, Task


def test_the_key_is_the_specification() -> None:
    one = Task("calibration", "corn", "oil", "pls", options={"a": 1, "b": 2})
    assert one.key == Task("calibration", "corn", "oil", "pls", options={"b": 2, "a": 1}).key
    others = [
        Task("calibration", "corn", "oil", "pls"),
        Task("calibration", "corn", "oil", "pls", seed=1, options={"a": 1, "b": 2}),
        Task("calibration", "corn", "oil", "pls", n_train=None, options={"a": 1, "b": 2}),
    ]
    assert len({one.key, *(t.key for t in others)}) == 4
    # A change of this value makes every result on disk stale: raise PROTOCOL when that is meant.
    assert Task("calibration", "corn", "oil", "pls").key == "c06d2d3bdb30c392ee29"


def test_results_are_found_again_and_failures_are_not(tmp_path: Path) -> None:
    results, task = Results(tmp_path), Task("calibration", "corn", "oil", "pls", options={"weights": "abc"})
    assert not results.done(task)
    results.write(task, {"status": "failed", "reason": "no"})
    assert not results.done(task)
    results.write(task, {"status": "done", "result": {"rmsep": 0.5}})
    assert results.done(task)
    (row,) = results.table("calibration").to_dict("records")
    assert (row["rmsep"], row["weights"], row["status"]) == (0.5, "abc", "done")
    assert json.loads((results.folder / f"{task.key}.json").read_text())["task"]["target"] == "oil"


def test_half_a_result_counts_as_none(tmp_path: Path) -> None:
    results, task = Results(tmp_path), Task("calibration", "corn", "oil", "pls")
    (results.folder / f"{task.key}.json").write_text('{"task": {')
    assert not results.done(task)
    assert results.table("calibration").empty


def test_a_phase_has_the_tasks_of_all_its_runs(tmp_path: Path) -> None:
    results = Results(tmp_path)
    methods = ("pls", "ridge@bundled", "ridge@local-contrast+seed1~3:mean", "gp@local-contrast+seed1~3")
    tasks = [Task("calibration", dataset, "y", method) for dataset in ("a", "b") for method in methods]
    for task in tasks:
        results.write(task, {"status": "done", "result": {}, "seconds": 2.0})
    for method in methods:
        results.note_phase("baselines", [task for task in tasks if task.method == method])
    (row,) = results.phases().to_dict("records")
    sizes = {"tasks": 8, "datasets": 2, "targets": 2, "splits": 1}
    assert row == {"phase": "baselines", **sizes, "encoders": "local-contrast+seed1~3", "seconds": 16.0}
