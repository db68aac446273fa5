"""The state of a run on disk: everything that a resumed run needs to equal a straight one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..files import atomic_path

FILE = "state.pt"


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the state in one step; a process killed meanwhile leaves the one before.

    Raises
    ------
    OSError
        The disk is full or the folder cannot be written; the state before is intact.
    """
    try:
        with atomic_path(folder / FILE) as target:
            torch.save(state, target)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        raise OSError(
            f"the state of the run cannot be written to {folder}: {error}. The last one there is intact; "
            "make room and start again with --run.resume auto."
        ) from error


def load_state(folder: Path) -> dict[str, Any] | None:
    """Return the state in a folder; None where there is none.

    Raises
    ------
    ValueError
        A file that is not a state.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        # Tensors and plain types only: nothing in the file can run.
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path} is damaged ({error}); remove it to start anew.") from error
