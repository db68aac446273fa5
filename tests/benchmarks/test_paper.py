"""All phases by one command, and the time that is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from benchmarks import paper, phases
from benchmarks.__main__ import main
from benchmarks.calibrations import bank_families
from benchmarks.clock import Clock, duration, expected_seconds, training_seconds
from benchmarks.encoders import fold_families
from benchmarks.methods.registry import parse_method, trained_encoders
from benchmarks.phases import NAMES, PHASES
from benchmarks.problems import Problems
from benchmarks.tasks import Results, Task


def _files(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "tasks").glob("[0-9a-f]*.json")}


def test_every_phase_has_its_place() -> None:
    assert sorted(paper.ORDER) == sorted(set(PHASES) - set(NAMES.values()))
    assert paper.ORDER[-1] == "leak"


@pytest.fixture(scope="module")
def overview(x_bank: Path) -> paper.Overview:
    """The bank, read once."""
    return paper.Overview(x_bank, None, None, None)


@pytest.mark.xbank
def test_encoders_are_scored_on_families_left_out(x_bank: Path, overview: paper.Overview) -> None:
    folds = fold_families(bank_families(x_bank))
    family = {problem.dataset: problem.family for problem in overview}
    trained: dict[str, set[str]] = {}
    for phase in paper.ORDER:
        for task in PHASES[phase](overview):
            encoder, _, fold = (parse_method(task.method)[1] or "").partition("~")
            if fold:
                assert family[task.dataset] in folds[int(fold)], (phase, task)
                trained.setdefault(phase, set()).add(encoder)
    assert trained["phase1"] == {"ablation-mae", "ablation-episodic"}
    assert trained["robustness"] == {"ablation-mae", "ablation-augmentation", "ablation-baseline"}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three phases on one split, one of which needs a bank."""
    monkeypatch.setitem(phases._calibrations.__kwdefaults__, "seeds", (0,))
    monkeypatch.setattr(paper, "ORDER", ("phase0", "splits", "phase3a"))


_COMMAND = ["paper", "--datasets", "synthetic-0", "--methods", "mean", "best-pls", "pls", "--jobs", "1"]


@pytest.mark.usefixtures("quick")
def test_what_is_missing_is_measured_and_the_report_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    command = [*_COMMAND, "--out", str(tmp_path)]
    assert main([*command, "--plan"]) == 0
    assert not _files(tmp_path)
    printed = capsys.readouterr().out
    assert "left out: strict_transfer (phase3a): encoders are trained on a bank" in printed
    assert "[1/2] baselines (phase0): " in printed

    assert main(command) == 0
    first = _files(tmp_path)
    capsys.readouterr()
    page = (tmp_path / "report/index.html").read_text("utf-8")
    assert "Embedding and standard pipelines" in page
    assert f"{_count(tmp_path, 'baselines')} tasks on 2 targets of 1 dataset," in page

    (tmp_path / "tasks" / sorted(first)[0]).unlink()
    monkeypatch.setattr("benchmarks.drawing.draw", Mock())  # the same figures once more
    assert main(command) == 0
    second = _files(tmp_path)
    assert set(second) == set(first)
    assert sum(second[name] != first[name] for name in first) == 1
    printed = capsys.readouterr().out
    assert ": 1 of " in printed
    assert "time left: less than a minute" in printed


def _count(out: Path, phase: str) -> int:
    table = Results(out).phases().set_index("phase")
    return int(table.loc[phase, "tasks"])


@pytest.mark.usefixtures("quick")
def test_a_phase_that_fails_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    measured = []

    def measure(phase: str, *_: object) -> int:
        measured.append(phase)
        if phase == "phase0":
            raise ValueError("no encoder")
        return 0

    monkeypatch.setattr(paper, "measure_phase", measure)
    assert main([*_COMMAND, "--out", str(tmp_path)]) == 1
    assert measured == ["phase0", "splits"]
    assert "error: phase0: no encoder" in capsys.readouterr().err


