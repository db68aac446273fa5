"""Error on unseen families against the number of training spectra.

``python -m benchmarks.research.training_curves train --recipe RECIPE --spectra N --x-bank DIR --out DIR`` trains one
encoder without the families of fold 0, by a recipe of the ablation; each size is a run of its own, with its own
schedule. ``score`` compares all that are in the folder with the untrained encoder. Masked modelling sees 340 spectra
a second on one core, episodes 1,500.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from nirs4all_vit.pretraining import load_recipe, load_x_bank, pretrain

from ..encoders import Encoders, held_out
from .compact_codes import Codes, compared
from .latent_targets import embedding_of

#: Read-outs that are scored: of the patches, and of the Perceiver.
_READOUTS = ("contrast", "mean")


def train(options: argparse.Namespace) -> None:
    """Train one encoder; an interrupted run goes on."""
    torch.set_num_threads(1)
    out = options.out / f"{options.recipe}-{options.spectra}-{options.seed}"
    overrides = {
        "run.out": out,
        "run.name": out.name,
        "run.resume": "auto",
        "run.seed": options.seed,
        "run.score_every": 10**6,
        "optim.steps": max(1, options.spectra // 64),
    }
    config = load_recipe(options.recipe, [f"--{name}={value}" for name, value in overrides.items()])
    bank = load_x_bank(options.x_bank)
    config.data.without_families = held_out(bank, options.x_bank, 0)
    pretrain(config, bank)
    (out / "done").touch()


def score(options: argparse.Namespace) -> None:
    """Print the error of each encoder over that of untrained local contrast, and write it as a table."""
    files = {
        "untrained": Encoders(options.out).path("untrained"),
        **{p.parent.name: p.parent / "last.safetensors" for p in options.out.glob("*/done")},
    }
    ways = {
        f"{name} {readout}": embedding_of(options.x_bank, str(path), readout)
        for name, path in sorted(files.items())
        for readout in _READOUTS
    }
    table = compared(Codes(options.x_bank), ways, "untrained contrast", fold=0)
    print(table.round(4).to_string())
    table.to_csv(options.out / "training_curves.csv")


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["train", "score"])
    parser.add_argument("--recipe", default="ablation-mae")
    parser.add_argument("--spectra", type=int, default=204_800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--x-bank", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    {"train": train, "score": score}[options.step](options)


if __name__ == "__main__":
    main()
