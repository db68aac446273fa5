"""Embeddings that learn what to ignore from simulated instruments (research log, section 35).

``python -m benchmarks.research.simulated_instruments train --kind KIND --x-bank DIR --out DIR`` trains on the families
that have no pair of instruments (20 minutes on one core); ``score`` compares all with the encoder as it is.

An episode is a label-free calibration of one dataset. Two instruments are drawn for it: wavelength error, resolution,
response, stray light, path length and noise. The calibration samples are measured on the first, the queries on the
second (half of the time on the same one). Three ways of learning:

- ``network``: all parameters of local contrast, patch network included, by these episodes;
- ``control``: the same, with one instrument for both;
- ``importance``: a factor for each kind of column (scale, view, coefficient), applied after `fit` has weighted columns.

And one without training: ``robust=True``, which simulates instruments in `fit`.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.metrics import root_mean_squared_error
from torch import Tensor, nn

from nirs4all_vit import SpectralEmbedder, load_checkpoint, save_checkpoint
from nirs4all_vit.embedding import glsw
from nirs4all_vit.embedding.column_weighting import FLOOR
from nirs4all_vit.encoder import EncoderConfig, SpectralPerceiver
from nirs4all_vit.pretraining import load_x_bank
from nirs4all_vit.pretraining.data.batch import Draw
from nirs4all_vit.pretraining.data.flat import FlatBank
from nirs4all_vit.pretraining.data.multi import MultiSpectralDataset
from nirs4all_vit.pretraining.episodic_ridge import Answers, episodic_ridge
from nirs4all_vit.pretraining.tasks import TASKS
from nirs4all_vit.progress import tracked

from ..calibrations import Calibration
from ..encoders import DEFAULT, Encoders
from ..methods.ridge import ScaledRidge
from ..transfer import INSTRUMENT_GROUPS, instrument_pairs, load_pair, shared_targets

_MIXTURE = {"hidden_components": 0.4, "nonlinear_functionals": 0.4, "linear_functionals": 0.2}


class Instruments:
    """A simulated instrument for each of B episodes on axes (B, L), in nm.

    `size` multiplies the width of all distributions.
    """

    def __init__(self, axes: Tensor, deviation: Tensor, draw: Draw, size: float = 1.0) -> None:
        n, length = axes.shape
        axis = axes.float()
        low, high = axis[:, :1], axis[:, -1:]
        place = 2 * (axis - low) / (high - low).clamp_min(1e-3) - 1
        error = size * (2.0 * draw.normal(n, 1) + 1.0 * draw.normal(n, 1) * place + 0.7 * draw.normal(n, 1) * place**2)
        # Resolution: broader than the instrument that measured, 1 to 20 nm.
        sigma = draw.log_uniform(n, 1, low=0.5, high=1.0 + 9.0 * size)
        step = (high - low) / (length - 1)
        sigma = torch.maximum(sigma, 0.5 * step)
        away = (axis + error).unsqueeze(2) - axis.unsqueeze(1)
        weight = (-0.5 * (away / sigma.unsqueeze(2)).square()).exp() + 1e-12 * (-away.abs() / step.unsqueeze(2)).exp()
        self.matrix = weight / weight.sum(dim=2, keepdim=True)
        order = torch.arange(7, device=axes.device).float()
        waves = torch.cos(torch.pi * order * (place.unsqueeze(2) + 1) / 2)  # (B, L, 7)
        height = draw.normal(n, 7) / (1 + order) * draw.log_uniform(n, 1, low=0.05, high=1.0) * size
        self.response = deviation * (waves @ height.unsqueeze(2)).transpose(1, 2)  # (B, 1, L)
        self.stray = draw.log_uniform(n, 1, 1, low=1e-4, high=0.02) * size
        self.path = (0.1 * size * draw.normal(n, 1, 1)).exp()
        self.noise = deviation * draw.log_uniform(n, 1, 1, low=3e-4, high=1e-2)
        self.draw = draw

    def measure(self, x: Tensor) -> Tensor:
        """Return absorbance (B, S, L) as this instrument sees it."""
        x = x @ self.matrix.transpose(1, 2)
        transmitted = torch.pow(10.0, -(x * self.path).clamp(-2.0, 6.0))
        x = -torch.log10((transmitted + self.stray) / (1.0 + self.stray)) + self.response
        return x + self.noise * self.draw.normal(*x.shape)


class Importance(nn.Module):
    """A factor for each scale, view and coefficient of local contrast."""

    def __init__(self, contrast: Any) -> None:
        super().__init__()
        per = contrast.n_features
        scale = torch.tensor(contrast.scales())
        kind = (scale[:, None] * per + torch.arange(per)).flatten()[contrast.order]
        self.register_buffer("kind", torch.cat([kind, kind]))
        self.log = nn.Parameter(torch.zeros(contrast.n_scales * per))

    def forward(self) -> Tensor:
        """Return factors of all columns."""
        return self.log.exp()[self.kind]


def adapted(z: Tensor, support: Tensor) -> Tensor:
    """Weight columns by the support of each episode, as `episodic_ridge` does."""
    w = support.unsqueeze(-1).to(z.dtype)
    n = w.sum(dim=1, keepdim=True)
    z = z - (z * w).sum(dim=1, keepdim=True) / n
    spread = ((z.square() * w).sum(dim=1, keepdim=True) / n + 1e-16).sqrt()
    # `ColumnWeighting` leaves the fourth root of the deviation.
    return z * (spread + FLOOR * spread.mean(dim=-1, keepdim=True)) ** -0.75


def plain_ridge(z: Tensor, answers: Answers) -> Tensor:
    """Return losses of ridges on columns as they are, at three penalties, the best by leaving out."""
    support, query = answers.support.unsqueeze(-1).double(), answers.query.unsqueeze(-1).double()
    n = support.sum(dim=1, keepdim=True)
    y = answers.targets.double()
    y = y - (y * support).sum(dim=1, keepdim=True) / n
    deviation = ((y.square() * support).sum(dim=1, keepdim=True) / (n - 1)).sqrt()
    y = torch.where(deviation > 1e-9, y / deviation.clamp_min(1e-9), 0.0)
    z = z.double()
    z = z - (z * support).sum(dim=1, keepdim=True) / n
    kernel = z @ z.transpose(1, 2)
    among = kernel * support * support.transpose(1, 2)
    diagonal = among.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None] / n
    eye = torch.eye(kernel.shape[-1], dtype=kernel.dtype)
    errors, left = [], []
    for alpha in (1e-4, 1e-3, 1e-2, 1e-1):
        factor = torch.linalg.cholesky(among + alpha * diagonal * eye)
        duals = torch.cholesky_solve(y * support, factor)
        with torch.no_grad():
            inverse = torch.cholesky_inverse(factor).diagonal(dim1=1, dim2=2).unsqueeze(-1)
            slack = inverse - 1.0 / n / (alpha * diagonal)
            left.append(((duals / slack.clamp_min(1e-12)) * support).square().sum(dim=1))
        error = y - kernel * support.transpose(1, 2) @ duals
        errors.append((error.square() * query).sum(dim=1) / query.sum(dim=1))
    best = torch.stack(left).argmin(dim=0, keepdim=True)
    return (torch.stack(errors).gather(0, best)[0].clamp(max=2.0) + 1e-3).log().mean(dim=1)


def train(options: argparse.Namespace) -> None:
    """Train on the families that have no pair of instruments."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    names = {name for group in INSTRUMENT_GROUPS for name in group}
    every = list(load_x_bank(options.x_bank))
    families = {d.family for d in every if d.name in names}
    bank = [d for d in every if d.family not in families]
    data = MultiSpectralDataset(bank, 64, crop_probability=0.6, min_spectra=30)
    flat = FlatBank(data, options.episodes, 320, torch.device("cpu"))
    print(f"{len(data.datasets)} datasets, without {', '.join(sorted(families))}", flush=True)
    if options.kind == "importance":
        encoder = load_checkpoint(DEFAULT).encoder.requires_grad_(False).eval()
    else:
        encoder = SpectralPerceiver(EncoderConfig(readout_scale=100.0))
    importance = Importance(encoder.tokenizer.contrast)
    learned = importance if options.kind == "importance" else encoder.tokenizer.contrast
    rate = 2e-2 if options.kind == "importance" else 2e-3
    optimiser = torch.optim.AdamW(learned.parameters(), rate, weight_decay=0.0)
    tasks = {name: TASKS[name]() for name in _MIXTURE}
    start, step, log, seen = time.process_time(), 0, [], 0
    while (share := (time.process_time() - start) / (60 * options.minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 20) * (0.5 + 0.5 * np.cos(np.pi * share))
        batch, draw = flat[step], Draw.seeded(10_000_019 + step)
        task = tasks[str(np.random.default_rng(step).choice(list(tasks), p=list(_MIXTURE.values())))]
        batch, targets = task(batch, draw)
        x, axes = batch.by_episode(batch.spectra), batch.axes
        n, size, _ = x.shape
        answers = batch.by_episode(targets)
        first = torch.arange(size).expand(n, -1) < (draw.uniform(n, 1, low=0.35, high=0.75) * size).long()
        there = torch.ones_like(first) if batch.repeated is None else ~batch.by_episode(batch.repeated)
        parts = Answers(answers, first & there, ~first & there)
        ok = (parts.support.sum(dim=1) >= 8) & (parts.query.sum(dim=1) >= 3)
        deviations = torch.as_tensor(batch.deviations, dtype=torch.float32).expand(n, 1, 1)
        a, b = (Instruments(axes, deviations, draw) for _ in range(2))
        one, other = a.measure(x), b.measure(x)
        crossed = draw.whether(0.0 if options.kind == "control" else 0.5, n, 1, 1)
        x = torch.where(parts.query.unsqueeze(2) & crossed, other, one)
        # A quarter is as it was measured.
        x = torch.where(draw.whether(0.25, n, 1, 1), batch.by_episode(batch.spectra), x)
        embedded = encoder(x.flatten(0, 1), batch.grid(), readout="contrast")
        z = embedded.unflatten(0, (n, -1))
        if options.kind == "importance":
            loss = plain_ridge(adapted(z, parts.support) * importance(), parts)
        else:
            loss, _ = episodic_ridge(z, parts)
        total = loss[ok].mean()
        optimiser.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(learned.parameters(), 0.5)
        if all(p.grad is None or p.grad.isfinite().all() for p in learned.parameters()):
            optimiser.step()
        is_crossed = (crossed[:, 0, 0] & ok).nonzero()[:, 0]
        log.append((float(loss[is_crossed].detach().mean()) if len(is_crossed) else np.nan, float(total.detach())))
        step, seen = step + 1, seen + n * size
        if step % 50 == 0:
            crossed_loss, all_losses = np.nanmean(log[-50:], axis=0)
            seconds = time.process_time() - start
            print(f"{step} crossed {crossed_loss:.4f} all {all_losses:.4f} {seen:,} spectra {seconds:.0f} s")
    options.out.mkdir(parents=True, exist_ok=True)
    if options.kind == "importance":
        np.savez(options.out / "importance.npz", factor=importance().detach().numpy())
    else:
        save_checkpoint(options.out / f"{options.kind}.safetensors", encoder.eval(), name=options.kind, provenance={})


class Way:
    """An embedding of the first instrument's calibration, and whatever is done to it."""

    def __init__(self, checkpoint: str = DEFAULT, simulated: tuple[int, float] | None = None, **more: Any) -> None:
        self.factor = more.pop("factor", None)
        self.embedder = SpectralEmbedder(checkpoint=checkpoint, axis_unit="nm", **more)
        self.simulated = simulated

    def fit(self, train: Calibration) -> None:
        """Fit the embedder and the ridge."""
        before = glsw.N_PAIRS, glsw.STRENGTH
        if self.simulated is not None:
            glsw.N_PAIRS, glsw.STRENGTH = self.simulated
        try:
            self.embedder.fit(train.X, wavelengths=train.wavelengths)
        finally:
            glsw.N_PAIRS, glsw.STRENGTH = before
        self.ridge = ScaledRidge().fit(self.embed(train), train)

    def embed(self, part: Calibration) -> NDArray:
        """Return the embedding."""
        z = self.embedder.transform(part.X, wavelengths=part.wavelengths)
        return z if self.factor is None else z * self.factor

    def errors(self, parts: dict[str, Calibration], unlabelled: Calibration) -> dict[str, float]:
        """Return RMSEP of each part, and of the other instrument's after unlabelled adaptation."""
        out = {
            name: root_mean_squared_error(self.ridge.predict(self.embed(part)), part.y) for name, part in parts.items()
        }
        self.embedder.adapt_to(unlabelled.X, wavelengths=unlabelled.wavelengths)
        out["adapted"] = self._error(parts["other"])
        return out

    def _error(self, part: Calibration) -> float:
        return float(root_mean_squared_error(part.y, self.ridge.predict(self.embed(part))))


def score(options: argparse.Namespace) -> None:
    """Compare all ways over the pairs of instruments."""
    torch.set_num_threads(1)
    factor = None
    if (options.out / "importance.npz").exists():
        factor = np.load(options.out / "importance.npz")["factor"]
    untrained = Encoders(options.out).path("untrained")
    ways = {
        "untrained": lambda: Way(untrained),
        "bundled": lambda: Way(),
        "robust": lambda: Way(robust=True),
        **{
            f"{n} pairs, strength {strength:g}": lambda of=(n, strength): Way(robust=True, simulated=of)
            for n, strength in ((8, 3e2), (8, 3e3), (16, 1e3))
        },
        **{
            name: lambda name=name: Way(str(options.out / f"{name}.safetensors"))
            for name in ("network", "control")
            if (options.out / f"{name}.safetensors").exists()
        },
    }
    if factor is not None:
        ways["importance"] = lambda: Way(factor=factor)
    if options.ways:
        ways = {name: ways[name] for name in options.ways}
    x_bank, y_bank = options.x_bank, options.x_bank.parent / "y_bank"
    path = options.out / "scores.csv"
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    done = {(r["way"], r["from"], r["to"], r["target"], r["seed"]) for r in rows}
    for a, b in tracked(list(instrument_pairs()), "pairs", "pair"):
        for target in shared_targets(x_bank, y_bank, a, b)[: options.targets]:
            pair = load_pair(x_bank, y_bank, a, b, target)
            for seed in range(options.splits):
                order = np.random.default_rng(seed).permutation(len(pair.source))
                k = len(order) // 3
                test, rest = order[:k], order[k:]
                few, calibration = rest[: min(30, len(rest) // 2)], rest[min(30, len(rest) // 2) :][:200]
                train = pair.source.take(calibration)
                parts = {"other": pair.destination.take(test), "same": pair.source.take(test)}
                native = Way()
                for name, make in ways.items():
                    if (name, a, b, target, seed) in done:
                        continue
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        way = make()
                        way.fit(train)
                        errors = way.errors(parts, pair.destination.take(few))
                        if name == "bundled":
                            native.fit(pair.destination.take(calibration))
                            errors["native"] = root_mean_squared_error(
                                native.ridge.predict(native.embed(parts["other"])), parts["other"].y
                            )
                    errors["mean"] = root_mean_squared_error(np.full(k, train.y.mean()), parts["other"].y)
                    rows.append({"way": name, "family": pair.source.family, "from": a, "to": b, "target": target,
                                 "seed": seed, **errors})  # fmt: skip
        pd.DataFrame(rows).to_csv(path, index=False)
    report(pd.DataFrame(rows))


def report(table: pd.DataFrame) -> None:
    """Print ratios to the untrained encoder, by target and by group of instruments."""
    key = ["family", "from", "to", "target"]
    native = table[table.way == "bundled"].groupby(key)[["native", "mean"]].mean()
    usable = native.index[native["native"] <= 0.95 * native["mean"]]
    means = table.groupby(["way", *key])[["other", "adapted", "same"]].mean()
    base = means.loc["untrained"]
    rows = []
    for way in table.way.unique():
        ratio = np.log(means.loc[way] / base).reindex(usable).dropna()
        groups = ratio.groupby("family").mean()
        row = {"way": way, "targets": len(ratio)}
        for name in ratio:
            row |= {name: np.exp(ratio[name].mean()), f"{name}, by group": np.exp(groups[name].mean())}
        rows.append(row)
    print(pd.DataFrame(rows).round(3).to_string())


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["train", "score"])
    parser.add_argument("--kind", choices=["network", "control", "importance"], default="network")
    parser.add_argument("--x-bank", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--episodes", type=int, default=8, help="datasets of a step")
    parser.add_argument("--targets", type=int, default=2, help="targets of each pair")
    parser.add_argument("--splits", type=int, default=1)
    parser.add_argument("--ways", nargs="*", default=[])
    options = parser.parse_args()
    {"train": train, "score": score}[options.step](options)


if __name__ == "__main__":
    main()
