"""Running, stopping and going on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from benchmarks import runner
from benchmarks.__main__ import COMMANDS, main
from benchmarks.phases import NAMES, PHASES
from benchmarks.tasks import Results, Task

ROOT = Path(__file__).resolve().parents[2]

#: Two synthetic sets, methods that take no time.
_SMALL = ["--datasets", "synthetic-0", "synthetic-1", "--methods", "mean", "pls", "ridge@untrained"]


def _files(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "tasks").glob("[0-9a-f]*.json")}


def test_a_phase_runs_without_a_bank_and_does_only_what_is_missing(tmp_path: Path) -> None:
    command = ["run", "phase0", *_SMALL, "--jobs", "1", "--out", str(tmp_path)]
    assert main(command) == 0
    first = _files(tmp_path)
    assert len(first) == 2 * 2 * 3 * 3
    (tmp_path / "tasks" / sorted(first)[3]).unlink()
    assert main(command) == 0
    second = _files(tmp_path)
    assert set(second) == set(first)
    assert sum(second[name] != first[name] for name in first) == 1
    table = Results(tmp_path).table("calibration")
    skill = table.groupby("method")["rmsep"].mean()
    assert skill["pls"] < 0.9 * skill["mean"]
    assert (table.loc[table["method"] == "ridge@untrained", "encode_seconds"] > 0).all()
    assert (table["fit_seconds"] >= 0).all()


def test_one_method_that_fails_or_cannot_run_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.delenv("TABPFN_REGRESSOR", raising=False)

    broken = Mock(side_effect=ArithmeticError("no"))
    monkeypatch.setattr("benchmarks.methods.ridge.Ridge.fit", broken)
    methods = ["--methods", "mean", "pca-tabpfn", "best-ridge"]
    assert main(["run", "phase0", "--datasets", "synthetic-0", *methods, "--jobs", "1", "--out", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "failed (6 tasks): best-ridge: ArithmeticError: no" in printed
    assert "not run (6 tasks): pca-tabpfn" in printed
    status = Results(tmp_path).table("calibration").groupby("method")["status"].first()
    assert status.to_dict() == {"mean": "done", "pca-tabpfn": "unavailable", "best-ridge": "failed"}


def test_phases_have_names_beside_their_numbers(capsys: pytest.CaptureFixture) -> None:
    assert all(PHASES[name] is PHASES[number] for number, name in NAMES.items())
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert "baselines (phase0)" in capsys.readouterr().out


def test_the_list_of_commands_loads_no_command() -> None:
    script = (
        "import sys; from benchmarks.__main__ import main\n"
        "try: main(['--help'])\n"
        "finally: print(set(sys.modules) & {'torch', 'numpy'})"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in COMMANDS)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.exhaustive
def test_killed_and_started_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "run", "phase0", *_SMALL, "--jobs", "2", "--out", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "tasks").glob("[0-9a-f]*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = _files(tmp_path)
    assert len(before) >= 3
    results = Results(tmp_path)
    assert all(record["status"] == "done" for record in results)
    assert main(["run", "phase0", *_SMALL, "--jobs", "1", "--out", str(tmp_path)]) == 0
    after = _files(tmp_path)
    assert len(after) == 36
    assert all(after[name] == written for name, written in before.items())


def test_dask_gives_the_same_numbers(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    command = ["run", "phase0", "--datasets", "synthetic-0", "--methods", "mean", "pls", "--jobs", "1"]
    assert main([*command, "--out", str(tmp_path / "a")]) == 0
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1) as cluster:
        assert main([*command, "--scheduler", cluster.scheduler_address, "--out", str(tmp_path / "b")]) == 0
    one, two = (
        Results(tmp_path / name).table("calibration").sort_values(["target", "method", "seed"]) for name in "ab"
    )
    assert one["rmsep"].tolist() == two["rmsep"].tolist()


def test_threads_are_bounded_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from threadpoolctl import threadpool_info

    seen = []

    def look(*_: object) -> dict[str, object]:
        seen.append((torch.get_num_threads(), max(pool["num_threads"] for pool in threadpool_info())))
        return {"status": "done"}

    monkeypatch.setattr(runner, "_measure", look)
    before = torch.get_num_threads()
    runner._run_unit([object()], None, Mock(), 1)
    assert seen == [(1, 1)]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "phase0", "--datasets", "nothing"], "no dataset nothing"),
        (["run", "phase3a"], "--x-bank"),
        (["run", "phase0", "--x-bank", "nowhere"], "no folder"),
        (["run", "phase0", "--y-bank", "nowhere"], "--y-bank needs --x-bank"),
        (["run", "phase0", "--x-bank", ".", "--y-bank", ".", "--registry", "."], "give one of them"),
        (["run", "phase0", "--datasets", "synthetic-0", "--methods", "plss"], "no method plss in this phase; it has"),
        (["run", "phase0", "--datasets", "synthetic-0", "--jobs", "0"], "at least one process"),
        (["run", "transfer", "--datasets", "synthetic-0"], "transfer needs a bank"),
        (["report", "--out", "nowhere"], "no results in nowhere"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_results_of_other_data_are_not_mixed_in(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.require_same_data({"corn": "a", "milk": "b"})
    results.require_same_data({"corn": "a", "soil": "c"})
    with pytest.raises(ValueError, match=r"other data of milk; use another --out"):
        results.require_same_data({"corn": "a", "milk": "changed"})


def test_results_of_another_protocol_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, task = Results(tmp_path), Task("calibration", "d", "y", "pls")
    results.write(task, {"status": "done", "result": {"rmsep": 1.0}})
    assert len(list(results)) == 1
    monkeypatch.setattr("benchmarks.tasks.PROTOCOL", -1)
    assert list(results) == []
    assert not results.done(task)
