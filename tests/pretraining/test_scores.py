"""Ridge scores on targets kept apart."""

from pathlib import Path

import numpy as np
import pytest

from nirs4all_vit import load_checkpoint
from nirs4all_vit.pretraining.data.dataset import SpectralDataset
from nirs4all_vit.pretraining.scores import read_targets, ridge_scores
from tests.conftest import make_spectra

NM = np.linspace(1100.0, 2300.0, 60)


def _dataset(**metadata: str) -> SpectralDataset:
    return SpectralDataset("grain", make_spectra(NM, 40).astype(np.float32), NM, metadata)


@pytest.mark.parametrize("separator", [",", ";"])
def test_groups_are_not_targets_whatever_the_separator(separator: str, tmp_path: Path) -> None:
    dataset = _dataset(group="sample")
    rows = [f"{i // 2}{separator}{v:.5f}" for i, v in enumerate(dataset.values[:, 30] - dataset.values[:, 10])]
    (tmp_path / "grain.csv").write_text("\n".join([f"sample{separator}water", *rows]), "utf-8")
    found = ridge_scores(load_checkpoint("nirs-base-v2").encoder, [dataset], tmp_path)
    assert list(found) == ["grain/water"]
    assert 0 < found["grain/water"] < 0.5


def test_tables_that_do_not_fit(tmp_path: Path) -> None:
    encoder = load_checkpoint("nirs-base-v2").encoder
    with pytest.raises(FileNotFoundError, match="y_datasets"):
        ridge_scores(encoder, [_dataset()], tmp_path)
    (tmp_path / "grain.csv").write_text("water\n1\n2\n", "utf-8")
    with pytest.raises(ValueError, match="2 rows for 40 spectra"):
        ridge_scores(encoder, [_dataset()], tmp_path)
    (tmp_path / "grain.csv").write_text("water\n" + "1\n" * 40, "utf-8")
    with pytest.raises(ValueError, match="names as group"):
        ridge_scores(encoder, [_dataset(group="sample")], tmp_path)


def _table(path: Path, values: list[str], separator: str = ";") -> Path:
    rows = (values * 40)[:40]
    path.write_text("\n".join([f"water{separator}dry", *(f"{v}{separator}1" for v in rows)]), "utf-8")
    return path


@pytest.mark.parametrize("separator", [";", "\t"])
def test_decimal_commas_are_numbers(separator: str, tmp_path: Path) -> None:
    table, _ = read_targets(_table(tmp_path / "grain.csv", ["12,5", "1,25e1", "", "-3"], separator), _dataset())
    np.testing.assert_allclose(table["water"][:4], [12.5, 12.5, np.nan, -3])
    assert table["water"].dtype == float


def test_text_that_is_nearly_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"column 'water': '<0\.5' is not a number"):
        read_targets(_table(tmp_path / "grain.csv", ["0.7", "0.9", "<0.5"]), _dataset())
    with pytest.raises(ValueError, match="write numbers with a decimal point"):
        read_targets(_table(tmp_path / "grain.csv", ['"0,7"', '"0,9"'], ","), _dataset())
    table, _ = read_targets(_table(tmp_path / "grain.csv", ["oak", "elm"]), _dataset())
    assert set(table["water"]) == {"oak", "elm"}
