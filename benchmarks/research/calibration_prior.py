"""Heads that learn from label-free calibrations of other families (research log, section 34).

Four steps on one core, the first two resumable::

    python -m benchmarks.research.calibration_prior targets --x-bank DIR --out DIR   # 3 minutes
    python -m benchmarks.research.calibration_prior tasks --x-bank DIR --out DIR     # 5 minutes
    python -m benchmarks.research.calibration_prior train --x-bank DIR --out DIR     # an hour a fold
    python -m benchmarks.research.calibration_prior score --x-bank DIR --out DIR     # all networks together

``targets`` stores, for each predictable target, kernels of ten views of calibration and test spectra, and the
predictions of the committee. ``tasks`` stores the same kernels of spectra with answers that need no
label. ``train`` fits a network (`calibration_networks`) on the tasks of the families outside of a fold, and scores it
on the targets of the fold.
"""

from __future__ import annotations

import argparse
import time
import warnings
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
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
from .calibration_networks import Attention, Average, Corrector, Mixture, take
from .compact_codes import ratios

#: Test spectra of a target that are scored, and spectra of a task.
_SCORED, _SIZE = 150, 96
#: Answers of a stored task.
_ANSWERS = 16
#: Calibrations of a training step: tasks, targets of each, queries.
_BATCH, _TARGETS, _QUERIES = 8, 8, 32
#: Draws of signs that a prediction averages, and shares of the network in the mean with the committee.
_DRAWN, SHARES = 4, (0.2, 0.35, 0.5, 0.65)
#: Largest learning rate of Muon.
MUON_RATE = 3e-3
#: Trained networks that are kept.
NETWORKS = Path(__file__).parent / "networks"
#: Networks by name.
HEADS: dict[str, type[nn.Module]] = {
    "average": Average,
    "attention": Attention,
    "corrector": Corrector,
    "mixture": Mixture,
}
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
    judged = min(table.n, key=lambda n: abs(n - options.n))
    table = table[(table.kind == "regression") & (table.n == judged) & table.predictable]
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


class Stored:
    """Tasks in memory."""

    def __init__(self, folder: Path, without: set[str]) -> None:
        self.items = []
        for path in sorted(folder.glob("*.npz")):
            with np.load(path) as file:
                if str(file["family"]) not in without:
                    self.items.append((torch.from_numpy(file["kernels"]), torch.from_numpy(file["answers"]).float()))
        self.spectra = np.array([len(answers) for _, answers in self.items])

    def draw(self, generator: np.random.Generator, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return kernels (b, views, n + m, n + m), noisy values (b, n, t), and true ones of the queries (b, m, t)."""
        fit = np.flatnonzero(self.spectra >= n + _QUERIES)
        drawn = [self._one(generator, *self.items[generator.choice(fit)], n) for _ in range(_BATCH)]
        K, noisy, y = (torch.stack(part) for part in zip(*drawn, strict=True))
        level, deviation = noisy.mean(dim=1, keepdim=True), noisy.std(dim=1, keepdim=True)
        return K, (noisy - level) / deviation, (y - level) / deviation

    @staticmethod
    def _one(generator: np.random.Generator, K: Tensor, answers: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
        t = _TARGETS
        order = generator.permutation(len(answers))[: n + _QUERIES]
        K = K[:, order][:, :, order].float()
        mix = torch.from_numpy(generator.standard_normal((answers.shape[1], t)).astype(np.float32))
        # Half of the targets are single answers, the others mixtures.
        single = torch.eye(answers.shape[1])[torch.from_numpy(generator.integers(answers.shape[1], size=t))].T
        single = single * torch.from_numpy(generator.choice([-1, 1], t))
        chosen = torch.from_numpy(generator.random(t) < 0.6)
        y = answers[order] @ torch.where(chosen, single, mix).float()
        y = (y - y[:n].mean(dim=0)) / y[:n].std(dim=0).clamp_min(1e-6)
        noise = torch.from_numpy(np.exp(generator.uniform(np.log(0.03), np.log(0.7), t)).astype(np.float32))
        noisy = y[:n] + noise * torch.from_numpy(generator.standard_normal((n, t)).astype(np.float32))
        if generator.random() < 0.3:
            outlying = torch.from_numpy((generator.random((n, t)) < 0.02).astype(np.float32))
            noisy = noisy + outlying * 3 * torch.from_numpy(generator.standard_normal((n, t)).astype(np.float32))
        return K, noisy, y[n:]


def train(options: argparse.Namespace) -> None:
    """Train a network for each fold, and score it on the targets of the fold at each eighth of the training."""
    torch.set_num_threads(1)
    folds = fold_families(bank_families(options.x_bank))
    rows = []
    for k in options.folds:
        torch.manual_seed(0)
        net = HEADS[options.head]()
        if options.start:
            take(net, load_file(_network(options, options.start, k)))
        stored = Stored(options.out / "tasks", set(folds[k]))
        print(f"fold {k}: {len(stored.items)} stored tasks", flush=True)
        optimisers = _optimisers(net)
        generator, start, losses = np.random.default_rng(k), time.process_time(), []
        n_steps = max(1, options.calibrations // (_BATCH * _TARGETS))
        for step in range(n_steps):
            for group in (group for optimiser in optimisers for group in optimiser.param_groups):
                group["lr"] = group["highest"] * min(1, (step + 1) / 200) * (0.5 + 0.5 * np.cos(np.pi * step / n_steps))
            K, y, truth = stored.draw(generator, int(generator.choice(options.sizes)))
            error = (net(K, y.shape[1], y) - truth).square().mean(dim=1)
            loss = (error + 0.01).log().mean()
            net.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            for optimiser in optimisers:
                optimiser.step()
            losses.append(loss.item())
            if (8 * (step + 1)) // n_steps > (8 * step) // n_steps:
                name = f"{options.head}, fold {k}, {(step + 1) * _BATCH * _TARGETS:,} calibrations"
                print(f"{name}: {np.mean(losses[-500:]):.4f}, {time.process_time() - start:.0f} s", flush=True)
                _report(pd.DataFrame(_scored({options.head: net}, options, set(folds[k]))))
        # In half precision, as the networks that are kept.
        half = {name: value.half() for name, value in net.state_dict().items()}
        save_file(half, options.out / f"{options.head}~{k}.safetensors")
        rows += _scored({options.head: net}, options, set(folds[k]))
    _report(pd.DataFrame(rows)).to_csv(options.out / f"{options.head}-{options.n}.csv")


def _optimisers(net: nn.Module) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices of the blocks, AdamW for the rest."""
    blocks = ("blocks", "attention", "mlps")
    matrices = [p for name, p in net.named_parameters() if name.split(".")[0] in blocks and p.dim() == 2]
    of_blocks = {id(p) for p in matrices}
    rest = [{"params": [p for p in net.parameters() if id(p) not in of_blocks], "highest": 1e-3}]
    out: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, 1e-3, weight_decay=0.01)]
    if matrices:
        settings = {"weight_decay": 0.01, "adjust_lr_fn": "match_rms_adamw"}
        out.append(torch.optim.Muon([{"params": matrices, "highest": MUON_RATE}], MUON_RATE, **settings))
    return out


