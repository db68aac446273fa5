"""Figures of tables."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import drawing
from benchmarks.encoders import DEFAULT
from benchmarks.tables import RESULTS


def test_committed_figures_are_those_of_the_committed_tables() -> None:
    names = set(drawing.drawings(RESULTS))
    for suffix in ("png", "svg"):
        files = {path.stem for path in RESULTS.glob(f"*.{suffix}")}
        assert files == names, "run `python -m benchmarks report --figures`"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A comparison of three targets, one ratio far beyond the axis, another of a target that nothing predicts."""
    errors = {"best-pls": [1.0, 1.0, 1.0, 1.0], "gp": [0.5, 0.5, 9.0, 0.1], f"ridge@{DEFAULT}": [0.8, 0.8, 0.8, 0.1]}
    about = {"kind": "regression", "n": 200, "predictable": [True, True, True, False], "family": "f", "dataset": "d"}
    table = pd.DataFrame({**about, "target": list("abcd"), "mean": 2.0, **errors})
    table.to_csv(tmp_path / "phase1_targets.csv", index=False)
    return tmp_path


def _texts(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The texts of the SVG, line by line of each, joined."""
    import matplotlib as mpl

    monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "none")
    drawing.draw(path)
    (svg,) = path.glob("*.svg")
    return " | ".join(re.findall(r">([^<>\n]+)</(?:text|tspan)>", svg.read_text("utf-8")))


def test_figures_say_names_counts_and_what_is_clipped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = _texts(folder, monkeypatch)
    assert "embedding + ridge" in text
    assert "Gaussian process" in text
    assert "3 targets," in text
    assert "beyond the axis, drawn at its ends: 1" in text.replace(" | ", " ")
    assert "RMSEP / RMSEP of PLS" in text
    # Geometric means of the predictable targets.
    assert "| 0.80 |" in text
    assert f"| {(0.25 * 9) ** (1 / 3):.2f} |" in text
    assert "@" not in text


def test_the_same_table_gives_the_same_bytes(folder: Path) -> None:
    first = {path.name: path.read_bytes() for path in drawing.draw(folder)}
    assert set(first) == {"phase1_ratios.png", "phase1_ratios.svg"}
    assert {path.name: path.read_bytes() for path in drawing.draw(folder)} == first


def test_the_error_is_drawn_over_the_length_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readouts = ("contrast", "mean")
    rows = [
        {"method": f"ridge@ablation-{name}{size}~K:{readout}", "reference": f"ridge@untrained:{other}"}
        for name in ("mae", "episodic")
        for size in ("+10k", "", "+1800k")
        for readout in readouts
        for other in readouts
    ]
    about = {"kind": "regression", "n": 200, "targets": 9, "geometric mean": 1.0, "low": 0.9, "high": 1.1}
    pd.DataFrame(rows).assign(**about).to_csv(tmp_path / "training_length.csv", index=False)
    panels = drawing.drawings(tmp_path)["training_length"].keywords["panels"]  # type: ignore[attr-defined]
    assert list(panels) == ["contrast read-out, 9 targets", "mean read-out, 9 targets"]
    for panel in panels.values():
        assert list(panel.index) == [10, 205, 1800]
        assert set(panel) == {"ridge@ablation-mae~K", "ridge@ablation-episodic~K"}
        assert panel.notna().all(axis=None)
    text = _texts(tmp_path, monkeypatch)
    assert "masked modelling" in text
    assert "1800" in text


def test_gains_over_the_untrained_encoder_have_a_panel_per_readout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"method": method, "reference": f"ridge@untrained{other}"}
        for method in ("ridge@ablation-mae~K:contrast", "ridge@ablation-mae~K:mean", "ridge@ablation-points~K:mean")
        for other in (":contrast", ":mean", "-points:mean")
    ]
    about = {"kind": "regression", "n": 200, "targets": 9, "geometric mean": 1.0, "low": 0.9, "high": 1.1}
    pd.DataFrame(rows).assign(**about).to_csv(tmp_path / "phase2.csv", index=False)
    panels = drawing.drawings(tmp_path)["phase2_gain"].keywords["panels"]  # type: ignore[attr-defined]
    assert {title: list(part["label"]) for title, part in panels.items()} == {
        "contrast read-out, 9 targets": ["masked modelling"],
        "mean read-out, 9 targets": ["masked modelling", "episodic calibration on points"],
    }
    text = _texts(tmp_path, monkeypatch)
    assert text.count("masked modelling") == 1
    assert "episodic calibration on points" in text
