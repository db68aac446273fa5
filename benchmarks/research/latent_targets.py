"""Other targets than the pixels of a spectrum, for `mean` and `compact` (research log, section 38).

``python -m benchmarks.research.latent_targets train --kind KIND --x-bank DIR --out DIR`` trains without the families
of fold 0 (15 minutes on one core), ``score`` compares all on them under ridge. The kinds:

- ``teacher``: the latents of a masked spectrum predict those of the whole one, as a slow copy of the encoder sees it;
- ``order``: the spectrum is cut into four bands, these are permuted, and the encoder says how;
- ``kernel``: the kernel of `mean` and that of `cls` within a dataset are to be those of local contrast, whose columns
  are weighted as in ``fit``;
- ``code``: the same for the linear code of `compact`, starting from the one that covariances give;
- ``pixels``: masked modelling, to compare.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from nirs4all_vit import SpectralEmbedder, save_checkpoint
from nirs4all_vit.encoder import EncoderConfig, SpectralPerceiver
from nirs4all_vit.pretraining import load_x_bank
from nirs4all_vit.pretraining.augmentation import block_mask
from nirs4all_vit.pretraining.config import MaskedModelingConfig
from nirs4all_vit.pretraining.data.batch import Draw, SpectralBatch
from nirs4all_vit.pretraining.data.flat import FlatBank
from nirs4all_vit.pretraining.data.multi import MultiSpectralDataset
from nirs4all_vit.pretraining.inputs import Inputs
from nirs4all_vit.pretraining.objectives import MaskedModeling
from nirs4all_vit.pretraining.product import fit_code

from ..calibrations import read_spectra
from ..encoders import Encoders, held_out
from .compact_codes import Codes, compared
from .simulated_instruments import adapted

#: Datasets of a step, spectra of each, points of a spectrum.
_EPISODES, _SPECTRA, _POINTS = 2, 64, 320
_N_BANDS = 4


class Teacher(nn.Module):
    """Predict the latents of a slow copy of the encoder."""

    def __init__(self, encoder: SpectralPerceiver) -> None:
        super().__init__()
        self.slow = [copy.deepcopy(encoder).requires_grad_(False).eval()]  # not a child: it is not optimised
        d = encoder.config.d_model
        self.predictor = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(self, encoder: SpectralPerceiver, batch: SpectralBatch, draw: Draw, share: float) -> Tensor:
        """Return the loss, and let the copy follow the encoder."""
        slow, rate = self.slow[0], 0.01 * (1 - share) + 1e-4
        with torch.no_grad():
            for old, new in zip(slow.parameters(), encoder.parameters(), strict=True):
                old.lerp_(new, rate)
            target = slow.encode(batch.spectra, batch.grid())
            # Standardised over the batch, so that a constant is no answer.
            target = (target - target.mean(dim=0)) / (target.std(dim=0) + 0.1)
        mask = block_mask(batch.wavelengths, len(batch), draw, valid=batch.valid)
        seen = self.predictor(encoder.encode(batch.spectra, batch.grid(), visible=~mask))
        return F.smooth_l1_loss(seen, target)


class Order(nn.Module):
    """Say how bands were permuted."""

    def __init__(self, encoder: SpectralPerceiver) -> None:
        super().__init__()
        self.register_buffer("orders", torch.tensor(list(permutations(range(_N_BANDS)))))
        d = encoder.config.d_model
        self.head = nn.Sequential(nn.Linear(2 * d, d), nn.GELU(), nn.Linear(d, len(self.orders)))

    def forward(self, encoder: SpectralPerceiver, batch: SpectralBatch, draw: Draw, share: float) -> Tensor:  # noqa: ARG002
        """Return the loss."""
        n, length = batch.spectra.shape
        bands = batch.spectra.unflatten(1, (_N_BANDS, length // _N_BANDS))
        # Each band at its own level and slope: they would tell its place.
        place = torch.linspace(-1, 1, bands.shape[2])
        bands = bands - bands.mean(dim=2, keepdim=True)
        bands = bands - (bands @ place / place.square().sum()).unsqueeze(2) * place
        which = (draw.uniform(n) * len(self.orders)).long().clamp_max(len(self.orders) - 1)
        shuffled = bands.gather(1, self.orders[which].unsqueeze(2).expand_as(bands)).flatten(1)
        latents = encoder.encode(shuffled, batch.grid())
        return F.cross_entropy(self.head(torch.cat([latents[:, 0], latents[:, 1:].mean(dim=1)], dim=1)), which)


def _kernel(z: Tensor) -> Tensor:
    """Return centred kernels (B, n, n) of norm one of features (B, n, c)."""
    z = z - z.mean(dim=1, keepdim=True)
    kernel = z @ z.mT
    return kernel / kernel.square().sum(dim=(1, 2), keepdim=True).sqrt().clamp_min(1e-12)


def _weighted(z: Tensor) -> Tensor:
    """Return features (B, n, c) with columns weighted as in `fit`."""
    return adapted(z, torch.ones(z.shape[:2]))


class Kernel(nn.Module):
    """Keep the kernels of local contrast within datasets."""

    def __init__(self, encoder: SpectralPerceiver, code: bool) -> None:  # noqa: ARG002
        super().__init__()
        self.code = code

    def forward(self, encoder: SpectralPerceiver, batch: SpectralBatch, draw: Draw, share: float) -> Tensor:  # noqa: ARG002
        """Return one minus the alignment of the kernels."""
        grid = batch.grid()
        with torch.no_grad():
            wanted = _kernel(_weighted(batch.by_episode(encoder(batch.spectra, grid, readout="contrast"))).double())
        if self.code:
            given = [encoder(batch.spectra, grid, readout="compact")]
        else:
            latents = encoder.encode(batch.spectra, grid)
            given = [latents[:, 1:].mean(dim=1), latents[:, 0]]
        # Alignment in logarithms of the distance: the last percent counts.
        losses = [
            (1 - (_kernel(_weighted(batch.by_episode(z)).double()) * wanted).sum(dim=(1, 2)) + 1e-3).log()
            for z in given
        ]
        return torch.stack(losses).mean()


class Pixels(nn.Module):
    """Masked modelling."""

    def __init__(self, encoder: SpectralPerceiver) -> None:
        super().__init__()
        self.masked = MaskedModeling(MaskedModelingConfig(weight=1.0), encoder)

    def forward(self, encoder: SpectralPerceiver, batch: SpectralBatch, draw: Draw, share: float) -> Tensor:  # noqa: ARG002
        """Return the loss."""
        mask = block_mask(batch.wavelengths, len(batch), draw, valid=batch.valid)
        return self.masked(encoder, Inputs([batch], {"mask": mask}))


KINDS: dict[str, Any] = {
    "teacher": Teacher,
    "order": Order,
    "kernel": lambda encoder: Kernel(encoder, False),
    "code": lambda encoder: Kernel(encoder, True),
    "pixels": Pixels,
}


def train(options: argparse.Namespace) -> None:
    """Train one kind on the families outside of fold 0."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    options.out.mkdir(parents=True, exist_ok=True)
    every = load_x_bank(options.x_bank)
    left_out = held_out(every, options.x_bank, 0)
    bank = [dataset for dataset in every if dataset.family not in left_out]
    data = MultiSpectralDataset(bank, _SPECTRA, crop_probability=0.6)
    flat = FlatBank(data, _EPISODES, _POINTS, torch.device("cpu"))
    encoder = SpectralPerceiver(EncoderConfig(readout_scale=100.0))
    if options.kind == "code":
        fit_code(encoder, bank)
        save_checkpoint(options.out / "covariances.safetensors", encoder.eval(), name="covariances", provenance={})
        encoder.tokenizer.code = nn.Parameter(encoder.tokenizer.code)
    objective = KINDS[options.kind](encoder)
    learned = [encoder.tokenizer.code] if options.kind == "code" else [*encoder.parameters(), *objective.parameters()]
    rate = 1e-3
    optimiser = torch.optim.AdamW(learned, rate, weight_decay=0.0 if options.kind == "code" else 0.05)
    steps, losses, start = options.spectra // (_EPISODES * _SPECTRA), [], time.process_time()
    for step in range(steps):
        share = step / steps
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 100) * (0.5 + 0.5 * np.cos(np.pi * share))
        loss = objective(encoder, flat[step], Draw.seeded(10_000_019 + step), share)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            seconds = time.process_time() - start
            print(f"{options.kind} {step + 1}/{steps} {np.mean(losses[-100:]):.4f} {seconds:.0f} s", flush=True)
    save_checkpoint(options.out / f"{options.kind}.safetensors", encoder.eval(), name=options.kind, provenance={})


