"""Objectives: each learns a case that only it can solve, and asks for nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from nirs4all_vit.encoder import EncoderConfig, SpectralPerceiver
from nirs4all_vit.encoder.tokens import take_tokens
from nirs4all_vit.pretraining.augmentation import Augmentation
from nirs4all_vit.pretraining.config import (
    BaselineConsistencyConfig,
    ContrastiveConfig,
    DatasetAdversaryConfig,
    EpisodicCalibrationConfig,
    MaskedModelingConfig,
)
from nirs4all_vit.pretraining.data import MultiSpectralDataset, SpectralDataset, SyntheticSpectralDataset, asls_baseline
from nirs4all_vit.pretraining.data.batch import Draw
from nirs4all_vit.pretraining.inputs import Inputs, Source
from nirs4all_vit.pretraining.objectives import OBJECTIVES, DatasetAdversary
from nirs4all_vit.pretraining.optimisation import parameter_groups
from tests.conftest import make_spectra

TINY = EncoderConfig(n_latents=8, d_model=32, n_heads=2, n_self_layers=2, n_scales=2, patch_hidden=8)
POINTS = dataclasses.replace(TINY, tokens="points")
NM = np.linspace(1100.0, 2400.0, 90)


def dataset(name: str = "grain", n: int = 60, offset: float = 0.0, baseline: bool = False) -> SpectralDataset:
    X = (make_spectra(NM, n, seed=len(name)) + offset * np.exp(-0.5 * ((NM - 1700) / 30) ** 2)).astype(np.float32)
    return SpectralDataset(name, X, NM, baseline=asls_baseline(X).astype(np.float32) if baseline else None)


def train(
    name: str,
    settings: object,
    datasets: list[SpectralDataset],
    steps: int = 120,
    augmentation: dict | None = None,
    layout: str = "one_grid",
    learning_rate: float = 3e-3,
    config: EncoderConfig = TINY,
) -> tuple[list[float], SpectralPerceiver, torch.nn.Module]:
    """Train one objective alone; returns its losses, the encoder and the objective."""
    torch.manual_seed(0)
    encoder = SpectralPerceiver(config)
    made = OBJECTIVES[name]
    objective = made(settings, encoder, *((len(datasets),) if made is DatasetAdversary else ()))
    model = torch.nn.ModuleList([encoder, objective])
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.0, learning_rate), lr=learning_rate)
    data = MultiSpectralDataset(datasets, 32, layout=layout, crop_probability=0, thin_probability=0)
    losses = []
    for k in range(steps):
        source = Source(data[k], Draw.seeded(k), data, Augmentation(augmentation or {}))
        loss = objective(encoder, _at(made.prepare(settings, source), k / steps))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, encoder.eval(), objective.eval()


def _at(inputs: Inputs, progress: float) -> Inputs:
    return dataclasses.replace(inputs, progress=progress)


def _fell(losses: list[float], by: float) -> bool:
    return np.mean(losses[-15:]) < by * np.mean(losses[:5])


@pytest.mark.parametrize("config", [TINY, POINTS], ids=["patches", "points"])
def test_masked_modeling_learns_to_fill_in(config: EncoderConfig) -> None:
    settings = MaskedModelingConfig(weight=1.0, block=(40.0, 200.0))
    losses, encoder, objective = train(
        "masked_modeling", settings, [dataset(n=200)], steps=350, config=config, learning_rate=1e-3
    )
    assert _fell(losses, 0.35)
    # Against what is known without looking: a normalised spectrum, and a patch without its mean, are zero on average.
    data = MultiSpectralDataset([dataset(n=200)], 64, crop_probability=0, thin_probability=0)
    inputs = objective.prepare(settings, Source(data[999], Draw.seeded(1), data, lambda batch, _: batch))
    with torch.no_grad():
        batch, tokenizer = inputs.views[0], encoder.tokenizer
        normalised, _ = encoder.normalisation(batch.spectra, batch.grid())
        target = tokenizer.target(tokenizer.content(normalised, batch.grid()))
        hidden = tokenizer.hidden(batch.grid(), ~inputs.tensors["mask"])
        trivial = float(target[hidden].square().mean())
        assert float(objective(encoder, inputs)) < 0.4 * trivial


@pytest.mark.parametrize("config", [TINY, POINTS], ids=["patches", "points"])
def test_masked_modeling_counts_masked_tokens_only(config: EncoderConfig) -> None:
    settings = MaskedModelingConfig(weight=1.0)
    encoder = SpectralPerceiver(config)
    objective = OBJECTIVES["masked_modeling"](settings, encoder)
    data = MultiSpectralDataset([dataset()], 8, crop_probability=0, thin_probability=0)
    inputs = objective.prepare(settings, Source(data[0], Draw.seeded(0), data, lambda batch, _: batch))
    hidden = encoder.tokenizer.hidden(inputs.views[0].grid(), ~inputs.tensors["mask"])
    assert config.tokens == "patches" or torch.equal(hidden, inputs.tensors["mask"])
    predicted = torch.zeros(*hidden.shape, encoder.tokenizer.n_target, requires_grad=True)
    # Only what is hidden is decoded at all.
    objective.decoder.forward = lambda _encoder, _latents, _grid, chosen: take_tokens(predicted, chosen)
    objective(encoder, inputs).backward()
    assert (predicted.grad[~hidden] == 0).all()
    assert (predicted.grad[hidden] != 0).any()
    weighted = OBJECTIVES["masked_modeling"](MaskedModelingConfig(weight=1.0, variance_weights=True), encoder)
    plain = OBJECTIVES["masked_modeling"](settings, encoder)
    plain.load_state_dict(weighted.state_dict())
    assert float(weighted(encoder, inputs).detach()) != float(plain(encoder, inputs).detach())


def test_baseline_consistency_makes_the_baseline_irrelevant() -> None:
    settings = BaselineConsistencyConfig(weight=1.0)
    losses, encoder, objective = train("baseline_consistency", settings, [dataset(n=200, baseline=True)], steps=200)
    assert _fell(losses, 0.3)
    # Not by shrinking: a baseline never seen moves the embedding less than samples differ.
    one = dataset("other", 64)
    bend = one.values + np.linspace(0, 0.3, NM.size, dtype=np.float32) ** 2
    z, moved = (encoder(torch.from_numpy(X), torch.from_numpy(NM), readout="mean").detach() for X in (one.values, bend))
    fresh = SpectralPerceiver(TINY)
    z0, moved0 = (fresh(torch.from_numpy(X), torch.from_numpy(NM), readout="mean").detach() for X in (one.values, bend))
    relative, before = ((b - a).square().sum(1).mean() / a.var(0).sum() for a, b in ((z, moved), (z0, moved0)))
    assert relative < 0.5 * before
    assert objective.prepare(settings, _source([dataset()])) is None  # no cache, nothing asked


def _source(datasets: list[SpectralDataset], k: int = 0, draw: int = 0) -> Source:
    data = MultiSpectralDataset(datasets, 16, crop_probability=0, thin_probability=0)
    return Source(data[k], Draw.seeded(draw), data, Augmentation({}))


def test_contrastive_finds_the_other_view() -> None:
    settings = ContrastiveConfig(weight=1.0)
    nuisance = {"msc_scatter": {"a_range": (-0.5, 0.5), "b_range": (0.6, 1.4)}, "baseline_drift": {}}
    losses, *_ = train("contrastive", settings, [dataset(n=200)], 200, nuisance)
    assert losses[0] > 1.5
    assert _fell(losses, 0.6)
    assert np.isfinite(losses).all()


def test_contrastive_pairs_instruments() -> None:
    settings = ContrastiveConfig(weight=1.0, p_paired=1.0, pairs=[["a1", "a2"]])
    first, second = dataset("a1"), dataset("a2")
    inputs = OBJECTIVES["contrastive"].prepare(settings, _source([first, second, dataset("alone")]))
    for k in range(12):
        source = _source([first, second, dataset("alone")], k)
        a, b = OBJECTIVES["contrastive"].prepare(settings, source).views
        name = source.data.datasets[int(source.batch.datasets[0])].name
        rows = source.batch.rows.numpy()
        expected = {"a1": second, "a2": first}.get(name)
        other = b.spectra.numpy()
        np.testing.assert_array_equal(other, a.spectra if expected is None else expected.values[rows])
    made = SyntheticSpectralDataset(0, 20)
    inputs = OBJECTIVES["contrastive"].prepare(settings, _source([made]))
    assert inputs.views[1].wavelengths.shape != inputs.views[0].wavelengths.shape or not torch.equal(
        inputs.views[0].spectra, inputs.views[1].spectra
    )
    np.testing.assert_array_equal(inputs.views[1].spectra, made.paired().absorbance(inputs.views[0].rows.numpy()))


def test_the_adversary_makes_datasets_hard_to_tell() -> None:
    """Two datasets that differ by one band: a probe tells them before, and hardly after."""
    sets = [dataset("a", 100), dataset("bb", 100, offset=1.0)]
    found = {}
    for reversal in (0.0, 3.0):
        settings = DatasetAdversaryConfig(weight=1.0, reversal=reversal)
        found[reversal], *_ = train("dataset_adversary", settings, sets, 300, layout="mixed", learning_rate=5e-3)
    assert _fell(found[0.0], 0.4)  # the classifier alone learns them
    # Over the second half: such a game has turns, and its last steps can be anyone's.
    assert np.mean(found[3.0][150:]) > 20 * np.mean(found[0.0][150:])


def _two_substances() -> SpectralDataset:
    """Bands of two substances, each all over the range: one region says what the other holds."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(1150, 2350, (2, 8, 1))
    profiles = np.exp(-0.5 * ((NM - centres) / 35) ** 2).sum(axis=1)
    X = rng.uniform(0.2, 1.0, (200, 2)) @ profiles + rng.normal(0, 0.02, (200, NM.size))
    return SpectralDataset("two", X.astype(np.float32), NM)


