"""Final encoder of a run: scale, compact code, statistics and provenance."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..embedding.bank import bank_statistics
from ..embedding.novelty import signal_numbers
from ..encoder import Grid, SpectralPerceiver
from ..encoder.checkpoint import find_checkpoint, tensors_sha256
from ..encoder.local_contrast import WEIGHT
from ..encoder.tokens import PatchTokens
from ..errors import CheckpointError
from .config import PretrainingConfig
from .data.bank import bank_hash
from .data.dataset import SpectralDataset, row_blocks
from .scores import embed_rows

#: Ridge penalty relative to the mean squared distance from the centre, for runs without episodes.
_TYPICAL_PENALTY = 1e-3
#: Largest number of spectra per dataset for the code and the statistics.
_MAX_SAMPLED = 64
#: Power of the within-dataset standard deviation by which columns are divided. Results hardly
#: change between 0.5 and 0.75; weights shared by all patches of a scale are 3 % worse (research
#: log, section 25).
_POWER = 0.65
#: Share of the mean standard deviation that is added to each one; smaller ones are rounding.
_FLOOR = 1e-3


def provenance(config: PretrainingConfig, datasets: Sequence[SpectralDataset]) -> dict[str, Any]:
    """Return the provenance of an encoder, without paths: a repeated run gives the same file."""
    return {
        "recipe": config.recipe(),
        "seed": config.run.seed,
        "commit": _commit(),
        "bank_hash": bank_hash(datasets),
        "datasets": [dataset.name for dataset in datasets],
        "families": sorted({dataset.family for dataset in datasets}),
        "n_spectra": sum(len(dataset) for dataset in datasets),
        "versions": {name: version(name) for name in ("torch", "numpy", "nirs4all", "nirs4all-vit")},
        "machine": platform.machine(),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        **({"baselines_hash": _baselines_hash(datasets)} if config.objectives.baseline_consistency.weight > 0 else {}),
    }


def _baselines_hash(datasets: Sequence[SpectralDataset]) -> str:
    """Return one hash of the AsLS baselines of a bank, including datasets without baselines."""
    digest = hashlib.sha256()
    for dataset in datasets:
        digest.update(f"{dataset.name}:".encode())
        if dataset.baseline is not None:
            for rows in row_blocks(*dataset.baseline.shape):
                digest.update(np.ascontiguousarray(dataset.baseline[rows]).tobytes())
    return digest.hexdigest()


def processor() -> str:
    """Return the processor and its instruction set in torch.

    Other instruction sets round differently, and training magnifies the difference.
    """
    about = Path("/proc/cpuinfo")
    text = about.read_text("utf-8", errors="replace") if about.exists() else ""
    fields = dict(re.findall(r"^(model name|cpu family|model|stepping)\s*:\s*(.*)$", text, re.MULTILINE))
    name = " ".join(fields[key] for key in ("model name", "cpu family", "model", "stepping") if key in fields)
    return f"{name or platform.processor() or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"


def scaled_encoder(
    encoder: SpectralPerceiver,
    penalties: Mapping[str, Sequence[float]],
    datasets: Sequence[SpectralDataset],
    *,
    rescale: bool = True,
) -> SpectralPerceiver:
    """Return a copy with read-outs scaled for a ridge penalty of 1 and with a fitted compact code.

    The scale follows from the median of the penalties that leave-one-out selected in the last fifth
    of the episodes: scaling an embedding by s scales its penalty by s squared. Without episodes,
    the typical penalty is a thousandth of the median total variance of the embeddings. With
    ``rescale=False`` the scale is unchanged, as for a local contrast copied from another
    checkpoint.
    """
    scaled = copy.deepcopy(encoder)
    if isinstance(scaled.tokenizer, PatchTokens):
        fit_code(scaled, datasets)
    if not rescale:
        return scaled.eval()
    readout = encoder.readouts()[0]
    history = next((penalties[name] for name in (readout, "compact") if penalties.get(name)), None)
    if history:
        scale = float(np.exp(-0.5 * np.median(history[-max(1, len(history) // 5) :])))
    else:
        spread = [float(_sample(encoder, d, readout).var(dim=0).sum()) for d in datasets]
        scale = float(max(_TYPICAL_PENALTY * np.median(spread), 1e-12) ** -0.5)
    scaled.config = dataclasses.replace(encoder.config, readout_scale=encoder.config.readout_scale * scale)
    return scaled.eval()


def embedding_statistics(encoder: SpectralPerceiver, datasets: Sequence[SpectralDataset]) -> dict[str, Tensor]:
    """Return the statistics for novelty detection, with equal weights for all families.

    They describe the compact read-out, signal and range of the absorbance spectra of a bank.
    """
    samples = [_sample(encoder, dataset, "compact") for dataset in datasets]
    bank = bank_statistics(
        [sample.numpy() for sample in samples],
        [signal_numbers(dataset.absorbance(_rows(dataset))) for dataset in datasets],
        [(dataset.wavelengths[0], dataset.wavelengths[-1]) for dataset in datasets],
        [dataset.family for dataset in datasets],
    )
    return {key: torch.from_numpy(value) for key, value in bank.items()}


def take_contrast(encoder: SpectralPerceiver, reference: str) -> dict[str, str]:
    """Copy the local contrast of a checkpoint and freeze it; return its origin for the provenance.

    Raises `CheckpointError` if the file is not a checkpoint or its local contrast has another
    shape.
    """
    path = find_checkpoint(reference)
    marker = "contrast."
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            about = json.loads(file.metadata()["nirs4all_vit"])
            names = [name for name in file.keys() if marker in name]  # noqa: SIM118 - not a mapping
            tensors = {name.partition(marker)[2]: file.get_tensor(name) for name in names}
        encoder.tokenizer.contrast.load_state_dict(tensors)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{path.name} has no local contrast of this shape: {error}.") from error
    encoder.tokenizer.contrast.requires_grad_(False)
    # Copy the scale, too, so that the copied read-out has the same values.
    encoder.config = dataclasses.replace(encoder.config, readout_scale=float(about["encoder"]["readout_scale"]))
    origin = about.get("provenance", {})
    return {"name": str(about.get("name")), "commit": str(origin.get("commit")), "sha256": tensors_sha256(tensors)}


def _sample(encoder: SpectralPerceiver, dataset: SpectralDataset, readout: str) -> Tensor:
    return embed_rows(encoder, dataset, _rows(dataset), readout)


def _rows(dataset: SpectralDataset) -> NDArray[np.intp]:
    return np.linspace(0, len(dataset) - 1, min(_MAX_SAMPLED, len(dataset))).astype(np.intp)


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@torch.no_grad()
def fit_code(encoder: SpectralPerceiver, datasets: Sequence[SpectralDataset]) -> None:
    """Fit the linear code of each patch in place, from principal directions per scale.

    The features of absorbance spectra are centred by dataset and scaled to the same total variance
    for every dataset; each feature is divided by a power of its standard deviation. The encoder
    must have ``tokens="patches"``; the computation runs on its device.
    """
    tokenizer = encoder.tokenizer
    features = torch.cat([_centred(encoder, dataset) for dataset in datasets])
    deviation = features.square().mean(dim=0).sqrt()
    weight = (deviation + _FLOOR * deviation.mean()).clamp_min(1e-30) ** -_POWER
    # Same total variance as `contrast`, so that the same ridge penalties suit both read-outs.
    weight = weight * WEIGHT * (features.square().sum() / (features * weight).square().sum().clamp_min(1e-30)).sqrt()
    scales = torch.tensor(tokenizer.contrast.scales(), device=features.device)
    n_columns = tokenizer.code.shape[2]
    for scale in scales.unique():
        patches = (features * weight)[:, scales == scale].flatten(0, 1).double()
        directions = torch.linalg.eigh(patches.T @ patches).eigenvectors.flip(1)[:, :n_columns]
        # Eigenvectors have arbitrary sign: make the largest entry positive.
        directions = directions * directions.gather(0, directions.abs().argmax(dim=0, keepdim=True)).sign()
        tokenizer.code[scales == scale] = weight[scales == scale].unsqueeze(-1) * directions.float()


def _centred(encoder: SpectralPerceiver, dataset: SpectralDataset) -> Tensor:
    """Return centred patch features (n, P, F) of some spectra, scaled to unit total variance."""
    device = encoder.latents.device
    grid = Grid.from_wavelengths(torch.from_numpy(dataset.wavelengths.copy()).to(device))
    x = torch.from_numpy(np.ascontiguousarray(dataset.absorbance(_rows(dataset)))).to(device)
    features = encoder.tokenizer.content(encoder.normalisation(x, grid)[0], grid)
    centred = features - features.mean(dim=0)
    return centred / centred.square().sum().clamp_min(1e-30).sqrt()
