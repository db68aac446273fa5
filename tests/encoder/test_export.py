"""ONNX export: onnxruntime gives the same embeddings as the embedder, on any grid."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from nirs4all_vit import SpectralEmbedder
from nirs4all_vit.cli import main
from nirs4all_vit.encoder.checkpoint import load_checkpoint
from nirs4all_vit.encoder.export import export_onnx
from tests.conftest import make_spectra, run_python

GRIDS = {
    "one spectrum": (1, np.linspace(1100.0, 2498.0, 700)),
    "a portable": (40, np.linspace(908.0, 1676.0, 125)),
    "descending": (3, np.linspace(2500.0, 350.0, 2151)),
    "a gap": (2, np.r_[np.linspace(900.0, 1000.0, 40), np.linspace(1500.0, 2400.0, 300)]),
    "three points": (5, np.array([1000.0, 1100.0, 1300.0])),
}


@pytest.mark.slow
def test_the_embedders_numbers_without_torch(tmp_path: Path) -> None:
    """One graph for all grids: the export takes most of the time."""
    pytest.importorskip("onnxruntime")
    graph = tmp_path / "encoder.onnx"
    assert main(["export", "--format", "onnx", "-o", str(graph)]) == 0
    assert graph.stat().st_size < 10e6
    spectra = {name: make_spectra(axis, n) for name, (n, axis) in GRIDS.items()}
    for name, (_, axis) in GRIDS.items():
        np.savez(tmp_path / f"{name}.npz", spectra=spectra[name].astype(np.float32), wavelengths=axis)
    printed = run_python(f"""
import sys
from pathlib import Path
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession({str(graph)!r}, providers=["CPUExecutionProvider"])
for path in Path({str(tmp_path)!r}).glob("*.npz"):
    np.save(path.with_suffix(".npy"), session.run(None, dict(np.load(path)))[0])
assert "torch" not in sys.modules
about = session.get_modelmeta().custom_metadata_map
print(about["checkpoint"], about["readout"], about["licence"], about["sha256"])
""")
    assert printed.split() == ["nirs-base-v2", "contrast", "BSD-3-Clause", load_checkpoint().sha256]
    for name, (_, axis) in GRIDS.items():
        expected = SpectralEmbedder(adapt=False).fit_transform(spectra[name], wavelengths=axis)
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), expected, rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.exhaustive
def test_another_checkpoint_and_read_out(own_checkpoint: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = export_onnx(tmp_path / "own.onnx", own_checkpoint, "compact")
    axis = np.linspace(1000.0, 2000.0, 90)
    X = make_spectra(axis, 4)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (embedding,) = session.run(None, {"spectra": X.astype(np.float32), "wavelengths": axis})
    expected = SpectralEmbedder(str(own_checkpoint), readout="compact", adapt=False).fit_transform(X, wavelengths=axis)
    np.testing.assert_allclose(embedding, expected, rtol=1e-4, atol=1e-4)


def test_export_errors(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["export", "-o", str(tmp_path / "encoder.pt")]) == 1
    assert "name a .onnx file in a folder that is there" in capsys.readouterr().err
    with pytest.raises(ValueError, match="readout='all' does not exist"):
        export_onnx(tmp_path / "e.onnx", readout="all")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["export", "-o", str(tmp_path / "encoder.onnx")]) == 1
    assert "pip install 'nirs4all-vit[onnx]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