@pytest.mark.parametrize("task", ["linear_spikes", "region_to_region"])
def test_episodic_calibration_learns_to_calibrate(task: str) -> None:
    settings = EpisodicCalibrationConfig(weight=1.0, tasks={task: {}}, readouts={"mean": 1.0, "cls": 0.5})
    _, trained, objective = train("episodic_calibration", settings, [_two_substances()], steps=320)
    assert set(objective.penalties) == {"mean", "cls"}
    assert sum(map(len, objective.penalties.values())) == 320
    assert 180 < len(objective.penalties["mean"]) < 250  # two thirds, by their shares
    torch.manual_seed(0)
    source, made, losses = _source([_two_substances()]), OBJECTIVES["episodic_calibration"], []
    with torch.no_grad():
        for encoder in (SpectralPerceiver(TINY), trained):  # the same 60 episodes for both
            episodes = (Source(source.data[k], Draw.seeded(k), source.data, None) for k in range(1000, 1060))
            losses.append(np.mean([float(objective(encoder, made.prepare(settings, one))) for one in episodes]))
    assert losses[1] < losses[0] - 0.1


def test_hidden_components_reach_all_of_local_contrast() -> None:
    """An episode on the contrast read-out moves every weight of it, and nothing else."""
    settings = EpisodicCalibrationConfig(
        weight=1.0, tasks={"hidden_components": {}}, readouts={"contrast": 1.0}, corruption=0.0, noise=0.0
    )
    torch.manual_seed(0)
    encoder = SpectralPerceiver(EncoderConfig(n_latents=4, d_model=8, n_heads=2, n_scales=2, patch_hidden=8))
    objective, source = OBJECTIVES["episodic_calibration"](settings, encoder), _source([_two_substances()])
    for k in range(6):
        inputs = objective.prepare(settings, Source(source.data[k], Draw.seeded(k), source.data, None))
        objective(encoder, inputs).backward()
    for name, parameter in encoder.named_parameters():
        moved = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert moved == name.startswith("tokenizer.contrast."), name
    assert all(p.grad.isfinite().all() for p in encoder.tokenizer.contrast.parameters())