@torch.no_grad()
def predicted(net: nn.Module, K: Tensor, y: Tensor) -> Tensor:
    """Return predictions (m,) of the queries of one calibration, the mean over signs of values and components."""
    torch.manual_seed(0)
    n, both = len(y), torch.stack([y, -y], dim=1)[None]
    of = torch.stack([net(K[None], n, both)[0] for _ in range(_DRAWN)]).mean(dim=0)
    return (of[:, 0] - of[:, 1]) / 2


def score(options: argparse.Namespace) -> None:
    """Score the stored networks of each fold, alone and in their mean with the committee."""
    folds = fold_families(bank_families(options.x_bank))
    rows = []
    for k in options.folds:
        nets = {head: make() for head, make in HEADS.items() if _network(options, head, k).exists()}
        for head, net in nets.items():
            net.load_state_dict(load_file(_network(options, head, k)))
        rows += _scored(nets, options, set(folds[k]))
    _report(pd.DataFrame(rows))


def _network(options: argparse.Namespace, head: str, fold: int) -> Path:
    """Return the file of a trained network, in the output folder or, if not there, in the repository."""
    name = f"{head}~{fold}.safetensors"
    return options.out / name if (options.out / name).exists() else NETWORKS / name


def _scored(nets: dict[str, nn.Module], options: argparse.Namespace, families: set[str]) -> list[dict[str, Any]]:
    rows = []
    for net in nets.values():
        net.eval()
    for path in sorted((options.out / f"targets-{options.n}").glob("*.npz")):
        with np.load(path) as file:
            if str(file["family"]) not in families:
                continue
            y, truth = file["y"], file["truth"]
            level, deviation = y.mean(), y.std(ddof=1) or 1.0
            K, values = torch.from_numpy(file["kernels"]), torch.from_numpy((y - level) / deviation).float()
            own = {head: predicted(net, K, values).numpy() * deviation + level for head, net in nets.items()}
            every = {"committee": file["committee"], "ridge": file["member_ridge"], **own}
            for some in (subset for size in range(1, len(own) + 1) for subset in combinations(own, size)):
                mean = np.mean([own[head] for head in some], axis=0)
                name = " and ".join(some)
                every |= {f"committee + {w} {name}": (1 - w) * file["committee"] + w * mean for w in SHARES}
            errors = {name: float(np.sqrt(np.square(p - truth).mean())) for name, p in every.items()}
            rows.append({"family": str(file["family"]), "path": path.stem} | errors)
    for net in nets.values():
        net.train()
    return rows


def _report(table: pd.DataFrame) -> pd.DataFrame:
    table = table.assign(target=table["path"].str.rsplit("__", n=1).str[0])
    methods = [name for name in table.columns if name not in ("family", "path", "target")]
    means = table.groupby(["family", "target"])[methods].mean()
    of_target = means.index.get_level_values("family")
    print(f"{len(means)} targets of {of_target.nunique()} families")
    print(ratios(means, "committee", of_target).round(3).to_string(), flush=True)
    return means


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["targets", "tasks", "train", "score"])
    parser.add_argument("--x-bank", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--n", type=int, default=25, help="calibration samples of the targets")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=24, help="stored tasks of each dataset")
    parser.add_argument("--head", choices=list(HEADS), default="attention")
    parser.add_argument("--start", metavar="HEAD", help="trained network of the same fold to start from")
    parser.add_argument("--calibrations", type=int, default=1_300_000, help="training calibrations of a fold")
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--sizes", type=int, nargs="+", default=[12, 16, 20, 25, 25, 25, 32, 40])
    options = parser.parse_args()
    {"targets": targets, "tasks": tasks, "train": train, "score": score}[options.step](options)


if __name__ == "__main__":
    main()
