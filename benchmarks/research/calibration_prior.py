"""Heads that learn from label-free calibrations of other families (research log, section 34).

Three steps, each resumable, on one core each::

    python -m benchmarks.research.calibration_prior targets --x-bank DIR --out DIR   # 30 minutes
    python -m benchmarks.research.calibration_prior tasks --x-bank DIR --out DIR     # 30 minutes
    python -m benchmarks.research.calibration_prior train --x-bank DIR --out DIR     # 20 minutes a fold and head

``targets`` stores, for each predictable target, kernels of ten views of calibration and test spectra, and the
predictions of the committee. ``tasks`` stores the same kernels of spectra with answers that need no label. ``train``
fits a network on the tasks of the families outside of a fold, and scores it on the targets of the fold.

Two networks: ``average`` weighs the predictions of 120 kernel ridges by their leave-one-out errors and by what it
learned; ``attention`` is a prior-fitted transformer over the samples of a calibration and its queries.
"""

from __future__ import annotations

import argparse
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.heads.committee import DEFAULT_WIDTHS, SpectralCommittee
from nirs4all_vit.heads.views import preprocessed
from nirs4all_vit.pretraining import SpectralDataset
from nirs4all_vit.pretraining.data.batch import Draw, SpectralBatch
from nirs4all_vit.pretraining.tasks import TASKS, corrupt
from nirs4all_vit.progress import tracked

from ..calibrations import bank_families, read_about, read_spectra
from ..context import Context, parts
from ..embeddings import EmbeddedView
from ..encoders import DEFAULT, fold_families
from ..methods.registry import PARAMETERS
from ..problems import Problems
from ..runner import prepare
from ..tables import RESULTS
from ..tasks import Results, Task

#: Views: the embedding, its four scales, five preprocessings.
N_VIEWS = 10
#: Kernels of a view: linear, and RBF of two lengths (views have a mean squared norm of one).
LENGTHS = (0.7, 1.5)
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
N_CANDIDATES = N_VIEWS * (1 + len(LENGTHS)) * len(PENALTIES)
#: Test spectra of a target that are scored, and spectra of a task.
_SCORED, _SIZE = 150, 96
#: Answers of a stored task.
_ANSWERS = 16
#: Tasks and their shares.
_MIXTURE = {
    "hidden_components": 0.3,
    "nonlinear_functionals": 0.35,
    "linear_functionals": 0.15,
    "linear_spikes": 0.2,
}


def kernels(embedded: NDArray, spectra: NDArray, n: int) -> NDArray[np.float32]:
    """Return linear kernels (N_VIEWS, m, m) of all rows, centred and scaled by the first n."""
    edges = np.cumsum((0, *DEFAULT_WIDTHS))
    views = [embedded, *(embedded[:, a:b] for a, b in pairwise(edges)), *preprocessed(spectra)]
    out = []
    for view in views:
        centred = np.asarray(view, dtype=np.float64) - np.asarray(view[:n], dtype=np.float64).mean(axis=0)
        scale = max(float(np.square(centred[:n]).sum(axis=1).mean()), 1e-300)
        out.append((centred @ centred.T / scale).astype(np.float32))
    return np.stack(out)


def _store_target(task: Task, context: Context, path: Path) -> None:
    train, test, about = parts(task, context)
    view = EmbeddedView(context.weights[DEFAULT], "contrast", context.embeddings, **PARAMETERS["committee"]).fit(train)
    rows = np.random.default_rng(0).permutation(len(test))[:_SCORED]
    Z, T = np.asarray(view.view(train, "")), np.asarray(view.view(test.take(np.sort(rows)), ""))
    committee = SpectralCommittee().fit(Z, train.y, groups=train.groups)
    split = sum(DEFAULT_WIDTHS)
    both = np.concatenate([Z, T])
    members = committee.predict_members(T)
    np.savez(
        path,
        kernels=kernels(both[:, :split], both[:, split:], len(Z)),
        y=train.y,
        groups=train.groups,
        truth=test.y[np.sort(rows)],
        committee=committee.predict(T),
        **{f"member_{k}": v for k, v in members.items()},
        family=about["family"],
    )