def embedding_of(x_bank: Path, checkpoint: str, readout: str) -> Callable[[str], NDArray[np.float32]]:
    """Return a function that embeds all spectra of a dataset, without the weighting of columns."""

    def embedded(name: str) -> NDArray[np.float32]:
        spectra, wavelengths = read_spectra(x_bank, name)
        embedder = SpectralEmbedder(checkpoint, readout=readout, adapt=False, axis_unit="nm")
        return embedder.fit_transform(spectra, wavelengths=wavelengths)

    return embedded


def score(options: argparse.Namespace) -> None:
    """Print the error of each encoder over that of untrained local contrast, on the families of fold 0."""
    codes = Codes(options.x_bank)
    files = {name: options.out / f"{name}.safetensors" for name in ("covariances", *KINDS)}
    present = {"untrained": Encoders(options.out).path("untrained")}
    present |= {name: str(path) for name, path in files.items() if path.exists()}
    ways = {
        f"{name} {readout}": embedding_of(options.x_bank, path, readout)
        for name, path in present.items()
        for readout in ("contrast", "compact", "mean", "cls")
    }
    print(compared(codes, ways, "untrained contrast", fold=0).round(3).to_string())


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["train", "score"])
    parser.add_argument("--kind", choices=list(KINDS), default="teacher")
    parser.add_argument("--x-bank", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--spectra", type=int, default=204_800)
    options = parser.parse_args()
    {"train": train, "score": score}[options.step](options)


if __name__ == "__main__":
    main()
