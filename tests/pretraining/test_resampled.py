"""The layout for a GPU: what happens to many episodes at once is what happens to each; and nobody waits."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nirs4all_vit.pretraining import Pretraining, SpectralDataset
from nirs4all_vit.pretraining.data.batch import Draw, SpectralBatch
from nirs4all_vit.pretraining.episodic_ridge import Answers, episodic_ridge
from nirs4all_vit.pretraining.tasks import TASKS, corrupt
from nirs4all_vit.pretraining.tasks.regions import leading_directions
from tests.conftest import make_spectra
from tests.pretraining.test_loop import ALL, config, sha

RESAMPLED = [
    "--data.layout=resampled",
    "--data.n_datasets=5",
    "--data.n_points=64",
    "--data.crop_probability=0.5",
    "--objectives.baseline_consistency.weight=0.1",
    "--objectives.contrastive.p_paired=0.5",
    "--objectives.contrastive.pairs=[[set0, set2]]",
    "--objectives.episodic_calibration.tasks={hidden_components: {}, nonlinear_functionals: {}, linear_spikes: {}, "
    "linear_functionals: {}, region_to_region: {}}",
    "--objectives.episodic_calibration.readouts={contrast: 1, mean: 1}",
]


def bank() -> list[SpectralDataset]:
    grids = [np.linspace(1100, 2400, 90), np.linspace(900, 1700, 60), np.linspace(1000, 1800, 70)]
    made = []
    for i, nm in enumerate(grids):
        X = make_spectra(nm, (60, 20, 60)[i], seed=i).astype(np.float32)
        baseline = None if i == 1 else 0.1 * X
        made.append(SpectralDataset(f"set{i}", X, nm, {"family": f"f{i}", "mode": "absorbance"}, baseline=baseline))
    return made


def run(out: Path, *overrides: str, steps: int = 8, monkeypatch: pytest.MonkeyPatch) -> Pretraining:
    # Baselines come with the bank.
    monkeypatch.setattr("nirs4all_vit.pretraining.loop.BaselineCache", lambda _folder: _Cached())
    return Pretraining(config(out, *ALL, *RESAMPLED, *overrides, steps=steps), bank())


class _Cached:
    def attach(self, _datasets: list[SpectralDataset]) -> None:
        pass


@pytest.mark.parametrize("tokens", ["patches", "points"])
def test_all_objectives_learn_side_by_side(tokens: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = [] if tokens == "patches" else ["--objectives.episodic_calibration.readouts={compact: 1, mean: 1}"]
    made = run(tmp_path, f"--encoder.tokens={tokens}", *extra, steps=60, monkeypatch=monkeypatch)
    made.run(progress=False)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    names = {key for row in rows for key in row if key.startswith("loss/")}
    assert names == {f"loss/{name}" for name in made.config.objectives.active()}
    losses = [row["loss"] for row in rows if "loss" in row]
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.1
    episodic = made.model.objectives["episodic_calibration"]
    assert 0.9 * 5 * 60 < sum(map(len, episodic.penalties.values())) <= 5 * 60


def test_the_same_bytes_again_and_after_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        run(tmp_path / name, monkeypatch=monkeypatch).run(progress=False)
    assert sha(tmp_path / "a") == sha(tmp_path / "b")
    stopped = run(tmp_path / "c", monkeypatch=monkeypatch)
    step = stopped.step

    def interrupted() -> dict[str, float]:
        if stopped.step_done == 5:
            raise KeyboardInterrupt
        return step()

    stopped.step = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stopped.run(progress=False)
    run(tmp_path / "c", "--run.resume=auto", monkeypatch=monkeypatch).run(progress=False)
    assert sha(tmp_path / "c") == sha(tmp_path / "a")


#: Operators whose result a processor has to wait for.
_WAITING = ("_local_scalar_dense", "nonzero", "equal.default", "is_nonzero", "masked_select", "unique", "item")


class _Watched(TorchDispatchMode):
    """Count operators, and note those that would make the processor wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.n_operators = 0
        self.waiting: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # What `Draw` decides by comes from the processor's own generator.
        callers = {frame.name for frame in traceback.extract_stack(limit=8)}
        if callers & {"chance", "integer", "counts"}:
            return func(*args, **(kwargs or {}))
        self.n_operators += 1
        name = str(func)
        by_mask = name.startswith("aten.index.") and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in args[1]
        )
        if by_mask or any(word in name for word in _WAITING):
            self.waiting.append(name)
        return func(*args, **(kwargs or {}))