def targets(options: argparse.Namespace) -> None:
    """Store kernels and predictions of all predictable targets."""
    folder = options.out / f"targets-{options.n}"
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.read_csv(RESULTS / "phase3a-heads_targets.csv")
    table = table[(table.kind == "regression") & (table.n == options.n) & table.predictable]
    tasks = [
        Task("calibration", r.dataset, r.target, f"committee@{DEFAULT}", seed=seed, n_train=options.n)
        for r in table.itertuples()
        for seed in range(options.splits)
    ]
    tasks, context = prepare(tasks, Problems(options.x_bank.resolve()), Results(options.out / "results"))
    for task in tracked(tasks, "targets", "target"):
        path = folder / f"{task.dataset}__{task.target.replace('/', '-')}__{task.seed}.npz"
        if not path.exists():
            with threadpool_limits(1), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _store_target(task, context, path)


def tasks(options: argparse.Namespace) -> None:
    """Store kernels and answers of label-free tasks, uniform over datasets."""
    folder = options.out / "tasks"
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(path.stem for path in options.x_bank.glob("*.csv"))
    datasets = []
    for name in names:
        X, axis = read_spectra(options.x_bank, name)
        if len(X) >= 48:
            order = np.argsort(axis)
            about = read_about(options.x_bank, name)
            datasets.append((SpectralDataset(name, X[:, order], axis[order], about), about.get("family", name)))
    for round_ in tracked(range(options.rounds), "rounds of all datasets", "round"):
        for k, (dataset, family) in enumerate(datasets):
            path = folder / f"{dataset.name}__{round_}.npz"
            if not path.exists():
                stored = _task(dataset, Draw.seeded(1000 * round_ + k))
                if stored is not None:
                    np.savez(path, family=family, **stored)


