"""Encoders of the methods: bundled, untrained, from a file, or trained for a phase."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from nirs4all_vit import CheckpointError, SpectralEmbedder, load_checkpoint, save_checkpoint
from nirs4all_vit.finetuning import FinetuningConfig, finetune
from nirs4all_vit.pretraining import BaselineCache, FamilyKFold, load_recipe, load_x_bank, pretrain
from nirs4all_vit.pretraining.data.bank import XBank

from .calibrations import bank_families

#: The bundled checkpoint.
DEFAULT = SpectralEmbedder().checkpoint

#: Folds of strict transfer.
N_FOLDS = 5

#: Tuned on the targets of the families outside of a fold: where from, and the share of labels in the loss.
LABELLED = {"labelled": ("local-contrast", 1.0), "labelled-tenth": ("local-contrast", 0.1)}


class Encoders:
    """Weight files by name.

    ``untrained`` (seed 0), ``untrained-K``; the name of a bundled checkpoint; ``RECIPE~K``: a recipe of the package
    trained on `x_bank` without the families of fold K; ``labelled~K``, ``labelled-tenth~K``: such an encoder tuned on
    the targets of the same families, in `y_bank` (beside `x_bank` by default); a path of a ``.safetensors`` file.
    Trained ones are kept in `folder`, and gone on with after an interrupt.
    """

    def __init__(self, folder: str | Path, x_bank: Path | None = None, y_bank: Path | None = None) -> None:
        self.folder, self.x_bank = Path(folder) / "encoders", x_bank
        self.y_bank = y_bank or (x_bank and x_bank.parent / "y_bank")

    def path(self, name: str) -> str:
        """Return the weight file, trained where need be; a ValueError says that no such encoder or bank is there."""
        if name.partition("-")[0] == "untrained":
            return str(self._untrained(int(name.partition("-")[2] or 0)))
        recipe, _, fold = name.partition("~")
        if fold and recipe in LABELLED:
            return str(self._labelled(recipe, int(fold)))
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

    def _labelled(self, name: str, fold: int) -> Path:
        out = self.folder / f"{name}~{fold}"
        path = out / "last.safetensors"
        if not path.exists():
            self._require_bank(f"{name}~{fold}")
            recipe, label_weight = LABELLED[name]
            start = self._trained(recipe, fold)
            config = FinetuningConfig(
                str(self.x_bank),
                str(self.y_bank),
                str(out),
                checkpoint=str(start),
                without_families=self._left_out(fold),
                label_weight=label_weight,
                resume="auto",
            )
            finetune(config)
        return path

    def _require_bank(self, name: str) -> None:
        if self.x_bank is None:
            raise ValueError(f"{name} is trained on a bank; name it with --x-bank.")

    @cached_property
    def _bank(self) -> XBank:
        return load_x_bank(self.x_bank)

    def _left_out(self, fold: int) -> list[str]:
        """Return the families of a fold that the bank holds."""
        present = {dataset.family for dataset in self._bank}
        return [family for family in fold_families(bank_families(self.x_bank))[fold] if family in present]

    def _trained(self, recipe: str, fold: int) -> Path:
        out = self.folder / f"{recipe}~{fold}"
        path = out / "last.safetensors"
        if not (out / "done").exists():
            self._require_bank(f"{recipe}~{fold}")
            bank = self._bank
            config = load_recipe(recipe, [f"--run.out={out}", "--run.resume=auto", f"--run.name={recipe}~{fold}"])
            if config.objectives.baseline_consistency.weight:
                # One cache for all: a baseline that is there is not computed again.
                config.data.asls = str(self.folder / "asls")
                BaselineCache(config.data.asls).precompute(bank, n_jobs=os.cpu_count() or 1)
            config.data.without_families = self._left_out(fold)
            pretrain(config, bank)
            (out / "done").touch()
        return path


def require_unseen(path: str, families: set[str]) -> None:
    """Raise `ValueError` where an encoder was trained on one of the families that it is to be scored on."""
    provenance = load_checkpoint(path).header["provenance"]
    overlap = families & {*provenance["families"], *provenance.get("tuned_families", ())}
    if overlap:
        raise ValueError(
            f"{path} was trained on {', '.join(sorted(overlap))}, which it is to be scored on: the bank has "
            "changed since. Remove that folder, or use another --out."
        )


def fold_families(families: set[str]) -> list[list[str]]:
    """Return the families that each of the five folds holds out."""
    names = sorted(families)
    return [[names[i] for i in test] for _, test in FamilyKFold(N_FOLDS).split(names, groups=names)]
