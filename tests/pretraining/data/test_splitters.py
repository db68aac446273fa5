"""Splits: no sample, dataset or family on both sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score

from nirs4all_vit.pretraining.data import (
    FamilyKFold,
    GroupKennardStone,
    GroupSPXY,
    LeaveOneDatasetOut,
    LeaveOneFamilyOut,
    LODOSplitter,
    SpectralDataset,
)
from tests.conftest import make_spectra

NM = np.linspace(1100.0, 2100.0, 60)
X = make_spectra(NM, 48)
Y = X[:, 10] - X[:, 40]
DATASETS = np.repeat(["a1", "a2", "b", "c1", "c2", "d"], 8)
FAMILIES = np.array([name[0] for name in DATASETS])
SAMPLES = np.repeat(np.arange(16), 3)


@pytest.mark.parametrize("splitter", [LeaveOneDatasetOut(), LODOSplitter()])
def test_each_dataset_is_left_out_once(splitter: LeaveOneDatasetOut) -> None:
    folds = list(splitter.split(X, Y, DATASETS))
    assert splitter.get_n_splits(groups=DATASETS) == len(folds) == 6
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(48))
    for train, test in folds:
        assert len(set(DATASETS[test])) == 1
        assert len(train) + len(test) == 48


def test_a_list_of_datasets_is_iterated_over() -> None:
    def dataset(name: str, family: str) -> SpectralDataset:
        return SpectralDataset(
            name, X[:3].astype(np.float32), np.linspace(1100.0, 2400.0, X.shape[1]), {"family": family}
        )

    datasets = [dataset("a1", "a"), dataset("a2", "a"), dataset("b", "b")]
    splitter = LODOSplitter(datasets)
    pairs = [([part.name for part in training], held_out.name) for training, held_out in splitter]
    assert pairs == [(["b"], "a1"), (["b"], "a2"), (["a1", "a2"], "b")]
    assert len(splitter) == 3
    with pytest.raises(ValueError, match=r"give LODOSplitter\(datasets\)"):
        next(iter(LODOSplitter()))
    with pytest.raises(ValueError, match="all datasets are of the family 'a'"):
        next(iter(LODOSplitter(datasets[:2])))


def test_the_family_of_the_dataset_goes_too() -> None:
    for train, test in LeaveOneDatasetOut(families=FAMILIES).split(X, Y, DATASETS):
        assert len(set(DATASETS[test])) == 1
        assert not set(FAMILIES[train]) & set(FAMILIES[test])
    with pytest.raises(ValueError, match="all rows are of the family 'x'"):
        list(LeaveOneDatasetOut(families=["x"] * 48).split(X, Y, DATASETS))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        list(LeaveOneDatasetOut(families=["x"] * 4).split(X, Y, DATASETS))
    with pytest.raises(ValueError, match="'groups' parameter should not be None"):
        list(LeaveOneDatasetOut().split(X, Y))


def test_families_are_left_out_and_dealt() -> None:
    folds = list(LeaveOneFamilyOut().split(X, Y, FAMILIES))
    assert [set(FAMILIES[test]) for _, test in folds] == [{"a"}, {"b"}, {"c"}, {"d"}]
    dealt = [list(FamilyKFold(2, random_state=s).split(X, Y, FAMILIES)) for s in (0, 0, 1, 2, 3)]
    for folds in dealt:
        for train, test in folds:
            assert not set(FAMILIES[train]) & set(FAMILIES[test])
        assert sorted(np.concatenate([test for _, test in folds])) == list(range(48))
    tests = [[test.tolist() for _, test in folds] for folds in dealt]
    assert tests[0] == tests[1]
    assert any(tests[0] != other for other in tests[2:])
    assert [len(test) for _, test in FamilyKFold(2, shuffle=False).split(X, Y, FAMILIES)] == [24, 24]


@pytest.mark.parametrize("splitter", [GroupKennardStone(0.25), GroupSPXY(0.25)])
def test_kennard_stone_keeps_replicates_together(splitter: GroupKennardStone) -> None:
    ((train, test),) = splitter.split(X, Y, SAMPLES)
    assert not set(SAMPLES[train]) & set(SAMPLES[test])
    assert len(test) == 12
    assert sorted([*train, *test]) == list(range(48))
    assert splitter.get_n_splits() == 1
    # The calibration set holds the extremes: the two samples that lie farthest apart.
    means = np.stack([X[s == SAMPLES].mean(axis=0) for s in range(16)])
    if type(splitter) is GroupKennardStone:
        distance = np.linalg.norm(means[:, None] - means[None], axis=2)
        assert set(np.unravel_index(distance.argmax(), distance.shape)) <= set(SAMPLES[train])
    ((alone, _),) = splitter.split(X, Y)
    assert len(alone) == 36


def test_kennard_stone_takes_classes_and_spxy_asks_for_targets() -> None:
    ((train, _),) = GroupKennardStone().split(X, np.array(["u", "v"] * 24), SAMPLES)
    assert len(train) == 36
    with pytest.raises(ValueError, match="SPXY needs y"):
        list(GroupSPXY().split(X))
    with pytest.raises(ValueError, match="not compatible with arrays of bytes/strings"):
        list(GroupSPXY().split(X, np.array(["u", "v"] * 24)))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        list(GroupSPXY().split(X, Y[:9]))
    for splitter in (GroupKennardStone(), GroupSPXY()):
        with pytest.raises(ValueError, match=r"Input.*contains NaN"):
            list(splitter.split(np.where(X[3, 3] == X, np.nan, X), Y))


def test_they_serve_scikit_learn() -> None:
    scores = cross_val_score(Ridge(1e-6), X, Y, groups=DATASETS, cv=LeaveOneDatasetOut())
    assert len(scores) == 6
    search = GridSearchCV(Ridge(), {"alpha": [1e-6, 1.0]}, cv=FamilyKFold(3)).fit(X, Y, groups=FAMILIES)
    assert search.best_params_ == {"alpha": 1e-6}
    assert len(cross_val_score(Ridge(), X, Y, groups=SAMPLES, cv=GroupSPXY())) == 1
    assert clone(search).cv.n_splits == 3
    assert "LODOSplitter(datasets=None, families=None)" in repr(LODOSplitter())


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["dag-ml", "legacy"])
def test_lodo_splits_a_nirs4all_pipeline(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a metadata column, as nirs4all's own group splitters."""
    import nirs4all
    from nirs4all.data.dataset import SpectroDataset

    monkeypatch.chdir(tmp_path)  # nirs4all keeps its workspace where it runs
    data = SpectroDataset("several")
    for part, rows in (("train", slice(40)), ("test", slice(40, None))):
        data.add_samples(X[rows], {"partition": part}, headers=[f"{v:g}" for v in NM], header_unit="nm")
        data.add_targets(Y[rows])
        data.add_metadata(DATASETS[rows, None], headers=["dataset"])
    steps = [{"split": LODOSplitter(), "group_by": "dataset"}, {"model": Ridge(1e-4)}]
    result = nirs4all.run(steps, dataset=data, verbose=0, save_charts=False, engine=engine)
    folds = {str(row["fold_id"]) for row in result.predictions.filter_predictions(partition="val")}
    assert len({fold for fold in folds if fold.removeprefix("fold").strip("_").isdigit()}) == 5, folds
    assert result.final["test_score"] < Y.std()