def as_on_a_gpu(made: Pretraining, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernel decide whether a step is taken; the fused kernel of a processor can do that, too."""
    monkeypatch.setattr(made.optimisation, "on_gpu", True)
    for group in made.optimisation.optimizer.param_groups:
        group["fused"], group["foreach"] = True, False


def watched_step(made: Pretraining, monkeypatch: pytest.MonkeyPatch) -> _Watched:
    made._step()  # caches are filled
    as_on_a_gpu(made, monkeypatch)
    with _Watched() as watch:
        row = made._step()
    assert torch.isfinite(torch.as_tensor(row["loss"]))
    return watch


def test_a_step_waits_for_nothing_and_loops_over_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of a GPU profiler: no value is read back, and four times the datasets need no more operators."""
    parts = []
    for n in (6, 24):
        # One task and one read-out, so that each step has all that there is of them.
        one = [
            f"--data.n_datasets={n}",
            "--objectives.episodic_calibration.tasks={hidden_components: {}}",
            "--objectives.episodic_calibration.readouts={mean: 1}",
        ]
        parts.append(watched_step(run(tmp_path, *one, monkeypatch=monkeypatch), monkeypatch))
    assert parts[0].waiting == parts[1].waiting == []
    assert parts[0].n_operators == parts[1].n_operators


def test_a_step_of_all_tasks_waits_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tokens in ("patches", "points"):
        extra = [] if tokens == "patches" else ["--objectives.episodic_calibration.readouts={compact: 1, mean: 1}"]
        made = run(tmp_path, f"--encoder.tokens={tokens}", "--data.n_datasets=20", *extra, monkeypatch=monkeypatch)
        assert watched_step(made, monkeypatch).waiting == []


def test_steps_in_advance_are_logged_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "a", monkeypatch=monkeypatch).run(progress=False)
    later = run(tmp_path / "b", monkeypatch=monkeypatch)
    as_on_a_gpu(later, monkeypatch)
    later.run(progress=False)
    logs = [
        [
            {k: v for k, v in json.loads(line).items() if k != "spectra_per_second"}
            for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        ]
        for name in "ab"
    ]
    assert [row["step"] for row in logs[0]] == [row["step"] for row in logs[1]]
    for one, other in zip(*logs, strict=True):
        assert one.keys() == other.keys()
        assert one.get("loss", 0.0) == pytest.approx(other.get("loss", 0.0), rel=1e-3)


def test_a_gradient_that_is_not_finite_changes_nothing_on_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(tmp_path, steps=20, monkeypatch=monkeypatch)
    optimisation = made.optimisation
    made.step()
    as_on_a_gpu(made, monkeypatch)
    before = [p.detach().clone() for p in made.model.parameters()]
    hook = made.encoder.latents.register_hook(lambda gradient: gradient * torch.nan)
    rows = [made._step() for _ in range(11)]
    hook.remove()
    assert all(torch.equal(a, b) for a, b in zip(before, made.model.parameters(), strict=True))
    assert optimisation.numbers(rows[:10])[-1]["skipped"] == 10
    with pytest.raises(FloatingPointError, match="the gradient, 11 steps in a row"):
        optimisation.numbers(rows[10:])
    made.step()
    assert not all(torch.equal(a, b) for a, b in zip(before, made.model.parameters(), strict=True))


def episodes(n: int, size: int = 40, length: int = 96) -> SpectralBatch:
    nm = np.linspace(1100.0, 2400.0, length)
    X = np.concatenate([make_spectra(nm, size, seed=0) for _ in range(n)]).astype(np.float32)
    axis = torch.from_numpy(nm).expand(len(X), -1)
    return SpectralBatch(torch.from_numpy(X), axis, torch.full((len(X), 1), 0.05), n_episodes=n)


