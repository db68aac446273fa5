"""SpectralRegressor and SpectralClassifier."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from nirs4all_vit import SpectralClassifier, SpectralEmbedder, SpectralRegressor, load_checkpoint, save_checkpoint
from nirs4all_vit.encoder import EncoderConfig, SpectralPerceiver
from nirs4all_vit.encoder.checkpoint import Checkpoint
from nirs4all_vit.finetuning.estimator import SpectralEstimator
from nirs4all_vit.finetuning.tuning import Episodes, EpisodicLoss, learning_rates
from nirs4all_vit.heads import make_head
from nirs4all_vit.spectra.data import Spectra
from tests.conftest import ROWS_OF_NAN, make_spectra

NM = np.linspace(1100.0, 2300.0, 90)
X = make_spectra(NM, 60)
Y = 10.0 + 50.0 * (X[:, 60] - X[:, 30])
LABELS = np.array(["barley", "oats", "wheat"])[np.searchsorted(np.quantile(Y, [0.3, 0.6]), Y)]


@pytest.fixture(autouse=True)
def quiet() -> None:
    warnings.filterwarnings("ignore", message="tuning did not help")


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep whatever tuning gives, be it worse."""
    monkeypatch.setattr(SpectralEstimator, "_helps", staticmethod(lambda *_: True))
    search = SpectralEstimator._search

    def tune(self, blocks, targets, groups) -> str:
        why_not = search(self, blocks, targets, groups)
        if not self.n_steps_:
            everything = self._tuning(blocks, targets, groups, np.arange(len(targets)))
            self._advance(everything, self.max_steps)
            from nirs4all_vit.finetuning.estimator import _taken

            self.encoder_ = _taken(everything)
        return why_not

    monkeypatch.setattr(SpectralEstimator, "_search", tune)


