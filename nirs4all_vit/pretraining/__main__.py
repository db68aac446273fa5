"""The command ``nirs4all-vit pretrain``; ``torchrun -m`` accepts this module.

Usage: ``nirs4all-vit pretrain --config RECIPE --data.x_bank DIR --run.out DIR``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from .data.bank import load_x_bank
from .recipes import parse_arguments


def main(arguments: Sequence[str] | None = None) -> int:
    """Pretrain an encoder from the command line; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        config = parse_arguments(arguments, prog="nirs4all-vit pretrain")
    except (FileNotFoundError, ValueError) as error:
        print(f"nirs4all-vit pretrain: {error}", file=sys.stderr)
        return 1
    from .distributed import keep_freed_memory
    from .loop import Pretraining

    keep_freed_memory()
    try:
        progress = sys.stderr.isatty()
        datasets: list[Any] = []
        if config.data.x_bank is not None:
            datasets = load_x_bank(config.data.x_bank, cache=config.data.cache, progress=progress)
        run = Pretraining(config, datasets)
        n_spectra, seconds = run.estimate()
        if run.processes.first:
            print(f"{n_spectra:,} spectra in {run.steps:,} steps: {_about(seconds)} on this machine", file=sys.stderr)
        path = run.run()
    except (TypeError, ValueError, OSError, FloatingPointError) as error:
        print(f"nirs4all-vit pretrain: {error}", file=sys.stderr)
        return 1
    if run.processes.first:
        print(f"wrote {path}")
    run.processes.leave()
    return 0


def _about(seconds: float) -> str:
    """Format a duration in days, hours, minutes or seconds."""
    for unit, size in (("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"about {seconds / size:.0f} {unit}"
    return f"about {seconds:.0f} seconds" if seconds >= 2.0 else "a second or two"


if __name__ == "__main__":
    sys.exit(main())
