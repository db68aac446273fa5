"""Train the bundled checkpoint again and compare the weights.

Training amplifies rounding differences. ``python -m benchmarks reproduce --x-bank DIR`` therefore
trains with the source of the commit in the header of the checkpoint, from the history of the
repository. It repeats the second step of the training, the Perceiver on a fixed local contrast. The
local contrast is that of `nirs-base-v1`, whose commit and recipe are also in the header.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from nirs4all_vit import load_checkpoint
from nirs4all_vit.pretraining.product import processor

from .encoders import DEFAULT, weights_sha256

_ROOT = Path(__file__).resolve().parent.parent


def source_of(commit: str, folder: Path) -> Path:
    """Unpack the source of a commit of this repository.

    Raises FileNotFoundError if the commit is missing: no clone, or a shallow clone.
    """
    archive = subprocess.run(
        ["git", "-C", str(_ROOT), "archive", commit, "nirs4all_vit"], capture_output=True, check=False
    )
    if archive.returncode:
        raise FileNotFoundError(
            f"commit {commit}, which made the checkpoint, is not in the history here "
            f"({archive.stderr.decode().strip()}); "
            "use a full clone: git fetch --unshallow."
        )
    target = folder / commit
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
        packed.extractall(target, filter="data")
    return target


def train(source: Path, x_bank: Path, out: Path, contrast_from: Path) -> Path:
    """Train or resume the default recipe with a given source; return the checkpoint.

    Raises ChildProcessError if training fails; its messages are on the terminal.
    """
    recipe = ["--config", DEFAULT, "--data.x_bank", str(x_bank.resolve())]
    recipe += ["--optim.contrast_from", str(contrast_from)]
    run = ["--run.out", str(out.resolve()), "--run.resume", "auto"]
    command = [sys.executable, "-m", "nirs4all_vit.pretraining", *recipe, *run]
    if subprocess.run(command, cwd=source, env={**os.environ, "PYTHONPATH": str(source)}, check=False).returncode:
        raise ChildProcessError(f"training in {source} failed.")
    return out / "last.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--x-bank", type=Path, required=True, help="bank that the bundled checkpoint was trained on")
    out = Path(f"runs/{DEFAULT}")
    parser.add_argument("--out", type=Path, default=out, help="folder of the run (default: %(default)s); resumes")


def main(options: argparse.Namespace) -> int:
    """Train again and compare; the exit status is 1 if the weights differ."""
    bundled = load_checkpoint(DEFAULT)
    commit = bundled.header["provenance"]["commit"]
    try:
        source = source_of(commit, options.out)
        print(f"training with the source of {commit}", flush=True)
        path = train(source, options.x_bank, options.out / "run", bundled.path)
    except (FileNotFoundError, ChildProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    expected, trained = weights_sha256(bundled.path), weights_sha256(path)
    print(f"bundled weights  {expected}\ntrained weights  {trained}")
    if expected == trained:
        print("the same, to the last bit.")
        return 0
    before, after = bundled.header["provenance"], load_checkpoint(path).header["provenance"]
    for key in ("bank_hash", "recipe", "versions", "machine", "threads"):
        if before[key] != after[key]:
            print(f"{key}: {before[key]} then, {after[key]} now")
    then = before.get("processor", "a processor that its header does not name")
    if then != processor():
        print(f"processor: {then} then, {processor()} now")
    print(
        "other weights; on another machine or with other versions the last digits differ, and training magnifies them."
    )
    return 1
