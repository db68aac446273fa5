"""Encoders that methods name: bundled, untrained, from a file, or trained for the occasion."""

from __future__ import annotations

import os
from pathlib import Path

from nirs4all_vit import CheckpointError, SpectralEmbedder, load_checkpoint, save_checkpoint
from nirs4all_vit.pretraining import BaselineCache, FamilyKFold, load_recipe, load_x_bank, pretrain

from .calibrations import bank_families

#: The bundled checkpoint.
DEFAULT = SpectralEmbedder().checkpoint

#: Folds of strict transfer.
N_FOLDS = 5


class Encoders:
    """Weight files by name.

    ``untrained`` (seed 0), ``untrained-K``; the name of a bundled checkpoint; ``RECIPE~K``: a recipe of
    the package trained without the families of fold K; a path of a ``.safetensors`` file.

    Parameters
    ----------
    folder : path
        Where trained ones are kept, and gone on with after an interrupt.
    x_bank : path, optional
        What they are trained on.
    """

    def __init__(self, folder: str | Path, x_bank: Path | None = None) -> None:
        self.folder, self.x_bank = Path(folder) / "encoders", x_bank

    def path(self, name: str) -> str:
        """Return the weight file, training it where need be.

        Raises
        ------
        ValueError
            No such encoder, or no bank to train it on.
        """
        if name.partition("-")[0] == "untrained":
            return str(self._untrained(int(name.partition("-")[2] or 0)))
        recipe, _, fold = name.partition("~")
        if fold:
            return str(self._trained(recipe, int(fold)))
        try:
            return str(load_checkpoint(name).path)
        except CheckpointError as error:
            raise ValueError(f"no encoder {name!r}: {error}") from error

    def _untrained(self, seed: int) -> Path:
        import torch

        from nirs4all_vit.encoder import EncoderConfig, SpectralPerceiver

        path = self.folder / f"untrained-{seed}.safetensors"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                # The scale of the trained read-outs' order: the penalties of RidgeCV are absolute.
                encoder = SpectralPerceiver(EncoderConfig(readout_scale=100.0))
            save_checkpoint(path, encoder, name=f"untrained-{seed}", provenance={"seed": seed})
        return path

    def _trained(self, recipe: str, fold: int) -> Path:
        out = self.folder / f"{recipe}~{fold}"
        path = out / "last.safetensors"
        if not (out / "done").exists():
            if self.x_bank is None:
                raise ValueError(f"{recipe}~{fold} is trained on a bank; name it with --x-bank.")
            bank = load_x_bank(self.x_bank)
            config = load_recipe(recipe, [f"--run.out={out}", "--run.resume=auto", f"--run.name={recipe}~{fold}"])
            if config.objectives.baseline_consistency.weight:
                # One cache for all: a baseline that is there is not computed again.
                config.data.asls = str(self.folder / "asls")
                BaselineCache(config.data.asls).precompute(bank, n_jobs=os.cpu_count() or 1)
            present = {dataset.family for dataset in bank}
            left_out = fold_families(bank_families(self.x_bank))[fold]
            config.data.without_families = [family for family in left_out if family in present]
            pretrain(config, bank)
            (out / "done").touch()
        return path


def require_unseen(path: str, families: set[str]) -> None:
    """Raise `ValueError` where an encoder was trained on one of the families that it is to be scored on."""
    seen = families & set(load_checkpoint(path).header["provenance"]["families"])
    if seen:
        raise ValueError(
            f"{path} was trained on {', '.join(sorted(seen))}, which it is to be scored on: the bank has changed since. "
            "Remove that folder, or use another --out."
        )


def fold_families(families: set[str]) -> list[list[str]]:
    """Return the families that each of the five folds holds out."""
    names = sorted(families)
    return [[names[i] for i in test] for _, test in FamilyKFold(N_FOLDS).split(names, groups=names)]
