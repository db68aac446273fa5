"""Speed and memory of embedding; ``python -m benchmarks speed`` writes the tables ``speed*``.

``--pretraining`` writes ``pretraining_speed.json``: spectra per second of masked modelling on
points, on patches and in a plain loop over single spectra, and the composition of the time of a
step. ``--recipes`` writes ``training_steps.csv``: seconds of a step of each recipe that the phases
train.

Methods are compared in one run, most of them in turns; MultiRocket, in a separate environment, is
timed last. The shortest time is used, because other work on the machine can only increase it. The
first call is not timed, because it also computes the windows of a grid, which later calls reuse.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from joblib import cpu_count
from numpy.typing import NDArray
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from nirs4all_vit import SpectralEmbedder, load_checkpoint
from nirs4all_vit.embedding.inference import embed
from nirs4all_vit.encoder import Grid, SpectralPerceiver
from nirs4all_vit.pretraining import BaselineCache, Pretraining, load_recipe, load_x_bank
from nirs4all_vit.pretraining.distributed import keep_freed_memory
from nirs4all_vit.pretraining.inputs import Inputs
from nirs4all_vit.progress import tracked
from nirs4all_vit.spectra.data import Spectra

from .calibrations import DEFAULT_X_BANK
from .encoders import DEFAULT, LABELLED, recipe_of
from .measure import machine
from .methods.external import multirocket_seconds
from .methods.preprocessing import PREPROCESSINGS
from .methods.registry import trained_encoders
from .phases import STRICT
from .tables import write_json, write_table

#: Default read-out of `SpectralEmbedder`.
_READOUT = SpectralEmbedder().readout
#: The default read-out, and one that uses the transformer.
_READOUTS = (_READOUT, "mean")
_LENGTHS = (100, 350, 700, 1400, 2100, 3000)
_BATCHES = (1, 32, 256)
_COUNTS = (256, 512, 1024, 2048, 4096)
_LENGTH, _N = 700, 256
_MATRICES = (256, 512, 1024, 2048)

#: Operators that are matrix products, including attention and gradients of linear layers.
_PRODUCTS = ("mm", "linear", "matmul", "scaled_dot_product", "cholesky", "triangular", "einsum")

Run = Callable[[], Any]


def spectra(n: int, length: int, seed: int = 0) -> NDArray[np.float32]:
    """Return smooth random curves (n, length)."""
    rng = np.random.default_rng(seed)
    place = np.linspace(0.0, 1.0, length)[:, None] - np.linspace(0.0, 1.0, 24)
    return (rng.normal(size=(n, 24)) @ np.exp(-0.5 * (place.T / 0.03) ** 2)).astype(np.float32)


def shortest(runs: Mapping[Any, Run], rounds: int) -> dict[Any, float]:
    """Return the shortest time of each run in seconds, over alternating rounds after a warm-up."""
    best = dict.fromkeys(runs, float("inf"))
    for turn in tracked(range(rounds + 1), "rounds", "round"):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def peak_gflops(rounds: int) -> float:
    """Return the peak speed of float32 matrix products with the threads of torch, in GFLOP/s."""
    pairs = {n: (torch.randn(n, n), torch.randn(n, n)) for n in _MATRICES}
    times = shortest({n: lambda a=a, b=b: a @ b for n, (a, b) in pairs.items()}, max(rounds, 5))
    return max(2 * n**3 / seconds for n, seconds in times.items()) / 1e9


def encoding(rounds: int, threads: Sequence[int]) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return speed and share of the peak by threads, length and batch, and the peaks by threads."""
    encoder, rows, peaks = load_checkpoint(DEFAULT).encoder, [], {}
    for n_threads in threads:
        torch.set_num_threads(n_threads)
        before, times, flops = peak_gflops(rounds), {}, {}
        for length in _LENGTHS:
            nm, X = np.linspace(1000.0, 2500.0, length), spectra(max(_BATCHES), length)
            blocks = {(length, n): Spectra(X[:n], nm) for n in _BATCHES}
            times |= shortest(
                {key: lambda block=block: embed(encoder, [block], _READOUT) for key, block in blocks.items()}, rounds
            )
            # Quantities that depend on the grid only are cached by now.
            with FlopCounterMode(display=False) as counter:
                embed(encoder, [blocks[length, max(_BATCHES)]], _READOUT)
            flops[length] = counter.get_total_flops() / max(_BATCHES)
        peaks[str(n_threads)] = peak = max(before, peak_gflops(rounds))
        for (length, batch), seconds in times.items():
            share = flops[length] * batch / seconds / 1e9 / peak
            rows.append((n_threads, length, batch, batch / seconds, share))
    names = ["threads", "wavelengths", "spectra per call", "spectra/s", "share of matmul peak"]
    return pd.DataFrame(rows, columns=names), peaks


