"""The record of a run: JSON lines always, TensorBoard where it is installed, a plot at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class MetricsLog:
    """Append rows to ``metrics.jsonl``.

    Parameters
    ----------
    folder : path
        Of the run.
    step : int
        Step that the run goes on from; later rows, which a killed run left, are dropped.
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
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    rows = read_metrics(folder / "metrics.jsonl")
    training = [row for row in rows if "loss" in row]
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
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
    plt.close(figure)
    return path


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
