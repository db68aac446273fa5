"""Train the bundled checkpoint again and compare: ``python -m benchmarks.reproduce --x-bank DIR``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file

from nirs4all_vit import load_checkpoint
from nirs4all_vit.checkpoint import tensors_sha256
from nirs4all_vit.pretraining import load_recipe, load_x_bank, pretrain

from .encoders import DEFAULT


def weights_sha256(path: str | Path) -> str:
    """Return a hash of a checkpoint's tensors, without what the header says of its making."""
    return tensors_sha256(load_file(path))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 1 where other weights come out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce", description=__doc__)
    parser.add_argument(
        "--x-bank", type=Path, required=True, help="the bank that the bundled checkpoint was trained on"
    )
    parser.add_argument("--out", default=f"runs/{DEFAULT}", help="folder of the run (default: %(default)s); resumes")
    options = parser.parse_args(arguments)
    bundled = load_checkpoint(DEFAULT)
    made = pretrain(
        load_recipe(DEFAULT, [f"--run.out={options.out}", "--run.resume=auto"]), load_x_bank(options.x_bank)
    )
    expected, found = weights_sha256(bundled.path), weights_sha256(made.path)
    print(f"bundled weights  {expected}\ntrained weights  {found}")
    if expected == found:
        print("the same, to the last bit.")
        return 0
    before, after = (c.header["provenance"] for c in (bundled, made))
    for key in ("bank_hash", "recipe", "versions", "machine", "threads", "commit"):
        if before[key] != after[key]:
            print(f"{key}: {before[key]} then, {after[key]} now")
    print(
        "other weights; on another machine or with other versions the last digits differ, and training magnifies them."
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