def beside_others(rounds: int) -> pd.DataFrame:
    """Return spectra per second of this encoder and other transforms, on one thread."""
    torch.set_num_threads(1)
    X, nm = spectra(_N, _LENGTH), np.linspace(1000.0, 2500.0, _LENGTH)
    y = X[:, 100] - X[:, 300]
    encoder = load_checkpoint(DEFAULT).encoder
    sizes = {name: getattr(encoder.config, name) for name in ("d_model", "n_latents", "n_heads", "n_self_layers")}
    textbook = SpectralPerceiver(**sizes).eval()
    grid, x = Grid.from_wavelengths(torch.from_numpy(nm)), torch.from_numpy(X)
    pca, snv_sg = PCA(20).fit(X), PREPROCESSINGS["snv+sg1"]
    pls = PLSRegression(10).fit(snv_sg(X), y)

    def read() -> None:
        with torch.inference_mode():
            for part in x.split(32):
                textbook(part, grid, readout="mean")

    runs: dict[str, Run] = {
        f"this encoder, {kind}": lambda kind=kind: embed(encoder, [Spectra(X, nm)], kind)
        for kind in (*_READOUTS, "compact")
    }
    runs |= {
        "textbook Perceiver of the same size": read,
        "PCA, 20 components": lambda: pca.transform(X),
        "SNV + first derivative + PLS": lambda: pls.predict(snv_sg(X)),
        "AsLS baseline (nirs4all)": lambda: PREPROCESSINGS["asls+snv"](X),
    }
    times = shortest(runs, rounds)
    seconds = multirocket_seconds(X, rounds)
    if seconds is not None:
        times["MultiRocket (aeon)"] = seconds
    own = times[f"this encoder, {_READOUT}"]
    rows = [(name, _N / seconds, seconds / own) for name, seconds in times.items()]
    return pd.DataFrame(rows, columns=["transform", "spectra/s", "time over this encoder's"])


def growth(rounds: int, readout: str) -> dict[str, float]:
    """Return the exponent of time in the number of spectra, and time at 2,100 over 700 points."""
    torch.set_num_threads(1)
    encoder = load_checkpoint(DEFAULT).encoder
    X, nm = spectra(max(_COUNTS), _LENGTH), np.linspace(1000.0, 2500.0, _LENGTH)
    times = shortest({n: lambda n=n: embed(encoder, [Spectra(X[:n], nm)], readout) for n in _COUNTS}, rounds)
    exponent = float(np.polyfit(np.log(_COUNTS), np.log([times[n] for n in _COUNTS]), 1)[0])
    blocks = {length: Spectra(spectra(_N, length), np.linspace(1000.0, 2500.0, length)) for length in (700, 2100)}
    times = shortest({n: lambda block=block: embed(encoder, [block], readout) for n, block in blocks.items()}, rounds)
    return {
        f"time ~ N to the power of, {readout}": exponent,
        f"time at 2,100 wavelengths over 700, {readout}": times[2100] / times[700],
    }


def cached(rounds: int, readout: str) -> dict[str, float]:
    """Return the relative time of a second call with ``cache=True``, and its milliseconds."""
    X, nm = spectra(_N, _LENGTH), np.linspace(1000.0, 2500.0, _LENGTH)
    # Fit on all spectra, so that the default column processing is included.
    embedder = SpectralEmbedder(readout=readout, wavelengths=nm, cache=True, device="cpu").fit(X)
    first, second = [], []
    for _ in range(rounds):
        embedder.clear_cache()
        for times in (first, second):
            start = time.perf_counter()
            embedder.transform(X)
            times.append(time.perf_counter() - start)
    return {
        f"second call over the first, cached, {readout}": min(second) / min(first),
        f"second call, cached, ms a spectrum, {readout}": 1e3 * min(second) / _N,
    }


_MEMORY = """
import numpy as np, json
from benchmarks.measure import Measured
from benchmarks.speed import spectra
from nirs4all_vit import SpectralEmbedder
X, nm = spectra({n}, 2100), np.linspace(1000.0, 2500.0, 2100)
embedder = SpectralEmbedder(wavelengths=nm, adapt=False, device="cpu").fit(X[:2])
with Measured() as measured:
    out = embedder.transform(X)
sizes = {{"MB above the input": measured.peak_mb, "MB of the output": out.nbytes / 2**20}}
print(json.dumps({{"seconds": measured.seconds, **sizes}}))
"""
_FIRST = """
import numpy as np
from nirs4all_vit import SpectralEmbedder
SpectralEmbedder().fit_transform(np.linspace(0, 1, 700)[None] ** 2, wavelengths=np.linspace(1000, 2500, 700))
"""

