"""``python -m nirs4all_vit.pretraining --x-bank DIR --recipe NAME --out DIR``."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

from .config import load_recipe
from .data import load_x_bank
from .loop import Pretraining


def main(arguments: Sequence[str] | None = None) -> None:
    """Pretrain an encoder from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m nirs4all_vit.pretraining", description="Pretrain an encoder without labels."
    )
    parser.add_argument("--x-bank", required=True, help="folder of <dataset_id>.csv files")
    parser.add_argument("--recipe", default="nirs-base-v0", help="bundled recipe or YAML file")
    parser.add_argument("--out", required=True, help="folder for the checkpoint, metrics and configuration")
    parser.add_argument("--without-families", nargs="*", default=[], metavar="FAMILY", help="families to leave out")
    parser.add_argument("--steps", type=int, help="optimizer steps, instead of the recipe's")
    options = parser.parse_args(arguments)
    config = load_recipe(options.recipe)
    if options.steps is not None:
        config = dataclasses.replace(config, steps=options.steps)
    left_out = set(options.without_families)
    datasets = load_x_bank(options.x_bank)
    unknown = left_out - {dataset.family for dataset in datasets}
    if unknown:
        parser.error(f"no such family in the bank: {', '.join(sorted(unknown))}")
    path = Pretraining(config, [d for d in datasets if d.family not in left_out]).run(options.out)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