def test_tasks_are_drawn_by_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    from nirs4all_vit.pretraining import tasks

    drawn = []
    for name, made in list(tasks.TASKS.items()):
        original: Callable = made.__call__

        def noted(self, batch, draw, name=name, original=original):
            drawn.append(name)
            return original(self, batch, draw)

        monkeypatch.setattr(made, "__call__", noted)
    shares = {"nonlinear_functionals": {"weight": 3.0}, "linear_spikes": {"weight": 1.0, "n_analytes": 3}}
    settings = EpisodicCalibrationConfig(weight=1.0, tasks=shares)
    source = _source([dataset()])
    for k in range(400):
        OBJECTIVES["episodic_calibration"].prepare(settings, Source(source.batch, Draw.seeded(k), source.data, None))
    assert 0.68 < np.mean([name == "nonlinear_functionals" for name in drawn]) < 0.82
    assert set(drawn) == {"nonlinear_functionals", "linear_spikes"}


def test_an_episode_whose_answers_do_not_vary_asks_for_nothing() -> None:
    flat = dataset()
    batch = _source([flat]).batch
    constant = Source(
        type(batch)(torch.ones_like(batch.spectra), batch.wavelengths, batch.deviation), Draw.seeded(0), None, None
    )
    settings = EpisodicCalibrationConfig(weight=1.0, tasks={"linear_functionals": {}}, corruption=0.0)
    assert OBJECTIVES["episodic_calibration"].prepare(settings, constant) is None


def test_baseline_consistency_is_of_the_size_of_other_losses() -> None:
    """Untrained it lies near 1, as masked modelling does; whatever the scale of the embeddings."""
    settings = BaselineConsistencyConfig(weight=1.0)
    inputs = OBJECTIVES["baseline_consistency"].prepare(settings, _source([dataset(n=60, baseline=True)]))
    encoder = SpectralPerceiver(TINY)
    loss = OBJECTIVES["baseline_consistency"](settings, encoder)(encoder, inputs)
    assert 0.0 < float(loss) < 2.0
    encoder.norm.weight.data *= 100.0
    encoder.norm.bias.data *= 100.0
    scaled = OBJECTIVES["baseline_consistency"](settings, encoder)(encoder, inputs)
    torch.testing.assert_close(scaled, loss, rtol=1e-4, atol=1e-5)
