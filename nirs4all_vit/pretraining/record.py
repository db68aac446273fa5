"""Folder of a run: saved state, metrics, and checks against overwriting another run."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ..files import atomic_path

#: File with the state of a run.
FILE = "state.pt"
#: Files that a run writes.
_RUN_FILES = (FILE, "config.json", "last.safetensors", "best.safetensors", "metrics.jsonl")


class MetricsLog:
    """Appends rows to ``metrics.jsonl`` in the folder of a run.

    The run continues after `step`; later rows, left by a killed run, are removed.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        self.path = folder / "metrics.jsonl"
        rows = [row for row in read_metrics(self.path) if row["step"] <= step] if step else []
        self.path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 - open as long as the run
        self._board = _tensorboard(folder)

    def write(self, row: dict[str, Any]) -> None:
        """Append a row, which must have the key ``step``."""
        self._file.write(json.dumps(row) + "\n")
        if self._board is not None:
            for name, value in row.items():
                if isinstance(value, float):
                    self._board.add_scalar(name, value, row["step"])

    def flush(self) -> None:
        """Flush buffered rows to the file."""
        self._file.flush()

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a ``metrics.jsonl``, up to the first incomplete line."""
    rows = []
    if path.exists():
        for line in path.read_text("utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return rows


def plot_losses(folder: Path) -> Path | None:
    """Plot the losses of a run into ``loss.png``; return None if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return None
    import numpy as np
    from matplotlib.figure import Figure

    rows = read_metrics(folder / "metrics.jsonl")
    training = [row for row in rows if "loss" in row]
    # Do not use pyplot: its backend belongs to the user.
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    losses = sorted({key for row in training for key in row if key == "loss" or key.startswith("loss/")})
    for name in losses:
        steps, values = zip(*((row["step"], row[name]) for row in training if name in row), strict=True)
        window = max(1, len(values) // 50)
        smooth = np.convolve(values, np.ones(window) / window, mode="valid")
        axes.plot(steps[window - 1 :], smooth, label=name.removeprefix("loss/"), lw=1)
    scored = [row for row in rows if "validation" in row]
    axes.plot(
        [row["step"] for row in scored], [row["validation"] for row in scored], "ko-", ms=3, lw=1, label="validation"
    )
    axes.set(xlabel="step", ylabel="loss (moving average)")
    axes.legend(fontsize=8)
    path = folder / "loss.png"
    figure.savefig(path, dpi=110)
    return path


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the state atomically: if the process is killed, the previous state remains.

    Raises OSError if the disk is full or the folder is not writable; the previous state is intact.
    """
    try:
        with atomic_path(folder / FILE) as target:
            torch.save(state, target)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        raise OSError(
            f"the state of the run cannot be written to {folder}: {error}. The last state there is intact; "
            "free disk space and start again with resume=auto."
        ) from error


def load_state(folder: Path) -> dict[str, Any] | None:
    """Return the state in a folder, or None if there is none.

    Raises ValueError if the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        # torch does not verify the checksums that it writes.
        with zipfile.ZipFile(path) as archive:
            altered = archive.testzip()
        if altered is not None:
            raise zipfile.BadZipFile(f"wrong checksum of {altered}")
        # weights_only: the file cannot execute code.
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path} is damaged ({error}); start again in another folder.") from error


def require_own(out: Path, resume: str, state: dict[str, Any] | None, identity: dict[str, Any]) -> None:
    """Raise FileExistsError if a folder contains files that this run must not overwrite.

    With ``resume="never"`` these are all files that a run writes. Otherwise they are the files of a
    finished run or of a different run, whose ``config.json`` has another value for a key of
    `identity`. Files of the same run, ended before its first saved state, are overwritten.
    """
    there = [name for name in _RUN_FILES if (out / name).exists()]
    if resume == "never" and there:
        raise FileExistsError(f"{out} contains a run ({there[0]}); resume it with resume=auto, or name another folder.")
    if state is not None or not there:
        return
    if "last.safetensors" in there:
        raise FileExistsError(f"{out} contains last.safetensors but no {FILE} to resume from; name another folder.")
    try:
        begun = json.loads((out / "config.json").read_text("utf-8"))
        same = all(begun[key] == value for key, value in json.loads(json.dumps(identity)).items())
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise FileExistsError(f"{out} contains {there[0]} of another run; name another folder.")


def check_same_run(
    out: Path, state: dict[str, Any], recipe: dict[str, Any], origin: dict[str, Any], world_size: int
) -> None:
    """Raise ValueError if a saved state has another recipe, bank or number of processes."""
    before, recipe = json.loads(state["recipe"]), json.loads(json.dumps(recipe))
    differing = [
        f"{name} ({_get(before, name)!r}, now {_get(recipe, name)!r})"
        for name in sorted({*_keys(before), *_keys(recipe)})
        if _get(before, name) != _get(recipe, name)
    ]
    if differing:
        raise ValueError(
            f"the run in {out} was started with another recipe: {'; '.join(differing)}. Use the same recipe, or "
            "another run.out."
        )
    if state["origin"]["bank_hash"] != origin["bank_hash"]:
        raise ValueError(f"the run in {out} was started with other spectra; use the same bank, or another run.out.")
    if state["origin"].get("baselines_hash") != origin.get("baselines_hash"):
        raise ValueError(
            f"the run in {out} was started with other AsLS baselines, or without; use the same data.asls, or "
            "another run.out."
        )
    if len(state["penalties"]) != world_size:
        raise ValueError(
            f"the run in {out} was started with {len(state['penalties'])} processes, not {world_size}; use the "
            "same number of processes, or another run.out."
        )


def _keys(settings: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def _get(settings: Any, name: str) -> Any:
    for key in name.split("."):
        settings = settings.get(key) if isinstance(settings, dict) else None
    return settings