def small(**parameters) -> SpectralRegressor:
    return SpectralRegressor(**{"wavelengths": NM, "max_steps": 2, "batch_size": 16, **parameters})


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """An encoder of a few hundred columns."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = SpectralPerceiver(EncoderConfig(n_scales=1, patch_hidden=64))
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    return load_checkpoint(save_checkpoint(path, encoder, name="tiny", provenance={}))


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch, tiny: Checkpoint) -> None:
    """Few columns, two folds and one penalty: scikit-learn fits some hundred times."""
    monkeypatch.setattr("nirs4all_vit.finetuning.estimator.load_checkpoint", lambda _: tiny)
    monkeypatch.setattr("nirs4all_vit.finetuning.regressor.N_FOLDS", 2)
    monkeypatch.setattr("nirs4all_vit.finetuning.classifier.N_FOLDS", 2)
    monkeypatch.setattr("nirs4all_vit.finetuning.classifier._PENALTIES", [30.0])


@pytest.mark.usefixtures("brief")
@parametrize_with_checks(
    [SpectralRegressor(max_steps=1, batch_size=8), SpectralClassifier(max_steps=1, batch_size=8)],
    expected_failed_checks=lambda _: ROWS_OF_NAN,
)
@pytest.mark.filterwarnings("ignore:no wavelengths were given", "ignore:tuning did not", "ignore:.*too few to tune")
def test_scikit_learn(estimator, check) -> None:
    check(estimator)


def test_it_predicts_and_repeats() -> None:
    model = small().fit(X[:45], Y[:45])
    assert model.score(X[45:], Y[45:]) > 0.95
    assert model.predict(X[45:]).shape == (15,)
    assert [row["steps"] for row in model.history_] == [0, 2]
    again = clone(model).fit(X[:45], Y[:45])
    assert again.history_ == model.history_
    assert np.array_equal(again.predict(X), model.predict(X))
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))


def test_the_random_state_of_the_caller_is_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    small(max_steps=2).fit(X[:30], Y[:30])
    assert torch.equal(torch.rand(2), expected)


def test_it_tunes_where_the_answer_is_bent() -> None:
    """How much of a faint band there is, whatever its sign: no ridge on features of other questions knows."""
    amount = np.random.default_rng(0).normal(size=(120, 1))
    spectra, answers = make_spectra(NM, 120) + 0.05 * amount * np.exp(-(((NM - 1700.0) / 25.0) ** 2)), np.abs(amount)
    model = SpectralRegressor(wavelengths=NM, max_steps=32, batch_size=64).fit(spectra[:80], answers[:80, 0])
    assert model.tuned_
    assert model.n_steps_ == 32
    embedder = SpectralEmbedder(wavelengths=NM, readout="contrast").fit(spectra[:80])
    frozen = make_head("ridge").fit(embedder.transform(spectra[:80]).astype(float), answers[:80, 0])
    Z = embedder.transform(spectra[80:]).astype(float)
    before = np.mean((frozen.predict(Z) - answers[80:, 0]) ** 2)
    assert np.mean((model.predict(spectra[80:]) - answers[80:, 0]) ** 2) < 0.6 * before


def test_where_tuning_does_not_help_it_is_the_frozen_ridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SpectralEstimator, "_helps", staticmethod(lambda *_: False))
    with pytest.warns(UserWarning, match="tuning did not help on samples held back .* stays as it was pretrained") as w:
        model = small().fit(X[:45], Y[:45])
    assert w[0].filename == __file__
    assert not model.tuned_
    assert model.n_steps_ == 0
    embedder = SpectralEmbedder(wavelengths=NM, readout="contrast").fit(X[:45])
    Z, y = embedder.transform(X[:45]).astype(float), (Y[:45] - Y[:45].mean()) / Y[:45].std()
    ridge = make_head("ridge").fit(Z, y)
    frozen = ridge.predict(embedder.transform(X).astype(float)) * Y[:45].std() + Y[:45].mean()
    np.testing.assert_allclose(model.predict(X), frozen, atol=1e-3 * Y.std())


def test_noise_is_not_tuned_for() -> None:
    groups, tuned = np.repeat(np.arange(20), 3), 0
    for seed in range(2):
        answers = np.repeat(np.random.default_rng(seed).normal(size=20), 3)
        tuned += small(max_steps=8).fit(X, answers, groups=groups).tuned_
    assert tuned == 0


def test_too_few_to_tune_on() -> None:
    with pytest.warns(UserWarning, match="10 samples are too few to tune on and to check"):
        assert not small().fit(X[:10], Y[:10]).tuned_
    # Samples are what counts, not their replicates.
    with pytest.warns(UserWarning, match="15 samples are too few"):
        small().fit(X, Y, groups=np.repeat(np.arange(15), 4))


def test_replicates_are_kept_together(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = np.repeat(np.arange(20), 3)
    rows = np.arange(45)
    episodes = Episodes(Spectra.on_grid(X, NM), Y[:, None].astype("f4"), rows, groups, size=24, augment=False, seed=0)
    for _ in range(5):
        inputs, answers = episodes[0]
        drawn = [int(np.abs(X - x).sum(axis=1).argmin()) for x in inputs["x"].numpy()]
        n = int(answers["n_support"])
        assert len(drawn) == 24
        assert set(drawn) <= set(rows)
        assert not set(groups[drawn[:n]]) & set(groups[drawn[n:]])
        np.testing.assert_allclose(answers["targets"][:, 0], Y[drawn], rtol=1e-6)
    # A sample scanned a hundred times leaves room for others.
    many = np.r_[np.zeros(30, int), np.arange(1, 31)]
    episodes = Episodes(
        Spectra.on_grid(X, NM), Y[:, None].astype("f4"), np.arange(60), many, size=8, augment=False, seed=0
    )
    for _ in range(20):
        inputs, answers = episodes[0]
        assert len(inputs["x"]) == 8
        assert 1 < int(answers["n_support"]) < 8
    found = []
    outside = SpectralEstimator._outside
    monkeypatch.setattr(SpectralEstimator, "_outside", lambda *a: found.append(a[-2:]) or outside(*a))
    small().fit(X, Y, groups=groups)
    assert sorted(np.concatenate([o for _, o in found[:4]])) == list(range(60))
    assert not any(set(groups[i]) & set(groups[o]) for i, o in found)


def test_what_counts_as_help() -> None:
    before, noise = np.full(20, 1.0), np.random.default_rng(0).normal(size=20)
    helps = SpectralEstimator._helps
    assert helps(before, before - 0.1)
    assert not helps(before, before - 0.01)  # too little
    noise = 0.3 * (noise - noise.mean()) / noise.std()
    assert helps(before, before - 0.15 + noise)
    assert not helps(before, before - 0.1 + noise)  # as likely chance


def test_a_sample_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(SpectralEstimator, "_helps", staticmethod(lambda *losses: seen.append(losses) or False))
    small(max_steps=1).fit(X, Y, groups=np.r_[np.zeros(20, int), np.arange(1, 41)])
    assert [len(losses) for losses in seen[0]] == [41, 41]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("readout", ["contrast", "compact", "mean"])
def test_what_is_tuned_changes_and_nothing_else(readout: str) -> None:
    model = small(readout=readout, max_steps=1).fit(X[:24], Y[:24])
    before, after = load_checkpoint().encoder.state_dict(), model.encoder_.state_dict()
    assert list(before) == list(after)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert any(name.startswith("tokenizer.contrast.") for name in changed)
    if readout == "mean":
        assert any(name.startswith("blocks.") for name in changed)
        assert any(name.startswith("cross.") for name in changed)
    else:
        assert all(name.startswith("tokenizer.contrast.") for name in changed)
    assert not any(p.requires_grad for p in model.encoder_.parameters())
    assert np.isfinite(model.predict(X)).all()
    # The encoder that everybody shares is not touched.
    assert all(torch.equal(v, before[k]) for k, v in load_checkpoint().encoder.state_dict().items())


@pytest.mark.usefixtures("eager")
def test_a_tuned_encoder_serves_the_embedder(tmp_path: Path) -> None:
    model = small().fit(X, Y)
    path = model.save(tmp_path / "tuned.safetensors")
    read = {"wavelengths": NM, "adapt": False, "readout": "contrast"}
    saved = SpectralEmbedder(str(path), **read).fit_transform(X)
    assert np.abs(saved - SpectralEmbedder(**read).fit_transform(X)).max() > 1e-3
    assert np.array_equal(saved, model._embed(model.encoder_, model.resolve(X)))
    provenance = load_checkpoint(path).header["provenance"]
    assert provenance["tuned"] is True
    assert provenance["tuned_from"] == load_checkpoint().sha256
    assert small(checkpoint=str(path)).fit(X, Y).score(X, Y) > 0.9


@pytest.mark.usefixtures("eager")
def test_several_targets_and_axes() -> None:
    both = np.column_stack([Y, X[:, 10]])
    model = small(augment=True, amp=True).fit(X, both)
    assert model.predict(X).shape == (60, 2)
    assert model.score(X, both) > 0.9
    assert small().fit(X, both, groups=np.repeat(np.arange(30), 2)).predict(X).shape == (60, 2)
    axes = [NM if i % 2 else NM[::2] for i in range(60)]
    rows = [x if i % 2 else x[::2] for i, x in enumerate(X)]
    ragged = SpectralRegressor(max_steps=1, batch_size=16).fit(rows, Y, wavelengths=axes)
    assert np.corrcoef(ragged.predict(rows, wavelengths=axes), Y)[0, 1] > 0.9


def test_partial_fit() -> None:
    model = small().partial_fit(X[:40], Y[:40])
    assert model.tuned_
    assert model.n_steps_ == 8
    first = model.predict(X)
    model.partial_fit(X[40:], Y[40:])
    assert model.n_steps_ == 16
    assert not np.array_equal(model.predict(X), first)
    assert model.score(X, Y) > 0.99  # of the first ones nothing is forgotten
    with pytest.raises(ValueError, match="y has 2 targets, but the first call had 1"):
        model.partial_fit(X, np.column_stack([Y, Y]))
    # After a fit, with replicates; and too few to tune on.
    fitted = small().fit(X[:40], Y[:40], groups=np.arange(40) // 2)
    n_steps = fitted.n_steps_
    assert fitted.partial_fit(X[40:], Y[40:]).n_steps_ == n_steps + 8
    assert small().partial_fit(X[:9], Y[:9]).n_steps_ == 0


def test_classes() -> None:
    model = SpectralClassifier(wavelengths=NM, max_steps=2, batch_size=16).fit(X[:45], LABELS[:45])
    assert set(model.predict(X)) == set(LABELS)
    assert model.score(X[45:], LABELS[45:]) > 0.7
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)
    assert {"class_weight", "learning_rate"} <= set(model.get_params())
    grouped = SpectralClassifier(wavelengths=NM, max_steps=1, batch_size=16)
    few = np.arange(60) // 3 % 20  # every class smaller than the folds are many
    assert grouped.fit(X, few, groups=np.r_[0, 0, np.arange(2, 60)]).n_features_in_ == 90
    assert grouped.fit(X, LABELS, groups=np.arange(60) // 2).score(X, LABELS) > 0.7


def test_classes_arrive_later() -> None:
    model = SpectralClassifier(wavelengths=NM, batch_size=16)
    some = LABELS != "wheat"
    model.partial_fit(X[some], LABELS[some], classes=np.unique(LABELS))
    assert (model.predict_proba(X)[:, 2] == 0.0).all()
    assert model.partial_fit(X[~some], LABELS[~some]).score(X, LABELS) > 0.7
    with pytest.raises(ValueError, match="class 'rye' was not in the first fit"):
        model.partial_fit(X[40:], np.full(20, "rye"))


def test_class_weights() -> None:
    rare = np.where(np.arange(60) % 12 == 0, "rare", "common")
    weights = (None, "balanced", {"rare": 50.0})
    plain, balanced, given = (
        SpectralClassifier(wavelengths=NM, class_weight=w).partial_fit(X[:15], rare[:15]).predict_proba(X[15:])
        for w in weights
    )
    # More of them are called rare; how sure the head is depends on the release of scikit-learn.
    assert (balanced[:, 1] > 0.5).sum() > (plain[:, 1] > 0.5).sum()
    assert (given[:, 1] > 0.5).sum() > (plain[:, 1] > 0.5).sum()
    # Of all that were seen, not of the first batch.
    later = SpectralClassifier(wavelengths=NM, class_weight="balanced").partial_fit(X[:15], rare[:15])
    later.partial_fit(X[15:], np.full(45, "rare"))
    assert later._weights[0] > later._weights[1]
    for wrong, message in (("even", "class_weight='even' must be None"), ({"rye": 2.0}, "names 'rye', which is no")):
        with pytest.raises(ValueError, match=message):
            SpectralClassifier(wavelengths=NM, class_weight=wrong).fit(X, rare)


def test_the_nearer_to_the_spectrum_the_slower() -> None:
    encoder = copy.deepcopy(load_checkpoint().encoder).requires_grad_(True)
    rates = learning_rates(encoder, "mean", 1e-3, 0.1)
    assert rates["norm.weight"] == 1e-3
    by_block = [{v for k, v in rates.items() if k.startswith(f"blocks.{i}.")} for i in range(len(encoder.blocks))]
    assert [len(found) for found in by_block] == [1] * len(by_block)
    assert [found.pop() for found in reversed(by_block)] == pytest.approx(
        [1e-3 * 0.1 ** (i + 1) for i in range(len(by_block))]
    )
    assert rates["latents"] == rates["cross.0.query.weight"] == pytest.approx(1e-3 * 0.1 ** (len(by_block) + 1))
    assert rates["tokenizer.contrast.log_weight"] == pytest.approx(1e-3 * 0.1 ** (len(by_block) + 2))
    contrast = learning_rates(encoder, "contrast", 1e-3, 0.1)
    assert set(contrast.values()) == {1e-3}
    assert all(name.startswith("tokenizer.") for name in contrast)


def test_the_loss_of_an_episode_counts_what_is_held_out() -> None:
    z = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    easy = {"targets": z[:, :1], "n_support": torch.tensor(12)}
    hard = {"targets": z[:, :1].square(), "n_support": torch.tensor(12)}
    assert float(EpisodicLoss()(z, easy)) < float(EpisodicLoss()(z, hard)) - 2.0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"max_steps": 0}, "max_steps=0 must be an integer, 1 or more"),
        ({"batch_size": 4}, "batch_size=4 must be an integer, 8 or more"),
        ({"layer_decay": 2.0}, "layer_decay=2.0 must be positive, the latter at most 1"),
        ({"readout": "all"}, "readout='all' does not exist"),
    ],
)
def test_errors(parameters: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**parameters).fit(X, Y)


def test_a_failed_fit_leaves_the_model_as_it_was() -> None:
    model = small().partial_fit(X[:12], Y[:12])
    before = model.predict(X)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(X, np.full(60, np.nan))
    np.testing.assert_array_equal(model.predict(X), before)
    with pytest.raises(ValueError, match="groups holds missing values"):
        model.fit(X, Y, groups=np.r_[np.nan, np.arange(59)])
    fresh = small()
    with pytest.raises(ValueError, match="NaN"):
        fresh.fit(X, np.full(60, np.nan))
    with pytest.raises(ValueError, match="not fitted"):
        fresh.predict(X)


def test_one_class() -> None:
    with pytest.raises(ValueError, match="y holds one class only, 'oats'"):
        SpectralClassifier(wavelengths=NM).fit(X, np.full(60, "oats"))
