"""A task (one measurement of the benchmark) and the place of its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from nirs4all_vit.files import atomic_path

#: Raised when a change of the protocol makes older results incomparable.
PROTOCOL = 1


@dataclass(frozen=True)
class Task:
    """One method on one target and one split.

    Attributes
    ----------
    experiment : str
        What is measured: ``calibration``, ``robustness``, ``transfer``, ``pooled``.
    dataset, target, method : str
        Of what, with what.
    split : str
        ``random``, ``kennard_stone``, ``spxy`` or ``published`` (the seed is the fold).
    seed : int
        Of the split.
    n_train : int or None
        Calibration samples at most; all with None.
    permuted : bool
        Targets shuffled: the leak test, in which nothing may have skill.
    options : dict
        What else the experiment needs, as JSON types; hashes of weights stand here.
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
        """Hash of the canonical specification; the result's file name."""
        canonical = json.dumps({"protocol": PROTOCOL, **asdict(self)}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:20]


class Results:
    """A folder with one JSON per task; made where it is missing."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder) / "tasks"
        self.folder.mkdir(parents=True, exist_ok=True)

    def done(self, task: Task) -> bool:
        """Tell whether a task was measured; what failed or could not run is tried again."""
        path = self.folder / f"{task.key}.json"
        try:
            return json.loads(path.read_text("utf-8"))["status"] == "done"
        except (OSError, ValueError, KeyError):
            return False

    def write(self, task: Task, record: dict[str, Any]) -> None:
        """Write the result of a task, in one step."""
        with atomic_path(self.folder / f"{task.key}.json") as path:
            path.write_text(json.dumps({"task": asdict(task), **record}, indent=1) + "\n", "utf-8")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self.folder.glob("[0-9a-f]*.json")):
            try:
                record = json.loads(path.read_text("utf-8"))
                current = Task(**record["task"]).key == path.stem
            except (ValueError, KeyError, TypeError):  # a leftover of a full disk; it is measured again
                continue
            # What an older protocol measured has another name.
            if current:
                yield record

    def require_same_data(self, fingerprints: dict[str, str]) -> None:
        """Note what the results were measured on.

        A ValueError names a dataset that was other data when the results in this folder were measured.
        """
        path = self.folder.parent / "data.json"
        noted = json.loads(path.read_text("utf-8")) if path.exists() else {}
        changed = sorted(name for name, value in fingerprints.items() if noted.get(name, value) != value)
        if changed:
            raise ValueError(
                f"the results in {path.parent} were measured on other data of {', '.join(changed)}; use another --out."
            )
        with atomic_path(path) as target:
            target.write_text(json.dumps({**noted, **fingerprints}, indent=1, sort_keys=True) + "\n", "utf-8")

    def phases(self) -> pd.DataFrame:
        """Return what `note_phase` noted, a row per phase."""
        path = self.folder.parent / "phases.json"
        noted = json.loads(path.read_text("utf-8")) if path.exists() else {}
        return pd.DataFrame([{"phase": phase, **about} for phase, about in noted.items()])

    def note_phase(self, phase: str, tasks: Sequence[Task], seconds: float) -> None:
        """Note how much a phase measured and the seconds that its tasks took, for the page of results."""
        path = self.folder.parent / "phases.json"
        noted = json.loads(path.read_text("utf-8")) if path.exists() else {}
        noted[phase] = {
            "tasks": len(tasks),
            "datasets": len({task.dataset for task in tasks}),
            "targets": len({(task.dataset, task.target) for task in tasks}),
            "splits": len({(task.split, task.seed) for task in tasks}),
            "seconds": round(seconds, 1),
        }
        with atomic_path(path) as target:
            target.write_text(json.dumps(noted, indent=1) + "\n", "utf-8")

    def table(self, experiment: str, tasks: Iterable[Task] | None = None) -> pd.DataFrame:
        """Return a row per result of an experiment, or of some of its tasks, specification and figures side by side."""
        keys = None if tasks is None else {task.key for task in tasks}
        rows = []
        for record in self:
            if record["task"]["experiment"] != experiment:
                continue
            if keys is not None and Task(**record["task"]).key not in keys:
                continue
            spec = {**record["task"], **record["task"]["options"]}
            spec.pop("options")
            rows.append(
                {**spec, "status": record["status"], "reason": record.get("reason", ""), **record.get("result", {})}
            )
        return pd.DataFrame(rows)
