"""SpectralRegressor and SpectralClassifier."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import RidgeCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from nirs4all_vit import SpectralClassifier, SpectralEmbedder, SpectralRegressor, load_checkpoint
from nirs4all_vit.finetuning.estimator import SpectralEstimator
from nirs4all_vit.finetuning.layers import freeze, learning_rates
from nirs4all_vit.finetuning.lora import LoRALinear, merge_lora
from nirs4all_vit.finetuning.module import SpectralModule
from nirs4all_vit.heads.head import ALPHAS
from tests.conftest import make_spectra

NM = np.linspace(1100.0, 2300.0, 90)
X = make_spectra(NM, 60)
Y = 10.0 + 50.0 * (X[:, 60] - X[:, 30])
LABELS = np.array(["barley", "oats", "wheat"])[np.searchsorted(np.quantile(Y, [0.3, 0.6]), Y)]


@pytest.fixture(autouse=True)
def quiet() -> None:
    warnings.filterwarnings("ignore", message="tuning did not help")


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep whatever tuning gives."""
    monkeypatch.setattr(SpectralEstimator, "_helps", staticmethod(lambda *_: True))


def small(**parameters) -> SpectralRegressor:
    return SpectralRegressor(**{"wavelengths": NM, "max_epochs": 3, **parameters})


@parametrize_with_checks([SpectralRegressor(max_epochs=1), SpectralClassifier(max_epochs=1)])
@pytest.mark.filterwarnings("ignore:no wavelengths were given", "ignore:tuning did not", "ignore:.*too few to tune")
def test_scikit_learn(estimator, check) -> None:
    check(estimator)


def test_it_predicts() -> None:
    model = small(max_epochs=10).fit(X[:45], Y[:45])
    assert model.score(X[45:], Y[45:]) > 0.95
    assert model.predict(X[45:]).shape == (15,)
    assert {"epoch", "train_loss", "valid_loss"} == set(model.history_[0])
    again = clone(model).fit(X[:45], Y[:45])
    assert np.array_equal(again.predict(X), model.predict(X))  # seeded
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))


def test_the_random_state_of_the_caller_is_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    small().fit(X, Y)
    assert torch.equal(torch.rand(2), expected)


def test_where_tuning_does_not_help_it_is_the_frozen_ridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SpectralEstimator, "_helps", staticmethod(lambda *_: False))
    with pytest.warns(
        UserWarning, match="tuning did not help on the 9 samples held back .* stays as it was pretrained"
    ):
        model = small().fit(X[:45], Y[:45])
    assert not model.tuned_
    embedder = SpectralEmbedder(wavelengths=NM).fit(X[:45])
    Z, y = embedder.transform(X[:45]).astype(float), (Y[:45] - Y[:45].mean()) / Y[:45].std()
    frozen = RidgeCV(ALPHAS).fit(Z, y).predict(embedder.transform(X).astype(float)) * Y[:45].std() + Y[:45].mean()
    np.testing.assert_allclose(model.predict(X), frozen, atol=1e-3 * Y.std())


def test_too_few_to_tune_on() -> None:
    with pytest.warns(UserWarning, match="10 samples are too few to tune on and to check"):
        model = small().fit(X[:10], Y[:10])
    assert not model.tuned_
    # Samples are what counts, not their replicates.
    with pytest.warns(UserWarning, match="15 samples are too few"):
        small().fit(X, Y, groups=np.repeat(np.arange(15), 4))


def test_groups_are_held_back_together(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    split = SpectralRegressor._split
    monkeypatch.setattr(SpectralRegressor, "_split", lambda *a: found.append(split(*a)) or found[-1])
    groups = np.repeat(np.arange(20), 3)
    small(max_epochs=1).fit(X, Y, groups=groups)
    ((inside, outside),) = found
    assert not set(groups[inside]) & set(groups[outside])
    assert len(outside) == 12


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("readout", ["contrast", "latents", "compact"])
@pytest.mark.parametrize("tune", ["all", "lora", "head"])
def test_what_is_tuned_changes_and_nothing_else(tune: str, readout: str) -> None:
    model = small(tune=tune, readout=readout, max_epochs=2).fit(X, Y)
    before, after = load_checkpoint().encoder.state_dict(), model.encoder_.state_dict()
    assert list(before) == list(after)  # low-rank updates are merged
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert bool(changed) == (tune != "head")
    if tune == "lora":
        assert all(name.endswith("weight") for name in changed)
    if readout == "contrast":
        assert all(name.startswith("contrast.") for name in changed)
    assert not any(p.requires_grad for p in model.encoder_.parameters())
    assert np.isfinite(model.predict(X)).all()
    # The encoder that everybody shares is not touched.
    assert all(torch.equal(v, before[k]) for k, v in load_checkpoint().encoder.state_dict().items())


@pytest.mark.usefixtures("eager")
def test_a_tuned_encoder_serves_the_embedder(tmp_path: Path) -> None:
    model = small(max_epochs=2).fit(X, Y)
    path = model.save(tmp_path / "tuned.safetensors")
    saved = SpectralEmbedder(str(path), wavelengths=NM, adapt=False).fit_transform(X)
    plain = SpectralEmbedder(wavelengths=NM, adapt=False).fit_transform(X)
    assert np.abs(saved - plain).max() > 1e-3
    assert np.array_equal(saved, model._embed(model.embedder_._blocks(X, None, fitting=False)))
    provenance = load_checkpoint(path).header["provenance"]
    assert provenance["tuned"] is True
    assert provenance["tuned_from"] == load_checkpoint().sha256
    continued = small(checkpoint=str(path), max_epochs=1).fit(X, Y)
    assert continued.score(X, Y) > 0.9


@pytest.mark.usefixtures("eager")
def test_several_targets_and_axes() -> None:
    model = small(max_epochs=2).fit(X, np.column_stack([Y, -Y]))
    assert model.predict(X).shape == (60, 2)
    assert model.score(X, np.column_stack([Y, -Y])) > 0.9
    axes = [NM if i % 2 else NM[::2] for i in range(60)]
    rows = [x if i % 2 else x[::2] for i, x in enumerate(X)]
    ragged = SpectralRegressor(max_epochs=2).fit(rows, Y, wavelengths=axes)
    assert np.corrcoef(ragged.predict(rows, wavelengths=axes), Y)[0, 1] > 0.9


@pytest.mark.usefixtures("eager")
def test_partial_fit() -> None:
    model = small(max_epochs=1, learning_rate=1e-4).partial_fit(X[:40], Y[:40])
    first = model.predict(X[40:])
    model.partial_fit(X[40:], Y[40:])
    assert not np.array_equal(model.predict(X[40:]), first)
    assert model.score(X, Y) > 0.9
    classes = SpectralClassifier(wavelengths=NM, max_epochs=1).partial_fit(X[:40], LABELS[:40])
    with pytest.raises(ValueError, match="class 'rye' was not in the first fit"):
        classes.partial_fit(X[40:], np.full(20, "rye"))
    assert classes.partial_fit(X[40:], LABELS[40:]).score(X, LABELS) > 0.7


@pytest.mark.usefixtures("eager")
def test_classes() -> None:
    model = SpectralClassifier(wavelengths=NM, max_epochs=3).fit(X[:45], LABELS[:45])
    assert set(model.predict(X)) == set(LABELS)
    assert model.score(X[45:], LABELS[45:]) > 0.7
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)
    rare = np.where(np.arange(60) % 12 == 0, "rare", "common")
    plain, balanced = (
        SpectralClassifier(wavelengths=NM, max_epochs=1, class_weight=w).fit(X, rare).predict_proba(X)[:, 1].mean()
        for w in (None, "balanced")
    )
    assert balanced > 1.5 * plain
    assert "class_weight" in model.get_params()
    assert "learning_rate" in model.get_params()


