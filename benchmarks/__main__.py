"""The command line of the benchmark: ``python -m benchmarks COMMAND``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

#: By name: the module, which is imported when its command is asked for, and what the command does. A module has
#: `add_arguments(parser)` and `main(options)`, which returns the exit status.
COMMANDS = {
    "run": ("runner", "measure a phase; what is there already is not measured again"),
    "paper": ("paper", "measure all phases, what is missing of them, and build the report"),
    "report": ("report", "build every table and figure of what was measured, or the tables of the README"),
    "speed": ("speed", "time the embedding, other transforms beside it, memory and start-up; or pretraining"),
    "novelty": ("novelty", "measure how well faults are told from spectra like the calibration set"),
    "bank": ("bank", "compare embedding + RidgeCV with PCA + RidgeCV on every regression target of a bank"),
    "data": ("data", "measure what the data layer costs and how useful the synthetic spectra are"),
    "reproduce": ("reproduce", "train the bundled checkpoint again and compare the weights"),
    "demo": ("demo", "run SpectralEmbedder + Ridge beside PLS and Ridge through nirs4all"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Benchmark of spectral embeddings.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    page = None
    for name, (module, about) in COMMANDS.items():
        command = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        if name in arguments[:1]:
            page = import_module(f".{module}", __package__)
            page.add_arguments(command)
    options = parser.parse_args(arguments)
    return page.main(options)


if __name__ == "__main__":
    sys.exit(main())