_COMMAND_LINE = """
import os, sys
from nirs4all_vit.cli import main
spectrum, target = {folder!r} + "/spectrum.csv", {folder!r} + "/embedded.npy"
if os.path.exists(target):
    os.remove(target)
sys.exit(main(["embed", spectrum, "-o", target]))
"""


def in_a_new_process(script: str, threads: int | None = None) -> tuple[float, str]:
    """Run a script in a new process; return seconds and standard output."""
    environment = dict(os.environ) | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    return time.perf_counter() - start, done.stdout


def start_up(rounds: int) -> dict[str, float]:
    """Return seconds of import and first embedding in new processes, without interpreter start."""
    axis = np.linspace(1000, 2500, 700)
    with tempfile.TemporaryDirectory() as folder:
        pd.DataFrame((axis / 2500)[None] ** 2, columns=axis).to_csv(Path(folder) / "spectrum.csv", index=False)
        scripts = {
            "bare": "pass",
            "import nirs4all_vit": "import nirs4all_vit",
            "first embedding of a process": _FIRST,
            "nirs4all-vit embed, a file of one spectrum": _COMMAND_LINE.format(folder=folder),
        }
        times = shortest({name: lambda s=script: in_a_new_process(s) for name, script in scripts.items()}, rounds)
    bare = times.pop("bare")
    return {name: seconds - bare for name, seconds in times.items()}


def one_by_one(run: Pretraining, steps: int) -> float:
    """Return spectra per second of a plain loop with one pass per spectrum, at its own length."""
    count, start = 0, 0.0
    for k in range(steps + 1):
        if k == 1:  # warm-up
            count, start = 0, time.perf_counter()
        prepared = run.training[k]
        run.model.train()
        run.optimisation.optimizer.zero_grad(set_to_none=True)
        for name, inputs in prepared.items():
            for row in range(len(inputs.views[0])):
                rows = torch.tensor([row])
                view = inputs.views[0].take(rows)
                length = view.spectra.shape[1] if view.valid is None else int(view.valid.sum())
                grid = view.wavelengths if view.wavelengths.dim() == 1 else view.wavelengths[0, :length]
                alone = dataclasses.replace(
                    view, spectra=view.spectra[:, :length], wavelengths=grid, valid=None, baseline=None
                )
                tensors = {key: value[rows, :length] for key, value in inputs.tensors.items()}
                run.model.objectives[name](run.encoder, Inputs([alone], tensors)).backward()
                count += 1
        run.optimisation.optimizer.step()
    return count / (time.perf_counter() - start)


def spectra_per_second(run: Pretraining, steps: int) -> float:
    """Return spectra per second of some steps, after a warm-up step."""
    run.step()
    start, count = time.perf_counter(), 0.0
    for _ in range(steps):
        count += run.step()["spectra"]
    return count / (time.perf_counter() - start)


def shares(run: Pretraining, steps: int) -> dict[str, float]:
    """Return the share of each operator in the total time of all operators."""
    with profile(activities=[ProfilerActivity.CPU]) as record:
        for _ in range(steps):
            run.step()
    own: dict[str, float] = {}
    for event in record.key_averages():
        if event.key.startswith("enumerate(DataLoader"):
            continue  # contains other operators
        own[event.key.removeprefix("aten::")] = own.get(event.key.removeprefix("aten::"), 0) + event.self_cpu_time_total
    total = sum(own.values())
    products = sum(value for key, value in own.items() if any(name in key for name in _PRODUCTS))
    largest = sorted(own.items(), key=lambda item: -item[1])[:12]
    return {"matrix products": products / total, **{key: value / total for key, value in largest}}


#: Timed recipes and their changes: masked modelling on points (original Perceiver) and patches.
_RECIPES: dict[str, tuple[str, list[str]]] = {
    "points": ("reference", ["--objectives.baseline_consistency.weight=0"]),
    "patches": ("ablation-mae", ["--run.precision=bf16"]),
    "patches, resampled": (
        "ablation-mae",
        ["--run.precision=bf16", "--data.layout=resampled", "--data.n_datasets=4", "--data.n_points=512"],
    ),
}