def module(readout: str) -> SpectralModule:
    encoder = load_checkpoint().encoder
    width = encoder.width(readout)
    import copy

    return SpectralModule(
        copy.deepcopy(encoder).requires_grad_(True),
        readout,
        torch.zeros(width),
        torch.ones(width),
        torch.zeros(1, width),
        torch.zeros(1),
        torch.from_numpy(NM),
    )


def test_the_nearer_to_the_spectrum_the_slower() -> None:
    rates = learning_rates(module("latents"), 1e-3, 0.5, 0.1)
    assert rates["head.weight"] == 1e-3
    assert rates["encoder.norms.1.weight"] == rates["encoder.contrast.log_weight"] == 5e-4
    assert rates[
        "encoder.blocks.1.attention.qkv.weight"
        if "encoder.blocks.1.attention.qkv.weight" in rates
        else next(name for name in rates if name.startswith("encoder.blocks.1."))
    ] == pytest.approx(5e-5)
    assert next(v for k, v in rates.items() if k.startswith("encoder.blocks.0.")) == pytest.approx(5e-6)
    assert rates["encoder.latents"] == pytest.approx(5e-7)
    assert all(name.startswith(("head.", "encoder.contrast.")) for name in learning_rates(module("contrast"), 1, 1, 1))


def test_low_rank_updates_start_at_nothing_and_merge() -> None:
    x = torch.from_numpy(X[:4].astype(np.float32))
    plain, tuned = module("latents"), module("latents")
    tuned.load_state_dict(plain.state_dict())
    freeze(tuned, "lora", 4)
    for m in (plain, tuned):
        torch.nn.init.normal_(m.head.weight, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(tuned(x), plain(x))
    layers = [m for m in tuned.modules() if isinstance(m, LoRALinear)]
    assert len(layers) > 5
    assert all(
        ("up" in name or "down" in name or name.startswith("head."))
        for name, p in tuned.named_parameters()
        if p.requires_grad
    )
    for layer in layers:
        torch.nn.init.normal_(layer.up, std=0.01)
    moved = tuned(x)
    merge_lora(tuned.encoder)
    assert not any(isinstance(m, LoRALinear) for m in tuned.modules())
    torch.testing.assert_close(tuned(x), moved, rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("eager")
def test_frozen_epochs() -> None:
    model = small(max_epochs=2, frozen_epochs=2).fit(X, Y)
    assert all(
        torch.equal(v, model.encoder_.state_dict()[k]) for k, v in load_checkpoint().encoder.state_dict().items()
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"tune": "some"}, "tune='some' is not known; use one of all, lora, head"),
        ({"max_epochs": 0}, "max_epochs=0 must be a positive integer"),
        ({"validation": 1.0}, "validation=1.0 must lie between 0 and 1"),
        ({"layer_decay": 2.0}, "layer_decay=2.0 must be positive, the last one at most 1"),
        ({"readout": "all"}, "readout='all' does not exist"),
    ],
)
def test_errors(parameters: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**parameters).fit(X, Y)


def test_one_class() -> None:
    with pytest.raises(ValueError, match="y holds one class only, 'oats'"):
        SpectralClassifier(wavelengths=NM).fit(X, np.full(60, "oats"))


def test_what_counts_as_help() -> None:
    before = np.full(20, 1.0)
    noise = np.random.default_rng(0).normal(size=20)
    assert SpectralEstimator._helps(before, before - 0.1)
    assert not SpectralEstimator._helps(before, before - 0.01)  # too little
    assert not SpectralEstimator._helps(before, before - 0.1 + (noise - noise.mean()))  # as likely chance
