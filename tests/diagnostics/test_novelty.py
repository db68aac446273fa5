"""Spectra unlike the calibration set."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from nirs4all_vit import CheckpointError, SpectralEmbedder, SpectralInputError, SpectralNovelty
from nirs4all_vit.embedding.bank import bank_coverage, bank_scores, bank_statistics
from nirs4all_vit.embedding.novelty import N_SIGNAL, _longest_flat
from tests.conftest import ROWS_OF_NAN, make_spectra
from tests.golden.inputs import FOLDER

NM = np.linspace(1100.0, 2300.0, 200)
X = make_spectra(NM, 120, 0) + 1e-4 * np.random.default_rng(0).normal(size=(120, 200))
NEW = make_spectra(NM, 60, 1) + 1e-4 * np.random.default_rng(1).normal(size=(60, 200))


def detector(**parameters) -> SpectralNovelty:
    return SpectralNovelty(**{"wavelengths": NM, **parameters})


@parametrize_with_checks([SpectralNovelty()], expected_failed_checks=lambda _: ROWS_OF_NAN)
@pytest.mark.filterwarnings("ignore:no wavelengths were given")
def test_scikit_learn(estimator, check) -> None:
    check(estimator)


def strange(spectra: np.ndarray) -> dict[str, np.ndarray]:
    dead, saturated = spectra.copy(), spectra.copy()
    dead[:, 50] = 0.0
    return {
        "dead channel": dead,
        "saturated": np.minimum(saturated, np.quantile(saturated, 0.7, axis=1, keepdims=True)),
        "flipped": spectra[:, ::-1],
        "percent reflectance": 100.0 * 10.0**-spectra,
        "noise": np.random.default_rng(0).normal(size=spectra.shape),
        "constant": np.full_like(spectra, 0.3),
        "another material": make_spectra(NM, len(spectra), 2)[:, ::-1] ** 2,
    }


def test_what_is_strange_is_told_from_what_is_not() -> None:
    fitted = detector().fit(X)
    assert (fitted.predict(NEW) == 1).mean() >= 0.9
    for name, spectra in strange(NEW).items():
        assert (fitted.predict(spectra) == -1).all(), name
    scores = fitted.score_samples(NEW)
    assert np.array_equal(fitted.decision_function(NEW), scores)
    assert np.array_equal(fitted.predict(NEW), np.where(scores < 0, -1, 1))
    within, beside = fitted.t2(NEW), fitted.q(NEW)
    assert np.array_equal(scores < 0, (within > fitted.t2_limit_) | (beside > fitted.q_limit_))


def test_a_stretch_along_the_components_is_t2_and_another_band_is_q() -> None:
    fitted = detector(n_components=6).fit(X)
    band = np.exp(-0.5 * ((NM - 1700.0) / 12.0) ** 2)
    other = fitted.q(NEW + 0.2 * band) / fitted.q_limit_
    assert np.median(other) > 3.0
    assert np.median(other) > 2 * np.median(fitted.t2(NEW + 0.2 * band) / fitted.t2_limit_)


def test_confidence_is_what_passes() -> None:
    for confidence in (0.5, 0.9):
        passed = []
        for seed in range(5):
            mixed = np.random.default_rng(seed).permutation(np.concatenate([X, NEW]))
            passed.append((detector(confidence=confidence).fit(mixed[:120]).predict(mixed[120:]) == 1).mean())
        assert np.mean(passed) == pytest.approx((1 + confidence) / 2, abs=0.5 * (1 - confidence) + 0.03)


def test_replicates_are_left_out_together() -> None:
    twice = np.repeat(X[:40], 3, axis=0) + 1e-5 * np.random.default_rng(0).normal(size=(120, 200))
    alone, together = detector().fit(twice), detector().fit(twice, groups=np.repeat(np.arange(40), 3))
    assert together.q_limit_ > 1.1 * alone.q_limit_
    with pytest.raises(ValueError, match="n_samples=4: at least 10 samples are needed"):
        detector().fit(twice, groups=np.arange(120) % 4)


def test_other_grids_and_many_spectra() -> None:
    fitted = SpectralNovelty().fit(pd.DataFrame(X, columns=NM))
    other = np.linspace(1100.0, 2300.0, 150)
    resampled = np.stack([np.interp(other, NM, row) for row in NEW])
    assert (fitted.predict(resampled, wavelengths=other) == 1).mean() > 0.8
    assert fitted.score_samples([NEW[0], resampled[0]], wavelengths=[NM, other]).shape == (2,)
    own = [*NEW[:10], *resampled[10:20]]
    assert SpectralNovelty().fit_predict(own, wavelengths=[NM] * 10 + [other] * 10).shape == (20,)
    many = np.tile(X, (10, 1))
    assert np.array_equal(detector().fit(many).pca_.mean_, detector().fit(many).pca_.mean_)
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(
        again.score_samples(pd.DataFrame(NEW, columns=NM)), fitted.score_samples(pd.DataFrame(NEW, columns=NM))
    )


def test_other_weights_under_the_same_path_are_refused(own_checkpoint) -> None:
    fitted = detector(checkpoint=own_checkpoint).fit(X)
    own_checkpoint.write_bytes((FOLDER / "format-1.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="fit again or restore the file"):
        fitted.predict(X)


@pytest.mark.parametrize("n", [12, 20, 40])
def test_few_spectra_flag_few(n: int) -> None:
    flagged = []
    for seed in range(8):
        mixed = np.random.default_rng(seed).permutation(np.concatenate([X, NEW]))
        flagged.append((detector().fit(mixed[:n]).predict(mixed[n:]) == -1).mean())
    assert np.mean(flagged) < 3.0 / n + 0.05


def test_parameters_are_checked() -> None:
    for parameters, message in (
        ({"n_components": 0}, "n_components=0 must be a positive integer"),
        ({"confidence": 95}, "confidence=95 must lie between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            detector(**parameters).fit(X)
    with pytest.raises(SpectralInputError, match="NaN at row 0: 100% of its points are missing"):
        detector().fit(np.where(np.arange(120)[:, None] == 0, np.nan, X))


def test_the_embedder_says_so() -> None:
    dead = strange(NEW)["dead channel"]
    mixed = np.concatenate([X[:5], dead[:3]])
    for readout in ("contrast", "compact"):
        embedder = SpectralEmbedder(readout=readout, wavelengths=NM, on_outlier="warn").fit(X)
        with pytest.warns(UserWarning, match=r"3 of 8 spectra are unlike those of the calibration set, first row 5"):
            Z = embedder.transform(mixed)
        plain = SpectralEmbedder(readout=readout, wavelengths=NM).fit(X)
        assert np.array_equal(Z, plain.transform(mixed))
        assert ((embedder.score_samples(mixed) < 0) == (np.arange(8) >= 5)).all()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            embedder.transform(X[:5])
            plain.transform(mixed)
    assert not hasattr(plain, "score_samples")
    with pytest.raises(ValueError, match="no outlier limits are fitted"):
        plain.set_params(on_outlier="warn").transform(X)
    assert not hasattr(embedder.set_params(on_outlier="ignore").fit(X), "novelty_")
    with pytest.raises(ValueError, match="on_outlier='shout' is not known"):
        SpectralEmbedder(on_outlier="shout", wavelengths=NM).fit(X)
    strict = make_pipeline(SpectralEmbedder(wavelengths=NM, on_outlier="raise"), Ridge()).fit(X, X[:, 0])
    assert clone(strict)[0].on_outlier == "raise"
    with pytest.raises(SpectralInputError, match="1 of 1 spectra are unlike"):
        strict.predict(dead[:1])


def test_what_is_no_near_infrared_spectrum_is_told_without_a_fit() -> None:
    assert (detector().bank_scores(X) > 0).mean() > 0.9
    for name in ("saturated", "percent reflectance", "noise", "constant"):
        assert (detector().bank_scores(strange(X)[name]) < 0).mean() > 0.9, name
    mistaken = detector(wavelengths=None, axis_unit="nm").bank_scores(X[:5], wavelengths=1e7 / NM)
    assert (mistaken < 0).all()


def test_bank_scores_are_the_same_before_and_after_a_fit_row_by_row_and_on_any_grid() -> None:
    scores = detector().bank_scores(X)
    assert np.array_equal(detector().fit(X).bank_scores(X), scores)
    assert np.allclose([detector().bank_scores(row[None])[0] for row in X[:5]], scores[:5], rtol=1e-6)
    nested = detector(wavelengths=None).bank_scores(list(X[:5]), wavelengths=[NM] * 5)
    assert np.allclose(nested, scores[:5], rtol=1e-4)


def test_a_checkpoint_without_a_bank_says_so() -> None:
    with pytest.raises(CheckpointError, match="holds no statistics of its bank"):
        detector(checkpoint=FOLDER / "format-1.safetensors").bank_scores(X)


def test_statistics_of_a_bank() -> None:
    rng = np.random.default_rng(0)
    families = [f"f{i % 12}" for i in range(24)]
    embedded = [rng.normal(size=(n, 8)) + 0.1 * i for i, n in enumerate(rng.integers(1, 30, 24))]
    signals = [rng.normal(size=(len(e), N_SIGNAL)) for e in embedded]
    known = bank_statistics(embedded, signals, [(1000.0, 1500.0), (1400.0, 2500.0)] * 12, families)
    assert {v.dtype for v in known.values()} == {np.dtype("float32")}
    assert bank_coverage(known, 1100, 2400) == 1.0
    assert bank_coverage(known, 4000, 9000) == bank_coverage(known, 29_999, 30_000) == 0.0
    assert 0.4 < bank_coverage(known, 2000, 3000) < 0.7
    assert bank_coverage(known, 1200.0, 1200.0) == 1.0
    like = bank_scores(known, rng.normal(1.2, 1.0, (500, 8)), rng.normal(size=(500, N_SIGNAL)), np.ones(500))
    assert (like < 0).mean() < 0.15
    unlike = bank_scores(known, rng.normal(30.0, 1.0, (50, 8)), rng.normal(size=(50, N_SIGNAL)), np.ones(50))
    assert (unlike < 0).all()
    # A family of many datasets weighs no more than others.
    again = [0, 12] * 5
    more = bank_statistics(
        [*embedded, *(embedded[i] for i in again)],
        [*signals, *(signals[i] for i in again)],
        [(1000.0, 1500.0)] * 34,
        [*families, *["f0"] * 10],
    )
    assert np.allclose(more["bank_mean"], known["bank_mean"], atol=1e-5)
    assert np.allclose(more["bank_limit"], known["bank_limit"], atol=1e-4)
    assert bank_statistics(embedded[:2], signals[:2], [(1000.0, 1500.0)] * 2, families[:2]) == {}


@pytest.mark.parametrize(
    ("rows", "longest"),
    [
        ([[1, 2, 3, 4]], [1]),
        ([[1, 1, 3, 4], [2, 2, 2, 2], [1, 2, 2, 2]], [2, 4, 3]),
        ([[5]], [1]),
        ([[0, 0], [0, 1]], [2, 1]),
    ],
)
def test_the_longest_flat_stretch(rows: list[list[float]], longest: list[int]) -> None:
    X = np.array(rows, dtype=float)
    assert np.array_equal(_longest_flat(X), longest)


def test_values_beyond_all_measure_are_strange() -> None:
    fitted = detector().fit(X)
    for factor in (1e6, 1e29):
        assert (fitted.predict(NEW[:4] * factor) == -1).all()
        assert (fitted.bank_scores(NEW[:4] * factor) < 0).all()
    assert np.isfinite(SpectralNovelty(axis_unit="cm-1").bank_scores(X[:, :1], wavelengths=[50_000.000001])).all()
