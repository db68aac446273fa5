"""Results as one file."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.records import pack, unpack
from benchmarks.tables import RESULTS
from benchmarks.tasks import Results, Task

_COMPARED = ("phase1", "phase2", "phase4", "phase5", "training_length", "seeds")
#: Tables that ``report`` makes from the committed records.
_FROM_RECORDS = (
    *_COMPARED,
    *(f"{name}_targets" for name in _COMPARED),
    "leak",
    "robustness",
    "robustness_curves",
    "splits",
)


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    results = Results(tmp_path / "a")
    tasks = [Task("calibration", "corn", "oil", "pls", seed=seed) for seed in range(3)]
    for task in tasks[:2]:
        results.write(task, {"status": "done", "result": {"rmsep": 0.25 + task.seed}, "seconds": 1.5})
    results.write(tasks[2], {"status": "failed", "reason": "broken"})
    results.require_same_data({"corn": "abc"})
    results.note_phase("baselines", tasks)
    return tmp_path / "a"


def test_packed_and_unpacked_results_are_the_same(measured: Path, tmp_path: Path) -> None:
    assert pack(measured, tmp_path / "all.jsonl.gz") == 3
    first = (tmp_path / "all.jsonl.gz").read_bytes()
    assert unpack(tmp_path / "all.jsonl.gz", tmp_path / "b") == 3
    before, after = Results(measured), Results(tmp_path / "b")
    assert list(after) == list(before)
    assert after.noted() == before.noted()
    assert after.fingerprints() == {"corn": "abc"}
    assert unpack(tmp_path / "all.jsonl.gz", tmp_path / "b") == 1  # the failed one is written again
    pack(tmp_path / "b", tmp_path / "again.jsonl.gz")
    assert (tmp_path / "again.jsonl.gz").read_bytes() == first


def test_several_files_make_one_folder(measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = Task("robustness", "corn", "oil", "pls")
    Results(tmp_path / "b").write(other, {"status": "done", "result": {}})
    files = [str(tmp_path / f"{name}.jsonl.gz") for name in "ab"]
    for name, file in zip("ab", files, strict=True):
        pack(tmp_path / name, Path(file))
    assert main(["records", "unpack", *files, "--out", str(tmp_path / "c")]) == 0
    assert "4 results added" in capsys.readouterr().out
    assert {record["task"]["experiment"] for record in Results(tmp_path / "c")} == {"calibration", "robustness"}
    assert main(["records", "pack", *files, "--out", str(measured)]) == 2
    assert "pack writes one file" in capsys.readouterr().err


@pytest.mark.exhaustive
def test_the_committed_tables_are_those_of_the_committed_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in sorted((RESULTS / "records").iterdir()):
        unpack(file, tmp_path)
    monkeypatch.setattr("benchmarks.drawing.draw", lambda _: None)
    monkeypatch.setattr("benchmarks.page.write", lambda _: None)
    report.build(tmp_path, tmp_path / "report")
    for name in _FROM_RECORDS:
        assert (tmp_path / "report" / f"{name}.csv").read_text() == (RESULTS / f"{name}.csv").read_text(), name


def test_a_folder_keeps_what_it_has(measured: Path, tmp_path: Path) -> None:
    pack(measured, tmp_path / "all.jsonl.gz")
    own = Results(tmp_path / "b")
    task = Task("calibration", "corn", "oil", "pls", seed=0)
    own.write(task, {"status": "done", "result": {"rmsep": 9.0}})
    own.note_phase("final", [task])
    unpack(tmp_path / "all.jsonl.gz", tmp_path / "b")
    values = {record["task"]["seed"]: record.get("result") for record in own}
    assert values[0] == {"rmsep": 9.0}
    assert values[1] == {"rmsep": 1.25}
    assert set(own.noted()) == {"baselines", "final"}


def test_what_cannot_be_read_is_refused(measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "all.jsonl.gz"
    assert main(["records", "pack", str(file), "--out", str(measured)]) == 0
    assert "3 results" in capsys.readouterr().out
    for content in (b"", b"text", file.read_bytes()[:60]):
        (tmp_path / "bad.jsonl.gz").write_bytes(content)
        assert main(["records", "unpack", str(tmp_path / "bad.jsonl.gz"), "--out", str(tmp_path / "c")]) == 2
        assert "damaged" in capsys.readouterr().err
    assert main(["records", "pack", str(file), "--out", str(tmp_path / "none")]) == 2
    assert "no results" in capsys.readouterr().err
    Results(tmp_path / "d").require_same_data({"corn": "xyz"})
    with pytest.raises(ValueError, match="other data of corn"):
        unpack(file, tmp_path / "d")
