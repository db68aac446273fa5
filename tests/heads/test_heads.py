"""Heads by name: what each must do as an ordinary scikit-learn estimator."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.utils.estimator_checks import parametrize_with_checks

from nirs4all_vit.heads import (
    PLSDA,
    BlockScaler,
    CappedPLSRegression,
    GroupRidge,
    GroupRidgeClassifier,
    HeadUnavailable,
    LeaveOutKernelRidge,
    PCAColumns,
    PreprocessedPLS,
    SpectralCommittee,
    available_heads,
    make_head,
)
from nirs4all_vit.heads.head import head_names
from nirs4all_vit.heads.ridge import ALPHAS, best_penalty

HERE = {
    task: [n for n in head_names(task) if n not in ("tabpfn", "tabicl")] for task in ("regression", "classification")
}


def embedded(n: int = 90, n_classes: int = 0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Like an embedding: many columns, few directions, an offset, a small scale."""
    if n_classes:
        X, y = make_classification(n, 12, n_informative=6, n_classes=n_classes, class_sep=4.0, random_state=seed)
        y = np.array(["barley", "oats", "wheat"])[y]
    else:
        X, y = make_regression(n, 12, n_informative=6, noise=5.0, random_state=seed)
    rng = np.random.default_rng(seed)
    return (3.0 + 0.02 * X @ rng.normal(size=(12, 400))).astype(np.float32), y


def expected_failures(estimator) -> dict[str, str]:
    """Return checks of scikit-learn that an estimator cannot pass, and why."""
    if isinstance(estimator, CappedPLSRegression):
        # scikit-learn recognises its PLS, whose fit_transform returns scores of both blocks, by the class name.
        checks = ("check_transformer_general", "check_transformer_data_not_an_array", "check_transformer_n_iter")
        return dict.fromkeys(checks, "goes by the name")
    if isinstance(estimator, (LeaveOutKernelRidge, SpectralCommittee)):
        check = "check_sample_weight_equivalence_on_dense_data"
        return {check: "a sample that stands twice predicts itself where one is left out; give groups"}
    return {}


