"""Results of tasks as one file, to continue on another machine or to build a report without measuring.

``python -m benchmarks records pack FILE --out DIR`` writes all results of a folder to a
``.jsonl.gz`` file; ``unpack FILE ...`` adds those of files to a folder. Results that the folder
already has are kept.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import zlib
from pathlib import Path
from typing import Any

from nirs4all_vit.files import atomic_path

from .tasks import Results, Task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("direction", choices=["pack", "unpack"])
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="a .jsonl.gz file; one for pack")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="folder of the results (%(default)s)")


def main(options: argparse.Namespace) -> int:
    """Pack or unpack results; the exit status is 2 for a missing or damaged file, or other data."""
    try:
        if options.direction == "pack":
            if len(options.files) > 1:
                raise ValueError("pack writes one file.")
            print(f"{pack(options.out, options.files[0])} results in {options.files[0]}")
        else:
            added = sum(unpack(file, options.out) for file in options.files)
            print(f"{added} results added to {options.out}")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def pack(folder: Path, file: Path) -> int:
    """Write all results of a folder to a file and return their number.

    The same results give the same bytes.

    Raises
    ------
    FileNotFoundError
        The folder has no results.
    """
    if not (folder / "tasks").is_dir():
        raise FileNotFoundError(f"no results in {folder}.")
    results = Results(folder)
    head = {"data": results.fingerprints(), "phases": results.noted()}
    lines = [json.dumps(head, sort_keys=True), *map(json.dumps, results)]
    with atomic_path(file) as target:
        target.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))
    return len(lines) - 1


def unpack(file: Path, folder: Path) -> int:
    """Add the results of a file to a folder and return how many are new.

    Raises
    ------
    FileNotFoundError
        The file does not exist.
    ValueError
        The file is damaged, or its results were measured on other contents of a dataset.
    """
    try:
        lines = gzip.decompress(file.read_bytes()).decode().splitlines()
        head: dict[str, Any] = json.loads(lines[0])
        records = [json.loads(line) for line in lines[1:]]
        tasks = [Task(**record["task"]) for record in records]
        data, phases = head["data"], head["phases"]
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeDecodeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is no file of results, or it is damaged.") from error
    results = Results(folder)
    results.require_same_data(data)
    new = [(task, record) for task, record in zip(tasks, records, strict=True) if not results.done(task)]
    for task, record in new:
        results.write(task, {key: value for key, value in record.items() if key != "task"})
    for phase, keys in phases.items():
        results.note_keys(phase, keys)
    return len(new)
