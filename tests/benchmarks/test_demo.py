"""The main job, as `make demo` runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import demo
from benchmarks.__main__ import main


@pytest.mark.slow
def test_demo_on_synthetic_spectra(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "INSTRUMENTS", ("neospectra_micro",))
    assert main(["demo", "--out", str(tmp_path / "demo.png")]) == 0
    printed = capsys.readouterr().out
    for method in ("PLS", "SNV + PLS", "Ridge", "SpectralEmbedder + Ridge"):
        assert f"\n{method} " in printed
    assert printed.count(" *") == 2  # the legend and the best of one column
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert "protein" in (tmp_path / "demo_report.html").read_text("utf-8")


@pytest.mark.xbank
def test_real_problems_are_complete(x_bank: Path) -> None:
    problems = list(demo.real_problems(x_bank))
    assert [p.name.split(":")[0] for p in problems] == list(demo.REAL_SETS)
    for problem in problems:
        assert np.isfinite(problem.X).all()
        dataset = problem.dataset()
        np.testing.assert_allclose(dataset.wavelengths_nm(0), problem.wavelengths, atol=1e-3)
        assert 0 < problem.n_train < len(problem.y)
