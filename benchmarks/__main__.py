"""Command line of the benchmark: ``python -m benchmarks COMMAND``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

#: Module and description of each command. The module is imported when its command is called. It
#: provides `add_arguments(parser)` and `main(options)`, which returns the exit status.
COMMANDS = {
    "run": ("runner", "measure a phase; finished tasks are skipped"),
    "paper": ("paper", "measure the missing tasks of all phases and build the report"),
    "report": (
        "report",
        "write all tables and figures of the results, or the figures that README and documentation quote",
    ),
    "records": ("records", "pack the results of tasks into one file, or add those of a file to a folder"),
    "speed": ("speed", "time the embedding, other transforms, memory and start-up; or pretraining"),
    "novelty": ("novelty", "measure the detection of faulty spectra"),
    "bank": ("bank", "compare embedding + RidgeCV with PCA + RidgeCV on every regression target of a bank"),
    "data": ("data", "measure the costs of the data layer and the realism of the synthetic spectra"),
    "reproduce": ("reproduce", "train the bundled checkpoint again and compare the weights"),
    "demo": ("demo", "compare SpectralEmbedder + Ridge with PLS and Ridge in nirs4all"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status."""
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