@parametrize_with_checks(
    [
        BlockScaler(),
        PCAColumns(5),
        CappedPLSRegression(3),
        PLSDA(3),
        GroupRidge(),
        GroupRidgeClassifier(),
        LeaveOutKernelRidge(),
        PreprocessedPLS(3),
        SpectralCommittee(),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn(estimator, check) -> None:
    check(estimator)


@pytest.mark.parametrize("name", HERE["regression"])
def test_regression(name: str) -> None:
    X, y = embedded()
    head = make_head(name)
    assert is_regressor(head)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # how long a search lasts is no matter here
        fitted = clone(head).fit(X[:60], y[:60])
    predicted = fitted.predict(X[60:])
    assert predicted.shape == (30,)
    assert r2_score(y[60:], predicted) > 0.9
    # Heads are compared by it.
    assert fitted.score(X[60:], y[60:]) == pytest.approx(r2_score(y[60:], predicted))
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict(X[60:]), predicted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.array_equal(clone(head).fit(X[:60], y[:60]).predict(X[60:]), predicted)  # seeded


@pytest.mark.parametrize("name", HERE["classification"])
def test_classification(name: str) -> None:
    X, y = embedded(n_classes=3)
    head = make_head(name, "classification")
    assert is_classifier(head)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = clone(head).fit(X[:60], y[:60])
    assert set(fitted.predict(X[60:])) <= set(y)
    assert fitted.score(X[60:], y[60:]) > 0.8
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict(X[60:]), fitted.predict(X[60:]))


@pytest.mark.parametrize("name", ["committee", "ridge", "pls", "krr", "gp", "mlp"])
def test_several_targets(name: str) -> None:
    X, y = embedded()
    targets = np.column_stack([y, -2.0 * y + 1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predicted = make_head(name).fit(X[:60], targets[:60]).predict(X[60:])
    assert predicted.shape == (30, 2)
    assert r2_score(targets[60:], predicted) > 0.9


@pytest.mark.parametrize(("name", "scale"), [("pls", 1e-3), ("krr", 1e3), ("gp", 1e-3), ("svr", 1e3)])
def test_the_scale_of_the_target_does_not_matter(name: str, scale: float) -> None:
    X, y = embedded()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        head = make_head(name)
        plain, scaled = (clone(head).fit(X[:60], by * y[:60]).predict(X[60:]) for by in (1.0, scale))
    assert np.abs(scaled / scale - plain).max() < 0.05 * y.std()


def test_few_samples() -> None:
    X, y = embedded(n=12)
    for n in (3, 12):
        for name in HERE["regression"]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert np.isfinite(make_head(name).fit(X[:n], y[:n]).predict(X)).all()
    labels = np.array(["oats", "wheat", "wheat", "wheat", "oats"])
    for name in ("plsda", "logistic", "svc"):
        assert set(make_head(name, "classification").fit(X[:5], labels).predict(X)) <= {"oats", "wheat"}
        with pytest.raises(
            ValueError, match=r"class .oats. has one sample: .* two of each; drop it, or give make_head"
        ):
            make_head(name, "classification").fit(X[:4], labels[:4])
    for n, message in (
        (1, "1 sample: a head that searches its parameters needs three or more"),
        (2, "2 samples: a head"),
    ):
        with pytest.raises(ValueError, match=message):
            make_head("pls").fit(X[:n], y[:n])
    for name in ("plsda", "logistic", "svc"):
        with pytest.raises(ValueError, match="Unknown label type: continuous"):
            make_head(name, "classification").fit(X, y)


def test_the_search_keeps_groups_together() -> None:
    """With random answers nothing is to be predicted, except a replicate from the other ones."""
    rng = np.random.default_rng(0)
    samples, y = rng.normal(size=(20, 300)), rng.normal(size=20)
    X = np.repeat(samples, 5, axis=0) + 0.01 * rng.normal(size=(100, 300))
    groups = np.repeat(np.arange(20), 5)
    assert make_head("pls").fit(X, np.repeat(y, 5)).best_score_ > -0.1 * y.var()
    assert make_head("pls").fit(X, np.repeat(y, 5), groups=groups).best_score_ < -0.5 * y.var()


def test_what_is_given_is_not_searched() -> None:
    X, y = embedded()
    assert make_head("pls", n_components=7).fit(X, y).n_components == 7
    head = make_head("krr", gamma=0.02)
    assert list(head[-1].param_grid) == ["regressor__alpha"]
    assert head[-1].estimator.regressor.gamma == 0.02
    with pytest.raises(ValueError, match=r"make_head\('pls'\) has no parameter 'components'; it has: .*n_components"):
        make_head("pls", components=3)


def test_targets_lack_values_each_its_own() -> None:
    X, y = embedded()
    targets = np.column_stack([y, -2.0 * y + 1.0])
    holes = targets.copy()
    holes[::3, 0], holes[1::4, 1] = np.nan, np.nan
    for name in ("committee", "ridge", "pls", "krr", "gp", "svr"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = make_head(name).fit(X[:60], holes[:60])
            alone = make_head(name).fit(X[:60][~np.isnan(holes[:60, 1])], y[:60][~np.isnan(holes[:60, 1])])
        assert r2_score(targets[60:], fitted.predict(X[60:])) > 0.85, name
        assert np.corrcoef(fitted.predict(X[60:])[:, 1], alone.predict(X[60:]))[0, 1] < -0.99
        assert fitted.score(X[60:], targets[60:]) > 0.85
        # One column is one target.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            column = make_head(name).fit(X[:60], targets[:60, :1]).predict(X[60:])
            flat = make_head(name).fit(X[:60], targets[:60, 0]).predict(X[60:])
        np.testing.assert_array_equal(column, flat)
    with pytest.raises(ValueError, match="target 1 was measured on 0 samples; at least two are needed"):
        make_head("ridge").fit(X, np.column_stack([y, np.full(len(y), np.nan)]))


@pytest.mark.parametrize(("name", "share"), [("ridge", 0.7), ("krr", 1.0), ("committee", 1.0)])
def test_replicates_are_left_out_together(name: str, share: float) -> None:
    """Replicates predict each other without a penalty; new samples want one."""
    rng = np.random.default_rng(0)
    samples, new = rng.normal(size=(40, 36)), rng.normal(size=(300, 36))
    y = samples[:, 0] + rng.normal(size=40)
    X = np.repeat(samples, 4, axis=0) + 0.02 * rng.normal(size=(160, 36))
    groups = np.repeat(np.arange(40), 4)
    blind, told = (make_head(name).fit(X, np.repeat(y, 4), groups=g).predict(new) for g in (None, groups))
    blind, told = (float(np.sqrt(np.mean((p - new[:, 0]) ** 2))) for p in (blind, told))
    assert told < share * blind
    plain = GroupRidge(ALPHAS).fit(X, np.repeat(y, 4), groups=np.arange(160))
    np.testing.assert_allclose(plain.coef_, GroupRidge(ALPHAS).fit(X, np.repeat(y, 4)).coef_)


def test_the_penalty_of_groups_is_that_of_leaving_them_out() -> None:
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(30, 6)), rng.normal(size=30)
    groups = np.repeat(np.arange(10), 3)
    best, error = best_penalty(X, y[:, None], groups, (0.1, 3.0))
    by_hand = {}
    for alpha in (0.1, 3.0):
        folds = LeaveOneGroupOut().split(X, y, groups)
        by_hand[alpha] = np.mean(
            np.concatenate([(Ridge(alpha).fit(X[a], y[a]).predict(X[b]) - y[b]) ** 2 for a, b in folds])
        )
    assert best == min(by_hand, key=by_hand.get)
    assert error == pytest.approx(by_hand[best], rel=1e-8)


@pytest.mark.parametrize("output", ["default", "pandas", "polars"])
def test_scikit_learns_settings_reach_no_inner_step(output: str) -> None:
    X, y = embedded()
    labels = np.where(y > np.median(y), "high", "low")
    with sklearn.config_context(transform_output=output, enable_metadata_routing=True), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("error", category=DeprecationWarning)
        for task, target in (("regression", y), ("classification", labels)):
            for name in HERE[task]:
                assert len(make_head(name, task).fit(X[:60], target[:60]).predict(X[60:])) == 30


def test_the_committee_reads_spectra_behind_the_embedding() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=80)
    embedding = (rng.normal(size=(80, 6832)) + 0.3 * y[:, None]).astype(np.float32)
    spectra = np.sin(np.linspace(0, 6, 50)) * y[:, None] + 3.0 + 0.01 * rng.normal(size=(80, 50))
    both = np.hstack([embedding, spectra])
    committee = SpectralCommittee().fit(both[:60], y[:60])
    assert set(committee.members_) == {"gp", "scales", "krr", "ridge", "pls"}
    assert sum(committee.weights_.values()) == pytest.approx(1.0)
    predicted, deviation = committee.predict(both[60:], return_std=True)
    np.testing.assert_array_equal(predicted, committee.predict(both[60:]))
    assert (deviation > 0).all()
    assert r2_score(y[60:], predicted) > 0.9
    assert set(SpectralCommittee().fit(embedding[:60], y[:60]).members_) == {"gp", "scales", "krr", "ridge"}
    assert set(SpectralCommittee().fit(embedding[:60, :512], y[:60]).members_) == {"gp", "krr", "ridge"}
    with pytest.raises(ValueError, match="choose some of gp, scales, krr, ridge, pls"):
        SpectralCommittee(members=("forest",)).fit(both, y)
    several, spread = (
        SpectralCommittee().fit(both[:60], np.column_stack([y, y])[:60]).predict(both[60:], return_std=True)
    )
    assert several.shape == spread.shape == (20, 2)


@pytest.mark.parametrize("name", ["committee", "ridge"])
def test_samples_of_little_weight_count_little(name: str) -> None:
    rng = np.random.default_rng(0)
    X, direction = rng.normal(size=(280, 30)), rng.normal(size=30)
    y = X @ direction + 0.2 * rng.normal(size=280)
    spoilt = np.arange(280) < 20
    wrong = y + spoilt * rng.normal(size=280) * 15
    train, test = slice(0, 80), slice(80, None)

    def error(**weights: Any) -> float:
        return root_mean_squared_error(y[test], make_head(name).fit(X[train], wrong[train], **weights).predict(X[test]))

    weights = np.where(spoilt, 1e-3, 1.0)[train]
    assert error(sample_weight=weights) < 0.2 * error()
    left_out = make_head(name).fit(X[train], wrong[train], sample_weight=(~spoilt[train]).astype(float))
    removed = make_head(name).fit(X[20:80], wrong[20:80])
    np.testing.assert_allclose(left_out.predict(X[test]), removed.predict(X[test]), rtol=1e-6)
    with pytest.raises(ValueError, match="non-zero"):
        error(sample_weight=np.zeros(80))


def test_members_that_err_much_more_take_no_part() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=200)
    # Only a difference of two channels tells, far below what the others vary by: PLS on the spectra finds it.
    spectra = 100.0 * rng.normal(size=(200, 1)) + np.zeros(20)
    spectra[:, 7] += 0.01 * y
    both = np.hstack([rng.normal(size=(200, 6832)), spectra])
    committee = SpectralCommittee(members=("krr", "ridge", "pls")).fit(both, y)
    assert committee.weights_ == {"krr": 0.0, "ridge": 0.0, "pls": 1.0}
    _, deviation = committee.predict(both, return_std=True)
    assert (deviation > 0).all()


@pytest.mark.parametrize("head", [CappedPLSRegression(10), PreprocessedPLS()], ids=lambda head: type(head).__name__)
def test_spectra_of_two_components_have_two(head: Any) -> None:
    rng = np.random.default_rng(0)
    amounts = rng.normal(size=(60, 2))
    spectra = amounts @ rng.normal(size=(2, 40))
    predicted = head.fit(spectra, amounts[:, 0]).predict(spectra)
    np.testing.assert_allclose(np.ravel(predicted), amounts[:, 0], atol=1e-6)


def test_no_such_head() -> None:
    with pytest.raises(ValueError, match="no head 'forest' for regression: there are committee, ridge, pls"):
        make_head("forest")
    with pytest.raises(ValueError, match=r"no head 'pls' for classification: it is for regression; there are .*plsda"):
        make_head("pls", "classification")
    with pytest.raises(ValueError, match="task='ranking' is not known"):
        make_head("ridge", "ranking")
    with pytest.raises(ValueError, match="task='ranking' is not known"):
        available_heads("ranking")


def test_available(monkeypatch: pytest.MonkeyPatch) -> None:
    for task in ("regression", "classification"):
        found = available_heads(task)
        assert set(HERE[task]) <= set(found)
        assert set(found) | set(found.unavailable) == set(head_names(task))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    found = available_heads()
    assert found.unavailable["tabpfn"] == "tabpfn is not installed: pip install 'nirs4all-vit[tabpfn]'"
    assert "not here:\n  tabpfn: " in repr(found)
    with pytest.raises(HeadUnavailable, match=r"make_head\('tabicl'\): tabicl is not installed: pip install"):
        make_head("tabicl")


def test_capped_components() -> None:
    X, y = embedded(n=6)
    fitted = CappedPLSRegression(20).fit(X, y)
    assert fitted.n_components == 20
    assert fitted.x_scores_.shape == (6, 5)
    few = PCAColumns(256).fit(X)
    assert few.transform(X).shape == (6, 5)
    distances = [np.linalg.norm(Z[0] - Z[1:], axis=1) for Z in (few.transform(X), BlockScaler().fit_transform(X))]
    np.testing.assert_allclose(*distances, rtol=1e-3)
    with pytest.raises(ValueError, match="n_columns=0 must be a positive integer"):
        PCAColumns(0).fit(X)


def test_whitened_columns() -> None:
    X, _ = embedded()
    plain = PCAColumns().fit_transform(X)
    for power in (0.5, 1.0):
        few = PCAColumns(whitening=power).fit(X)
        columns = few.transform(X)
        strong = plain.var(axis=0) > 1e-3 * plain.var(axis=0).max()
        ratios = (columns.std(axis=0) / plain.std(axis=0) ** (1 - power))[strong]
        np.testing.assert_allclose(ratios, ratios[0], rtol=1e-2)
        assert columns.var(axis=0).sum() == pytest.approx(plain.var(axis=0).sum(), rel=1e-4)


@pytest.mark.parametrize("name", ["svc", "gp"])
def test_classes_that_differ_in_what_varies_little(name: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 3
    X = rng.normal(size=(240, 60)) * np.geomspace(10.0, 0.1, 60)
    X[:, 40:43] += 0.9 * np.eye(3)[labels]
    head = make_head(name, "classification")
    plain = clone(head).set_params(columns__whitening=0.0)
    whitened, plain = (one.fit(X[:180], labels[:180]).score(X[180:], labels[180:]) for one in (head, plain))
    assert whitened > max(plain, 0.6)


def test_unit_spread() -> None:
    X, _ = embedded()
    spread = BlockScaler().fit_transform(X)
    assert spread.var(axis=0).sum() == pytest.approx(1.0, rel=1e-5)
    assert np.abs(spread.mean(axis=0)).max() < 1e-5
    np.testing.assert_allclose(BlockScaler().fit_transform(np.full((3, 2), 7.1)), 0.0, atol=1e-12)


def test_what_stops_by_design_does_not_warn(recwarn: pytest.WarningsRecorder) -> None:
    X, y = np.random.default_rng(0).normal(size=(40, 30)), np.arange(40.0)
    for task, target in (("regression", y), ("classification", y > 20)):
        clone(make_head("mlp", task, alpha=0.1, max_iter=2)).fit(X, target)
        make_head("gp", task).fit(X, target)
    assert not [w for w in recwarn if issubclass(w.category, ConvergenceWarning)]