def _task(dataset: SpectralDataset, draw: Draw) -> dict[str, Any] | None:
    generator = np.random.default_rng(draw.integer(0, 2**31 - 1))
    rows = np.sort(generator.permutation(len(dataset))[:_SIZE])
    X = dataset.absorbance(rows)
    axis = dataset.wavelengths
    if generator.random() < 0.4:
        width = int(len(axis) * generator.uniform(0.4, 1.0))
        first = generator.integers(0, len(axis) - width + 1)
        X, axis = X[:, first : first + width], axis[first : first + width]
    if len(axis) < 24 or not np.isfinite(X).all():
        return None
    deviation = float(X.std(axis=0).mean())
    batch = SpectralBatch(torch.from_numpy(np.ascontiguousarray(X)), torch.from_numpy(axis), deviation)
    kind = generator.choice(list(_MIXTURE), p=list(_MIXTURE.values()))
    episode, answers = batch, []
    # Different answers on the same spectra, where the task leaves them alone.
    for _ in range(3 if "functionals" in kind else 1):
        episode, targets_ = TASKS[kind]()(batch, draw)
        answers.append(targets_)
        if not torch.equal(episode.spectra, batch.spectra):
            answers = [targets_]
            break
    corrupted = corrupt(episode, draw, 0.5)
    spectra, wavelengths = corrupted.spectra.numpy(), corrupted.wavelengths.numpy()
    if spectra.shape[1] < 20 or not np.isfinite(spectra).all():
        return None
    y = torch.cat(answers, dim=1).numpy()[:, :_ANSWERS]
    y = y[:, y.std(axis=0) > 1e-9]
    if not y.shape[1]:
        return None
    y = (y - y.mean(axis=0)) / y.std(axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        embedder = SpectralEmbedder(axis_unit="nm")
        # Columns are weighed by as many spectra as a small calibration has.
        some = generator.permutation(len(spectra))[: int(generator.integers(20, 60))]
        embedder.fit(spectra[some], wavelengths=wavelengths)
        embedded = embedder.transform(spectra, wavelengths=wavelengths)
    return {"kernels": kernels(embedded, spectra, len(spectra)).astype(np.float16), "answers": y, "kind": kind}


def candidates(K: Tensor, n: int, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return predictions of kernel ridges on a calibration of n samples and what they leave out.

    Parameters
    ----------
    K : Tensor of shape (N_VIEWS, m, m)
        Linear kernels, the first n rows being the calibration.
    y : Tensor of shape (n, t)
        Centred values.

    Returns
    -------
    of_queries (C, m - n, t), left_out (C, n, t), leverage (C,)
    """
    mean = K[:, :n].mean(dim=1, keepdim=True)
    K = K - mean - mean.transpose(1, 2) + K[:, :n, :n].mean(dim=(1, 2), keepdim=True)
    scale = K[:, :n, :n].diagonal(dim1=1, dim2=2).mean(dim=1).clamp_min(1e-9)[:, None, None]
    K = K / scale
    d = K.diagonal(dim1=1, dim2=2)
    distance = (d[:, :n, None] + d[:, None, :] - 2 * K[:, :n]).clamp_min(0)
    every = [K[:, :n], *(torch.exp(-0.5 * distance / length**2) for length in LENGTHS)]
    stack = torch.stack(every, dim=1).flatten(0, 1)  # (kernels, n, m)
    own = stack[:, :, :n]
    size = (own.diagonal(dim1=1, dim2=2).mean(dim=1) - own.mean(dim=(1, 2))).clamp_min(1e-6)
    squares, vectors = torch.linalg.eigh(own.double())
    penalty = n * size.double()[:, None] * torch.tensor(PENALTIES, dtype=torch.float64)  # (kernels, p)
    inverse = 1.0 / (squares.clamp_min(0)[:, None] + penalty[..., None])  # (kernels, p, n)
    # A free constant: the GLS mean, so that the kernels need no centre.
    G = (vectors[:, None] * inverse[:, :, None]) @ vectors[:, None].transpose(2, 3)
    ones = G.sum(dim=3, keepdim=True)
    P = G - ones @ ones.transpose(2, 3) / ones.sum(dim=2, keepdim=True)
    alpha = P @ y.double()
    constant = (ones.transpose(2, 3) @ y.double()) / ones.sum(dim=2, keepdim=True)
    predicted = stack[:, None, :, n:].transpose(2, 3).double() @ alpha + constant
    diagonal = P.diagonal(dim1=2, dim2=3)
    left_out = y.double() - alpha / diagonal[..., None].clamp_min(1e-12)
    leverage = 1 - (diagonal * penalty[..., None]).mean(dim=2)
    return predicted.flatten(0, 1).float(), left_out.flatten(0, 1).float(), leverage.flatten().float()


class Average(nn.Module):
    """Weights of candidates by their errors left out and by what each usually is worth."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.name = nn.Parameter(0.02 * torch.randn(N_CANDIDATES, width))
        self.inner = nn.Sequential(nn.Linear(7, width), nn.GELU(), nn.Linear(width, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(width, 1)
        nn.init.zeros_(self.out.weight)
        self.sharpness = nn.Parameter(torch.tensor(1.0))

    def forward(self, predicted: Tensor, left_out: Tensor, leverage: Tensor, y: Tensor) -> Tensor:
        """Return predictions (m, t)."""
        n, t = y.shape
        y2 = y.square().mean(dim=0).clamp_min(1e-9)
        error = ((left_out - y).square().mean(dim=1) / y2).clamp(1e-4, 30).log()  # (C, t)
        best = error.min(dim=0, keepdim=True).values
        centre = (predicted.median(dim=0, keepdim=True).values - predicted).square().mean(dim=1) / y2
        robust = ((left_out - y).abs().median(dim=1).values / y2.sqrt()).clamp(1e-4, 30).log()
        features = torch.stack([
            error, error - best, robust, leverage[:, None].expand(-1, t), centre.clamp(1e-4, 30).log(),
            torch.full_like(error, float(np.log(n / 25))), best.expand_as(error),
        ], dim=-1)  # fmt: skip
        hidden = self.inner(features.transpose(0, 1)) + self.name
        score = self.out(self.blocks(hidden)).squeeze(-1).transpose(0, 1) - self.sharpness * (error - best)
        return (score.softmax(dim=0)[:, None] * predicted).sum(dim=0)


class Attention(nn.Module):
    """A prior-fitted network: tokens are samples, queries attend to the calibration."""

    N = 24

    def __init__(self, width: int = 96, depth: int = 4) -> None:
        super().__init__()
        self.x = nn.Linear(4 * self.N, width)
        self.y = nn.Linear(1, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))

    def scores(self, K: Tensor, n: int) -> Tensor:
        """Return principal components of two views, as they are and whitened: (m, 4 N)."""
        out = []
        for view in (0, 8):
            k = K[view]
            mean = k[:n].mean(dim=0, keepdim=True)
            k = k - mean - mean.T + k[:n, :n].mean()
            k = k / k[:n, :n].diagonal().mean().clamp_min(1e-9)
            squares, vectors = torch.linalg.eigh(k[:n, :n].double())
            squares, vectors = squares.flip(0)[: self.N].clamp_min(1e-6), vectors.flip(1)[:, : self.N]
            z = (k[:, :n].double() @ vectors / squares.sqrt()).float()
            white = z / (squares / n).sqrt().float()
            for part in (z * 2, white.clamp(-6, 6)):
                out.append(nn.functional.pad(part, (0, self.N - part.shape[1])))
        return torch.cat(out, dim=1)

    def forward(self, K: Tensor, n: int, y: Tensor) -> Tensor:
        """Return predictions (m, t) of standardised values."""
        x = self.x(self.scores(K, n)).expand(y.shape[1], -1, -1)
        support = x[:, :n] + self.y(y.T[..., None])
        tokens = torch.cat([support, x[:, n:]], dim=1)
        # Nobody attends to a query but itself.
        m = tokens.shape[1]
        mask = torch.ones(m, m, dtype=torch.bool)
        mask[:, :n] = False
        mask.fill_diagonal_(False)
        return self.out(self.blocks(tokens, mask=mask))[:, n:, 0].T


class Stored:
    """Tasks in memory."""

    def __init__(self, folder: Path, without: set[str]) -> None:
        self.items = []
        for path in sorted(folder.glob("*.npz")):
            with np.load(path) as file:
                if str(file["family"]) not in without:
                    self.items.append((torch.from_numpy(file["kernels"]), torch.from_numpy(file["answers"]).float()))

    def draw(self, generator: np.random.Generator, n: int) -> tuple[Tensor, int, Tensor, Tensor]:
        """Return kernels of calibration and queries, n, noisy values of the calibration and true ones of the rest."""
        K, answers = self.items[generator.integers(len(self.items))]
        size = len(answers)
        n = min(n, size - 16)
        order = generator.permutation(size)[: n + 48]
        K = K[:, order][:, :, order].float()
        mix = torch.from_numpy(generator.standard_normal((answers.shape[1], 8)).astype(np.float32))
        # Half of the targets are single answers, the others mixtures.
        single = torch.eye(answers.shape[1])[torch.from_numpy(generator.integers(answers.shape[1], size=8))].T
        chosen = torch.from_numpy(generator.random(8) < 0.6)
        y = answers[order] @ torch.where(chosen, single, mix)
        y = (y - y[:n].mean(dim=0)) / y[:n].std(dim=0).clamp_min(1e-6)
        noise = torch.from_numpy(np.exp(generator.uniform(np.log(0.03), np.log(0.7), 8)).astype(np.float32))
        noisy = y + noise * torch.from_numpy(generator.standard_normal(y.shape).astype(np.float32))
        out = torch.from_numpy((generator.random((len(y), 8)) < 0.02).astype(np.float32)) * float(
            generator.random() < 0.3
        )
        noisy = noisy + out * 3 * torch.from_numpy(generator.standard_normal(y.shape).astype(np.float32))
        level, deviation = noisy[:n].mean(dim=0), noisy[:n].std(dim=0)
        return K, n, (noisy[:n] - level) / deviation, (y[n:] - level) / deviation


def predict(net: nn.Module, K: Tensor, n: int, y: Tensor) -> Tensor:
    """Return predictions of the queries."""
    if isinstance(net, Average):
        return net(*candidates(K, n, y), y)
    return net(K, n, y)


def train(options: argparse.Namespace) -> None:
    """Train a network for each fold, and score it on the targets of the fold."""
    torch.set_num_threads(1)
    folds = fold_families(bank_families(options.x_bank))
    rows = []
    for k in options.folds:
        net = {"average": Average, "attention": Attention}[options.head]
        torch.manual_seed(0)
        net = net()
        stored = Stored(options.out / "tasks", set(folds[k]))
        print(f"fold {k}: {len(stored.items)} stored tasks", flush=True)
        optimiser = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.01)
        generator, start, step, losses = np.random.default_rng(k), time.process_time(), 0, []
        while (share := (time.process_time() - start) / (60 * options.minutes)) < 1:
            for group in optimiser.param_groups:
                group["lr"] = 1e-3 * min(1, (step + 1) / 50) * (0.5 + 0.5 * np.cos(np.pi * share))
            total = torch.zeros(())
            for _ in range(8):
                K, n, y, truth = stored.draw(generator, int(generator.choice(options.sizes)))
                error = (predict(net, K, n, y) - truth).square().mean(dim=0)
                total = total + (error + 0.01).log().mean() / 8
            optimiser.zero_grad()
            total.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            losses.append(total.item())
            step += 1
            if step % 100 == 0:
                print(f"{step} {np.mean(losses[-100:]):.4f} {time.process_time() - start:.0f} s", flush=True)
        torch.save(net.state_dict(), options.out / f"{options.head}~{k}.pt")
        rows += _scored(net, options, set(folds[k]))
        _report(pd.DataFrame(rows), options)


def _scored(net: nn.Module, options: argparse.Namespace, families: set[str]) -> list[dict[str, Any]]:
    rows = []
    for path in sorted((options.out / f"targets-{options.n}").glob("*.npz")):
        with np.load(path) as file:
            if str(file["family"]) not in families:
                continue
            y, truth = file["y"], file["truth"]
            level, deviation = y.mean(), y.std() or 1.0
            with torch.no_grad():
                K = torch.from_numpy(file["kernels"])
                values = torch.from_numpy(((y - level) / deviation)[:, None]).float()
                own = predict(net, K, len(y), values)[:, 0].numpy() * deviation + level
                of, left, _ = candidates(K, len(y), values)
            errors = (left[..., 0] - values[:, 0]).square().mean(dim=1)
            chosen = of[int(errors.argmin()), :, 0].numpy() * deviation + level
            weights = ((errors / errors.min()).log() * -2).softmax(0)
            soft = (weights[:, None] * of[..., 0]).sum(0).numpy() * deviation + level
            equal = of[..., 0].mean(0).numpy() * deviation + level
            row = {"family": str(file["family"]), "path": path.stem}
            every = {
                "committee": file["committee"], options.head: own, "least left out": chosen, "by left out": soft,
                "equal": equal,
                **{f"committee + {w} {options.head}": (1 - w) * file["committee"] + w * own for w in (0.2, 0.35, 0.5)},
                "committee + 0.35 by left out": 0.65 * file["committee"] + 0.35 * soft,
                "ridge": file["member_ridge"],
            }  # fmt: skip
            rows.append(row | {name: float(np.sqrt(np.square(p - truth).mean())) for name, p in every.items()})
    return rows


def _report(table: pd.DataFrame, options: argparse.Namespace) -> None:
    table = table.assign(target=table["path"].str.rsplit("__", n=1).str[0])
    methods = [name for name in table.columns if name not in ("family", "path", "target")]
    means = table.groupby(["family", "target"])[methods].mean()
    ratio = np.log(means.div(means["committee"], axis=0))
    by_family = ratio.groupby("family").mean()
    out = pd.DataFrame({
        "ratio": np.exp(ratio.mean()), "by family": np.exp(by_family.mean()), "wins": (ratio < 0).mean(),
        "spread": by_family.std() / np.sqrt(len(by_family)), "targets": len(ratio), "families": len(by_family),
    })  # fmt: skip
    print(out.round(3).to_string(), flush=True)
    means.to_csv(options.out / f"{options.head}-{options.n}.csv")


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["targets", "tasks", "train"])
    parser.add_argument("--x-bank", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--n", type=int, default=25, help="calibration samples of the targets")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=20, help="stored tasks of each dataset")
    parser.add_argument("--head", choices=["average", "attention"], default="average")
    parser.add_argument("--minutes", type=float, default=15, help="training time of a fold")
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--sizes", type=int, nargs="+", default=[12, 16, 20, 25, 25, 32, 40, 48])
    options = parser.parse_args()
    {"targets": targets, "tasks": tasks, "train": train}[options.step](options)


if __name__ == "__main__":
    main()
