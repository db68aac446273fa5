"""Pretraining against a plain loop over spectra, and where the time of a step goes.

``python -m benchmarks speed --pretraining --x-bank ../shared/x_bank`` writes ``pretraining_speed.json``: spectra per second of the
`cpu` recipe, and of the same episodes encoded one spectrum at a time, in one run; the share of a step that is spent in matrix
products.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from nirs4all_vit.encoder import Grid
from nirs4all_vit.pretraining import Pretraining, load_recipe, load_x_bank
from nirs4all_vit.pretraining.memory import keep_freed_memory

from .measure import machine

#: Operators that are matrix products, attention and the products inside of linear layers' gradients included.
_PRODUCTS = ("mm", "linear", "matmul", "scaled_dot_product", "cholesky", "triangular", "einsum")


def per_sample(run: Pretraining, steps: int) -> float:
    """Train with spectra going through the encoder one at a time; returns spectra per second."""
    encode, from_wavelengths = run.encoder.forward, Grid.from_wavelengths

    def one_by_one(x: torch.Tensor, grid: Any, **options: Any) -> Any:
        nm = 1000.0 * grid.log_wavelength.double().exp()
        parts = [encode(x[i : i + 1], from_wavelengths(nm), **options) for i in range(len(x))]
        return torch.cat(parts)

    run.encoder.forward = one_by_one
    try:
        return measured(run, steps)
    finally:
        del run.encoder.forward


def measured(run: Pretraining, steps: int) -> float:
    """Return spectra per second of some steps, after one that does not count."""
    run.step()
    start, spectra = time.perf_counter(), 0.0
    for _ in range(steps):
        spectra += run.step()["spectra"]
    return spectra / (time.perf_counter() - start)


def shares(run: Pretraining, steps: int) -> dict[str, float]:
    """Return the share of the operators' own time by kind."""
    with profile(activities=[ProfilerActivity.CPU]) as record:
        for _ in range(steps):
            run.step()
    own: dict[str, float] = {}
    for event in record.key_averages():
        if event.key.startswith("enumerate(DataLoader"):
            continue  # a frame around operators of its own
        own[event.key.removeprefix("aten::")] = own.get(event.key.removeprefix("aten::"), 0) + event.self_cpu_time_total
    total = sum(own.values())
    products = sum(value for key, value in own.items() if any(name in key for name in _PRODUCTS))
    largest = sorted(own.items(), key=lambda item: -item[1])[:12]
    return {"matrix products": products / total, **{key: value / total for key, value in largest}}


def measure(x_bank: Path, steps: int) -> dict[str, Any]:
    """Return the speed of pretraining by batches and by single spectra, and where the time goes."""
    bank = load_x_bank(x_bank)
    keep_freed_memory()
    config = load_recipe("cpu", [f"--data.x_bank={x_bank}", "--data.p_synth=0"])

    def fresh() -> Pretraining:
        return Pretraining(dataclasses.replace(config), bank)

    batched, single = measured(fresh(), steps), per_sample(fresh(), max(1, steps // 10))
    return {
        "machine": machine(),
        "spectra_per_second": round(batched, 1),
        "spectra_per_second_one_by_one": round(single, 1),
        "ratio": round(batched / single, 2),
        "shares_of_a_step": shares(fresh(), max(2, steps // 4)),
    }
