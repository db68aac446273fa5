"""Costs of the data layer: loading a bank, AsLS baselines and batches.

``python -m benchmarks data --x-bank ../shared/x_bank`` writes ``data_layer.json`` and the results
of `benchmarks.synthetic` to ``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nirs4all_vit import load_checkpoint
from nirs4all_vit.pretraining import Augmentation, BaselineCache, MultiSpectralDataset, load_x_bank, synthetic_bank
from nirs4all_vit.pretraining.augmentation import block_mask
from nirs4all_vit.pretraining.data.batch import Draw

from . import drawing, synthetic
from .calibrations import DEFAULT_X_BANK
from .measure import machine
from .tables import RESULTS, rounded, write_json

#: Typical augmentation: four operators that run in torch, each on half of the spectra.
AUGMENTATION = {
    name: {"probability": 0.5}
    for name in ("baseline_drift", "msc_scatter", "heteroscedastic_noise", "wavelength_shift")
}

_LOAD = """
import json, re, sys, time
start = time.perf_counter()
from nirs4all_vit.pretraining import load_x_bank
bank = load_x_bank(sys.argv[1], cache=sys.argv[2] or None, progress=False)
seconds = time.perf_counter() - start
# Not getrusage: a child starts with its parent's peak.
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1e6
print(json.dumps({"datasets": len(bank), "spectra": sum(map(len, bank)), "seconds": seconds, "peak_gb": peak}))
"""


def loading(x_bank: Path, cache: str = "") -> dict[str, float]:
    """Load the bank in a new process; return seconds, including imports, and peak memory."""
    command = [sys.executable, "-c", _LOAD, str(x_bank), cache]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def batches(x_bank: Path, layout: str, n: int = 100) -> dict[str, float]:
    """Time a batch of 64 (draw, crop, augment, mask) and the bundled encoder on it, in ms."""
    bank = load_x_bank(x_bank, progress=False)
    data = MultiSpectralDataset(bank, 64, layout=layout, synthetic=synthetic_bank(16), p_synth=0.3)
    augment, draw = Augmentation(AUGMENTATION), Draw.seeded(0)
    encoder = load_checkpoint().encoder.train().requires_grad_(True)
    for dataset in data.datasets[data.n_real :]:
        _ = dataset.values  # generated once in a run
    samples = [data[k] for k in range(n)]

    def step(batch: Any) -> None:
        encoder.zero_grad(set_to_none=True)
        encoder.encode(batch.spectra, batch.grid()).square().mean().backward()

    def forward(batch: Any) -> None:
        with torch.inference_mode():
            encoder.encode(batch.spectra, batch.grid())

    few = samples[: n // 5]
    result = {
        "draw_ms": _each(lambda k: data[k], range(n)),
        "augment_ms": _each(lambda batch: augment(batch, draw), samples),
        "mask_ms": _each(lambda batch: block_mask(batch.wavelengths, len(batch), draw, valid=batch.valid), samples),
        "encoder_forward_ms": _each(forward, few),
        "encoder_step_ms": _each(step, few),
    }
    result["batch_ms"] = result["draw_ms"] + result["augment_ms"] + result["mask_ms"]
    result["batch_per_forward"] = result["batch_ms"] / result["encoder_forward_ms"]
    result["batch_per_step"] = result["batch_ms"] / result["encoder_step_ms"]
    return result


def _each(function: Callable[[Any], Any], items: Any) -> float:
    """Return the mean milliseconds of a call, after a warm-up call."""
    items = list(items)
    function(items[0])
    start = time.perf_counter()
    for item in items:
        function(item)
    return 1e3 * (time.perf_counter() - start) / len(items)


def measure(x_bank: Path) -> dict[str, Any]:
    """Return the costs of loading, baselines and batches."""
    with tempfile.TemporaryDirectory() as folder:
        result: dict[str, Any] = {
            "machine": machine(),
            "load": loading(x_bank),
            "load_into_cache": loading(x_bank, folder),
            "load_from_cache": loading(x_bank, folder),
        }
        bank = load_x_bank(x_bank, cache=folder)
        start = time.perf_counter()
        BaselineCache(Path(folder) / "asls").precompute(bank)
        seconds = time.perf_counter() - start
    result["asls"] = {"seconds": seconds, "spectra_per_second": sum(map(len, bank)) / seconds, "jobs": 1}
    return {**result, **{layout: batches(x_bank, layout) for layout in ("one_grid", "mixed")}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--x-bank", type=Path, default=DEFAULT_X_BANK, help="folder of real spectra")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the figures")
    parser.add_argument("--sets", type=int, default=64, help="synthetic datasets")


def main(options: argparse.Namespace) -> int:
    """Measure; print and write the results."""
    costs = measure(options.x_bank)
    write_json(costs, options.out / "data_layer.json")
    utility = synthetic.measure(options.x_bank, options.sets)
    write_json(utility, options.out / "synthetic_utility.json")
    drawing.draw_synthetic(utility, options.out / "synthetic_utility")
    summaries = {kind: of["summary"] for kind, of in utility.items()}
    print(json.dumps(rounded({"data layer": costs, "synthetic spectra": summaries}), indent=1))
    return 0
