"""Ridge scores on targets kept apart."""

from pathlib import Path

import numpy as np
import pytest

from nirs4all_vit import load_checkpoint
from nirs4all_vit.pretraining.data.dataset import SpectralDataset
from nirs4all_vit.pretraining.scores import ridge_scores
from tests.conftest import make_spectra

NM = np.linspace(1100.0, 2300.0, 60)


def _dataset(**metadata: str) -> SpectralDataset:
    return SpectralDataset("grain", make_spectra(NM, 40).astype(np.float32), NM, metadata)


@pytest.mark.parametrize("separator", [",", ";"])
def test_groups_are_not_targets_whatever_the_separator(separator: str, tmp_path: Path) -> None:
    dataset = _dataset(group="sample")
    rows = [f"{i // 2}{separator}{v:.5f}" for i, v in enumerate(dataset.values[:, 30])]
    (tmp_path / "grain.csv").write_text("\n".join([f"sample{separator}water", *rows]), "utf-8")
    found = ridge_scores(load_checkpoint("nirs-base-v1").encoder, [dataset], tmp_path)
    assert list(found) == ["grain/water"]
    assert 0 < found["grain/water"] < 0.5


def test_tables_that_do_not_fit(tmp_path: Path) -> None:
    encoder = load_checkpoint("nirs-base-v1").encoder
    with pytest.raises(FileNotFoundError, match="y_datasets"):
        ridge_scores(encoder, [_dataset()], tmp_path)
    (tmp_path / "grain.csv").write_text("water\n1\n2\n", "utf-8")
    with pytest.raises(ValueError, match="2 rows for 40 spectra"):
        ridge_scores(encoder, [_dataset()], tmp_path)
    (tmp_path / "grain.csv").write_text("water\n" + "1\n" * 40, "utf-8")
    with pytest.raises(ValueError, match="names as group"):
        ridge_scores(encoder, [_dataset(group="sample")], tmp_path)
