"""Block masks: the share that was asked for, in nanometres, never all or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nirs4all_vit.nirs4all_host import MAEBlockMasker
from nirs4all_vit.pretraining.augmentation import block_mask
from nirs4all_vit.pretraining.data.batch import Draw
from tests.conftest import make_spectra


def widths(axis: np.ndarray) -> np.ndarray:
    """Share of the range that each point stands for."""
    edges = np.concatenate([axis[:1], (axis[1:] + axis[:-1]) / 2, axis[-1:]])
    return np.diff(edges) / (axis[-1] - axis[0])


GRIDS = {
    "even": np.linspace(1100, 2498, 700),
    "even in wavenumber": 1e7 / np.linspace(10000, 4000, 900)[::1],
    "narrow": np.linspace(1550, 1950, 201),
    "gap": np.concatenate([np.linspace(400, 900, 100), np.linspace(1500, 2500, 400)]),
    "coarse": np.linspace(1100, 1600, 19),
}


@pytest.mark.parametrize("name", list(GRIDS))
def test_the_share_is_exact_within_half_a_block(name: str) -> None:
    axis = GRIDS[name]
    for ratio in (0.6, 0.7, 0.8):
        mask = block_mask(torch.from_numpy(axis), 200, Draw.seeded(0), (ratio, ratio), (40.0, 40.0)).numpy()
        share = mask @ widths(axis)
        # A block is 40 nm, or what is left in it; the widest gap between points belongs to two of them.
        block = (max(40.0, 2 * np.diff(axis).max()) + np.diff(axis).max()) / np.ptp(axis)
        assert np.abs(share - ratio).max() <= block / 2 + 1e-9
    drawn = block_mask(torch.from_numpy(axis), 2000, Draw.seeded(1), (0.6, 0.8)).numpy() @ widths(axis)
    assert abs(drawn.mean() - 0.7) < 0.02


def test_blocks_are_contiguous_in_nanometres() -> None:
    axis = GRIDS["even in wavenumber"]  # points lie six times denser at one end
    mask = block_mask(torch.from_numpy(axis), 300, Draw.seeded(0), (0.7, 0.7), (60.0, 60.0)).numpy()
    for row in mask:
        inner = row[np.argmax(~row) :]  # runs that touch the edge are cut
        edges = np.flatnonzero(np.diff(inner.astype(int)))
        offset = len(row) - len(inner)
        starts, stops = edges[::2] + 1 + offset, edges[1::2] + 1 + offset
        runs = [axis[b - 1] - axis[a] for a, b in zip(starts, stops, strict=False)]
        assert all(run > 60.0 - 25 for run in runs)
    # Short and long waves are masked alike, though they hold other numbers of points.
    share = [(mask @ (widths(axis) * part)).mean() / (widths(axis) * part).sum() for part in (axis < 1400, axis > 2000)]
    np.testing.assert_allclose(share, 0.7, atol=0.05)


@pytest.mark.parametrize("n_points", [2, 3, 4, 7, 16, 50])
def test_never_empty_and_never_full(n_points: int) -> None:
    for span in (1.0, 50.0, 2000.0):
        axis = torch.linspace(1000, 1000 + span, n_points, dtype=torch.float64)
        for ratio in ((0.01, 0.05), (0.6, 0.8), (0.95, 0.99)):
            mask = block_mask(axis, 300, Draw.seeded(0), ratio)
            assert mask.any(dim=1).all()
            assert (~mask).any(dim=1).all()


def test_a_grid_of_its_own_for_each_spectrum_and_padding() -> None:
    a, b = torch.linspace(1100, 2500, 50).double(), torch.linspace(900, 1700, 30).double()
    axis = torch.stack([a, torch.cat([b, b[-1:].expand(20)])]).repeat(100, 1)
    valid = torch.ones(200, 50, dtype=torch.bool)
    valid[1::2, 30:] = False
    mask = block_mask(axis, 200, Draw.seeded(0), (0.7, 0.7), (50.0, 50.0), valid=valid)
    assert not (mask & ~valid).any()
    share = mask.sum(dim=1) / valid.sum(dim=1)
    assert float((share - 0.7).abs().max()) < 0.12
    assert len({tuple(row.tolist()) for row in mask[::2]}) > 90  # each spectrum its own


def test_seeded_and_refusing() -> None:
    axis = torch.linspace(1100, 2500, 50).double()
    assert torch.equal(block_mask(axis, 9, Draw.seeded(3)), block_mask(axis, 9, Draw.seeded(3)))
    assert not torch.equal(block_mask(axis, 9, Draw.seeded(3)), block_mask(axis, 9, Draw.seeded(4)))
    for ratio in ((0.0, 0.5), (0.6, 1.0), (0.8, 0.6)):
        with pytest.raises(ValueError, match=r"ratio=.* must be two shares"):
            block_mask(axis, 2, Draw.seeded(0), ratio)
    with pytest.raises(ValueError, match=r"block=.* must be two widths"):
        block_mask(axis, 2, Draw.seeded(0), block=(50, 20))


@pytest.mark.parametrize("fill", ["mean", "zero", "nan"])
def test_mae_block_masker(fill: str) -> None:
    nm = np.linspace(1100, 2498, 300)
    X = make_spectra(nm, 8)
    masker = MAEBlockMasker(fill=fill, random_state=0).fit(X, wavelengths=nm)
    masked = masker.transform(X, wavelengths=nm)
    kept = ~masker.mask_
    np.testing.assert_array_equal(masked[kept], X[kept])
    assert 0.5 < masker.mask_.mean() < 0.85
    for row in range(8):
        value = {"mean": X[row][kept[row]].mean(), "zero": 0.0, "nan": np.nan}[fill]
        np.testing.assert_allclose(masked[row][~kept[row]], value)
    first = masker.mask_
    masker.transform(X, wavelengths=nm)
    assert not np.array_equal(first, masker.mask_)  # each call draws anew
    again = MAEBlockMasker(fill=fill, random_state=0).fit(X, wavelengths=nm)
    again.transform(X[:, ::-1], wavelengths=nm[::-1])
    np.testing.assert_array_equal(again.mask_, first[:, ::-1])  # the order of the columns changes nothing
    assert MAEBlockMasker().fit_transform(X).shape == X.shape
    assert MAEBlockMasker(fill="nan").fit_transform((100 * X).astype(int)).dtype == np.float64
    with pytest.raises(ValueError, match="fill='median'"):
        MAEBlockMasker(fill="median").fit(X)
    with pytest.raises(ValueError, match="must be two shares"):
        MAEBlockMasker(mask_ratio=(0.8, 1.2)).fit(X)


def test_blocks_are_told_in_points_or_in_nanometres() -> None:
    nm = np.linspace(1100, 2498, 700)  # two nanometres a point
    X = make_spectra(nm, 20)

    def widths(**settings: object) -> np.ndarray:
        masker = MAEBlockMasker(mask_ratio=0.3, random_state=0, **settings).fit(X, wavelengths=nm)
        masker.transform(X, wavelengths=nm)
        edges = np.diff(np.pad(masker.mask_.astype(int), ((0, 0), (1, 1))), axis=1)
        inside = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
        np.testing.assert_allclose(masker.mask_.mean(axis=1), 0.3, atol=0.05)
        return inside

    # Neighbouring blocks are one stretch: the shortest is a block, but for the ends of the range.
    assert 9 <= np.median(widths(min_block_size=10, max_block_size=10)) <= 21
    assert 19 <= np.median(widths(min_block_size=20, max_block_size=20)) <= 41
    np.testing.assert_array_equal(widths(min_block_size=20, max_block_size=20), widths(block=(40.0, 40.0)))


@pytest.mark.slow
def test_mae_block_masker_augments_a_nirs4all_pipeline(
    nm: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As nirs4all's own operators do."""
    import nirs4all
    from nirs4all.data.dataset import SpectroDataset
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.model_selection import KFold

    monkeypatch.chdir(tmp_path)  # nirs4all keeps its workspace where it runs
    X = make_spectra(nm, 60)
    y = X[:, 100] - X[:, 300]
    data = SpectroDataset("masked")
    for part, rows in (("train", slice(40)), ("test", slice(40, None))):
        data.add_samples(X[rows], {"partition": part}, headers=[f"{v:g}" for v in nm], header_unit="nm")
        data.add_targets(y[rows])
    masker = MAEBlockMasker(mask_ratio=(0.1, 0.2), random_state=0)
    steps = [{"sample_augmentation": {"transformers": [masker], "count": 1}}, KFold(3), {"model": PLSRegression(5)}]
    result = nirs4all.run(steps, dataset=data, verbose=0, save_charts=False, engine="legacy")
    assert result.final["test_score"] < y[40:].std()
