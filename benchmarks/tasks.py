"""Tasks (measurements of the benchmark) and the storage of their results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from nirs4all_vit.files import atomic_path

from .methods.registry import trained_encoders

#: Version; increased when a change of the protocol makes older results incomparable.
PROTOCOL = 1


@dataclass(frozen=True)
class Task:
    """One method on one target and one split.

    Attributes
    ----------
    experiment : str
        Name in `EXPERIMENTS`, for example ``calibration``, ``robustness`` or ``transfer``.
    dataset, target, method : str
        Names of dataset, target and method.
    split : str
        ``random``, ``kennard_stone``, ``spxy`` or ``published`` (the seed is the fold).
    seed : int
        Seed of the split.
    n_train : int or None
        Largest number of calibration samples; None for all.
    permuted : bool
        Whether targets are shuffled (leak test).
    options : dict
        Further parameters of the experiment, as JSON types, including hashes of weights.
    """

    experiment: str
    dataset: str
    target: str
    method: str
    split: str = "random"
    seed: int = 0
    n_train: int | None = 200
    permuted: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Hash of the canonical specification, used as the file name of the result."""
        canonical = json.dumps({"protocol": PROTOCOL, **asdict(self)}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:20]


class Results:
    """Folder with one JSON file per task; created if necessary."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder) / "tasks"
        self.folder.mkdir(parents=True, exist_ok=True)

    def done(self, task: Task) -> bool:
        """Return whether a task was measured; failed and unavailable tasks are tried again."""
        path = self.folder / f"{task.key}.json"
        try:
            return json.loads(path.read_text("utf-8"))["status"] == "done"
        except (OSError, ValueError, KeyError):
            return False

    def write(self, task: Task, record: dict[str, Any]) -> None:
        """Write the result of a task atomically."""
        with atomic_path(self.folder / f"{task.key}.json") as path:
            path.write_text(json.dumps({"task": asdict(task), **record}, indent=1) + "\n", "utf-8")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self.folder.glob("[0-9a-f]*.json")):
            try:
                record = json.loads(path.read_text("utf-8"))
                current = Task(**record["task"]).key == path.stem
            except (ValueError, KeyError, TypeError):  # incomplete file: measured again
                continue
            # Skip results of older protocols, which have other file names.
            if current:
                yield record

    def require_same_data(self, fingerprints: dict[str, str]) -> None:
        """Record the fingerprints of the datasets.

        Raises ValueError if results in the folder were measured on other contents of a dataset.
        """
        path, noted = self._data_file, self.fingerprints()
        changed = sorted(name for name, value in fingerprints.items() if noted.get(name, value) != value)
        if changed:
            raise ValueError(
                f"the results in {path.parent} were measured on other data of {', '.join(changed)}; use another --out."
            )
        with atomic_path(path) as target:
            target.write_text(json.dumps({**noted, **fingerprints}, indent=1, sort_keys=True) + "\n", "utf-8")

    def fingerprints(self) -> dict[str, str]:
        """Return the fingerprints of the datasets on which results were measured."""
        return json.loads(self._data_file.read_text("utf-8")) if self._data_file.exists() else {}

    def phases(self) -> pd.DataFrame:
        """Return size and total seconds of each phase of `note_phase`, over all of its runs, one row per phase.

        `encoders` are the names of the encoders trained for the phase, separated by spaces.
        """
        records = {Task(**record["task"]).key: record for record in self}
        rows = []
        for phase, keys in self.noted().items():
            present = [records[key] for key in keys if key in records]
            tasks = [Task(**record["task"]) for record in present]
            rows.append({
                "phase": phase,
                "tasks": len(tasks),
                "datasets": len({task.dataset for task in tasks}),
                "targets": len({(task.dataset, task.target) for task in tasks}),
                "splits": len({(task.split, task.seed) for task in tasks}),
                "encoders": " ".join(sorted(trained_encoders(task.method for task in tasks))),
                "seconds": round(sum(record.get("seconds", 0.0) for record in present), 1),
            })  # fmt: skip
        return pd.DataFrame(rows)

    def note_phase(self, phase: str, tasks: Sequence[Task]) -> None:
        """Record which tasks belong to a phase, beside those of earlier runs."""
        self.note_keys(phase, [task.key for task in tasks])

    def note_keys(self, phase: str, keys: Iterable[str]) -> None:
        """Record the keys of tasks that belong to a phase, beside those of earlier runs."""
        noted = self.noted()
        noted[phase] = sorted({*keys, *noted.get(phase, ())})
        with atomic_path(self._phases_file) as target:
            target.write_text(json.dumps(noted, indent=1) + "\n", "utf-8")

    def noted(self) -> dict[str, list[str]]:
        """Return the keys of the tasks of each recorded phase."""
        return json.loads(self._phases_file.read_text("utf-8")) if self._phases_file.exists() else {}

    @property
    def _data_file(self) -> Path:
        return self.folder.parent / "data.json"

    @property
    def _phases_file(self) -> Path:
        return self.folder.parent / "phases.json"

    def table(self, experiment: str) -> pd.DataFrame:
        """Return one row per result of an experiment: specification and figures."""
        return self.tables().get(experiment, pd.DataFrame())

    def tables(self, tasks: Iterable[Task] | None = None) -> dict[str, pd.DataFrame]:
        """Return a table as that of `table` for each experiment; `tasks` selects results. Files are read once."""
        keys = None if tasks is None else {task.key for task in tasks}
        rows: dict[str, list[dict[str, Any]]] = {}
        for record in self:
            if keys is not None and Task(**record["task"]).key not in keys:
                continue
            spec = {**record["task"], **record["task"]["options"]}
            spec.pop("options")
            rows.setdefault(spec["experiment"], []).append(
                {**spec, "status": record["status"], "reason": record.get("reason", ""), **record.get("result", {})}
            )
        return {experiment: pd.DataFrame(of_experiment) for experiment, of_experiment in rows.items()}