def test_nothing_to_do_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["paper", "--datasets", "synthetic-0", "--methods", "no-method", "--out", str(tmp_path)]) == 2
    assert "nothing to do" in capsys.readouterr().err


def test_the_overview_lists_the_tasks_of_the_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("synthetic-0", "synthetic-1")
    for phase in ("small", "phase3b", "leak"):
        assert list(PHASES[phase](paper.Overview(datasets=names))) == list(PHASES[phase](Problems(datasets=names)))
    overview = paper.Overview(datasets=names)
    list(overview)

    def read(*_: object) -> Iterator[None]:
        raise AssertionError("read twice")

    monkeypatch.setattr(Problems, "of", read)
    assert all(problem.X.size == 0 for problem in overview)


def test_the_clock_counts_by_what_was_measured(tmp_path: Path) -> None:
    results = Results(tmp_path)
    tasks = [Task("calibration", "d", f"y{i}", method) for i in range(5) for method in ("pls", "gp")]
    for task in tasks[:2]:
        results.write(task, {"status": "done", "result": {}, "seconds": 10.0 if task.method == "pls" else 40.0})
    # A task of two phases is measured once, and weights that are not there yet make no other task of it.
    hashed = Task("calibration", "d", "y0", "pls", options={"weights": "a"})
    clock = Clock([*tasks, *tasks, hashed], results, jobs=2)
    assert len(clock.missing(tasks)) == 8
    assert clock.left() == pytest.approx((4 * 10 + 4 * 40) / 2)
    assert clock.left(clock.missing(tasks[2:4])) == pytest.approx((10 + 40) / 2)
    clock.count([(tasks[2], 30.0)])
    assert clock.left() == pytest.approx((3 * 20 + 4 * 40) / 2)


def test_the_clock_counts_training(tmp_path: Path) -> None:
    tasks = [Task("calibration", "d", f"y{i}", f"ridge@ablation-mae~{k}") for i in range(2) for k in range(3)]
    clock = Clock(tasks, Results(tmp_path), jobs=2)
    scoring = 6 * expected_seconds(("calibration", "ridge@ablation-mae~0"))
    one = training_seconds("ablation-mae~0")
    assert 60 < one < 7200
    assert clock.left() == pytest.approx((3 * one + scoring) / 2)
    folder = tmp_path / "encoders/ablation-mae~1"
    folder.mkdir(parents=True)
    (folder / "last.safetensors").touch()  # interrupted
    assert len(clock.to_train(clock.missing(tasks))) == 3
    (folder / "done").touch()
    assert clock.to_train(clock.missing(tasks)) == {"ablation-mae~0", "ablation-mae~2"}
    assert clock.left() == pytest.approx((2 * one + scoring) / 2)
    assert training_seconds("ablation-mae+600k~0") == pytest.approx(one * 600_000 / 204_800, rel=1e-3)


@pytest.mark.xbank
def test_the_time_of_every_recipe_is_in_the_table(overview: paper.Overview) -> None:
    tasks = (task for phase in paper.ORDER for task in PHASES[phase](overview))
    assert all(training_seconds(name) > 0 for name in trained_encoders(task.method for task in tasks))


def test_before_anything_is_measured_the_table_of_costs_counts(tmp_path: Path) -> None:
    clock = Clock([Task("calibration", "d", "y", "aom-ridge")] * 2, Results(tmp_path), jobs=1)
    assert clock.left() == pytest.approx(expected_seconds(("calibration", "aom-ridge")))
    assert 1 < clock.left() < 60
    assert expected_seconds(("intervals", "committee@other")) > 10 * expected_seconds(
        ("calibration", "committee@other")
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(20, "less than a minute"), (95, "2 min"), (3600, "1 h"), (12000, "3 h 20 min"), (187200, "2 days 4 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
