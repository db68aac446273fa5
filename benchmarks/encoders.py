"""Encoders of the methods: bundled, untrained, from a file or trained for a phase."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, cpu_count, delayed
from safetensors.torch import load_file

from nirs4all_vit import CheckpointError, SpectralEmbedder, load_checkpoint, save_checkpoint
from nirs4all_vit.encoder.checkpoint import tensors_sha256
from nirs4all_vit.finetuning import FinetuningConfig, finetune
from nirs4all_vit.pretraining import (
    BaselineCache,
    FamilyKFold,
    PretrainingConfig,
    SpectralDataset,
    load_recipe,
    load_x_bank,
    pretrain,
)
from nirs4all_vit.pretraining.data.bank import XBank
from nirs4all_vit.progress import ProgressBar

from .calibrations import bank_families
from .measure import limited_threads

#: The bundled checkpoint.
DEFAULT = SpectralEmbedder().checkpoint

#: Number of folds of strict transfer.
N_FOLDS = 5

#: Encoders tuned on targets of the families outside a fold: initial recipe, and weight of the
#: labels in the loss.
LABELLED = {"labelled": ("local-contrast", 1.0), "labelled-tenth": ("local-contrast", 0.1)}


class Encoders:
    """Weight files by name.

    Names are ``untrained`` (seed 0), ``untrained-K`` (seed K) and ``untrained-points`` (point tokens);
    the name of a bundled checkpoint; ``RECIPE~K``, a recipe of the package trained on `x_bank` without
    the families of fold K; ``RECIPE+600k~K``, the same on 600,000 spectra; ``RECIPE+seed1~K``, the same
    from another seed; ``labelled~K`` and ``labelled-tenth~K``, such an encoder tuned on the targets of
    the same families in `y_bank` (by default beside `x_bank`); or the path of a ``.safetensors`` file.
    Trained encoders are stored in `folder`; interrupted training resumes.
    """

    def __init__(self, folder: str | Path, x_bank: Path | None = None, y_bank: Path | None = None) -> None:
        self.folder, self.x_bank = Path(folder) / "encoders", x_bank
        self.y_bank = y_bank or (x_bank and x_bank.parent / "y_bank")

    def is_trained(self, name: str) -> bool:
        """Return whether the training of an encoder of a phase, ``RECIPE~K``, is finished."""
        # Pretraining writes checkpoints on its way; tuning on labels writes its only one at the end.
        return (self.folder / name / ("last.safetensors" if recipe_of(name) in LABELLED else "done")).exists()

    def train(self, names: Iterable[str], jobs: int = 1) -> None:
        """Train the encoders of phases that are missing, in `jobs` processes.

        Each process trains on one core, since the number of threads changes the weights. On a GPU one
        process trains all. Raises ValueError for an unknown encoder or a missing bank.
        """
        missing = {name for name in names if "~" in name and not self.is_trained(name)}
        if not missing:
            return
        if self.x_bank is None:
            raise ValueError(f"{min(missing)} is trained on a bank; name it with --x-bank.")
        labelled = {name for name in missing if recipe_of(name) in LABELLED}
        first = (missing - labelled) | {name for name in map(_start, labelled) if not self.is_trained(name)}
        if any(_config(name).objectives.baseline_consistency.weight for name in first):
            # Once, before the processes need it.
            self._baselines.precompute(self._bank, n_jobs=cpu_count())
        with ProgressBar("training", "encoder", len(first) + len(labelled)) as bar:
            for train, group in ((self._pretrain, first), (self._finetune, labelled)):
                processes = 1 if torch.cuda.is_available() else max(1, min(jobs, len(group)))
                parallel = Parallel(n_jobs=processes, return_as="generator_unordered", batch_size=1)
                for _ in parallel(delayed(train)(name) for name in sorted(group)):
                    bar.update()

    def __getstate__(self) -> dict[str, Any]:
        # Processes read the bank themselves.
        return {name: value for name, value in self.__dict__.items() if name != "_bank"}

    def path(self, name: str) -> str:
        """Return the weight file, after training if necessary.

        Raises ValueError for an unknown encoder or a missing bank.
        """
        if name.partition("-")[0] == "untrained":
            return str(self._untrained(name.partition("-")[2] or "0"))
        if "~" in name:
            self.train([name])
            return str(self._trained_weights(name))
        try:
            return str(load_checkpoint(name).path)
        except CheckpointError as error:
            raise ValueError(f"no encoder {name!r}: {error}") from error

    def _untrained(self, which: str) -> Path:
        from nirs4all_vit.encoder import EncoderConfig, SpectralPerceiver

        path = self.folder / f"untrained-{which}.safetensors"
        seed, tokens = (0, "points") if which == "points" else (int(which), "patches")
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                # RidgeCV has absolute penalties: use a scale similar to that of trained read-outs.
                encoder = SpectralPerceiver(EncoderConfig(tokens=tokens, readout_scale=100.0))
            save_checkpoint(path, encoder, name=path.stem, provenance={"seed": seed})
        return path

    def _trained_weights(self, name: str) -> Path:
        return self.folder / name / "last.safetensors"

    def _pretrain(self, name: str) -> None:
        out = self.folder / name
        config = _config(name, [f"--run.out={out}", "--run.resume=auto", f"--run.name={name}"])
        if config.objectives.baseline_consistency.weight:
            config.data.asls = str(self._baselines.folder)
        config.data.without_families = held_out(self._bank, self.x_bank, _fold(name))
        with limited_threads(1):
            pretrain(config, self._bank)
        (out / "done").touch()

    def _finetune(self, name: str) -> None:
        config = FinetuningConfig(
            str(self.x_bank),
            str(self.y_bank),
            str(self.folder / name),
            checkpoint=str(self._trained_weights(_start(name))),
            without_families=held_out(self._bank, self.x_bank, _fold(name)),
            label_weight=LABELLED[recipe_of(name)][1],
            resume="auto",
        )
        with limited_threads(1):
            finetune(config)

    @property
    def _baselines(self) -> BaselineCache:
        """Cache of baselines, shared by all encoders."""
        return BaselineCache(str(self.folder / "asls"))

    @cached_property
    def _bank(self) -> XBank:
        return load_x_bank(self.x_bank)


def recipe_of(name: str) -> str:
    """Return the recipe in the name of an encoder of a phase, without fold, length and seed."""
    return re.split("[+~]", name)[0]


def _fold(name: str) -> int:
    return int(name.partition("~")[2])


def _start(name: str) -> str:
    """Return the name of the encoder that is tuned on labels."""
    return f"{LABELLED[recipe_of(name)][0]}~{_fold(name)}"


def spectra_seen(name: str) -> int:
    """Return the number of spectra in the training of an encoder of a phase, ``RECIPE~K``."""
    return n_steps(name) * _config(name).data.batch_size


@lru_cache
def n_steps(name: str) -> int:
    """Return the number of steps in the training of an encoder of a phase, ``RECIPE~K``."""
    steps = _config(name).optim.steps
    assert steps is not None
    return steps


def _config(name: str, overrides: Sequence[str] = ()) -> PretrainingConfig:
    """Return a recipe, with another length (``+600k``) or seed (``+seed1``) if the name has one."""
    recipe, _, change = name.partition("~")[0].partition("+")
    config = load_recipe(recipe, overrides)
    if re.fullmatch(r"\d+k", change):
        config.optim.steps = int(change[:-1]) * 1000 // config.data.batch_size
    elif re.fullmatch(r"seed\d+", change):
        config.run.seed = int(change.removeprefix("seed"))
    elif change:
        raise ValueError(f"no encoder {name!r}: after + comes a number of spectra (600k) or a seed (seed1).")
    return config


def weights_sha256(path: str | Path) -> str:
    """Return a hash of the weights of an encoder, without header and bank statistics."""
    return tensors_sha256({k: v for k, v in load_file(path).items() if not k.startswith("statistics.bank_")})


def weights_hash(path: str) -> str:
    """Return a hash of the configuration and weights of an encoder.

    Neither the commit in the header nor the statistics of the bank change it, so that an encoder which is trained
    again, with the same result, has the same hash.
    """
    config = json.dumps(load_checkpoint(path).header["encoder"], sort_keys=True)
    return hashlib.sha256(f"{config}\n{weights_sha256(path)}".encode()).hexdigest()


def require_unseen(path: str, families: set[str]) -> None:
    """Raise ValueError if an encoder was trained on a family on which it is to be scored."""
    provenance = load_checkpoint(path).header["provenance"]
    overlap = families & {*provenance["families"], *provenance.get("tuned_families", ())}
    if overlap:
        raise ValueError(
            f"{path} was trained on {', '.join(sorted(overlap))}, which it is to be scored on: the bank has "
            "changed since. Remove that folder, or use another --out."
        )


def held_out(bank: Iterable[SpectralDataset], x_bank: Path, fold: int) -> list[str]:
    """Return the families of a fold of the folder `x_bank` that have a dataset in the bank."""
    present = {dataset.family for dataset in bank}
    return [family for family in fold_families(bank_families(x_bank))[fold] if family in present]


def fold_families(families: set[str]) -> list[list[str]]:
    """Return the held-out families of each of the five folds."""
    names = sorted(families)
    return [[names[i] for i in test] for _, test in FamilyKFold(N_FOLDS).split(names, groups=names)]
