"""Fifty steps of each objective on batches that never change: what a faster engine has to give as well."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from nirs4all_vit.encoder import EncoderConfig, SpectralPerceiver
from nirs4all_vit.pretraining.config import (
    BaselineConsistencyConfig,
    ContrastiveConfig,
    EpisodicCalibrationConfig,
    MaskedModelingConfig,
)
from nirs4all_vit.pretraining.data.batch import SpectralBatch
from nirs4all_vit.pretraining.episodic_ridge import Answers
from nirs4all_vit.pretraining.inputs import Inputs
from nirs4all_vit.pretraining.objectives import OBJECTIVES

STEPS = 50


def batch(seed: int, padded: bool) -> SpectralBatch:
    """Twelve spectra on one grid, or on two, padded."""
    rng = np.random.default_rng(seed)
    nm = np.linspace(1000.0, 2400.0, 90)
    bands = np.exp(-0.5 * ((nm - rng.uniform(1000, 2400, (5, 1))) / 60.0) ** 2)
    spectra = torch.from_numpy((rng.random((12, 5)) @ bands + 0.3).astype(np.float32))
    axis = torch.from_numpy(nm)
    baseline = 0.2 * torch.linspace(0, 1, 90).square() * torch.from_numpy(rng.random((12, 1))).float()
    if not padded:
        return SpectralBatch(spectra, axis, 0.1, baseline=baseline)
    valid = torch.ones(12, 90, dtype=torch.bool)
    valid[6:, 60:] = False
    own = axis.expand(12, -1).clone()
    own[6:, 60:] = axis[59]
    return SpectralBatch(spectra * valid, own, torch.full((12, 1), 0.1), valid, baseline=baseline * valid)


def losses(name: str, tokens: str, *, padded: bool = False) -> list[float]:
    """Train one objective from a fixed start; returns the loss of each step."""
    config = EncoderConfig(tokens=tokens, n_latents=4, d_model=16, n_heads=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = SpectralPerceiver(config)
        settings: Any = {
            "masked_modeling": MaskedModelingConfig(weight=1.0),
            "baseline_consistency": BaselineConsistencyConfig(weight=1.0),
            "contrastive": ContrastiveConfig(weight=1.0),
            "episodic_calibration": EpisodicCalibrationConfig(weight=1.0, readouts={"compact": 1.0}),
        }[name]
        objective = OBJECTIVES[name](settings, encoder)
    parameters = [*encoder.parameters(), *(p for p in objective.parameters())]
    optimizer = torch.optim.AdamW(dict.fromkeys(parameters), lr=3e-3)
    values = []
    for step in range(STEPS):
        loss = objective(encoder, inputs(name, batch(step % 5, padded), step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    return values


def inputs(name: str, spectra: SpectralBatch, step: int) -> Inputs:
    """What an objective is given, drawn without the engine."""
    rng = np.random.default_rng([step, 7])
    if name == "masked_modeling":
        start = rng.integers(0, 60, 12)
        mask = torch.from_numpy((np.arange(90) >= start[:, None]) & (np.arange(90) < start[:, None] + 25))
        mask[:, 30:] &= ~mask[:, :1]
        return Inputs([spectra], {"mask": mask})
    if name == "episodic_calibration":
        targets = torch.from_numpy(rng.standard_normal((12, 2))).float() + spectra.spectra[:, [20, 40]] * 10
        answers = Answers.one(targets, 8)
        return Inputs([spectra], dict(vars(answers)), counts=(1,))
    assert spectra.baseline is not None
    other = SpectralBatch(spectra.spectra - spectra.baseline, spectra.wavelengths, spectra.deviation, spectra.valid)
    return Inputs([spectra, other], {"there": torch.ones(12, 1)})
