"""The folder of a run, which belongs to one run: the state that it is resumed from, and the record of its metrics."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ..files import atomic_path

#: The state of a run.
FILE = "state.pt"
#: What runs write.
_WRITTEN = (FILE, "config.json", "last.safetensors", "best.safetensors", "metrics.jsonl")


class MetricsLog:
    """Append rows to ``metrics.jsonl`` in the folder of a run.

    The run goes on from `step`; later rows, which a killed run left, are dropped.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        self.path = folder / "metrics.jsonl"
        rows = [row for row in read_metrics(self.path) if row["step"] <= step] if step else []
        self.path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 - open as long as the run
        self._board = _tensorboard(folder)

    def write(self, row: dict[str, Any]) -> None:
        """Append a row; it has a ``step``."""
        self._file.write(json.dumps(row) + "\n")
        if self._board is not None:
            for name, value in row.items():
                if isinstance(value, float):
                    self._board.add_scalar(name, value, row["step"])

    def flush(self) -> None:
        """Bring what was written to the disk."""
        self._file.flush()

    def close(self) -> None:
        """End the record."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a ``metrics.jsonl``; a last line that was cut is left out."""
    rows = []
    if path.exists():
        for line in path.read_text("utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return rows


def plot_losses(folder: Path) -> Path | None:
    """Draw the losses of a run into ``loss.png``; None where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return None
    import numpy as np
    from matplotlib.figure import Figure

    rows = read_metrics(folder / "metrics.jsonl")
    training = [row for row in rows if "loss" in row]
    # Not by pyplot, whose backend is the user's.
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
    """Write the state in one step; a process killed meanwhile leaves the one before.

    An OSError says that the disk is full or the folder cannot be written; the state before is intact.
    """
    try:
        with atomic_path(folder / FILE) as target:
            torch.save(state, target)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        raise OSError(
            f"the state of the run cannot be written to {folder}: {error}. The last one there is intact; "
            "make room and start again with resume auto."
        ) from error


def load_state(folder: Path) -> dict[str, Any] | None:
    """Return the state in a folder; None where there is none. A ValueError says that the file is not a state."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        # torch does not compare the checksums that it writes.
        with zipfile.ZipFile(path) as archive:
            altered = archive.testzip()
        if altered is not None:
            raise zipfile.BadZipFile(f"the checksum of {altered} does not hold")
        # Tensors and plain types only: nothing in the file can run.
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path} is damaged ({error}); begin again in another folder.") from error


def require_own(out: Path, resume: str, state: dict[str, Any] | None, identity: dict[str, Any]) -> None:
    """Raise FileExistsError where a folder holds anything that this run would write over and may not.

    That is, with ``resume="never"``, whatever a run writes; else what a finished run left, or another run: one whose
    ``config.json`` has another value of a key of `identity`. What remains of the same run, ended before its first state, is
    written anew.
    """
    there = [name for name in _WRITTEN if (out / name).exists()]
    if resume == "never" and there:
        raise FileExistsError(f"{out} holds a run ({there[0]}); go on with resume auto, or name another folder.")
    if state is not None or not there:
        return
    if "last.safetensors" in there:
        raise FileExistsError(
            f"{out} holds last.safetensors and no {FILE} to go on from: it would be overwritten; name another folder."
        )
    try:
        begun = json.loads((out / "config.json").read_text("utf-8"))
        same = all(begun[key] == value for key, value in json.loads(json.dumps(identity)).items())
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise FileExistsError(f"{out} holds {there[0]} of another run; name another folder.")


def check_same_run(
    out: Path, state: dict[str, Any], recipe: dict[str, Any], origin: dict[str, Any], world_size: int
) -> None:
    """Raise ValueError unless a saved state is of this recipe, bank and number of processes."""
    before, recipe = json.loads(state["recipe"]), json.loads(json.dumps(recipe))
    differing = [
        f"{name} ({_get(before, name)!r}, now {_get(recipe, name)!r})"
        for name in sorted({*_keys(before), *_keys(recipe)})
        if _get(before, name) != _get(recipe, name)
    ]
    if differing:
        raise ValueError(
            f"the run in {out} was begun with another recipe: {'; '.join(differing)}. Give the same, or another run.out."
        )
    if state["origin"]["bank_hash"] != origin["bank_hash"]:
        raise ValueError(f"the run in {out} was begun with other spectra; give the same bank, or another run.out.")
    if state["origin"].get("baselines_hash") != origin.get("baselines_hash"):
        raise ValueError(
            f"the run in {out} was begun with other AsLS baselines, or without; give the same data.asls, or another run.out."
        )
    if len(state["penalties"]) != world_size:
        raise ValueError(
            f"the run in {out} was begun with {len(state['penalties'])} processes, not {world_size}; start as many."
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