@pytest.mark.parametrize("name", list(TASKS))
def test_tasks_of_many_episodes_are_distributed_as_those_of_one(name: str) -> None:
    """Deviation and largest correlation of the answers, and what is left of the spectra."""
    many, one = episodes(60), episodes(1)
    about: dict[str, list[tuple[float, ...]]] = {"many": [], "one": []}
    batch, targets = TASKS[name]()(many, Draw.seeded(0))
    assert batch.spectra.shape == batch.wavelengths.shape == (2400, 96)
    assert (batch.wavelengths.diff(dim=1) >= 0).all()
    for spectra, answers in zip(batch.by_episode(batch.spectra), targets.unflatten(0, (60, -1)), strict=True):
        about["many"].append(_summary(spectra, answers))
    for seed in range(60):
        single = SpectralBatch(one.spectra, one.wavelengths[0], 0.05)
        batch, targets = TASKS[name]()(single, Draw.seeded(seed))
        about["one"].append(_summary(batch.spectra, targets))
    a, b = (np.array(about[key]) for key in ("many", "one"))
    # Medians differ by less than the quartiles of either do.
    spread = np.maximum(
        np.subtract(*np.quantile(a, [0.75, 0.25], axis=0)), np.subtract(*np.quantile(b, [0.75, 0.25], axis=0))
    )
    assert (np.abs(np.median(a, axis=0) - np.median(b, axis=0)) <= spread + 1e-6).all()


def _summary(spectra: torch.Tensor, answers: torch.Tensor) -> tuple[float, ...]:
    correlation = np.corrcoef(answers.numpy().T + 1e-9 * np.random.default_rng(0).normal(size=answers.T.shape))
    off = np.abs(correlation[np.triu_indices(len(correlation), 1)])
    return float(answers.std()), float(off.mean()), float(spectra.std(dim=0).median()), float(spectra.mean())


def test_an_episode_among_many_is_calibrated_as_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4, 30, 50, generator=generator)
    y = z[..., :3] + 0.3 * torch.randn(4, 30, 3, generator=generator)
    y[2, :, 1] = 5.0  # nothing to learn there
    sizes = (12, 20, 15, 25)
    alone = [episodic_ridge(z[i : i + 1], Answers.one(y[i], n)) for i, n in enumerate(sizes)]
    place = torch.arange(30)
    support = torch.stack([place < n for n in sizes])
    losses, penalties = episodic_ridge(z, Answers(y, support, ~support))
    torch.testing.assert_close(losses, torch.cat([loss for loss, _ in alone]))
    torch.testing.assert_close(penalties, torch.cat([penalty for _, penalty in alone]), equal_nan=True)
    assert penalties[2, 1].isnan()
    # What is neither support nor query does not count.
    shown = torch.cat([z, 100 * torch.randn(4, 5, 50, generator=generator)], dim=1)
    answers = torch.cat([y, torch.randn(4, 5, 3, generator=generator)], dim=1)
    none = torch.zeros(4, 5, dtype=torch.bool)
    again, _ = episodic_ridge(shown, Answers(answers, torch.cat([support, none], 1), torch.cat([~support, none], 1)))
    torch.testing.assert_close(again, losses)


def test_embeddings_that_are_all_alike_have_a_finite_loss() -> None:
    z = torch.ones(2, 20, 8, requires_grad=True)
    support = torch.arange(20).expand(2, -1) < 12
    loss, _ = episodic_ridge(z * 1.0, Answers(torch.randn(2, 20, 2), support, ~support))
    assert loss.isfinite().all()


def test_leading_directions_are_singular_vectors() -> None:
    generator = torch.Generator().manual_seed(0)
    u = torch.linalg.qr(torch.randn(3, 40, 6, generator=generator).double()).Q
    v = torch.linalg.qr(torch.randn(3, 25, 6, generator=generator).double()).Q
    s = torch.tensor([5.0, 2.0, 0.5, 1e-2, 1e-3, 1e-5]).double()
    found_u, found_s = leading_directions(u * s @ v.transpose(1, 2), Draw.seeded(0), 5)
    torch.testing.assert_close((found_u * u[..., :5]).sum(dim=1).abs(), torch.ones(3, 5).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(found_s, s[:5].expand(3, -1), rtol=1e-6, atol=0)


def test_corruption_falls_on_a_share_of_the_episodes() -> None:
    made = episodes(50)
    changed = (corrupt(made, Draw.seeded(0), 0.6).spectra != made.spectra).any(dim=1).unflatten(0, (50, -1))
    assert (changed.all(dim=1) | ~changed.any(dim=1)).all()
    assert 0.4 < changed[:, 0].float().mean() < 0.8