def pretraining(x_bank: Path, steps: int) -> dict[str, Any]:
    """Return the speed of pretraining by batches and single spectra, and shares of the time."""
    bank = load_x_bank(x_bank)
    keep_freed_memory()
    figures: dict[str, Any] = {"machine": machine(), "matmul peak (GFLOP/s)": round(peak_gflops(5), 1)}

    def fresh(name: str, options: Sequence[str]) -> Pretraining:
        return Pretraining(load_recipe(name, [f"--data.x_bank={x_bank}", "--data.p_synth=0", *options]), bank)

    for kind, (name, options) in _RECIPES.items():
        batched = spectra_per_second(fresh(name, options), steps)
        single = one_by_one(fresh(name, [*options, "--run.precision=fp32"]), max(1, steps // 10))
        flops = flops_per_spectrum(fresh(name, options))
        figures[kind] = {
            "recipe": name,
            "spectra per second": round(batched, 1),
            "spectra per second, one by one": round(single, 1),
            "ratio": round(batched / single, 2),
            "share of the matmul peak": round(batched * flops / 1e9 / figures["matmul peak (GFLOP/s)"], 3),
            "share of preparation": round(preparation_share(fresh(name, options), batched), 4),
            "shares of a step": shares(fresh(name, options), max(2, steps // 4)),
        }
    rate = spectra_per_second(fresh("cpu", []), steps)
    figures["episodes"] = {
        "recipe": "cpu",
        "spectra per second": round(rate, 1),
        "episodes per second": round(rate / fresh("cpu", []).config.data.batch_size, 2),
        "share of preparation": round(preparation_share(fresh("cpu", []), rate), 4),
    }
    return figures


def training_steps(x_bank: Path, steps: int, baselines: Path) -> pd.DataFrame:
    """Return the seconds of a training step on one core, for each recipe of the phases.

    `baselines` is a folder for the AsLS baselines of the bank, which some recipes need.
    """
    encoders = trained_encoders(name for phase in STRICT.values() for name in phase.named())
    recipes = sorted({recipe_of(name) for name in encoders} - set(LABELLED))
    bank = load_x_bank(x_bank)
    BaselineCache(baselines).precompute(bank, n_jobs=cpu_count())
    torch.set_num_threads(1)
    rows = []
    for recipe in tracked(recipes, "training steps", "recipe"):
        run = Pretraining(load_recipe(recipe, [f"--data.asls={baselines}"]), bank)
        run.step()  # warm-up
        start = time.perf_counter()
        for _ in range(steps):
            run.step()
        rows.append({"recipe": recipe, "seconds_per_step": (time.perf_counter() - start) / steps})
    return pd.DataFrame(rows)


def flops_per_spectrum(run: Pretraining, steps: int = 4) -> float:
    """Return the floating-point operations of matrix products per spectrum in a step."""
    count = 0.0
    with FlopCounterMode(display=False) as counter:
        for _ in range(steps):
            count += run.step()["spectra"]
    return counter.get_total_flops() / count


def preparation_share(run: Pretraining, spectra_per_second: float, batches: int = 20) -> float:
    """Return the share of drawing, cropping, augmenting and masking in the time of a step."""
    start, count = time.perf_counter(), 0
    for k in range(batches):
        count += sum(len(view) for inputs in run.training[k].values() for view in inputs.views)
    return (time.perf_counter() - start) / count * spectra_per_second


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--out", type=Path, default=Path("runs/speed"), help="folder of the tables (%(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="times of which the shortest counts (%(default)s)")
    parser.add_argument("--spectra", type=int, default=15_000, help="of the memory's measurement (%(default)s)")
    parser.add_argument("--pretraining", action="store_true", help="time pretraining, and nothing else")
    parser.add_argument("--recipes", action="store_true", help="time a step of each recipe of the phases, only")
    parser.add_argument("--x-bank", type=Path, default=DEFAULT_X_BANK, help="for these two: folder of spectra")
    parser.add_argument("--steps", type=int, default=40, help="for these two: steps that are timed (%(default)s)")


def main(options: argparse.Namespace) -> int:
    """Measure; print and write the tables."""
    options.out.mkdir(parents=True, exist_ok=True)
    if options.pretraining:
        figures = pretraining(options.x_bank, options.steps)
        write_json(figures, options.out / "pretraining_speed.json")
        print(json.dumps(figures, indent=1))
        return 0
    if options.recipes:
        table = training_steps(options.x_bank, options.steps, options.out / "asls")
        write_table(table, options.out / "training_steps")
        print(table.to_string(index=False))
        return 0
    rounds = options.rounds
    table, peaks = encoding(rounds, sorted({1, min(2, cpu_count())}))
    write_table(table, options.out / "speed_encoding")
    others = beside_others(rounds)
    write_table(others, options.out / "speed_others")
    about: dict[str, Any] = {"machine": machine(), "matmul peak (GFLOP/s), by threads": peaks}
    for readout in _READOUTS:
        about |= growth(rounds, readout) | cached(rounds, readout)
    about |= start_up(rounds)
    memory = json.loads(in_a_new_process(_MEMORY.format(n=options.spectra))[1])
    about[f"{options.spectra} x 2100"] = memory
    write_json(about, options.out / "speed.json")
    print(table.to_string(index=False), others.to_string(index=False), json.dumps(about, indent=2), sep="\n\n")
    return 0
